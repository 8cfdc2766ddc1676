"""A training that is killed, stopped or starved at any point and taken up again comes to what it would have come to."""

import contextlib
import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures.stopping import QUICK, SwitchedOffError, at_step, result, switch_off
from fixtures.workspaces import make_workspace
from petmood.bundle import load_bundle
from petmood.cli import run as command
from petmood.errors import RunError
from petmood.train import train
from petmood.train.checkpoints import read_checkpoint
from petmood.train.module import EmotionModule
from petmood.workspace import Workspace

EVERYTHING = replace(
    QUICK,
    ema=0.9,
    dropout=0.2,
    drop_path=0.1,
    mixup=0.2,
    cutmix=1.0,
    rand_augment=7,
    random_erasing=0.2,
    accumulate=2,
    clip_gradient=1.0,
    schedule="plateau",
    patience=1,
    stop_on="val_loss",
)

# OpenMP threads wait by spinning: beside other processes on few cores these small steps would take 20 times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("resume") / "work", clips_per_class=6)


@contextlib.contextmanager
def at_save(number, action):
    """Do something instead of writing the checkpoint of that number (from 0); it gets the file's temporary name."""
    original, count = torch.save, itertools.count()

    def save(content, file):
        if next(count) == number:
            action(file)
        original(content, file)

    torch.save = save
    try:
        yield
    finally:
        torch.save = original


@pytest.fixture(scope="module")
def whole(workspace):
    """A training that nobody stopped."""
    return train(workspace, "whole", QUICK, quiet=True).run


@pytest.fixture(scope="module")
def everything(workspace):
    """The same with all that is random and all that is remembered."""
    return train(workspace, "everything", EVERYTHING, quiet=True).run


@pytest.fixture
def halves(workspace, tmp_path):
    """Trains until something happens, then resumes, elsewhere than the other tests."""

    def run(settings, happening, error=SwitchedOffError):
        with happening, pytest.raises(error):
            train(workspace, "halves", settings, quiet=True, folder=tmp_path)
        return train(workspace, "halves", settings, quiet=True, folder=tmp_path, resume=True).run

    return run


@pytest.mark.parametrize("step", [0, 1, 3, 5, 8, 14])
def test_a_training_that_was_switched_off_ends_with_the_same_weights(whole, halves, step):
    assert result(halves(QUICK, at_step(step, switch_off))) == result(whole)


@pytest.mark.parametrize("step", [2, 3, 7, 12])
def test_so_does_one_with_every_option_that_draws_or_remembers(everything, halves, step):
    # A step of the optimizer is made of two batches: step 3 is in the middle of one.
    assert result(halves(EVERYTHING, at_step(step, switch_off))) == result(everything)


def test_so_does_one_that_was_switched_off_in_validation(whole, halves):
    # No checkpoint may stand behind an epoch's last batch: validation would be left out when it is taken up again.
    assert result(halves(QUICK, at_step(1, switch_off, of="validation_step"))) == result(whole)


def half_written(file):
    file.write(b"PK")
    raise SwitchedOffError


@pytest.mark.parametrize("save", [0, 1, 4, 5, 7])
def test_so_does_one_that_was_switched_off_while_it_wrote_a_checkpoint(whole, halves, save):
    # Of six checkpoints of an epoch the fifth is the best one's, the sixth that of the epoch's end.
    assert result(halves(QUICK, at_save(save, half_written))) == result(whole)


def test_a_kill_leaves_a_training_that_goes_on(whole, workspace, tmp_path):
    folder = workspace.runs / "killed"
    killed_when(folder, changes=random.Random(5).randrange(2, 9), words=words(workspace, "killed", QUICK))
    assert not (folder / "model.safetensors").exists()
    assert command(["train", str(workspace.root), "--name", "killed", "--resume", "-q"]) == 0
    assert result(folder) == result(whole)
    assert not list(folder.rglob(".*.tmp"))


def words(workspace, name, settings):
    names = ("model", "image_size", "pretrained", "epochs", "batch_size", "learning_rate", "device", "threads")
    options = [part for each in names for part in (f"--{each.replace('_', '-')}", str(getattr(settings, each)))]
    minutes = f"{settings.checkpoint_minutes:.12f}"
    return ["train", str(workspace.root), "--name", name, "-q", *options, "--checkpoint-minutes", minutes]


def started(words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "petmood", *words], env=environment, stderr=subprocess.PIPE, text=True
    )


def killed_when(folder, *, changes, words):
    """Start a command and kill it when last.ckpt has been written so many times."""
    process = started(words)
    wait_for_changes(process, folder, changes)
    process.kill()
    process.wait()
    process.stderr.close()
    assert process.returncode == -signal.SIGKILL


