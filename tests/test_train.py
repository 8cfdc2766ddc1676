"""Training by the real loop on pictures that a tiny network can learn: what is left behind, and what goes wrong."""

import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import safetensors.torch
import torch
import yaml

from fixtures.workspaces import make_workspace
from petmood.bundle import load_bundle
from petmood.cli import run as command
from petmood.cli.train import train as train_app
from petmood.errors import RunError, UserError
from petmood.labels import fingerprint
from petmood.loading import CropBatches
from petmood.losses import validation_scores
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings, load_recipe, recipe_names, recipe_settings
from petmood.train import read_config, train
from petmood.train.epochs import read_metrics
from petmood.train.module import EmotionModule
from petmood.train.optimise import build_optimizer, choose_precision, learning_rate_factor
from petmood.weights import create_backbone
from petmood.workspace import write_table

QUICK = TrainSettings(
    model="test_efficientnet",
    image_size=48,
    pretrained="none",
    epochs=1,
    batch_size=16,
    learning_rate=4e-3,
    device="cpu",
)

# OpenMP threads wait by spinning: beside other processes on few cores these small steps would take 20 times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("train") / "work", clips_per_class=12)


@pytest.fixture(scope="module")
def learnt(workspace):
    return train(workspace, "learnt", replace(QUICK, epochs=8), recipe="default", quiet=True)


def listing(run):
    files = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    return [name.split(".tfevents")[0] for name in files]


def test_the_run_folder_holds_exactly_this(learnt):
    assert listing(learnt.run) == [
        "bundle.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "config.yaml",
        "metrics.csv",
        "model.safetensors",
        "tensorboard/events.out",
        "tensorboard/hparams.yaml",
    ]


def test_it_learns(learnt):
    rows = read_metrics(learnt.run / "metrics.csv")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert learnt.scores["val_clip_macro_f1"] > 0.6
    assert learnt.epochs == 8
    assert f"model: {learnt.run}" in learnt.lines


def test_the_model_is_the_best_epochs(learnt):
    rows = read_metrics(learnt.run / "metrics.csv")
    best = max(rows, key=lambda row: row["val_clip_macro_f1"])
    assert learnt.best_epoch == best["epoch"]
    checkpoint = torch.load(learnt.run / "checkpoints" / "best.ckpt", weights_only=True)
    saved = safetensors.torch.load_file(learnt.run / "model.safetensors")
    assert all(torch.equal(checkpoint["state_dict"][f"net.{name}"], value) for name, value in saved.items())


def test_the_run_describes_itself(learnt, workspace):
    info = load_bundle(learnt.run).info
    assert info.classes == ("happy", "calm", "angry")
    assert info.labels == fingerprint(info.classes)
    assert info.data == {stage: workspace.mark(stage)["made_from"] for stage in ("index", "pack", "split")}
    assert info.preprocessing.image_size == 48
    assert read_config(learnt.run) == (replace(QUICK, epochs=8), "default")
    assert yaml.safe_load((learnt.run / "config.yaml").read_text())["petmood"]


def test_an_existing_run_is_not_overwritten(learnt, workspace):
    with pytest.raises(UserError, match=r"run 'learnt' exists already") as caught:
        train(workspace, "learnt", QUICK, quiet=True)
    assert "--resume" in caught.value.hint


