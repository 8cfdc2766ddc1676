"""The power fails at any moment of a preparation: what is left is old or new, and the next one ends as always."""

from __future__ import annotations

import contextlib
import io
import random
import shutil

import pytest

from fixtures.power import LOST, Disk, left_by
from fixtures.trees import Clip
from petmood import cli
from petmood.data import pack as pack_stage
from petmood.workspace import ORDER, Workspace, read_json, read_table, replacing, write_json

#: Power cuts that are tried, of some hundreds of moments and ways.
CUTS = 40


def prepare(tree, work):
    words = ["prepare", tree.root, work, "-q", "--jobs", 1, "--no-sheet", "--json", "--near-copies", "off"]
    with contextlib.redirect_stdout(io.StringIO()):
        return cli.run([str(word) for word in [*words, "--min-sharpness", 0, "--test", 0, "--val", 0.3]])


def contents(work):
    return {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}


def test_a_file_is_the_old_or_the_new_one_whenever_the_power_fails(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "a.json").write_text('{"is": "old"}')
    disk = Disk(folder)
    with disk.recording():
        write_json(folder / "a.json", {"is": "new"})
        write_json(folder / "mark.json", {})
    assert len(disk.moments) == 8 - 2
    seen = set()
    for number, moment in enumerate(disk.moments * 20):
        left = tmp_path / f"left-{number}"
        left_by(moment, left, random.Random(number))
        state = read_json(left / "a.json")["is"]
        assert state in {"old", "new"}
        assert state == "new" or not (left / "mark.json").exists()  # the mark never comes before what it speaks of
        seen.add(state)
    assert seen == {"old", "new"}


def test_a_mark_that_was_taken_back_does_not_come_back(tmp_path):
    workspace = Workspace.create(tmp_path / "work")
    for stage in ORDER:
        workspace.finish(stage, made_from="x", settings={}, counts={})
    disk = Disk(workspace.root)
    with disk.recording():
        workspace.begin("pack")
    for number in range(20):
        left_by(disk.moments[-1], tmp_path / f"left-{number}", random.Random(number))
        assert [bool(Workspace.open(tmp_path / f"left-{number}").mark(stage)) for stage in ORDER] == [True] * 2 + [
            False
        ] * 3


@pytest.mark.parametrize("forgotten", ["file", "folder"])
def test_the_simulated_disk_finds_out_a_sync_that_is_missing(tmp_path, monkeypatch, forgotten):
    def careless(path, text):
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text)
        if forgotten != "file":
            with temporary.open("rb") as file:
                __import__("os").fsync(file.fileno())
        temporary.replace(path)

    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    with disk.recording():
        careless(folder / "a", "rows")
        write = careless if forgotten == "folder" else None
        if write:
            write(folder / "mark", "done")
        else:
            with replacing(folder / "mark") as temporary:
                temporary.write_text("done")
    broken = 0
    for number, moment in enumerate(disk.moments * 40):
        left = tmp_path / f"left-{number}"
        left_by(moment, left, random.Random(number))
        if (left / "mark").exists():
            broken += not (left / "a").exists() or (left / "a").read_bytes() == LOST
    assert broken


@pytest.fixture
def prepared(tree, tmp_path, capsys, monkeypatch):
    """A source that has changed since it was prepared, the old work folder, and how it is when prepared anew.

    Some parts of the crops stay as they were and are linked.
    """
    monkeypatch.setattr(pack_stage, "CROPS_A_PART", 8)
    tree.add_many(12)
    old, new = tmp_path / "old", tmp_path / "new"
    assert prepare(tree, old) == 0, capsys.readouterr().err
    for number in range(12, 16):
        tree.add(Clip(number=number, breed=str(number), size=(44, 48)))  # the box leaves the picture
        tree.add(Clip(number=100 + number, breed=str(number)))
    shutil.copytree(old, new)
    assert prepare(tree, new) == 0
    packed = [{part.read_bytes() for part in work.glob("crops/*.tar")} for work in (old, new)]
    assert packed[0] & packed[1]
    assert packed[0] != packed[1]
    return tree, old, new


def test_a_preparation_ends_as_always_wherever_the_power_failed(prepared, tmp_path, capsys):
    tree, old, new = prepared
    wanted = contents(new)
    work = tmp_path / "work"
    shutil.copytree(old, work)
    disk = Disk(work)
    with disk.recording():
        assert prepare(tree, work) == 0
    assert contents(work) == wanted
    chance = random.Random(7)
    for moment in chance.sample(disk.moments, CUTS):
        shutil.rmtree(work)
        left_by(moment, work, chance)
        _check_marks(work, {"old": old, "new": new})
        assert prepare(tree, work) == 0, (moment.after, capsys.readouterr().err)
        assert contents(work) == wanted, moment.after


def _check_marks(work, states):
    """Every stage that counts as done has the results of the old state or of the new one, whole."""
    found = Workspace.open(work)
    for stage in ORDER:
        mark = found.mark(stage)
        if not mark:
            continue
        (state,) = {name for name, root in states.items() if Workspace.open(root).mark(stage) == mark}
        reference = Workspace.open(states[state])
        if stage == "index":
            columns = ["frame_id", "path", "emotion"]
            assert found.read_frames().select(columns).equals(reference.read_frames().select(columns))
            assert found.read_rejects(before="curate").equals(reference.read_rejects(before="curate"))
        if stage == "pack":
            assert contents(found.crops).items() >= contents(reference.crops).items()
            assert read_table(found.crops / "crops.parquet").equals(read_table(reference.crops / "crops.parquet"))
