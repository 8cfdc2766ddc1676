"""What happens around a step in the real loop: accumulation, running mean, schedules, mixing, overflow, compiling."""

import math
import os
import shutil
from dataclasses import replace

import lightning
import pytest
import safetensors.torch
import timm
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fixtures.workspaces import make_workspace
from petmood.bundle import load_bundle
from petmood.errors import RunError, UserError
from petmood.loading import load_samples
from petmood.losses import EmotionLoss
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.train import train
from petmood.train.epochs import read_metrics
from petmood.train.loop import Loop
from petmood.train.module import EmotionModule
from petmood.train.optimise import compile_net
from petmood.weights import create_backbone

QUICK = TrainSettings(
    model="test_efficientnet",
    image_size=32,
    pretrained="none",
    epochs=2,
    batch_size=8,
    frames_per_clip=2,
    learning_rate=4e-3,
    device="cpu",
)
#: Nothing in a picture's way is random, and no picture's answer depends on its neighbours.
EXACT = replace(QUICK, freeze_norms=True, horizontal_flip=False, min_scale=1.0, precision="32")

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("module") / "work", clips_per_class=12)


class Watched(Callback):
    """Notes the network's weights and the learning rate after each step."""

    def __init__(self):
        self.weights, self.rates, self.gradients, self.modes = [], [], [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append(torch.cat([p.grad.flatten() for p in pl_module.net.parameters() if p.grad is not None]))
        self.rates.append(max(group["lr"] for group in optimizer.param_groups))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if len(self.gradients) > len(self.weights):
            self.weights.append({name: value.clone() for name, value in pl_module.net.state_dict().items()})


class WatchedLoop(Loop):
    """The loop with one more callback, which is asked first."""

    def watch(self, callback):
        object.__setattr__(self, "more", callback)
        return self

    def _callbacks(self, *, quiet):
        return [self.more, *super()._callbacks(quiet=quiet)]


def watched(run, workspace, settings, loss=None):
    """Loop and watcher of a training; the first weights are the same for the same seed."""
    samples, val = load_samples(workspace, "train"), load_samples(workspace, "val")
    lightning.seed_everything(settings.seed, verbose=False)
    backbone = create_backbone(settings.model, drop_path=settings.drop_path)
    square = Preprocessing.of_backbone(timm.data.resolve_model_data_config(backbone), image_size=32, fit="pad")
    net = EmotionNet(
        backbone,
        classes=3,
        freeze=settings.freeze,
        freeze_norms=settings.freeze_norms,
        dropout=settings.dropout,
    )
    sampler = ClipSampler(
        samples.clips,
        samples.labels,
        frames_per_clip=settings.frames_per_clip,
        sampling=settings.sampling,
        seed=settings.seed,
    )
    watcher = Watched()
    loop = WatchedLoop(
        run=run,
        settings=settings,
        device="cpu",
        train=samples,
        sampler=sampler,
        val=val,
        preprocessing=square,
        module=EmotionModule(net, loss or EmotionLoss(), square, settings, val),
    ).watch(watcher)
    return loop, watcher


def fitted(run, workspace, settings):
    loop, watcher = watched(run, workspace, settings)
    loop.fit(None, quiet=True)
    return loop, watcher


# Accumulation


@pytest.mark.parametrize("frames", [2, 1], ids=["48 pictures", "24 pictures"])
def test_batches_add_up_to_the_step_of_a_large_one(workspace, tmp_path, frames):
    # 48 pictures are three whole steps of 16; 24 are one and a half, whose half is the mean of its one batch.
    settings = replace(EXACT, epochs=1, batch_size=16, frames_per_clip=frames)
    _, large = fitted(tmp_path / "large", workspace, settings)
    _, small = fitted(tmp_path / "small", workspace, replace(settings, batch_size=8, accumulate=2))
    assert len(large.weights) == len(small.weights) == frames + 1
    for one, other in zip(large.gradients, small.gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
    assert small.rates == pytest.approx(large.rates)


def test_a_cosine_ends_at_zero_with_accumulation(workspace, tmp_path):
    settings = replace(EXACT, epochs=2, batch_size=8, accumulate=4)
    _, watcher = fitted(tmp_path, workspace, settings)
    assert len(watcher.rates) == 4  # two an epoch: four batches and two
    assert read_metrics(tmp_path / "metrics.csv")[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


# The running mean


def by_hand(states, decay):
    mean = {name: value.clone() for name, value in states[0].items()}
    for state in states[1:]:
        for name, value in state.items():
            if value.is_floating_point():
                mean[name] += (1 - decay) * (value - mean[name])
    return mean


def test_the_running_mean_is_judged_and_kept(workspace, tmp_path):
    loop, watcher = fitted(tmp_path, workspace, replace(QUICK, epochs=1, ema=0.7))
    expected, last = by_hand(watcher.weights, 0.7), watcher.weights[-1]
    for file in ("best.ckpt", "last.ckpt"):
        content = torch.load(tmp_path / "checkpoints" / file, weights_only=True)
        kept = {name.removeprefix("net."): value for name, value in content["state_dict"].items()}
        for name, value in expected.items():
            if value.is_floating_point():  # the running statistics of batch norms too
                torch.testing.assert_close(kept[name], value)
        assert not torch.allclose(kept["classifier.weight"], last["classifier.weight"])
        assert not torch.allclose(kept["norm.running_mean"], last["norm.running_mean"])
        raw = content["current_model_state"]["net.classifier.weight"]
        assert torch.equal(raw, last["classifier.weight"])
    # What was judged is the mean: its loss, computed anew, is the one in metrics.csv.
    net = loop.module.net.eval()
    net.load_state_dict(kept)
    (row,) = read_metrics(tmp_path / "metrics.csv")
    assert val_loss(net, loop) == pytest.approx(row["val_loss"], rel=1e-4)
    net.load_state_dict(last)
    assert val_loss(net, loop) != pytest.approx(row["val_loss"], rel=1e-3)


def val_loss(net, loop):
    with torch.no_grad():
        answers = torch.cat([loop.module.forward(batch.pixels) for batch in validation(loop)])
    return float(torch.nn.functional.cross_entropy(answers, torch.from_numpy(loop.val.labels)))


def validation(loop):
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=1,
                                enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    return loop._validation_batches(trainer)


def test_the_bundle_holds_the_running_mean(workspace):
    run = train(workspace, "mean", replace(QUICK, ema=0.7), quiet=True).run
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    saved = safetensors.torch.load_file(run / "model.safetensors")
    assert all(torch.equal(best["state_dict"][f"net.{name}"], value) for name, value in saved.items())
    assert not torch.equal(best["current_model_state"]["net.classifier.weight"], saved["classifier.weight"])
    load_bundle(run)


def test_frozen_weights_do_not_drift_in_the_running_mean(workspace, tmp_path):
    _, watcher = fitted(tmp_path, workspace, replace(QUICK, freeze="backbone", ema=0.9))
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    first = watcher.weights[0]
    backbone = [name for name in first if name.startswith("backbone.")]
    assert all(torch.equal(kept[f"net.{name}"], first[name]) for name in backbone)


def test_the_mean_is_the_one_that_torch_computes():
    ours = by_hand([{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}, {"w": torch.tensor([4.0])}], 0.9)
    theirs = [torch.tensor([1.0])]
    for value in (2.0, 4.0):
        get_ema_multi_avg_fn(0.9)(theirs, [torch.tensor([value])], 0)
    torch.testing.assert_close(ours["w"], theirs[0])


# Plateau


def scores_of(monkeypatch, values):
    """Let validation come to these scores; after them it fails."""
    left = list(values)

    def scores(*_):
        if not left:
            raise NoScoreError
        return {"val_loss": 1.0, "val_accuracy": 0.5, "val_clip_macro_f1": left.pop(0)}

    monkeypatch.setattr("petmood.train.module.validation_scores", scores)


class NoScoreError(Exception):
    """The machine is gone."""


def test_a_plateau_reduces_the_rate_of_the_next_epoch(workspace, tmp_path, monkeypatch):
    settings = replace(QUICK, epochs=5, schedule="plateau", warmup_epochs=1.0, patience=2, frames_per_clip=1)
    scores_of(monkeypatch, [0.1, 0.5, 0.4, 0.4, 0.4])
    fitted(tmp_path, workspace, settings)
    rates = [row["learning_rate"] for row in read_metrics(tmp_path / "metrics.csv")]
    assert rates[:3] == pytest.approx([4e-3, 4e-3, 8e-4])


def test_a_plateau_is_remembered_by_the_checkpoint(workspace, tmp_path, monkeypatch):
    settings = replace(QUICK, epochs=5, schedule="plateau", warmup_epochs=0.0, patience=4, frames_per_clip=1)
    scores = [0.5, 0.4, 0.4, 0.4, 0.4]
    scores_of(monkeypatch, scores)
    _, whole = fitted(tmp_path / "whole", workspace, settings)
    scores_of(monkeypatch, scores[:2])
    loop, _ = watched(tmp_path / "halves", workspace, settings)
    with pytest.raises(NoScoreError):
        loop.fit(None, quiet=True)
    scores_of(monkeypatch, scores[2:])
    again, rest = watched(tmp_path / "halves", workspace, settings)
    again.fit(tmp_path / "halves" / "checkpoints" / "last.ckpt", quiet=True)
    assert whole.rates[0] == 4e-3
    assert whole.rates[-1] == pytest.approx(8e-4)
    assert rest.rates == pytest.approx(whole.rates[-len(rest.rates) :])
    assert all(torch.equal(value, rest.weights[-1][name]) for name, value in whole.weights[-1].items())


# Layer decay, augmentation and mixing in the loop


def test_layers_move_the_less_the_nearer_to_the_input(workspace, tmp_path):
    settings = replace(QUICK, epochs=1, layer_decay=0.3, weight_decay=0.0, schedule="constant", warmup_epochs=0.0)
    loop, watcher = watched(tmp_path, workspace, settings)
    before = {name: value.clone() for name, value in loop.module.net.state_dict().items()}
    loop.fit(None, quiet=True)
    moved = {name: float((value - before[name]).abs().mean()) for name, value in watcher.weights[0].items()
             if name.endswith("weight") and value.ndim > 1}  # fmt: skip
    # Adam's first step is as long as the learning rate, whatever the gradient is.
    assert moved["classifier.weight"] == pytest.approx(4e-3, rel=0.02)
    assert moved["backbone.blocks.3.0.conv_pw.weight"] == pytest.approx(4e-3 * 0.3, rel=0.05)
    assert moved["backbone.conv_stem.weight"] == pytest.approx(4e-3 * 0.3**5, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [{"mixup": 0.4, "loss": "balanced_softmax"}, {"cutmix": 1.0}, {"rand_augment": 9}, {"random_erasing": 0.5}],
    ids=lambda options: next(iter(options)),
)
def test_training_is_changed_and_validation_is_not(workspace, tmp_path, options):
    # The first weights judge before any step: with no learning, validation must be the same.
    still = replace(EXACT, epochs=1, learning_rate=1e-12, weight_decay=0.0)
    plain, changed = (
        fitted(tmp_path / name, workspace, settings)
        for name, settings in (("plain", still), ("changed", replace(still, **options)))
    )
    one, other = (read_metrics(tmp_path / name / "metrics.csv")[0] for name in ("plain", "changed"))
    assert one["val_loss"] == other["val_loss"]
    assert not torch.equal(plain[1].gradients[0], changed[1].gradients[0])


def test_each_step_draws_anew_and_the_same_again(workspace, tmp_path):
    settings = replace(QUICK, mixup=0.4, cutmix=1.0, rand_augment=9, random_erasing=0.5, dropout=0.3)
    runs = [fitted(tmp_path / str(number), workspace, settings)[1] for number in range(2)]
    assert all(torch.equal(value, runs[1].weights[-1][name]) for name, value in runs[0].weights[-1].items())


# Overflow


class Sick(EmotionLoss):
    """A loss that is no number in some steps."""

    def __init__(self, sick):
        super().__init__()
        self.sick, self.steps = sick, 0

    def forward(self, logits, targets, sample_weights):
        self.steps += 1
        loss = super().forward(logits, targets, sample_weights)
        return loss * math.nan if self.sick(self.steps) else loss


def test_a_step_that_is_no_number_stops_a_training(workspace, tmp_path):
    loop, _ = watched(tmp_path, workspace, QUICK, loss=Sick(lambda step: step == 1))
    with pytest.raises(RunError, match="training loss nan in epoch 1"):
        loop.fit(None, quiet=True)


@pytest.mark.parametrize(("sick", "stops"), [([True], False), ([True, True, False], False), ([True] * 3, True)])
def test_in_16_bits_single_steps_may_overflow(workspace, tmp_path, monkeypatch, sick, stops):
    loop, _ = watched(tmp_path, workspace, QUICK)
    module = loop.module
    monkeypatch.setattr(type(module), "trainer", type("Trainer", (), {"precision": "16-mixed"})())
    monkeypatch.setattr(type(module), "current_epoch", 0)
    looks = [torch.tensor(math.nan if each else 1.0) for each in sick]
    if not stops:
        for loss in looks:
            module._look_at(loss)
        return
    for loss in looks[:-1]:
        module._look_at(loss)
    with pytest.raises(RunError, match="training has diverged"):
        module._look_at(looks[-1])


# Compiling


needs_compiler = pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")


@needs_compiler
def test_a_compiled_network_is_the_same_object_and_answers_the_same():
    plain = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    pictures, names = torch.randn(5, 4), list(plain.state_dict())
    expected = plain(pictures)
    compile_net(plain, "cpu")
    torch.testing.assert_close(plain(pictures), expected)
    assert list(plain.state_dict()) == names


def test_a_compiled_network_is_trained_and_the_plain_one_judges(workspace, tmp_path, monkeypatch):
    # Without the compiler's minutes: torch traces the network, its own operators do the work.
    shapes = []

    def traced(graph, inputs):
        shapes.append([value.shape[0] for value in inputs if value.ndim == 4 and value.shape[1] == 3])
        return graph.forward

    compile_fully = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda net: compile_fully(net, backend=traced))
    settings = replace(EXACT, epochs=1)
    _, plain = fitted(tmp_path / "plain", workspace, settings)
    assert not shapes
    _, compiled = fitted(tmp_path / "compiled", workspace, replace(settings, compile=True, ema=0.5))
    assert len(shapes) == 1  # validation, of another size, was not compiled
    assert list(compiled.weights[0]) == list(plain.weights[0])
    torch.testing.assert_close(compiled.gradients[0], plain.gradients[0])
    assert not torch._dynamo.utils.counters["graph_break"]


def test_without_a_compiler_nothing_is_begun(workspace, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no compiler is found"):
        train(workspace, "compiled", replace(QUICK, compile=True), quiet=True)
    assert not (workspace.runs / "compiled").exists()


def test_a_network_that_cannot_be_compiled_stops_with_advice(workspace, tmp_path, monkeypatch):
    def refuse(net, device):
        def call(*_):
            raise torch._dynamo.exc.Unsupported("no such operator")

        net._compiled_call_impl = call

    monkeypatch.setattr("petmood.train.module.compile_net", refuse)
    loop, _ = watched(tmp_path, workspace, replace(QUICK, compile=True))
    with pytest.raises(RunError, match="the network cannot be compiled: no such operator") as caught:
        loop.fit(None, quiet=True)
    assert caught.value.hint == "leave out --compile"
