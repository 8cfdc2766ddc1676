"""What all tests share. This file puts its folder on the import path, hence `from fixtures.trees import …` everywhere."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from fixtures.trees import Tree

# The same examples in every run, and no example is called slow because four sessions share two cores.
hypothesis.settings.register_profile("petmood", derandomize=True, deadline=None, database=None, max_examples=60)
hypothesis.settings.load_profile("petmood")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty data set below the test's folder; it grows with ``tree.add(Clip(...))``."""
    return Tree(tmp_path / "source")


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
