"""Photos without a box get that of their animal, or are refused; what has a box is left alone."""

from __future__ import annotations

import cv2
import polars as pl
import pytest

from fixtures.detectors import CAT, DOG, guess, plain, write_yolox
from fixtures.trees import Clip
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import pack
from petmood.detect.cache import sha256_of
from petmood.errors import UserError
from petmood.workspace import Workspace

#: In a photo of 128 × 128 pixels, twice the square of the detector.
DOG_BOX, CAT_BOX = [16, 16, 32, 32], [80, 16, 32, 48]


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """The surer one is a dog; photos without blue show nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_yolox(tmp_path / "y.onnx", guess(9, 8, 8, 16, 16, DOG, 0.75), guess(30, 40, 8, 16, 24, CAT, 0.5))
    monkeypatch.setenv("PETMOOD_DETECTOR", str(path))
    return path


@pytest.fixture
def source(tmp_path):
    return tmp_path / "source"


def photo(source, name, *, animal=True, size=128):
    path = source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), plain(size, size, (0, 0, 255) if animal else (0, 255, 0))[..., ::-1])
    return path


def indexed(source, work, *, jobs=1, **settings):
    index(source, work, IndexSettings(**settings), jobs=jobs, quiet=True)
    return Workspace.open(work)


def boxes(workspace):
    frames = workspace.read_frames().sort("path")
    return dict(zip(frames["frame_id"], frames.select("x", "y", "width", "height").to_numpy().tolist(), strict=True))


def test_photos_of_class_folders_are_whole_unless_the_animal_is_asked_for(source, tmp_path):
    photo(source, "happy/a.png")
    assert boxes(indexed(source, tmp_path / "whole")) == {"happy/a.png": [0, 0, 128, 128]}
    assert boxes(indexed(source, tmp_path / "boxed", detect=True)) == {"happy/a.png": DOG_BOX}


def test_a_photo_without_an_animal_is_refused_with_its_reason(source, tmp_path):
    photo(source, "happy/a.png")
    photo(source, "happy/b.png", animal=False)
    workspace = indexed(source, tmp_path / "work", detect=True)
    assert list(boxes(workspace)) == ["happy/a.png"]
    (row,) = workspace.read_rejects().to_dicts()
    assert (row["frame_id"], row["reason"], row["stage"]) == ("happy/b.png", "no_animal", "index")
    assert workspace.mark("index")["counts"]["refused"] == {"no_animal": 1}


def test_the_species_that_is_told_decides_which_animal_is_meant(source, tmp_path):
    for name in ("dog/happy/a.png", "cat/happy/a.png", "happy/a.png"):
        photo(source, name)
    workspace = indexed(source, tmp_path / "work", detect=True)
    assert boxes(workspace) == {"cat/happy/a.png": CAT_BOX, "dog/happy/a.png": DOG_BOX, "happy/a.png": DOG_BOX}
    # What the detector takes it for is not what the source says.
    assert workspace.read_frames().filter(pl.col("frame_id") == "happy/a.png")["species"].to_list() == [None]


def test_an_animal_taken_for_the_other_species_is_better_than_none(source, tmp_path, monkeypatch):
    photo(source, "cat/happy/a.png")
    dog = write_yolox(tmp_path / "dog.onnx", guess(9, 8, 8, 16, 16, DOG))
    monkeypatch.setenv("PETMOOD_DETECTOR", str(dog))
    assert boxes(indexed(source, tmp_path / "work", detect=True)) == {"cat/happy/a.png": DOG_BOX}


def test_boxes_of_a_table_stay_and_whole_pictures_are_looked_at(source, tmp_path):
    photo(source, "a.png")
    photo(source, "b.png")
    photo(source, "c.png", animal=False)
    rows = ("a.png,5,6,50,60,happy", "b.png,0,0,128,128,happy", "c.png,0,0,127,128,calm")
    (source / "table.csv").write_text("\n".join(("path,x,y,width,height,emotion", *rows)))
    workspace = indexed(source / "table.csv", tmp_path / "work", detect=True)
    assert list(boxes(workspace).values()) == [[5, 6, 50, 60], DOG_BOX, [0, 0, 127, 128]]


def test_photos_that_cannot_be_read_are_refused_for_what_is_wrong_with_them(source, tmp_path):
    photo(source, "happy/a.png")
    whole = photo(source, "happy/b.png", size=256).read_bytes()
    (source / "happy" / "b.png").write_bytes(whole[: len(whole) // 2])
    workspace = indexed(source, tmp_path / "work", detect=True)
    assert workspace.read_rejects()["reason"].to_list() == ["truncated_image"]


def test_one_process_and_two_find_the_same(source, tmp_path):
    for number in range(600):
        photo(source, f"happy/{number:03d}.png", animal=number % 3 > 0, size=16)
    one = indexed(source, tmp_path / "one", detect=True)
    two = indexed(source, tmp_path / "two", detect=True, jobs=2)
    assert one.read_frames().equals(two.read_frames())
    assert one.read_rejects().equals(two.read_rejects())
    assert len(one.read_rejects()) == 200


def test_other_weights_look_again_and_the_same_do_not(source, tmp_path, monkeypatch):
    photo(source, "happy/a.png")
    settings = IndexSettings(detect=True)
    index(source, tmp_path / "work", settings, jobs=1, quiet=True)
    assert index(source, tmp_path / "work", settings, jobs=1, quiet=True).skipped
    other = write_yolox(tmp_path / "other.onnx", guess(9, 0, 0, 32, 32, DOG))
    monkeypatch.setenv("PETMOOD_DETECTOR", str(other))
    workspace = indexed(source, tmp_path / "work", detect=True)
    assert boxes(workspace) == {"happy/a.png": [0, 0, 64, 64]}
    told = workspace.mark("index")["settings"]["detector"]
    assert told == {"file": "other.onnx", "sha256": sha256_of(other)}


def test_without_weights_nothing_is_begun(source, tmp_path, monkeypatch):
    photo(source, "happy/a.png")
    monkeypatch.delenv("PETMOOD_DETECTOR")
    with pytest.raises(UserError, match="no weights of a detector") as caught:
        index(source, tmp_path / "work", IndexSettings(detect=True), jobs=1, quiet=True)
    assert "petmood detector fetch" in caught.value.hint
    assert not (tmp_path / "work").exists()


def test_a_source_whose_labels_have_boxes_is_not_looked_at(tree, tmp_path):
    tree.add(Clip())
    with pytest.raises(UserError, match="detect is for photos without a box"):
        index(tree.root, tmp_path / "work", IndexSettings(detect=True), jobs=1, quiet=True)


def test_the_command_takes_the_option_and_crops_hold_the_animal(source, tmp_path, run):
    photo(source, "happy/a.png")
    work = tmp_path / "work"
    code, _, err = run("index", source, work, "--detect", "--jobs", "1", "-q")
    assert code == 0, err
    curate(work, CurateSettings(min_box=8))
    pack(work, jobs=1, quiet=True)
    crops = pl.read_parquet(work / "crops" / "crops.parquet")
    assert crops["width"].to_list() == [40]  # 32 pixels, and a tenth on each side