def wait_for_changes(process, folder, changes):
    seen = set()
    while len(seen) < changes:
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(FileNotFoundError):
            seen.add((folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns)
        time.sleep(0.002)


# Stopped by a signal


def test_sigterm_saves_the_step_and_says_how_to_go_on(whole, workspace):
    settings = replace(QUICK, checkpoint_minutes=60)
    run = workspace.runs / "preempted"
    process = started(words(workspace, "preempted", settings))
    wait_for_first_epoch(process, run)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"go on with: petmood train {workspace.root} --name preempted --resume" in told
    assert "Traceback" not in told
    train(workspace, "preempted", settings, resume=True, quiet=True)
    assert result(run) == result(whole)


def wait_for_first_epoch(process, run):
    while not (run / "metrics.csv").is_file():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_ends_the_step_and_no_more(whole, workspace, tmp_path, capsys, number, error):
    settings = replace(QUICK, checkpoint_minutes=60)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with at_step(7, lambda: os.kill(os.getpid(), number)), pytest.raises(error) as caught:
        train(workspace, "signalled", settings, quiet=True, folder=tmp_path)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert getattr(caught.value, "code", 143) == 143
    assert "stopping after this step" in capsys.readouterr().err
    assert read_checkpoint(tmp_path / "signalled" / "checkpoints" / "last.ckpt")["global_step"] == 8
    load_bundle(tmp_path / "signalled")  # the best so far
    run = train(workspace, "signalled", settings, quiet=True, folder=tmp_path, resume=True).run
    assert result(run) == result(whole)


def test_a_signal_in_an_epochs_last_step_or_in_validation_ends_it_too(whole, workspace, tmp_path):
    settings = replace(QUICK, checkpoint_minutes=60)
    with at_step(9, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(SystemExit):
        train(workspace, "late", settings, quiet=True, folder=tmp_path)
    run = tmp_path / "late"
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 5
    train(workspace, "late", settings, quiet=True, folder=tmp_path, resume=True)
    assert result(run) == result(whole)


# What is remembered


def test_a_moved_work_folder_keeps_the_best_score(workspace, tmp_path):
    here = Workspace.open(Path(shutil.copytree(workspace.root, tmp_path / "here", ignore=no_runs)))
    settings = replace(QUICK, learning_rate=1e-9, schedule="constant")
    with at_step(8, switch_off), pytest.raises(SwitchedOffError):
        train(here, "moving", settings, quiet=True)
    there = Workspace.open(here.root.rename(tmp_path / "there"))
    # With no learning the first epoch stays the best one: without memory the second would take its place.
    assert train(there, "moving", settings, resume=True, quiet=True).best_epoch == 1


def no_runs(_, names):
    return {"runs"} & set(names)


def test_a_training_that_had_stopped_early_is_not_taken_further(workspace, tmp_path):
    settings = replace(QUICK, epochs=30, patience=1, learning_rate=1e-9, schedule="constant")
    whole = train(workspace, "early", settings, quiet=True, folder=tmp_path)
    assert whole.epochs == 2
    expected = result(whole.run)
    (whole.run / "bundle.json").unlink()  # as if it had been killed before the model was saved
    again = train(workspace, "early", settings, quiet=True, folder=tmp_path, resume=True)
    assert again.epochs == 2
    assert result(again.run) == expected


def test_a_complete_training_that_is_resumed_saves_its_model_again(workspace, tmp_path):
    settings = replace(QUICK, epochs=2)
    run = train(workspace, "complete", settings, quiet=True, folder=tmp_path).run
    expected = result(run)
    (run / "model.safetensors").unlink()
    assert result(train(workspace, "complete", settings, quiet=True, folder=tmp_path, resume=True).run) == expected


# Numbers that run away, disks that fill up


def test_weights_that_are_no_numbers_do_not_replace_good_ones(workspace, tmp_path):
    original = EmotionModule.optimizer_step

    def step(module, epoch, index, optimizer, closure):
        original(module, epoch, index, optimizer, closure)
        if (epoch, index) == (1, 1):
            module.net.classifier.weight.data[0, 0] = float("nan")

    EmotionModule.optimizer_step = step
    try:
        with pytest.raises(RunError, match="a weight in epoch 2 is no finite number: training has diverged"):
            train(workspace, "diverging", QUICK, quiet=True, folder=tmp_path)
    finally:
        EmotionModule.optimizer_step = original
    for path in (tmp_path / "diverging" / "checkpoints").iterdir():
        assert all(value.isfinite().all() for value in read_checkpoint(path)["state_dict"].values())


def test_a_full_disk_stops_cleanly_and_the_training_goes_on_elsewhere(whole, workspace, small_disk, tmp_path):
    # The first checkpoint does not fit in: nothing of it is left.
    with pytest.raises(RunError, match=r"run 'small' was stopped: No space left on device") as caught:
        train(workspace, "small", QUICK, quiet=True, folder=small_disk)
    assert "free some space" in caught.value.hint
    assert not list((small_disk / "small" / "checkpoints").iterdir())
    shutil.move(small_disk / "small", tmp_path / "small")
    assert result(train(workspace, "small", QUICK, quiet=True, folder=tmp_path, resume=True).run) == result(whole)


def test_a_disk_that_fills_up_leaves_the_checkpoints_before_whole(whole, workspace, tmp_path):
    def full(file):
        file.write(b"PK")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with at_save(7, full), pytest.raises(RunError, match="No space left on device"):
        train(workspace, "full", QUICK, quiet=True, folder=tmp_path)
    folder = tmp_path / "full" / "checkpoints"
    assert [read_checkpoint(folder / name)["global_step"] for name in ("last.ckpt", "previous.ckpt")] == [6, 5]
    assert not list(folder.glob(".*.tmp"))
    assert result(train(workspace, "full", QUICK, quiet=True, folder=tmp_path, resume=True).run) == result(whole)
