"""Several processes that train one network: what they share, who writes, and that it is the training of one process."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import safetensors.torch
import timm
import torch

from fixtures.workspaces import make_workspace
from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.train import train
from petmood.train.processes import Processes, SyncBatchNorms, plan_processes, process_notes

torch.set_num_threads(1)

#: 24 pictures an epoch: three batches, the last one of four; a checkpoint after each step.
SHARED = TrainSettings(
    model="test_efficientnet",
    image_size=32,
    pretrained="none",
    epochs=2,
    batch_size=10,
    learning_rate=1e-3,
    device="cpu",
    threads=1,
    freeze_norms=True,
    checkpoint_minutes=1e-9,
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("processes") / "work", clips_per_class=6)


@pytest.fixture(scope="module")
def settings(workspace):
    """Of a training from a run whose norms have learnt their statistics."""
    first = replace(SHARED, freeze_norms=False, epochs=3, batch_size=8)
    run = train(workspace, "first", first, quiet=True).run
    return replace(SHARED, init=str(run))


@pytest.fixture(scope="module")
def alone(workspace, settings):
    return train(workspace, "alone", settings, quiet=True).run


def launch(workspace, name, settings, *more, launcher=("-m",)):
    names = ("epochs", "batch_size", "learning_rate", "device", "threads", "init")
    options = [part for each in names for part in (f"--{each.replace('_', '-')}", str(getattr(settings, each)))]
    options += ["--freeze-norms", "--checkpoint-minutes", f"{settings.checkpoint_minutes:.12f}"]
    words = ["train", str(workspace.root), "--name", name, *options, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, *launcher, "petmood", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def finished(process):
    told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    return told, complaints


def rows(run):
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def assert_same_training(run, alone):
    times = {"seconds", "pictures_per_second", "waiting"}
    assert len(rows(run)) == len(rows(alone)) == 2
    for one, other in zip(rows(run), rows(alone), strict=True):
        for name in one.keys() - times:
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4), name
    mine, theirs = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (run, alone))
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)


def test_torchruns_processes_do_the_training_of_one(workspace, settings, alone):
    told, complaints = finished(launch(workspace, "torchrun", settings, launcher=TORCHRUN))
    assert_same_training(workspace.runs / "torchrun", alone)
    assert told.count("model: ") == 1  # one process talks
    assert not re.search("Traceback|recommended", complaints)
    assert sorted(path.name for path in (workspace.runs / "torchrun").iterdir()) == sorted(
        path.name for path in alone.iterdir()
    )


def test_own_processes_too_and_they_go_on_after_a_stop(workspace, settings, alone):
    process = launch(workspace, "own", settings, "--devices", "2", "-q")
    run = workspace.runs / "own"
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 143, complaints
    assert complaints.count("go on with: ") == 1
    assert "Traceback" not in complaints
    assert not (run / "metrics.csv").is_file() or len(rows(run)) < 2
    finished(launch(workspace, "own", settings, "--resume", "-q", launcher=TORCHRUN))
    assert_same_training(run, alone)


def test_processes_by_settings_and_launcher(monkeypatch):
    assert plan_processes(TrainSettings(), "cpu") == Processes()
    assert plan_processes(TrainSettings(devices=2), "cpu").world == 2
    assert plan_processes(TrainSettings(devices=0), "cpu").world == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert plan_processes(TrainSettings(devices=0), "cuda") == Processes(devices=4)
    with pytest.raises(UserError, match="devices 8 are asked for on each machine; found are 4 GPUs"):
        plan_processes(TrainSettings(devices=8), "cuda")
    with pytest.raises(UserError, match="nodes 2 are asked for, but nothing has started petmood on them"):
        plan_processes(TrainSettings(nodes=2), "cpu")


def test_torchrun_and_slurm_say_how_many(monkeypatch):
    for name, value in {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    assert plan_processes(TrainSettings(), "cpu") == Processes(devices=4, nodes=2, started_by="SLURM")
    assert plan_processes(TrainSettings(devices=4, nodes=2), "cpu").world == 8
    with pytest.raises(UserError, match=r"devices 2 on nodes 1 are asked for; SLURM has started 4 processes on each"):
        plan_processes(TrainSettings(devices=2), "cpu")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(UserError, match="SLURM has started 8 tasks without saying how many on each machine"):
        plan_processes(TrainSettings(), "cpu")
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert plan_processes(TrainSettings(), "cpu") == Processes()
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert plan_processes(TrainSettings(), "cpu") == Processes(devices=2, nodes=2, started_by="torchrun")


@pytest.mark.parametrize(("batch", "devices", "fitting"), [(64, 3, 63), (5, 2, 4), (4, 4, 8)])
def test_a_batch_must_be_divisible(workspace, tmp_path, batch, devices, fitting):
    settings = replace(SHARED, batch_size=batch, devices=devices)
    with pytest.raises(UserError, match=f"batch-size {batch} cannot be divided by {devices} processes") as caught:
        train(workspace, "uneven", settings, quiet=True, folder=tmp_path)
    assert caught.value.hint == f"try --batch-size {fitting}"
    assert not (tmp_path / "uneven").exists()


def test_the_user_learns_what_processors_cannot_share():
    (note,) = process_notes(Processes(devices=2), TrainSettings(), "cpu")
    assert "normalises by its own part" in note
    assert not process_notes(Processes(devices=2), TrainSettings(freeze_norms=True), "cpu")
    assert not process_notes(Processes(devices=2), TrainSettings(), "cuda")
    assert not process_notes(Processes(), TrainSettings(), "cpu")


def test_joined_batch_norms_keep_activations_and_names():
    net = timm.create_model("test_efficientnet", num_classes=0).eval()
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, names = net(pictures), list(net.state_dict())
        joined = SyncBatchNorms().apply(net)
        assert sum(isinstance(part, torch.nn.SyncBatchNorm) for part in joined.modules()) > 5
        assert torch.equal(joined(pictures), before)
    assert list(joined.state_dict()) == names
