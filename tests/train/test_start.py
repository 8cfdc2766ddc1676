"""Training that starts from an earlier run: its backbone, its head or a new one, and what is remembered of it."""

import json
import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch
import yaml

from fixtures.workspaces import make_workspace
from petmood.bundle import load_bundle, read_info, save_bundle, weights_digest
from petmood.cli import run as command
from petmood.errors import UserError
from petmood.evaluate import evaluate
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings, load_recipe
from petmood.runfolder import resolve_init
from petmood.train import read_config, train
from petmood.train.module import EmotionModule
from petmood.train.plan import plan_training
from petmood.weights import create_backbone

QUICK = TrainSettings(
    model="test_efficientnet",
    image_size=48,
    fit="squash",
    pretrained="none",
    epochs=2,
    batch_size=16,
    learning_rate=4e-3,
    device="cpu",
)
#: Nothing said about the network.
FROM_RUN = replace(QUICK, model=TrainSettings().model, image_size=0, fit="pad", pretrained="hub", epochs=1)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("start") / "work", clips_per_class=12)


@pytest.fixture(scope="module")
def first(workspace):
    return train(workspace, "first", replace(QUICK, loss="cross_entropy"), quiet=True).run


def tensors(run):
    return safetensors.torch.load_file(run / "model.safetensors")


def test_a_retrained_head_stands_on_the_same_backbone(workspace, first):
    settings = replace(FROM_RUN, init=str(first), new_head=True, freeze="backbone", sampling="balanced")
    before, after = tensors(first), tensors(train(workspace, "head", settings, quiet=True).run)
    assert all(torch.equal(after[name], value) for name, value in before.items() if name.startswith("backbone."))
    assert not torch.equal(after["classifier.weight"], before["classifier.weight"])
    info = read_info(workspace.runs / "head")
    assert (info.model, info.preprocessing) == ("test_efficientnet", read_info(first).preprocessing)
    assert info.init.run == str(first)
    assert info.init.weights == weights_digest(first)
    assert info.init.same_data
    resolved, _ = read_config(workspace.runs / "head")
    assert resolved == replace(settings, model="test_efficientnet", image_size=48, fit="squash")
    assert yaml.safe_load((workspace.runs / "head" / "config.yaml").read_text())["init"]["weights"] == info.init.weights


def test_without_a_new_head_training_goes_on_where_the_run_ended(workspace, first):
    still = replace(FROM_RUN, init=str(first), learning_rate=1e-12)
    run = train(workspace, "on", still, quiet=True).run
    before, after = tensors(first), tensors(run)
    weights = [name for name, value in before.items() if value.is_floating_point() and "running" not in name]
    for name in weights:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)


def test_other_classes_need_a_new_head(workspace, first, tmp_path):
    other = make_workspace(tmp_path / "other", classes=("happy", "fear"))
    with pytest.raises(UserError, match=r"classes happy, fear; the head of .*first knows happy, calm, angry") as caught:
        train(other, "kept", replace(FROM_RUN, init=str(first)), quiet=True)
    assert "--new-head" in caught.value.hint
    assert not (other.runs / "kept").exists()
    summary = train(other, "new", replace(FROM_RUN, init=str(first), new_head=True), quiet=True)
    assert load_bundle(summary.run).info.classes == ("happy", "fear")


def test_another_networks_options_are_refused(workspace, first):
    for name, value in (("model", "test_resnet"), ("image_size", 64), ("fit", "crop")):
        with pytest.raises(UserError, match="is not that of the run to start from; .*first has") as caught:
            train(workspace, "refused", replace(FROM_RUN, init=str(first), **{name: value}), quiet=True)
        assert f"leave out --{name.replace('_', '-')}" in caught.value.hint
    train(workspace, "said", replace(QUICK, init=str(first), epochs=1, limit=16), quiet=True)  # its own are fine


def test_a_new_head_needs_a_run(workspace, capsys, tmp_path):
    assert command(["train", str(workspace.root), "--recipe", "retrain-head"]) == 2
    error = capsys.readouterr().err
    assert "new-head is asked for, but no run to take the backbone from" in error
    assert "hint: give the run folder: --init WORK/runs/NAME" in error
    assert command(["train", str(workspace.root), "--recipe", "retrain-head", "--init", str(tmp_path)]) == 2
    assert "holds no model" in capsys.readouterr().err