def test_a_resumed_training_comes_to_the_same_weights(workspace, tmp_path):
    # Order and augmentation depend on seed and epoch only, so that the second half is that of an unbroken training.
    settings = replace(QUICK, epochs=3)
    whole = train(workspace, "whole", settings, quiet=True)
    with interrupted_in_epoch(1), pytest.raises(KeyboardInterrupt):
        train(workspace, "halves", settings, quiet=True)
    run = workspace.runs / "halves"
    assert len(read_metrics(run / "metrics.csv")) == 1
    load_bundle(run)  # the best so far can be used
    again = train(workspace, "halves", replace(settings, epochs=9, seed=5), resume=True, quiet=True)
    assert again.epochs == 3  # the run's own settings
    without_times = [row["train_loss"] for row in read_metrics(run / "metrics.csv")]
    assert without_times == [row["train_loss"] for row in read_metrics(whole.run / "metrics.csv")]
    one, two = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (whole.run, run))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_loader_is_told_every_epoch(workspace, monkeypatch):
    asked = []
    original = CropBatches.order

    def order(loader, epoch):
        if loader.augmentation is not None:
            asked.append(epoch)
        return original(loader, epoch)

    monkeypatch.setattr(CropBatches, "order", order)
    settings = replace(QUICK, epochs=3, limit=16)
    with interrupted_in_epoch(2), pytest.raises(KeyboardInterrupt):
        train(workspace, "epochs", replace(settings, batch_size=8), quiet=True)
    train(workspace, "epochs", settings, resume=True, quiet=True)
    assert asked == [0, 1, 2, 2]


