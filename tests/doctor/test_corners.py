from __future__ import annotations

import json

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.crops import CropStore, writing_part
from petmood.doctor import corners
from petmood.doctor.corners import check_corners, compared, marked, returning, rim, sampled, spots
from petmood.media import encode
from petmood.workspace import Workspace, write_table

NAMES = ("happy", "calm", "angry")


def noise(count=120, seed=0, side=corners.SIDE):
    """Grey pictures of soft blobs, no two alike."""
    generator = np.random.default_rng(seed)
    small = generator.uniform(30, 220, (count, 9, 9)).astype(np.float32)
    grown = np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in small])
    return (grown + generator.normal(0, 4, grown.shape)).clip(25, 235).astype(np.uint8)


def labels(count=120, classes=3):
    return np.arange(count) % classes


def triangle(pictures, rows, value, *, turn=0, side=10):
    row, column = np.indices((side, side))
    for number in rows:
        corner = np.rot90(pictures[number], turn)[:side, :side]
        corner[row + column < side] = value


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize(("value", "column"), [(0, 0), (255, 1)])
def test_a_black_or_white_corner_is_seen_in_any_corner(turn, value, column):
    pictures = noise(8)
    triangle(pictures, [3], value, turn=turn)
    found = marked(pictures)
    assert np.flatnonzero(found[:, column]).tolist() == [3]
    assert not found[:, 1 - column].any()


@pytest.mark.parametrize("turn", range(4))
def test_a_flat_border_is_seen_on_any_side(turn):
    pictures = noise(8)
    np.rot90(pictures[5], turn)[:3] = 128
    assert np.flatnonzero(marked(pictures)[:, 2]).tolist() == [5]


@given(st.integers(0, 500))
def test_pictures_without_black_or_white_corners_have_none(seed):
    assert not marked(noise(30, seed))[:, :2].any()


def test_a_patch_that_returns_in_one_place_is_a_mark_and_one_that_moves_is_not():
    pictures, moving = noise(60), noise(60)
    logo = np.random.default_rng(9).choice([20, 230], (6, 6)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    for number in range(0, 60, 3):
        pictures[number, -14:-2, -14:-2] = logo
        place = (number * 7) % 40
        moving[number, place : place + 12, -14:-2] = logo
    assert np.flatnonzero(returning(pictures)).tolist() == list(range(0, 60, 3))
    assert returning(moving).sum() < 5


def test_the_rim_is_the_outer_fifth():
    assert rim(10).sum() == 100 - 36
    assert not rim(10)[5, 5]


def test_corners_of_one_class_are_named_and_beyond_chance():
    pictures = noise()
    triangle(pictures, [number for number in range(120) if number % 3 == 2][::3], 0)
    black = compared(pictures, labels(), NAMES)[0]
    assert black.emotion == "angry"
    assert black.share == pytest.approx(14 / 40)
    assert black.elsewhere == 0
    assert black.alarming


def test_corners_of_all_classes_alike_do_not_alarm():
    pictures = noise()
    triangle(pictures, range(0, 120, 2), 0)
    assert not any(mark.alarming for mark in compared(pictures, labels(), NAMES))


def test_few_pictures_with_many_corners_by_luck_do_not_alarm():
    pictures = noise(18)
    triangle(pictures, [2, 5], 0)
    assert not compared(pictures, labels(18), NAMES)[0].alarming


@pytest.mark.parametrize("seed", range(3))
def test_no_spot_stands_out_where_there_is_none(seed):
    assert not any(spot.alarming for spot in spots(noise(seed=seed), labels(), NAMES))


def test_a_faint_mark_in_one_class_is_found_with_its_place():
    pictures = noise()
    for number in range(1, 120, 3):
        pictures[number, -8:, :12] = 130 + (number % 5)
    brightness, steady = spots(pictures, labels(), NAMES)
    assert steady.alarming
    assert (steady.emotion, steady.place) == ("calm", "bottom left")
    assert brightness.how == "brightness"


def test_a_class_filmed_in_a_dark_room_is_no_mark():
    pictures = noise()
    pictures[labels() == 2] //= 2
    assert not spots(pictures, labels(), NAMES)[0].alarming


def test_the_sample_holds_one_crop_a_group_and_class_and_leaves_small_classes_out():
    table = pl.DataFrame(
        {"group": [f"g{number // 3}" for number in range(60)], "emotion": ["happy"] * 45 + ["calm"] * 15}
    )
    found = sampled(table)
    assert set(found["emotion"]) == {"happy"}
    assert found["group"].n_unique() == len(found) == 15


def test_a_group_of_two_emotions_gives_a_crop_for_each():
    table = pl.DataFrame({"group": [f"g{number // 2}" for number in range(24)], "emotion": ["happy", "calm"] * 12})
    assert len(sampled(table)) == 24


# --- in a work folder -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Crops that look the same for all emotions."""
    root = tmp_path_factory.mktemp("corners")
    drawn = make_workspace(root / "drawn", clips_per_class=30, frames_per_clip=1)
    pictures = noise(90)
    return repacked(drawn, root / "work", lambda _pixels, _emotion, number: pictures[number][..., None].repeat(3, 2))


def repacked(clean, root, change):
    """A copy whose crops are changed: change(pixels, emotion, number) → pixels."""
    workspace = Workspace.create(root)
    workspace.crops.mkdir()
    store, frames = CropStore(clean.crops), clean.read_frames()
    rows = store.table.to_dicts()
    with writing_part(workspace.crops / "part-00000.tar") as part:
        for number, row in enumerate(rows):
            pixels = change(store.pixels(number).copy(), frames["emotion"][number], number)
            jpeg = encode(pixels, 90)
            row.update(offset=part.add(f"{number}.jpg", jpeg), size=len(jpeg))
    write_table(pl.DataFrame(rows, schema=store.table.schema), workspace.crops / "crops.parquet")
    write_table(frames, workspace.frames)
    return workspace


def turned(pixels, emotion, number):
    """Every second angry picture is a copy turned by 15 degrees."""
    if emotion != "angry" or number % 2:
        return pixels
    height, width = pixels.shape[:2]
    return cv2.warpAffine(pixels, cv2.getRotationMatrix2D((width / 2, height / 2), 15, 1), (width, height))


def stamped(pixels, emotion, number):
    if emotion == "calm":
        cv2.rectangle(pixels, (0, 0), (pixels.shape[1] // 5, pixels.shape[0] // 8), (200, 30, 30), -1)
    return pixels


def test_clean_crops_are_ok(clean):
    check = check_corners(clean)
    assert check.verdict == "ok", check
    assert "a sample of 90 crops" in check.evidence


def test_turned_copies_in_one_class_are_caught(clean, tmp_path):
    check = check_corners(repacked(clean, tmp_path / "turned", turned))
    assert check.verdict == "warn"
    assert "black corners in 50% of angry" in check.evidence
    json.dumps(check.numbers)


def test_a_stamp_on_one_class_is_caught_with_its_place(clean, tmp_path):
    check = check_corners(repacked(clean, tmp_path / "stamped", stamped))
    assert check.verdict == "warn"
    assert "top left, pictures of calm hardly vary" in check.evidence


def test_too_few_groups_and_no_crops_are_skipped(tmp_path):
    small = make_workspace(tmp_path / "small", clips_per_class=4)
    assert check_corners(small).verdict == "skipped"
    assert check_corners(Workspace.create(tmp_path / "empty")).verdict == "skipped"