def test_the_recipe_retrains_the_head(workspace, first, capsys):
    words = ["train", str(workspace.root), "--recipe", "retrain-head", "--init", str(first), "-q", "--json"]
    assert command([*words, "--epochs", "1", "--limit", "32", "--device", "cpu"]) == 0
    run = workspace.runs / "retrain-head"
    assert json.loads(capsys.readouterr().out)["counts"]["run"] == str(run)
    settings = read_info(run).settings
    assert settings["new_head"] is True
    assert (settings["freeze"], settings["sampling"], settings["loss"]) == ("backbone", "balanced", "cross_entropy")
    assert not {"model", "image_size", "fit", "pretrained", "init"} & set(load_recipe("retrain-head"))


def test_a_run_that_saw_other_data_is_told_everywhere(workspace, first, tmp_path, capsys):
    other = make_workspace(tmp_path / "other", clips_per_class=6, seed=7)
    words = ["train", str(other.root), "--name", "moved", "--init", str(first), "--epochs", "1", "--device", "cpu"]
    assert command([*words, "--limit", "16"]) == 0
    streams = capsys.readouterr()
    told = f"note: {first} was trained on other data or another split: it may have seen clips that judge this training"
    assert told in streams.err
    assert told in streams.out
    found = evaluate(other.runs / "moved", quiet=True)
    assert [caution.detail for caution in found.cautions if caution.kind == "started_elsewhere"] == [str(first)]
    # A second step away from that run does not wash it off.
    again = train(other, "again", replace(FROM_RUN, init=str(other.runs / "moved"), limit=16), quiet=True)
    assert not read_info(again.run).init.same_data


def test_attention_that_is_not_taken_over_is_told(workspace, first, tmp_path):
    net = EmotionNet(create_backbone("test_efficientnet"), classes=3, attention=True)
    info = read_info(first)
    known = {"classes": info.classes, "preprocessing": info.preprocessing, "settings": {}, "epoch": 1, "scores": {}}
    save_bundle(tmp_path, net, workspace, model="test_efficientnet", **known)
    for run, told in ((tmp_path, True), (first, False)):
        plan = plan_training(workspace, workspace.runs / "not-begun", resolve_init(replace(FROM_RUN, init=str(run))))
        assert any("answers clips by attention" in note for note in plan.notes) == told


class interrupted_in_epoch:  # noqa: N801 - reads as a verb in a with statement
    """Ctrl-C in an epoch (from 0)."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __enter__(self):
        self.original = EmotionModule.training_step

        def step(module, batch, index):
            if module.current_epoch == self.epoch:
                raise KeyboardInterrupt
            return self.original(module, batch, index)

        EmotionModule.training_step = step

    def __exit__(self, *_):
        EmotionModule.training_step = self.original


def test_resuming_needs_the_first_run_only_before_the_first_checkpoint(workspace, first):
    gone = workspace.runs / "gone"
    shutil.copytree(first, gone)
    digest = weights_digest(gone)
    settings = replace(FROM_RUN, init=str(gone), new_head=True, epochs=2)
    whole = train(workspace, "unbroken", settings, quiet=True)
    for name, epoch in (("late", 1), ("early", 0)):
        with interrupted_in_epoch(epoch), pytest.raises(KeyboardInterrupt):
            train(workspace, name, settings, quiet=True)
    shutil.rmtree(gone)
    summary = train(workspace, "late", FROM_RUN, resume=True, quiet=True)
    assert summary.epochs == 2
    assert read_info(summary.run).init.weights == digest
    one, two = tensors(whole.run), tensors(summary.run)
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(UserError, match=r"run folder .*gone lacks model.safetensors"):
        train(workspace, "early", FROM_RUN, resume=True, quiet=True)
    shutil.copytree(whole.run, gone)
    with pytest.raises(UserError, match=r"gone has other weights than when 'early' was begun from it"):
        train(workspace, "early", FROM_RUN, resume=True, quiet=True)
