from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.data.index import index
from petmood.doctor.boxes import READINGS, boxes_of, check_boxes, cut_share, reach, readings
from petmood.schemas import REJECT_SCHEMA
from petmood.synth import SynthSettings, synth
from petmood.workspace import Workspace, write_table

PICTURE = (1280, 720)


def boxes(count=300, seed=0, picture=PICTURE):
    """Boxes of animals that lie or stand anywhere in a picture, all within it."""
    generator = np.random.default_rng(seed)
    width = generator.integers(picture[0] // 8, picture[0] // 2, count)
    height = generator.integers(picture[1] // 5, picture[1] // 2, count)
    x = (generator.uniform(size=count) * (picture[0] - width)).astype(np.int64)
    y = (generator.uniform(size=count) * (picture[1] - height)).astype(np.int64)
    table = {"x": x, "y": y, "width": width, "height": height}
    return pl.DataFrame({**table, "image_width": picture[0], "image_height": picture[1]})


#: How labels go wrong, and the reading that mends it.
WRONG = {
    "x and y, and width and height, are exchanged": {"x": "y", "y": "x", "width": "height", "height": "width"},
    "width and height are the right and bottom edges": {
        "width": pl.col("x") + pl.col("width"),
        "height": pl.col("y") + pl.col("height"),
    },
    "x and y are the centre": {"x": pl.col("x") + pl.col("width") // 2, "y": pl.col("y") + pl.col("height") // 2},
}


def damaged(table, what):
    return table.with_columns(
        (pl.col(value) if isinstance(value, str) else value).alias(name) for name, value in WRONG[what].items()
    )


@given(st.integers(0, 1000), st.sampled_from([(1280, 720), (720, 1280), (1920, 1080), (640, 480)]))
def test_sound_boxes_fit_as_they_are(seed, picture):
    given_, *_ = readings(boxes(seed=seed, picture=picture))
    assert given_.what == ""
    assert given_.fits == 1


@pytest.mark.parametrize("what", WRONG)
@given(seed=st.integers(0, 1000))
def test_the_right_reading_of_wrong_boxes_fits_best(what, seed):
    given_, best, *_ = readings(damaged(boxes(seed=seed), what))
    assert given_.fits < 0.97
    assert best.what == what
    assert best.fits == 1


def test_every_reading_says_what_to_do():
    assert all(remedy for _, remedy in READINGS.values())


@given(st.integers(0, 1000), st.floats(0.2, 0.9))
def test_reach_shrinks_with_the_boxes(seed, scale):
    table = boxes(seed=seed)
    smaller = table.with_columns((pl.col(name) * scale).alias(name) for name in ("x", "y", "width", "height"))
    assert reach(smaller) == pytest.approx([scale * end for end in reach(table)])


def test_cut_share_counts_boxes_that_end_at_the_right_or_bottom_edge_alone():
    table = pl.DataFrame({"x": [0, 30, 0, 10], "y": [0, 0, 30, 10], "width": [100, 70, 100, 20]})
    table = table.with_columns(height=pl.Series([100, 100, 70, 20]), image_width=100, image_height=100)
    assert cut_share(table) == 0.5


# --- in a work folder -------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "work", clips_per_class=6, frames_per_clip=5)


def with_boxes(workspace, table):
    frames = workspace.read_frames()
    columns = table.head(len(frames)).cast(pl.Int32)
    write_table(frames.with_columns(columns), workspace.frames)
    return workspace


def test_sound_boxes_are_ok(workspace):
    check = check_boxes(with_boxes(workspace, boxes()))
    assert check.verdict == "ok"
    assert "100.0% of 90 different boxes" in check.evidence


def test_whole_pictures_are_no_boxes_to_judge(workspace):
    table = boxes().with_columns(x=0, y=0, image_width=pl.int_range(pl.len()) + 50)
    check = check_boxes(with_boxes(workspace, table.with_columns(width="image_width", height="image_height")))
    assert (check.verdict, check.evidence) == ("ok", "all 90 boxes are whole pictures.")


def test_boxes_made_for_smaller_pictures_fail(workspace):
    smaller = boxes().with_columns(pl.col(name) // 2 for name in ("x", "y", "width", "height"))
    check = check_boxes(with_boxes(workspace, smaller))
    assert check.verdict == "fail"
    assert "made for smaller pictures" in check.evidence
    assert "multiply the boxes" in check.remedy


def test_boxes_made_for_larger_pictures_fail(workspace):
    larger = boxes().with_columns(pl.col(name) * 3 // 2 for name in ("x", "y", "width", "height"))
    fits = (pl.col("x") + pl.col("width") <= PICTURE[0]) & (pl.col("y") + pl.col("height") <= PICTURE[1])
    frames = workspace.read_frames()
    good = larger.filter(fits)
    write_table(frames.head(len(good)).with_columns(good.head(len(frames)).cast(pl.Int32)), workspace.frames)
    told = pl.format("x,y,width,height {},{},{},{} in {}×{}", *larger.columns)
    rejects = larger.filter(~fits).select(
        **{name: pl.lit(None, kind) for name, kind in REJECT_SCHEMA.items() if name not in {"reason", "detail"}},
        reason=pl.lit("box_outside_image"),
        detail=told,
    )
    write_table(rejects, workspace.rejects)
    check = check_boxes(workspace)
    assert check.verdict == "fail"
    assert "made for larger pictures" in check.evidence


def test_few_boxes_are_not_judged(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=2, frames_per_clip=2)
    assert check_boxes(with_boxes(workspace, boxes())).verdict == "skipped"


def test_many_boxes_cut_at_one_edge_are_worth_a_look(workspace):
    cut = boxes().with_columns(x=pl.col("image_width") - pl.col("width"))
    check = check_boxes(with_boxes(workspace, cut))
    assert check.verdict == "warn"
    assert "right or bottom edge" in check.evidence


# --- from labels ------------------------------------------------------------------------------------------------------


def relabelled(source, change):
    """Change every box in the label files."""
    for path in source.rglob("*.json"):
        content = json.loads(path.read_bytes().decode("utf-8-sig").rstrip("\0"))
        path.write_text(json.dumps(_changed(content, change), ensure_ascii=False), encoding="utf-8")


def _changed(value, change):
    if isinstance(value, dict):
        if {"x", "y", "width", "height"} <= set(value):
            return {**value, **change(value)}
        return {key: _changed(item, change) for key, item in value.items()}
    return [_changed(item, change) for item in value] if isinstance(value, list) else value


CHANGES = {
    "exchanged": (
        lambda box: {"x": box["y"], "y": box["x"], "width": box["height"], "height": box["width"]},
        "are exch",
    ),
    "edges": (lambda box: {"width": box["x"] + box["width"], "height": box["y"] + box["height"]}, "bottom edges"),
    "smaller": (lambda box: {name: box[name] / 2 for name in ("x", "y", "width", "height")}, "made for smaller"),
}


def made(tmp_path):
    settings = SynthSettings(clips=40, frames=6, size="320x180", pictures="few", clips_per_animal=1.5)
    synth(tmp_path / "source", settings)
    return tmp_path / "source"


def test_made_up_labels_are_sound(tmp_path):
    index(made(tmp_path), tmp_path / "work", jobs=1, quiet=True)
    assert check_boxes(Workspace.open(tmp_path / "work")).verdict == "ok"


@pytest.mark.parametrize("kind", CHANGES)
def test_wrong_boxes_in_the_labels_are_caught_and_named(tmp_path, kind):
    change, words = CHANGES[kind]
    relabelled(made(tmp_path), change)
    index(tmp_path / "source", tmp_path / "work", jobs=1, quiet=True)
    check = check_boxes(Workspace.open(tmp_path / "work"))
    assert check.verdict == "fail", check
    assert words in check.evidence


def test_refused_boxes_are_read_from_the_rejects(tmp_path):
    relabelled(made(tmp_path), lambda box: {"x": box["x"] + 320})
    relabelled(tmp_path / "source" / "Training", lambda box: {"x": box["x"] - 320})
    index(tmp_path / "source", tmp_path / "work", jobs=1, quiet=True)
    found = boxes_of(Workspace.open(tmp_path / "work"))
    assert {True, False} == set(found["accepted"])
    assert found.filter(~pl.col("accepted"))["x"].min() >= 320