class interrupted_in_epoch:  # noqa: N801 - reads as a verb in a with statement
    """Ctrl-C in the middle of an epoch (from 0), as the terminal sends it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __enter__(self):
        self.original = EmotionModule.training_step

        def step(module, batch, index):
            if module.current_epoch == self.epoch and index == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return self.original(module, batch, index)

        EmotionModule.training_step = step

    def __exit__(self, *_):
        EmotionModule.training_step = self.original


def test_ctrl_c_says_how_to_go_on_and_leaves_the_signal_as_it_was(workspace, capsys):
    handler = signal.getsignal(signal.SIGINT)
    with interrupted_in_epoch(0):
        words = ["train", str(workspace.root), "--name", "stopped", "-q", "--no-doctor", *as_options(QUICK)]
        assert command(words) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert f"go on with: petmood train {workspace.root} --name stopped --resume" in capsys.readouterr().err
    assert "model.safetensors" not in listing(workspace.runs / "stopped")  # no epoch is complete yet
    assert command(["train", str(workspace.root), "--name", "stopped", "--resume", "-q"]) == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("petmood-decode")]


def as_options(settings):
    names = ("model", "image_size", "pretrained", "epochs", "batch_size", "device")
    return [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(settings, name)))]


def test_resuming_what_is_not_there_names_the_runs(workspace, learnt):
    with pytest.raises(UserError, match=r"run 'nothing' does not exist in .*; found are .*learnt"):
        train(workspace, "nothing", QUICK, resume=True, quiet=True)


def test_a_loss_that_is_no_number_stops_with_advice(workspace, monkeypatch):
    monkeypatch.setattr(
        EmotionNet, "forward", lambda net, images: net.classifier.weight.sum() * float("nan") * images.mean((2, 3))
    )
    with pytest.raises(RunError, match=r"training loss nan in epoch 1 is no finite number") as caught:
        train(workspace, "diverged", QUICK, quiet=True)
    assert "--learning-rate 0.0008" in caught.value.hint


def test_nothing_is_left_of_a_training_that_could_not_begin(workspace):
    for settings, message in (
        (replace(QUICK, model="efficientnet_bb"), "is not known to timm"),
        (replace(QUICK, pretrained="nowhere.pth"), "is no file"),
        (replace(QUICK, precision="bf16-mixed"), "precision bf16-mixed needs a GPU"),
    ):
        with pytest.raises(UserError, match=message):
            train(workspace, "refused", settings, quiet=True)
    assert not (workspace.runs / "refused").exists()


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden"])
def test_a_run_name_is_one_folder(workspace, name):
    with pytest.raises(UserError, match="is not usable; allowed are letters"):
        train(workspace, name, QUICK, quiet=True)


def test_an_empty_validation_split_is_an_error(tmp_path):
    workspace = make_workspace(tmp_path / "work")
    write_table(workspace.read_frames().with_columns(split=pl.lit("train")), workspace.frames)
    with pytest.raises(UserError, match="no chosen frames in the split 'val'"):
        train(workspace, "run", QUICK, quiet=True)


def test_a_limit_takes_that_many_of_each_split(workspace):
    summary = train(workspace, "limited", replace(QUICK, limit=20, class_weights="balanced"), quiet=True)
    assert summary.epochs == 1
    (note,) = summary.notes
    assert note.startswith("2 corrections for rare emotions are chosen (balanced class weights, balanced softmax)")


@pytest.mark.parametrize("freeze", ["backbone", "all-but-last-block"])
def test_frozen_parts_come_out_of_training_as_they_went_in(workspace, tmp_path, freeze):
    torch.manual_seed(3)
    first = create_backbone("test_efficientnet").state_dict()
    safetensors.torch.save_file(first, tmp_path / "first.safetensors")
    settings = replace(QUICK, freeze=freeze, pretrained=str(tmp_path / "first.safetensors"), limit=32)
    run = train(workspace, f"frozen-{freeze}", settings, quiet=True).run
    after = safetensors.torch.load_file(run / "model.safetensors")
    changed = {name for name, value in first.items() if not torch.equal(value, after[f"backbone.{name}"])}
    if freeze == "backbone":
        assert changed == set()
    else:
        assert changed
        assert all(name.startswith(("blocks.4.", "conv_head.", "bn2.")) for name in changed)


def test_early_stopping(workspace):
    settings = replace(QUICK, epochs=30, patience=1, learning_rate=1e-9, schedule="constant", limit=16)
    assert train(workspace, "early", settings, quiet=True).epochs <= 4


def test_validation_scores():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 3.0], [0.0, 1.0]])
    scores = validation_scores(logits, np.array([0, 0, 1, 1]), ["a", "a", "b", "b"])
    assert scores["val_accuracy"] == 0.75
    assert scores["val_clip_macro_f1"] == 1.0  # the mean over clip a still says class 0
    assert scores["val_loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0, 1, 1])))
    )


def test_the_learning_rate_rises_and_falls():
    factor = learning_rate_factor(replace(QUICK, epochs=10, warmup_epochs=2.0), 100)
    values = [factor(step) for step in range(101)]
    assert values[:21] == sorted(values[:21])
    assert values[20] == 1.0
    assert values[20:] == sorted(values[20:], reverse=True)
    assert values[100] == pytest.approx(0)
    constant = learning_rate_factor(replace(QUICK, schedule="constant", warmup_epochs=0.0), 100)
    assert {constant(step) for step in range(100)} == {1.0}


def test_biases_and_norms_are_not_pulled_to_zero():
    net = EmotionNet(create_backbone("test_efficientnet"), classes=3, freeze="backbone")
    weights, others = build_optimizer(net, QUICK).param_groups
    assert [len(weights["params"]), len(others["params"])] == [1, 3]
    assert [weights["weight_decay"], others["weight_decay"]] == [QUICK.weight_decay, 0]


def test_precision_of_each_device(monkeypatch):
    assert (
        choose_precision("auto", "cpu") == choose_precision("32", "cpu") == choose_precision("32", "cuda") == "32-true"
    )
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    assert choose_precision("auto", "cuda") == "bf16-mixed"
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: False)
    assert choose_precision("auto", "cuda") == "16-mixed"


# Recipes and the command line


SHIPPED = ["default", "demo", "fine-tune", "notes", "probe", "retrain-head"]


def test_every_recipe_is_complete_and_allowed():
    assert recipe_names() == SHIPPED
    run_options = {"seed", "limit", "precision", "channels_last", "threads", "device", "devices", "nodes", "compile"}
    run_options |= {"track", "checkpoint_minutes"}
    of_the_probe = {"method", "pool", "folds"}
    off_unless_asked_for = {"freeze_norms", "accumulate", "clip_gradient", "layer_decay", "ema", "drop_path"}
    off_unless_asked_for |= {"rand_augment", "random_erasing", "mixup", "cutmix", "small_size", "small_epochs"}
    of_other_losses_and_starts = {"focal_gamma", "init", "new_head"}
    of_the_first_run = {"model", "image_size", "fit", "pretrained"}
    for name in recipe_names():
        recipe_settings(name)
        left_out = set(TrainSettings.__dataclass_fields__) - set(load_recipe(name)) - run_options
        left_out -= of_other_losses_and_starts | off_unless_asked_for
        if name == "probe":
            assert set(load_recipe(name)) == of_the_probe | of_the_first_run | {"loss", "class_weights"}
        elif name in {"retrain-head", "fine-tune"}:
            assert left_out == of_the_probe | of_the_first_run
        else:
            assert left_out == of_the_probe


def test_the_default_recipe_is_the_defaults():
    assert recipe_settings("default") == TrainSettings()


def test_the_notes_recipe_is_the_notes():
    notes = recipe_settings("notes")
    assert (notes.model, notes.image_size, notes.fit, notes.freeze) == ("efficientnet_b0", 224, "squash", "none")
    assert (notes.optimizer, notes.learning_rate, notes.batch_size, notes.weight_decay) == ("adam", 5e-6, 64, 0)
    assert (notes.loss, notes.class_weights, notes.label_smoothing) == ("cross_entropy", "balanced", 0)
    assert (notes.frames_per_clip, notes.sampling) == (0, "natural")
    assert (notes.stop_on, notes.patience, notes.checkpoint_on) == ("val_loss", 5, "val_accuracy")
    assert (notes.schedule, notes.warmup_epochs, notes.min_scale, notes.horizontal_flip) == ("constant", 0, 1.0, True)


def parsed(*words):
    _, bound, _ = train_app.parse_args(list(words), exit_on_error=False, print_error=False)
    return bound.arguments.get("settings", TrainSettings())


def test_an_option_that_was_given_beats_the_recipe_even_at_its_default_value():
    assert parsed("work", "--recipe", "notes") == recipe_settings("notes")
    given = parsed(
        "work", "--recipe", "notes", "--model", "resnet18", "--label-smoothing", "0.1", "--no-horizontal-flip"
    )
    assert given == replace(recipe_settings("notes"), model="resnet18", label_smoothing=0.1, horizontal_flip=False)
    assert parsed("work", "--epochs", "3") == TrainSettings(epochs=3)


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 2\nlearning-rate: 1e-3\nhorizontal_flip: false\n")
    expected = TrainSettings(epochs=2, learning_rate=1e-3, horizontal_flip=False)
    assert recipe_settings(str(path)) == expected
    assert parsed("work", "--recipe", str(path)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch: 3\n", "unknown setting 'epoch'; did you mean epochs"),
        ("epochs: many\n", "epochs"),
        ("epochs: 0\n", "epochs"),
        ("fit: stretch\n", "fit"),
        ("- 1\n", "a mapping `name: value` is expected"),
    ],
)
def test_a_wrong_recipe_is_a_usage_error(tmp_path, capsys, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    assert command(["train", str(tmp_path / "work"), "--recipe", str(path)]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(UserError, match=message.split()[-1]):
        recipe_settings(str(path))


def test_an_unknown_recipe_names_the_shipped_ones(capsys):
    assert command(["train", "work", "--recipe", "best"]) == 2
    assert f"recipe 'best' does not exist; shipped are {', '.join(SHIPPED)}." in capsys.readouterr().err


def test_the_command_trains_and_tells(workspace, capsys):
    words = ["train", str(workspace.root), "--recipe", "demo", "--limit", "16", "--epochs", "1", "--json", "-q"]
    assert command([*words, "--image-size", "32", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["run"] == str(workspace.runs / "demo")
    assert told["counts"]["epochs"] == 1
    settings, recipe = read_config(workspace.runs / "demo")
    assert recipe == "demo"
    assert settings == replace(recipe_settings("demo"), limit=16, epochs=1, image_size=32, device="cpu")
