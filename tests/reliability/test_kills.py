"""Every stage killed before chosen operations on the disk, started again, and compared with an undisturbed run."""

from __future__ import annotations

import json
import random
import shutil
import signal

import pytest

from fixtures.killing import commands
from fixtures.trees import Tree

NETWORK = ("--model", "test_efficientnet", "--pretrained", "none", "--image-size", 32, "--device", "cpu")
TRAIN = ("train", "WORK", "--no-doctor", "-q", *NETWORK, "--batch-size", 8)
#: Stage → the command, and how many of its moments are tried.
STAGES = {
    "index": (("index", "SOURCE", "WORK", "-q", "--jobs", 1), 8),
    "curate": (("curate", "WORK", "--no-sheet"), 4),
    "pack": (("pack", "WORK", "-q", "--jobs", 1), 10),
    "screen": (("screen", "WORK", "-q", "--near-copies", "off", "--min-sharpness", 0), 4),
    "split": (("split", "WORK", "--test", 0, "--val", 0.3), 4),
    "probe": ((*TRAIN, "--recipe", "probe", "--name", "probe"), 5),
    "train": ((*TRAIN, "--name", "train", "--epochs", 2), 2),
    "evaluate": (("evaluate", "WORK/runs/train", "-q", "--no-heat-maps", "--device", "cpu"), 3),
}
#: Files that hold times, or a spare of an earlier moment.
UNLIKE = ("metrics.csv", "report.html", "metrics.json", ".ckpt", "events.out.tfevents")


def contents(root):
    """File → its bytes, but for those that hold times."""
    found = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    return {name: data for name, data in found.items() if not any(word in name for word in UNLIKE)}


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    with commands(tmp_path_factory.mktemp("told") / "output") as found:
        yield found


@pytest.fixture(scope="module")
def places(command, tmp_path_factory):
    """The source, and stage → the work folder as it was before it and as it is after."""
    folder = tmp_path_factory.mktemp("stages")
    tree = Tree(folder / "source")
    tree.add_many(12, frames=3)
    before = folder / "empty"
    before.mkdir()
    work = {}
    for stage, (words, _) in STAGES.items():
        after = folder / stage
        shutil.copytree(before, after)
        assert command.run(*typed(words, tree.root, after))[0] == 0, command.told
        work[stage] = (before, after)
        before = after
    return tree.root, work


def typed(words, source, work):
    return [str(word).replace("SOURCE", str(source)).replace("WORK", str(work)) for word in words]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_ends_as_an_undisturbed_one(command, places, stage, tmp_path):
    source, work = places
    before, after = work[stage]
    words, tries = STAGES[stage]
    # The names of places are in some results, so that all runs must have the same.
    place = tmp_path / "work"
    line = typed(words, source, place)
    shutil.copytree(before, place)
    code, operations = command.run(*line)
    assert code == 0, command.told
    wanted = contents(place)
    chance = random.Random(stage)
    for at in sorted(chance.sample(range(operations), min(tries, operations))):
        shutil.rmtree(place)
        shutil.copytree(before, place)
        assert command.run(*line, at=at)[0] == -signal.SIGKILL
        again = [*line, "--resume"] if (place / "runs" / stage / "config.yaml").is_file() else line
        code, _ = command.run(*again)
        assert code == 0 or "has nothing to go on with" in command.told, (at, command.told)
        assert contents(place) == wanted, f"killed before operation {at} of {operations}"
    if stage == "evaluate":
        first, second = (json.loads((root / "runs/train/metrics.json").read_text()) for root in (after, place))
        assert {**first, "speed": 0} == {**second, "speed": 0}
