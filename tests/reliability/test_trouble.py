"""A full or read-only disk, files that vanish, clocks that jump, two commands at once: nothing is lost."""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

import petmood.cli
from fixtures.trees import Clip
from fixtures.workspaces import make_workspace
from petmood.lock import owned
from petmood.workspace import Workspace, read_json

#: Commands that only read a work folder, or write elsewhere.
READERS = {
    "clean",  # holds it inside, where it is tested too
    *("doctor", "find-batch-size", "runs", "compare", "predict", "detector", "serve", "synth", "status"),
}


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def source(tree):
    tree.add_many(12, frames=3)
    return tree.root


@pytest.fixture
def prepare(run, source):
    """Prepares a work folder by the command."""

    def call(work):
        return run("prepare", source, work, "-q", "--jobs", 1, "--no-sheet", "--test", 0, "--val", 0.3)

    return call


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_keeps_the_last_state_and_the_same_command_goes_on(small_disk, prepare, tree, tmp_path):
    work = small_disk / "work"
    assert prepare(work)[0] == 0
    before = contents(work)
    tree.add_many(60, frames=40, split="Validation")
    code, _, told = prepare(work)
    assert code == 1
    assert re.search(r"petmood: No space left on device \(.*\)\.\nhint: the disk is full: free some space", told)
    now = contents(work)
    assert {name for name in now if Path(name).name.endswith(".tmp")} == set()
    marks = {name for name in now if name.endswith(".json")}
    assert {name: now[name] for name in marks} == {name: before[name] for name in marks}  # no stage counts as done anew
    shutil.move(work, tmp_path / "work")  # room is made
    assert prepare(tmp_path / "work")[0] == 0
    assert prepare(tmp_path / "anew")[0] == 0
    assert contents(tmp_path / "work") == contents(tmp_path / "anew")


