"""A work folder that has been lived in: prepared, with a finished and judged run, a stopped one, and features."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path

import pytest

from fixtures.trees import Tree
from petmood.cli import run as petmood
from petmood.recipes import TrainSettings
from petmood.train import train
from petmood.workspace import Workspace

#: A training of a second.
TINY = TrainSettings(
    model="test_efficientnet",
    pretrained="none",
    image_size=32,
    epochs=2,
    batch_size=8,
    frames_per_clip=2,
    threads=1,
    device="cpu",
    warmup_epochs=0,
)


@dataclasses.dataclass(frozen=True)
class Lived:
    """Where source and work folder are."""

    source: Path
    work: Path

    @property
    def workspace(self) -> Workspace:
        """The work folder."""
        return Workspace(self.work)


def told(*words: object) -> None:
    """Run a command that must succeed."""
    assert petmood([str(word) for word in words]) == 0


def _stop_in_second(epoch: int, _scores: object) -> None:
    if epoch == 2:
        raise KeyboardInterrupt


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Made once; tests take copies."""
    root = tmp_path_factory.mktemp("lived")
    tree, work = Tree(root / "source"), root / "work"
    tree.add_many(24)
    told("prepare", tree.root, work, "--jobs", 1, "-q", "--per-clip", 4)
    workspace = Workspace.open(work)
    train(workspace, "full", TINY, recipe="tiny", quiet=True)
    told("evaluate", work / "runs" / "full", "-q", "--no-heat-maps")
    with contextlib.suppress(KeyboardInterrupt):
        train(
            workspace,
            "half",
            dataclasses.replace(TINY, epochs=3),
            recipe="tiny",
            quiet=True,
            after_epoch=_stop_in_second,
        )
    network = ("--model", "test_efficientnet", "--pretrained", "none", "--image-size", 32, "--device", "cpu")
    told("train", work, "--recipe", "probe", "--name", "probe", "-q", "--no-doctor", *network)
    return Lived(tree.root, work)


@pytest.fixture
def lived(model_folder, tmp_path):
    """A copy with a source of its own place: the source itself is shared and must not be changed."""
    work = tmp_path / "work"
    shutil.copytree(model_folder.work, work)
    return Lived(model_folder.source, work)


@pytest.fixture
def fresh(tmp_path):
    """A prepared work folder without runs, whose source may be changed."""
    tree = Tree(tmp_path / "own-source")
    tree.add_many(24)
    told("prepare", tree.root, tmp_path / "own", "--jobs", 1, "-q", "--per-clip", 4, "--no-sheet")
    return Lived(tree.root, tmp_path / "own")
