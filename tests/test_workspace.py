from __future__ import annotations

import errno
import json
import os
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.errors import UserError
from petmood.workspace import FORMAT, ORDER, Workspace, read_json, read_table, replacing, sweep, write_json, write_table

TABLE = pl.DataFrame({"a": [1, 2, 3], "b": ["가", "나", None]})


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "work")


def finish_all(workspace):
    for stage in ORDER:
        workspace.finish(stage, made_from=f"from-{stage}", settings={}, counts={"frames": 3})


# --- opening ----------------------------------------------------------------------------------------------------------


def test_create_makes_the_folder_and_its_parents_with_a_mark(tmp_path):
    root = tmp_path / "a" / "b"
    Workspace.create(root)
    assert [path.name for path in root.iterdir()] == ["petmood.json"]
    assert read_json(root / "petmood.json")["format"] == FORMAT


def test_create_opens_a_workspace_that_is_there(workspace):
    finish_all(workspace)
    assert Workspace.create(workspace.root).mark("split")["made_from"] == "from-split"


def test_create_takes_an_empty_folder_and_one_whose_making_was_killed(tmp_path):
    (tmp_path / ".petmood.json.123.tmp").write_text("{")
    Workspace.create(tmp_path)
    assert (tmp_path / "petmood.json").is_file()


def test_create_refuses_a_folder_with_other_things_and_leaves_it_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(UserError, match="holds something else than a petmood workspace"):
        Workspace.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_create_refuses_a_file(tmp_path):
    path = tmp_path / "work"
    path.write_text("")
    with pytest.raises(UserError, match="holds something else"):
        Workspace.create(path)


def test_open_refuses_what_is_no_workspace_and_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"is not a petmood workspace \(petmood.json is missing\)") as caught:
        Workspace.open(tmp_path)
    assert caught.value.hint == f"make one with `petmood prepare SOURCE {tmp_path}`"


@pytest.mark.parametrize("way", [Workspace.open, Workspace.create])
def test_a_workspace_of_another_format_is_refused_by_number(workspace, way):
    write_json(workspace.root / "petmood.json", {"format": FORMAT + 1})
    with pytest.raises(UserError, match=rf"has format {FORMAT + 1}; this petmood \(.*\) reads format {FORMAT}"):
        way(workspace.root)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b"null"])
def test_a_damaged_mark_is_named(workspace, content):
    (workspace.root / "index.json").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{workspace.root / 'index.json'} is damaged")):
        workspace.require("index")


# --- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ORDER)
def test_a_missing_stage_is_named_with_its_command(workspace, stage):
    with pytest.raises(UserError, match=f"has no completed stage `{stage}`") as caught:
        workspace.require(stage)
    source = "SOURCE " if stage == "index" else ""
    assert f"`petmood {stage} {source}{workspace.root}`" in caught.value.hint


def test_a_stage_is_current_only_for_what_it_was_made_from(workspace):
    assert not workspace.is_current("index", "from-index")
    finish_all(workspace)
    assert workspace.is_current("index", "from-index")
    assert not workspace.is_current("index", "from-elsewhere")


def test_a_mark_says_settings_versions_and_counts(workspace):
    workspace.finish("index", made_from="x", settings={"box": "drop"}, counts={"kept": 3})
    mark = workspace.require("index")
    assert mark["stage"] == "index"
    assert mark["format"] == FORMAT
    assert mark["settings"] == {"box": "drop"}
    assert mark["counts"] == {"kept": 3}
    assert {"petmood", "polars", "simplejpeg"} <= mark["versions"].keys()


@pytest.mark.parametrize("position", range(len(ORDER)))
def test_beginning_a_stage_takes_back_its_mark_and_all_later_ones(workspace, position):
    finish_all(workspace)
    workspace.begin(ORDER[position])
    assert [stage for stage in ORDER if workspace.mark(stage)] == list(ORDER[:position])


def test_beginning_a_stage_removes_what_killed_runs_left_half_written(workspace):
    litter = workspace.root / ".frames.parquet.4711.tmp"
    litter.write_bytes(b"half")
    workspace.begin("index")
    assert not litter.exists()


def test_sweep_removes_half_written_files_only(tmp_path):
    for name in ("a.tmp", ".a", ".a.1.tmp"):
        (tmp_path / name).write_text("")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a", "a.tmp"]


# --- files ------------------------------------------------------------------------------------------------------------


@given(old=st.none() | st.binary(max_size=99), new=st.binary(max_size=99), fails=st.booleans())
def test_replacing_leaves_the_new_file_or_exactly_the_old_one(tmp_path_factory, old, new, fails):
    folder = tmp_path_factory.mktemp("replacing")
    path = folder / "file"
    if old is not None:
        path.write_bytes(old)

    def write():
        with replacing(path) as temporary:
            temporary.write_bytes(new)
            assert (path.read_bytes() if path.exists() else None) == old
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            write()
    else:
        write()
    wanted = old if fails else new
    assert [(entry.name, entry.read_bytes()) for entry in folder.iterdir()] == (
        [("file", wanted)] if wanted is not None else []
    )


def test_tables_come_back_as_they_were_written(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(TABLE)
    assert read_table(tmp_path / "t.parquet", tmp_path / "t.parquet").equals(pl.concat([TABLE, TABLE]))


def test_brackets_and_stars_in_a_folder_name_are_only_letters(tmp_path):
    folder = tmp_path / "[원천] a*b?"
    folder.mkdir()
    write_table(TABLE, folder / "t.parquet")
    assert read_table(folder / "t.parquet").equals(TABLE)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"frames\.parquet is missing"):
        Workspace(tmp_path).read_frames()


@pytest.mark.parametrize("damage", [b"", b"not parquet at all", b"PAR1", "half"])
def test_a_damaged_table_is_named(tmp_path, damage):
    path = tmp_path / "rejects.parquet"
    write_table(TABLE, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else damage)
    with pytest.raises(UserError, match=r"rejects\.parquet is damaged: "):
        Workspace(tmp_path).read_rejects()


def test_json_is_readable_korean(tmp_path):
    write_json(tmp_path / "a.json", {"merge": ["공포=불안/슬픔"]})
    assert "공포" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"merge": ["공포=불안/슬픔"]}


# --- a full disk ------------------------------------------------------------------------------------------------------


def big_table():
    return pl.DataFrame({"a": [os.urandom(40).hex() for _ in range(10_000)]})


def sink(table, path):
    with replacing(path) as temporary:
        table.lazy().sink_csv(temporary)


def text(table, path):
    write_json(path, {"a": table["a"].to_list()})


@pytest.mark.parametrize("write", [write_table, sink, text])
def test_a_full_disk_is_an_operating_system_error_and_the_old_file_stays(small_disk, write):
    path = small_disk / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as caught:
        write(big_table(), path)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename is not None
    assert [entry.name for entry in small_disk.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_disk_that_fills_only_while_flushing_leaves_the_old_file(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "t.parquet"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_table(TABLE, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("t.parquet", b"old")]


def test_an_error_of_polars_that_is_no_disk_error_stays_what_it_is(tmp_path):
    with pytest.raises(pl.exceptions.PolarsError), replacing(tmp_path / "a") as temporary:
        pl.LazyFrame({"a": [1]}).select("b").sink_parquet(temporary)