@contextmanager
def largest_file(size):
    """Files that grow beyond so many bytes are refused, as by a quota; works where nothing can be mounted."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_may_not_grow_stops_packing_and_nothing_is_lost(prepare, run, tmp_path):
    work = tmp_path / "work"
    assert prepare(work)[0] == 0
    before = contents(work)
    with largest_file(20_000):
        code, _, told = run("pack", work, "-q", "--jobs", 1, "--force")
    assert code == 1
    assert "File too large" in told
    assert {name: data for name, data in contents(work).items() if not name.startswith(".pack-")} == before
    assert run("pack", work, "-q", "--jobs", 1, "--force")[0] == 0
    assert prepare(work)[0] == 0
    assert contents(work) == before


@pytest.fixture
def read_only():
    """Makes a folder read-only, for root too; skips where mounting is not permitted."""
    mounted = []

    def call(folder):
        for words in (("mount", "--bind"), ("mount", "-o", "remount,ro,bind")):
            command = [*words, str(folder), str(folder)]
            if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("mounting a read-only folder is not permitted here")
            if words[1] == "--bind":
                mounted.append(folder)
        return folder

    yield call
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_read_only_work_folder_can_be_read_and_all_else_is_refused_in_a_sentence(
    prepare, run, source, tmp_path, read_only
):
    work = tmp_path / "work"
    assert prepare(work)[0] == 0
    read_only(work)
    assert run("runs", work)[0] == 0
    for words in (
        ("index", source, work),
        ("curate", work, "--per-clip", 1),
        ("pack", work),
        ("screen", work),
        ("split", work),
        ("sheet", work),
        ("train", work, "--recipe", "probe", "--no-doctor"),
    ):
        code, _, told = run(*words)
        assert code == 2, words
        assert told.startswith(f"petmood: work folder {work} cannot be written to: Read-only file system.\nhint: "), (
            words
        )


# --- the source -------------------------------------------------------------------------------------------------------


def test_pictures_that_vanish_between_index_and_pack_are_counted_and_come_back(run, tree, tmp_path):
    clips = tree.add_many(6, frames=3)
    work = tmp_path / "work"
    for words in (("index", tree.root, work, "-q", "--jobs", 1), ("curate", work, "--no-sheet")):
        assert run(*words)[0] == 0
    folder = tree.folders(clips[0])[1]
    folder.rename(tmp_path / "away")
    code, out, _ = run("pack", work, "-q", "--jobs", 1, "--json")
    assert code == 0
    assert json.loads(out)["counts"]["refused"] == {"no_image": 3}
    shutil.move(tmp_path / "away", folder)
    code, out, _ = run("pack", work, "-q", "--jobs", 1, "--json", "--force")
    assert json.loads(out)["counts"]["crops"] == 18


def test_a_source_that_vanishes_altogether_is_named_and_the_work_folder_stays(run, prepare, tree, tmp_path):
    work = tmp_path / "work"
    assert prepare(work)[0] == 0
    before = contents(work)
    tree.root.rename(tmp_path / "away")
    code, _, told = run("index", tree.root, work)
    assert code == 2
    assert str(tree.root) in told
    code, _, told = run("pack", work, "-q", "--jobs", 1, "--force")
    assert code == 1
    assert "pack could use none of 36 pictures" in told
    assert contents(work) == before


def test_labels_that_vanish_while_they_are_read_are_refused_with_a_reason(tree, tmp_path, monkeypatch):
    from petmood.data.index import index
    from petmood.data.reading import read_piece

    clips = tree.add_many(6)

    def late(reading):
        (tree.folders(clips[2])[0] / f"{clips[2].name}.json").unlink(missing_ok=True)
        return read_piece(reading)

    monkeypatch.setattr("petmood.data.index.read_piece", late)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    workspace = Workspace.open(tmp_path / "work")
    assert workspace.mark("index")["counts"]["clips"] == 5
    rejects = workspace.read_rejects()
    assert set(rejects.filter(rejects["path"].str.contains(clips[2].name))["reason"]) <= {
        "unreadable_label",
        "no_label",
    }


# --- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_changes_no_decision(prepare, run, source, tmp_path):
    work = tmp_path / "work"
    for path in source.rglob("*"):
        os.utime(path, (2**32, 2**32))  # the year 2106
    assert prepare(work)[0] == 0
    made = contents(work)
    for path in [work, *work.rglob("*")]:
        os.utime(path, (0, 0))  # 1970: all results look older than their source
    code, out, _ = prepare(work)
    assert code == 0
    assert out.count("up to date, nothing to do") == 5
    assert contents(work) == made


# --- two at once ------------------------------------------------------------------------------------------------------


def test_a_second_command_is_refused_before_it_changes_anything(run, source, prepare, tmp_path):
    work = tmp_path / "work"
    assert prepare(work)[0] == 0
    before = contents(work)
    with owned(work, "petmood train", part="runs/a"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("petmood.lock._held", [])  # as another process sees it
        for words in (("index", source, work), ("pack", work, "--force"), ("split", work, "--seed", 5)):
            code, _, told = run(*words)
            assert code == 2
            assert "runs/a in work folder" in told
            assert "is in use by `petmood train` (process " in told
        assert run("runs", work)[0] == 0
    assert contents(work) == before


def test_two_runs_are_trained_side_by_side(run, tmp_path):
    work = make_workspace(tmp_path / "work").root
    network = ("--model", "test_efficientnet", "--pretrained", "none", "--image-size", 32, "--device", "cpu")
    with owned(work, "petmood train", part="runs/other"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("petmood.lock._held", [])
        words = ("train", work, "--recipe", "probe", "--no-doctor", "-q", *network)
        assert run(*words, "--name", "mine")[0] == 0
        code, _, told = run(*words, "--name", "other")
        assert code == 2
        assert "runs/other in work folder" in told
    assert read_json(work / "runs" / "mine" / "bundle.json")


def test_every_command_that_writes_into_a_work_folder_holds_it():
    folder = Path(petmood.cli.__file__).parent
    holding = {
        path.stem.replace("_", "-")
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"owned", "owned_run"}
    }
    assert petmood.cli.COMMANDS.keys() - READERS == holding & petmood.cli.COMMANDS.keys()


def test_an_interrupted_label_file_of_a_running_download_is_refused_and_read_later(run, tree, tmp_path):
    clip = tree.add(Clip(number=1))
    tree.add(Clip(number=2))
    label = tree.folders(clip)[0] / f"{clip.name}.json"
    whole = label.read_bytes()
    label.write_bytes(whole[: len(whole) // 2])
    work = tmp_path / "work"
    assert run("index", tree.root, work, "-q", "--jobs", 1)[0] == 0
    assert Workspace.open(work).mark("index")["counts"]["clips"] == 1
    label.write_bytes(whole)
    assert run("index", tree.root, work, "-q", "--jobs", 1)[0] == 0
    assert Workspace.open(work).mark("index")["counts"]["clips"] == 2
