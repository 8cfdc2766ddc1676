from __future__ import annotations

import unicodedata
from pathlib import Path

import polars as pl
import pytest

from fixtures.trees import SIZE, jpeg
from petmood.errors import UserError
from petmood.sources import open_source
from petmood.sources.rows import RAW_SCHEMA


@pytest.fixture
def photo(tmp_path):
    """Writes a photo below the source; returns the source."""

    def write(name, data=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg() if data is None else data)
        return tmp_path

    return write


def rows_of(root, **named):
    return pl.concat([task.read() for task in open_source(root, **named).tasks])


def test_each_photo_is_a_frame_whose_box_is_the_whole_photo(photo):
    root = photo("happy/a.jpg")
    rows = rows_of(root)
    assert rows.schema == dict(RAW_SCHEMA)
    row = {name: value for name, value in rows.row(0, named=True).items() if value is not None}
    assert row == {
        "frame_id": "happy/a.jpg", "path": str(root / "happy/a.jpg"), "clip": "happy/a", "group": "happy/a",
        "emotion_text": "happy", "x": 0, "y": 0, "width": SIZE[0], "height": SIZE[1], "image_width": SIZE[0],
        "image_height": SIZE[1],
    }  # fmt: skip


def test_the_innermost_folder_that_names_an_emotion_counts_and_others_tell_species_and_split(photo):
    photo("train/dog/happy/not this/angry/a.jpg")
    photo("val/고양이/Relaxed/b.jpg")
    rows = rows_of(photo("test/Dogs/공포/c.jpg"))
    assert rows.select("official_split", "species", "emotion_text").rows() == [
        ("test", "dog", "공포"),
        ("train", "dog", "angry"),
        ("val", "cat", "Relaxed"),
    ]


def test_photos_in_a_folder_below_the_class_are_one_clip_and_loose_ones_their_own(photo):
    for name in ("fear/walk 3/a.jpg", "fear/walk 3/b.jpg", "fear/a.jpg", "fear/b.jpg"):
        root = photo(name)
    assert set(rows_of(root)["clip"]) == {"fear/walk 3", "fear/a", "fear/b"}


def test_folder_names_are_compared_composed(photo):
    root = photo(unicodedata.normalize("NFD", "행복/개/사진.jpg"))
    row = rows_of(root).row(0, named=True)
    assert (row["emotion_text"], row["species"], row["frame_id"]) == ("행복", "dog", "행복/개/사진.jpg")
    assert Path(row["path"]).read_bytes() == jpeg()


def test_a_word_that_is_merged_names_a_class_too(photo):
    root = photo("surprised/a.jpg")
    with pytest.raises(UserError, match="no folder is named after an emotion"):
        open_source(root)
    assert rows_of(root, named=["surprised"])["emotion_text"].to_list() == ["surprised"]


def test_photos_outside_class_folders_keep_their_folder_as_the_unknown_word(photo):
    photo("happy/a.jpg")
    photo("misc/b.jpg")
    rows = rows_of(photo("c.jpg"))
    assert dict(rows.select("frame_id", "emotion_text").rows()) == {
        "c.jpg": "",
        "happy/a.jpg": "happy",
        "misc/b.jpg": "misc",
    }


def test_broken_photos_are_refused_and_stop_nothing(photo):
    photo("happy/a.jpg")
    photo("happy/b.jpg", b"")
    rows = rows_of(photo("happy/c.png", b"I am text"))
    assert rows["refused"].to_list() == [None, "empty_image", "unreadable_image"]
    assert rows["detail"].null_count() == 1


def test_a_photo_that_vanishes_meanwhile_is_refused(photo):
    root = photo("happy/a.jpg")
    tasks = open_source(root).tasks
    (root / "happy/a.jpg").unlink()
    assert tasks[0].read()["refused"].to_list() == ["no_image"]


def test_other_files_are_no_photos(photo):
    photo("happy/notes.txt")
    assert len(rows_of(photo("happy/a.jpeg"))) == 1


def test_pictures_with_clip_names_below_class_folders_are_found(photo):
    root = photo("happy/cat-arch-000001/frame_0_timestamp_0.jpg")
    assert rows_of(root)["clip"].to_list() == ["happy/cat-arch-000001"]
