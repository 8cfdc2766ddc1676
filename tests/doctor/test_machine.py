"""What the machine has: numbers become verdicts, and what is measured is plausible."""

import dataclasses

import pytest
import torch

from fixtures.workspaces import make_workspace
from petmood.doctor.machine import (
    available_memory,
    check_disk,
    check_loader,
    check_memory,
    check_projected_time,
    checkpoint_bytes,
    judge_disk,
    judge_loader,
    judge_memory,
    judge_time,
    peak_memory,
)
from petmood.doctor.trial import tried
from petmood.doctor.work import opened
from petmood.errors import RunError
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings
from petmood.train.checkpoints import BEST, FOLDER
from petmood.train.run import train

SMALL = TrainSettings(
    model="test_efficientnet",
    image_size=32,
    pretrained="none",
    epochs=1,
    batch_size=8,
    frames_per_clip=0,
    device="cpu",
    threads=1,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("machine") / "work")


def test_the_size_of_a_checkpoint_is_foreseen(workspace, tmp_path):
    summary = train(workspace, "run", SMALL, quiet=True, folder=tmp_path)
    with opened(workspace, SMALL, brief=True) as work:
        expected = checkpoint_bytes(work.loop.module.net, SMALL)
    assert (summary.run / FOLDER / BEST).stat().st_size == pytest.approx(expected, rel=0.3)


def test_what_is_measured_is_plausible(workspace):
    with opened(workspace, SMALL, brief=False) as work:
        checks = {check.name: check for check in (check(work) for check in (check_loader, check_projected_time))}
        checks |= {check.name: check for check in (check(work) for check in (check_disk, check_memory))}
    assert checks["loader"].numbers["pictures_per_second"] > 1
    assert 0 <= checks["loader"].numbers["waiting"] <= 1
    assert checks["projected-time"].numbers["pictures"] == 36
    assert checks["projected-time"].verdict == "ok"
    assert checks["disk"].numbers["free"] > 0
    assert (available_memory() or 1) > 0
    assert peak_memory() > 50e6


def test_memory_that_runs_out_is_an_answer(workspace, monkeypatch):
    def fails(net, images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(EmotionNet, "forward", fails)
    with (
        opened(workspace, SMALL, brief=True) as work,
        pytest.raises(RunError, match="batch-size 8 does not fit into the memory"),
    ):
        tried(work.loop, brief=True)


def test_a_slow_loader_is_told_with_what_to_change():
    check = judge_loader(0.6, 120, SMALL, "cuda")
    assert check.verdict == "warn"
    assert "60 % of the time was spent waiting" in check.evidence
    assert "--small-size 160" in check.remedy
    assert judge_loader(0.02, 120, SMALL, "cuda").remedy == ""


def test_hours_an_epoch_as_the_notes_had_them():
    # 15,800 s an epoch at 135 pictures a second: 4.4 hours.
    notes = judge_time(2_133_000, 0, 135, dataclasses.replace(SMALL, epochs=100), "cuda")
    assert notes.verdict == "ok"
    assert "4.4 h an epoch" in notes.evidence
    assert "at most 438.9 h for 100 epochs" in notes.evidence
    slow = judge_time(2_133_000, 0, 30, SMALL, "cpu")
    assert slow.verdict == "warn"
    assert "--recipe probe" in slow.remedy
    assert "a GPU" in slow.remedy


@pytest.mark.parametrize(("free", "verdict"), [(3e9, "fail"), (6e9, "warn"), (50e9, "ok")])
def test_disk(free, verdict):
    check = judge_disk(1_000_000_000, int(free))
    assert check.verdict == verdict
    assert "4.00 GB" in check.evidence


def test_memory():
    assert judge_memory(int(100e6), int(50e6), int(1e9), 0.0).verdict == "fail"
    assert judge_memory(None, int(50e6), int(1e9), 0.0).verdict == "ok"
    full = judge_memory(int(16e9), int(50e6), int(1e9), 0.97)
    assert full.verdict == "warn"
    assert "find-batch-size" in full.remedy
