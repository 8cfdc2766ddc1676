"""The finders: what they propose trains, memory that runs out is an answer, and nothing is left behind."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.cli import run as petmood
from petmood.errors import RunError, UserError
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings
from petmood.recipes.finding import FindBatchSettings, FindRateSettings
from petmood.train import train
from petmood.train.find_batch import BatchFound, find_batch_size
from petmood.train.find_rate import RangeTest, find_learning_rate, propose_rate, smoothed
from petmood.train.plan import plan_training
from petmood.train.trial import short

SMALL = TrainSettings(
    model="test_efficientnet",
    image_size=32,
    pretrained="none",
    batch_size=8,
    frames_per_clip=3,
    epochs=6,
    patience=6,
    device="cpu",
)
OPTIONS = ["--model", "test_efficientnet", "--image-size", "32", "--pretrained", "none", "--device", "cpu", "-q"]
RATES = np.geomspace(1e-6, 1.0, 100)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("find") / "work", clips_per_class=12)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_proposed_learning_rate_trains(workspace, tmp_path):
    found = find_learning_rate(workspace, SMALL, FindRateSettings(), quiet=True)
    scores = {}
    for factor in (1, 0.01):
        settings = dataclasses.replace(SMALL, learning_rate=found.proposal * factor)
        scores[factor] = train(workspace, "tried", settings, quiet=True, folder=tmp_path / str(factor)).scores
    assert scores[1]["val_loss"] < 0.8 * scores[0.01]["val_loss"]
    assert scores[1]["val_clip_macro_f1"] > scores[0.01]["val_clip_macro_f1"] + 0.2
    assert np.log(3) > scores[1]["val_loss"]  # better than not knowing: it has not diverged


def test_the_search_goes_on_over_epochs_and_leaves_only_its_picture(workspace, temporary):
    # An epoch has 9 batches of 8 pictures.
    (workspace.root / "lr-find.svg").unlink(missing_ok=True)
    before = contents(workspace.root)
    found = find_learning_rate(workspace, SMALL, FindRateSettings(steps=40, largest=0.1), quiet=True)
    after = contents(workspace.root)
    assert len(found.rates) == len(found.losses) > 20
    assert found.rates[0] == pytest.approx(1e-6)
    assert found.rates[1] / found.rates[0] == pytest.approx(1e5 ** (1 / 39))
    assert {"lr-find.svg"} == set(after) - set(before)
    assert all(after[name] == changed for name, changed in before.items())
    assert not list(temporary.iterdir())
    assert f"try {short(found.proposal)}" in found.picture.read_text()


def test_what_the_losses_are_of_does_not_depend_on_the_settings_own_rate(workspace):
    search = FindRateSettings(steps=20, largest=1e-3)
    losses = []
    for rate in (5e-4, 5.0):
        test = RangeTest(np.geomspace(search.smallest, search.largest, search.steps), lambda amount: None)
        settings = dataclasses.replace(SMALL, learning_rate=rate)
        loop = plan_training(workspace, workspace.runs / "none", settings).loop
        loop.try_steps(20, test)
        losses.append(test.losses)
    assert not (workspace.runs / "none").exists()
    assert len(losses[0]) == 20
    assert losses[0] != losses[1]  # the proportions of the groups, here 5e-4 and 5, are kept


def test_groups_of_parameters_keep_the_proportions_of_their_rates():
    groups = [{"lr": 0.25, "initial_lr": 0.25}, {"lr": 1.0, "initial_lr": 1.0}]

    class Trainer:
        optimizers = (type("Optimizer", (), {"param_groups": groups})(),)

    test = RangeTest(np.array([1e-3, 1e-2]), lambda amount: None)
    test.on_train_start(Trainer(), None)
    test.on_train_batch_start(Trainer(), None, None, 0)
    assert [group["lr"] for group in groups] == [0.25e-3, 1e-3]
    test.losses.append(1.0)
    test.on_train_batch_start(Trainer(), None, None, 1)
    assert [group["lr"] for group in groups] == [0.25e-2, 1e-2]


def test_batches_that_are_added_up_make_one_step_of_the_search(workspace):
    settings = dataclasses.replace(SMALL, accumulate=3, learning_rate=1.0)
    test = RangeTest(np.geomspace(1e-9, 1e-8, 6), lambda amount: None)
    plan_training(workspace, workspace.runs / "none", settings).loop.try_steps(6, test)
    assert len(test.losses) == 6
    assert np.mean(test.losses) == pytest.approx(np.log(3), abs=0.5)  # of a batch, not a third of it


def test_a_diverging_loss_ends_the_search(workspace):
    found = find_learning_rate(workspace, SMALL, FindRateSettings(steps=60, largest=1e6), quiet=True)
    assert len(found.rates) < 60
    assert np.isfinite(found.losses).all()
    assert found.proposal < 0.1


@given(place=st.floats(0.25, 0.75), depth=st.floats(0.1, 3), seed=st.integers(0, 100))
def test_the_proposal_stands_where_a_valley_falls(place, depth, seed):
    middle = round(place * 99)
    losses = 2 - depth / (1 + np.exp(-(np.arange(100) - middle) / 3))
    losses[middle + 12 :] += 0.2 * depth * np.arange(100 - middle - 12)
    losses += np.random.default_rng(seed).normal(0, 0.02 * depth, 100)
    proposal = propose_rate(RATES, losses)
    assert RATES[middle] / 4 < proposal < RATES[middle] * 4


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (np.full(100, 1.1), "no learning rate from 1.0e-6 to 1.0e0 lowers the loss clearly"),
        (np.linspace(1, 3, 100), "lowers the loss clearly"),
        (1.8 + 0.3 * np.random.default_rng(0).normal(size=100), "lowers the loss clearly"),
        (np.full(5, 1.1), "diverges at learning rate 1.7e-6 already, after 5 steps"),
        (np.array([]), "after 0 steps"),
    ],
)
def test_no_proposal_is_made_from_a_loss_that_does_not_fall(losses, message):
    with pytest.raises(UserError, match=message):
        propose_rate(RATES[: len(losses)], losses)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60))
def test_smoothing_stays_within_the_losses(values):
    losses = np.array(values)
    assert (smoothed(losses) >= losses.min() - 1e-9).all()
    assert (smoothed(losses) <= losses.max() + 1e-9).all()
    assert smoothed(np.full(9, 2.0)) == pytest.approx(np.full(9, 2.0))


def test_the_largest_batch_that_fits_is_found_and_nothing_is_written(workspace, temporary, monkeypatch):
    small_memory(monkeypatch, 32)
    before = contents(workspace.root)
    found = find_batch_size(workspace, SMALL, FindBatchSettings(steps=1), quiet=True)
    assert [each.size for each in found.tried] == [16, 32, 64]
    assert found.tried[-1].pictures_per_second is None
    assert all(each.pictures_per_second > 0 for each in found.tried[:-1])
    assert found.largest == 32
    assert found.proposal in {16, 32}
    assert "   64: out of memory" in found.lines
    assert "largest that fits into the memory: 32" in found.lines
    assert contents(workspace.root) == before
    assert not list(temporary.iterdir())


def test_a_batch_is_no_larger_than_an_epoch_or_than_asked(workspace):
    quick = FindBatchSettings(steps=1)
    clips = dataclasses.replace(SMALL, frames_per_clip=1)  # 24 pictures an epoch
    assert [each.size for each in find_batch_size(workspace, clips, quick, quiet=True).tried] == [16]
    few = find_batch_size(workspace, SMALL, dataclasses.replace(quick, most=7), quiet=True)
    assert [each.size for each in few.tried] == [4]


def test_smaller_batches_are_tried_only_where_the_first_does_not_fit(workspace, monkeypatch):
    small_memory(monkeypatch, 4)
    found = find_batch_size(workspace, SMALL, FindBatchSettings(steps=1), quiet=True)
    assert [each.size for each in found.tried] == [16, 8, 4]
    assert found.largest == found.proposal == 4


def test_a_network_that_does_not_fit_at_all_is_told(workspace, monkeypatch):
    small_memory(monkeypatch, 0)
    with pytest.raises(RunError, match=r"a batch of 2 pictures does not fit into the memory"):
        find_batch_size(workspace, SMALL, FindBatchSettings(steps=1), quiet=True)
    with pytest.raises(RunError, match=r"(?s)batch-size 8 does not fit into the memory.*petmood find-batch-size"):
        find_learning_rate(workspace, SMALL, FindRateSettings(), quiet=True)


def small_memory(monkeypatch, most):
    """Let the network run out of memory above so many pictures, as CUDA says it."""
    forward = EmotionNet.forward

    def limited(self, images):
        if len(images) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, images)

    monkeypatch.setattr(EmotionNet, "forward", limited)


def test_the_learning_rate_goes_with_the_square_root_of_the_batch():
    settings = TrainSettings(batch_size=64, learning_rate=5e-4)
    found = BatchFound(proposal=256, largest=512, tried=(), settings=settings)
    assert found.learning_rate == pytest.approx(1e-3)
    assert any("with it --learning-rate 1.0e-3" in line for line in found.lines)
    same = dataclasses.replace(found, proposal=64)
    assert not any("--learning-rate" in line for line in same.lines)


def test_find_lr_prints_what_to_try(workspace, capsys):
    assert petmood(["find-lr", str(workspace.root), *OPTIONS, "--batch-size", "8", "--frames-per-clip", "3"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "find-lr: done"
    rate = float(told[-1].removeprefix("  try --learning-rate "))
    assert (
        petmood(["find-lr", str(workspace.root), *OPTIONS, "--batch-size", "8", "--frames-per-clip", "3", "--json"])
        == 0
    )
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["learning_rate"] == rate  # the same seed finds the same
    assert len(counts["rates"]) == len(counts["losses"])


def test_find_batch_size_prints_what_to_try(workspace, capsys):
    assert petmood(["find-batch-size", str(workspace.root), *OPTIONS, "--most", "4", "--steps", "1"]) == 0
    told = capsys.readouterr().out
    assert "    4: " in told
    assert "largest that was tried: 4" in told
    assert "try --batch-size" in told


@pytest.mark.parametrize("command", ["find-lr", "find-batch-size"])
def test_a_probe_has_nothing_to_find(workspace, capsys, command):
    assert petmood([command, str(workspace.root), "--recipe", "probe"]) == 2
    assert "method probe has neither steps nor batches" in capsys.readouterr().err


def test_a_range_that_is_none_is_refused(workspace, capsys):
    assert petmood(["find-lr", str(workspace.root), "--smallest", "0.1", "--largest", "0.2"]) == 2
    assert "largest 0.2 is not ten times smallest 0.1" in capsys.readouterr().err
