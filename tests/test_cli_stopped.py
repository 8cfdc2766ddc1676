"""The data commands when they are stopped, killed or left: no process stays, nothing is lost, one clear paragraph."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from fixtures.trees import Clip, Tree, jpeg
from petmood.workspace import Workspace


@pytest.fixture
def work(tree, tmp_path):
    tree.add_many(24)
    return tmp_path / "work"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def start(*words):
    """`python -m petmood …` as the leader of its own process group, as a terminal starts it."""
    command = [sys.executable, "-m", "petmood", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(folder, pattern, process):
    """Until a file appears."""
    for _ in range(600):
        if list(folder.glob(pattern)):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{pattern} did not appear in {folder}")


def gone(group):
    """Whether every process of a group ends within some seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_with_one_paragraph_and_the_same_command_goes_on(run, tree, tmp_path):
    slow = tmp_path / "slow.png"  # called .jpg below: found out by its bytes, and decoded in tens of milliseconds
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)).save(slow)
    for number in range(256):
        tree.add(Clip(number=number, frames=1))
    for number in range(256, 276):
        clip = tree.add(Clip(number=number, frames=12, size=(1500, 1500)), pictures={})
        for frame in range(12):
            os.link(slow, tree.folders(clip)[1] / clip.picture(frame))
    work = tmp_path / "work"
    words = ("index", tree.root, work, "--jobs", 2, "--pictures", "now")
    process = start(*words)
    wait_for(work, ".index-*/000000.rejects", process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.endswith("petmood: stopped; what was finished is kept.\nhint: the same command goes on from there\n")
    assert "Traceback" not in err
    assert sorted(contents(work)) == ["petmood.json"]
    assert gone(process.pid)
    slow.write_bytes(jpeg((1500, 1500)))
    assert (tree.folders(clip)[1] / clip.picture(0)).stat().st_nlink == 241
    code, out, _ = run(*words, "--json", "-q")
    assert code == 0
    assert json.loads(out)["counts"]["kept"] == 256 + 240


@pytest.mark.slow
def test_packing_that_was_killed_goes_on_and_gives_the_same_bytes(run, tmp_path):
    tree = Tree(tmp_path / "source")
    clips = [tree.add(Clip(number=number, frames=100)) for number in range(6)]
    works = [tmp_path / "killed", tmp_path / "at once"]
    for work in works:
        run("index", tree.root, work, "-q", "--jobs", 1)
        run("curate", work, "--per-clip", 0)
    assert run("pack", works[1], "-q", "--jobs", 1)[0] == 0
    blocked = tree.folders(clips[-1])[1] / clips[-1].picture(60)
    whole, written = blocked.read_bytes(), blocked.stat().st_mtime_ns
    blocked.unlink()
    os.mkfifo(blocked)
    process = start("pack", works[0], "--jobs", 1)
    wait_for(works[0], ".pack-*/part-00000.rejects", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not (works[0] / "crops").exists()
    assert "pack.json" not in contents(works[0])
    blocked.unlink()
    blocked.write_bytes(whole)
    os.utime(blocked, ns=(written, written))  # crops.parquet holds a stamp of it
    (part,) = works[0].glob(".pack-*/part-00000.tar")
    made = part.stat().st_ino
    assert run("pack", works[0], "-q", "--jobs", 1)[0] == 0
    assert contents(works[0] / "crops") == contents(works[1] / "crops")
    assert (works[0] / "crops/part-00000.tar").stat().st_ino == made  # taken over, not made again
    assert sorted(contents(works[0])) == sorted(contents(works[1]))


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error_message(tree, work):
    process = start("index", tree.root, work, "--jobs", 1, "-q")
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode in {0, 1}
    assert Workspace.open(work).mark("index")["counts"]["kept"] == 48
