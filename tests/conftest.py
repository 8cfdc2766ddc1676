"""What all tests share. This folder is on the import path, because this file stands here: ``import fixtures``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from fixtures.trees import Tree
from petmood import cli

# Before torch is loaded: its spinning threads slow each other down twentyfold when two tests share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background jobs ignore Ctrl-C, and so would everything that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, and none is called slow because other tests share the cores.
hypothesis.settings.register_profile("petmood", derandomize=True, deadline=None, database=None, max_examples=60)
hypothesis.settings.load_profile("petmood")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty data set below the test's folder; it grows with ``tree.add(Clip(...))``."""
    return Tree(tmp_path / "source")


@pytest.fixture
def run(capsys):
    """Runs a command; returns exit code, standard output and standard error. No error comes as a traceback."""

    def call(*words, debug=False):
        code = cli.run([str(word) for word in words], debug=debug)
        told = capsys.readouterr()
        if not debug:
            assert "Traceback" not in told.err
            assert "Traceback" not in told.out
        return code, told.out, told.err

    return call


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 256 KiB of its own; skips where mounting one is not permitted."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)
