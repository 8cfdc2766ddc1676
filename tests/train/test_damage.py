"""Damaged checkpoints, and files from strangers: nothing in them runs, and another one takes their place."""

import io
import os
import pickle
import shutil
from dataclasses import replace

import pytest
import torch

from fixtures.stopping import QUICK, SwitchedOffError, at_step, result, switch_off
from fixtures.workspaces import make_workspace
from petmood.bundle import load_bundle
from petmood.errors import UserError
from petmood.train import train
from petmood.train.checkpoints import read_checkpoint, resume_point
from petmood.weights import create_backbone

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("damage") / "work", clips_per_class=6)


@pytest.fixture(scope="module")
def whole(workspace):
    """A training that nobody stopped."""
    return train(workspace, "whole", QUICK, quiet=True).run


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    os.truncate(path, 0)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def of_something_else(path):
    torch.save({"weights": torch.zeros(3)}, path)


def running_code(path):
    path.write_bytes(harmful(path.with_name("harm")))


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def harmful(trace):
    """A file in torch's format whose pickle runs code."""
    buffer = io.BytesIO()
    torch.save({"state_dict": Harm(trace)}, buffer)
    return buffer.getvalue()


@pytest.fixture
def broken_off(workspace, tmp_path):
    """A run with three different checkpoints, broken off in its second epoch."""
    with at_step(8, switch_off), pytest.raises(SwitchedOffError):
        train(workspace, "broken", QUICK, quiet=True, folder=tmp_path)
    return tmp_path / "broken"


def going_on(workspace, run):
    return train(workspace, run.name, QUICK, quiet=True, folder=run.parent, resume=True).run


@pytest.mark.parametrize("damaged", [cut_off, emptied, flipped, of_something_else, running_code])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(whole, workspace, broken_off, capsys, damaged):
    folder = broken_off / "checkpoints"
    assert [read_checkpoint(folder / name)["global_step"] for name in ("last.ckpt", "previous.ckpt", "best.ckpt")] == [
        8,
        7,
        5,
    ]
    damaged(folder / "last.ckpt")
    assert resume_point(broken_off).path.name == "previous.ckpt"
    assert f"warning: checkpoint {folder / 'last.ckpt'} is damaged: " in capsys.readouterr().err
    damaged(folder / "previous.ckpt")
    assert resume_point(broken_off).path.name == "best.ckpt"
    assert result(going_on(workspace, broken_off)) == result(whole)
    assert not (folder / "harm").exists()


@pytest.mark.parametrize("damaged", [cut_off, running_code])
def test_if_none_is_whole_it_says_so(workspace, broken_off, damaged):
    folder = broken_off / "checkpoints"
    for path in folder.iterdir():
        damaged(path)
    with pytest.raises(UserError, match=r"no checkpoint that can be used; damaged are last.ckpt, previous.ckpt, best"):
        going_on(workspace, broken_off)
    assert not (folder / "harm").exists()


def test_a_damaged_best_checkpoint_is_replaced_by_the_next(workspace, broken_off, capsys):
    flipped(broken_off / "checkpoints" / "best.ckpt")
    going_on(workspace, broken_off)
    assert "best.ckpt is damaged" in capsys.readouterr().err
    assert read_checkpoint(broken_off / "checkpoints" / "best.ckpt")["epoch"] >= 1


def test_a_checkpoint_of_another_network_is_refused(workspace, broken_off, tmp_path):
    other = train(workspace, "other", replace(QUICK, model="test_vit", epochs=1), quiet=True, folder=tmp_path).run
    shutil.copy(other / "checkpoints" / "last.ckpt", broken_off / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last.ckpt is of another network than this run"):
        going_on(workspace, broken_off)


def test_first_weights_and_models_from_strangers_run_no_code(workspace, tmp_path):
    trace = tmp_path / "harm"
    (tmp_path / "weights.pth").write_bytes(harmful(trace))
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harm(trace), protocol=2))
    for name in ("weights.pth", "plain.pth"):
        with pytest.raises(UserError):
            create_backbone("test_efficientnet", pretrained=str(tmp_path / name))
    run = train(workspace, "trusted", replace(QUICK, epochs=1, limit=12), quiet=True, folder=tmp_path).run
    (run / "model.safetensors").write_bytes(harmful(trace))
    with pytest.raises(UserError, match="are damaged"):
        load_bundle(run)
    assert not trace.exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)["state_dict"].close()  # it would have
    assert trace.exists()
