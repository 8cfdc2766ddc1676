from __future__ import annotations

import polars as pl
import pytest

from fixtures.workspaces import make_workspace
from petmood.data.tables import add_rejects, among, numbered
from petmood.errors import UserError
from petmood.schemas import REJECT_SCHEMA


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "work")


def rows(stage, *names):
    return pl.DataFrame({name: [stage] * len(names) if name == "stage" else list(names) for name in REJECT_SCHEMA})


def test_rejects_of_a_stage_take_the_place_of_its_own_and_of_later_ones(workspace):
    before = [rows("index", "a", "b"), rows("curate", "c"), rows("pack", "d"), rows("screen", "e")]
    pl.concat(before).write_parquet(workspace.rejects)
    add_rejects(workspace, rows("pack", "new").lazy(), after="curate")
    assert pl.read_parquet(workspace.rejects)["frame_id"].to_list() == ["a", "b", "c", "new"]
    add_rejects(workspace, rows("screen", "last").lazy(), after="screen")
    assert pl.read_parquet(workspace.rejects)["frame_id"].to_list() == ["a", "b", "c", "new", "last"]


def test_rejects_that_cannot_be_read_are_told(workspace):
    workspace.rejects.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"rejects\.parquet.* is damaged"):
        add_rejects(workspace, rows("pack", "new").lazy(), after="curate")


def test_frames_are_marked_row_by_row_in_the_order_of_the_table(workspace):
    ids = workspace.read_frames()["frame_id"]
    some = ids.gather_every(3).reverse()
    found = among(workspace, some)
    assert found.name == "keep"
    assert found.to_list() == [name in set(some) for name in ids]
    assert not among(workspace, ids.head(0)).any()


def test_repeated_texts_become_equal_numbers():
    table = pl.DataFrame({"clip": ["b", "a", "b"]}).with_columns(numbered("clip"))
    assert table["clip"].dtype.is_integer()
    assert table["clip"].rank("dense").to_list() in ([1, 2, 1], [2, 1, 2])
