"""Indexing that fails: it says why, makes no work folder, and leaves an earlier one as it was."""

from __future__ import annotations

import os
import shutil

import polars as pl
import pytest

from fixtures.trees import Clip, jpeg
from petmood.data.index import IndexSettings, index
from petmood.errors import RunError, UserError
from petmood.workspace import Workspace


def run(tree, work, **settings):
    return index(tree.root, work, IndexSettings(**settings), jobs=1, quiet=True)


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


def test_an_index_that_keeps_nothing_fails_with_reasons_and_examples_and_leaves_the_earlier_one(tree, work):
    tree.add(Clip(frames=2))
    run(tree, work)
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    with pytest.raises(RunError) as caught:
        run(tree, work, species="dog")
    assert caught.value.message.startswith("index kept none of 2 rows; refused: other_species 2 (such as ")
    assert caught.value.message.endswith("/frame_0_timestamp_0.jpg: cat).")
    assert caught.value.exit_code == 1
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before


def test_owner_labels_are_refused_where_the_source_has_none(tmp_path, work):
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "a.jpg").write_bytes(jpeg())
    with pytest.raises(UserError, match="label 'agree' needs owner labels"):
        index(tmp_path, work, IndexSettings(label="agree"), jobs=1, quiet=True)
    assert not work.exists()


def test_a_bad_source_or_merge_makes_no_work_folder(tree, tmp_path, work):
    tree.add()
    with pytest.raises(UserError):
        run(tree, work, merge=("공포",))
    with pytest.raises(UserError):
        index(tmp_path / "nowhere", work, jobs=1, quiet=True)
    assert not work.exists()


def test_class_folders_are_indexed_with_the_species_unknown(tmp_path, work):
    for name in ("happy/a.jpg", "happy/b.jpg", "공포/c.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg())
    counts = index(tmp_path / "photos", work, jobs=1, quiet=True).counts
    assert counts["species"] == {"unknown": {"happy": {"frames": 2, "clips": 2}, "fear": {"frames": 1, "clips": 1}}}
    assert Workspace.open(work).mark("index")["settings"]["kind"] == "folders"


def test_a_full_disk_leaves_no_half_written_table(tree, small_disk):
    tree.add_many(4)
    work = small_disk / "work"
    run(tree, work)
    before = {path.name: path.read_bytes() for path in work.iterdir() if path.is_file()}
    tree.add(Clip(number=77))
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(os.urandom(free))
    with pytest.raises(OSError, match="No space left"):
        run(tree, work)
    after = {path.name: path.read_bytes() for path in work.iterdir() if path.is_file()}
    assert after == before
    (small_disk / "ballast").unlink()
    assert run(tree, work).counts["clips"] == 5
    assert pl.read_parquet(work / "frames.parquet").height == 11
