"""A corpus of bad label files and pictures: none ends a command, each is refused with a reason or is a right row."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest

from fixtures.damage import labels, pictures
from fixtures.trees import SIZE, Clip, jpeg
from petmood.crops import CropStore
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import pack
from petmood.labels import EMOTIONS
from petmood.records import REASONS
from petmood.workspace import Workspace, read_table

#: Files of either kind, at least.
MANY = 150


@pytest.fixture
def damaged_labels(tree):
    """Clips with one damaged label each, by name, and one good clip."""
    tree.add(Clip(number=999_999))
    found = {}
    for number, (kind, data) in enumerate(labels(Clip(number=0, frames=2).label())):
        clip = tree.add(Clip(number=number, frames=2), text=data)
        found[clip.name] = kind
    return found


def test_each_damaged_label_is_refused_with_a_reason_or_gives_right_rows(tree, damaged_labels, tmp_path):
    assert len(damaged_labels) >= MANY
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    workspace = Workspace.open(tmp_path / "work")
    frames, rejects = workspace.read_frames(), workspace.read_rejects()
    refused = rejects.select(pl.concat_str("clip", "path", ignore_nulls=True).alias("where"), "reason").rows()
    outcomes = Counter()
    for name, kind in damaged_labels.items():
        rows = frames.filter(pl.col("clip").str.contains(name, literal=True))
        reasons = {reason for where, reason in refused if name in where}
        assert len(rows) or reasons, f"{kind} is neither kept nor refused"
        assert reasons <= REASONS.keys(), kind
        outcomes["kept" if len(rows) else max(reasons, key=lambda reason: reason != "no_label")] += 1
    assert sum(outcomes.values()) == len(damaged_labels)
    assert min(outcomes["kept"], outcomes["unreadable_label"]) >= 20, outcomes
    _check_rows(frames)


def _check_rows(frames):
    """What is kept is a frame: an emotion, a box inside of the picture, whole numbers in their range."""
    assert set(frames["emotion"]) <= set(EMOTIONS)
    assert frames["frame_id"].is_unique().all()
    boxes = frames.select("x", "y", "width", "height")
    assert boxes.null_count().sum_horizontal().item() == 0
    assert (frames["width"] > 0).all()
    assert (frames["height"] > 0).all()
    inside = frames.filter(
        (pl.col("x") >= 0)
        & (pl.col("y") >= 0)
        & (pl.col("x") + pl.col("width") <= pl.col("image_width").fill_null(2**31 - 1))
        & (pl.col("y") + pl.col("height") <= pl.col("image_height").fill_null(2**31 - 1))
    )
    assert len(inside) == len(frames)


@pytest.fixture
def damaged_pictures(tree):
    """One clip with one damaged picture a frame, as kind by file name, and one good clip."""
    found = list(pictures(SIZE))
    clip = Clip(number=1, frames=len(found))
    tree.add(clip, pictures={clip.picture(number): data for number, (_, data) in enumerate(found)})
    tree.add(Clip(number=2))
    return {f"{clip.name}/{clip.picture(number)}": kind for number, (kind, _) in enumerate(found)}


@pytest.mark.parametrize("looked_at", ["now", "later"])
def test_each_damaged_picture_is_refused_with_a_reason_or_decodes(tree, damaged_pictures, tmp_path, looked_at):
    assert len(damaged_pictures) >= MANY
    work = tmp_path / "work"
    index(tree.root, work, IndexSettings(pictures=looked_at), jobs=1, quiet=True)
    curate(work, CurateSettings(per_clip=0))
    pack(work, jobs=1, quiet=True)
    workspace = Workspace.open(work)
    crops = read_table(workspace.crops / "crops.parquet")
    store = CropStore(workspace.crops)
    refused = dict(workspace.read_rejects().select("path", "reason").iter_rows())
    paths = dict(workspace.read_frames().select("path", "frame_id").iter_rows())
    rows = {frame: row for row, frame in enumerate(crops["frame_id"])}
    outcomes = Counter()
    for path, kind in damaged_pictures.items():
        full = str(next(place for place in (*refused, *paths) if place.endswith(path)))
        reason = refused.get(full)
        if reason is None:
            pixels = store.pixels(rows[paths[full]])
            assert pixels.dtype == np.uint8, kind
            assert min(pixels.shape[:2]) >= 16, kind
        else:
            assert reason in REASONS, kind
            assert paths.get(full) not in rows, kind
        outcomes[reason or "kept"] += 1
    assert {"kept", "empty_image", "truncated_image", "unreadable_image", "size_differs"} <= outcomes.keys(), outcomes
    assert outcomes["kept"] >= 20, outcomes
    assert crops.height == outcomes["kept"] + 3  # the good clip


def test_details_of_refusals_are_for_people(tree, damaged_pictures, tmp_path):
    index(tree.root, tmp_path / "work", IndexSettings(pictures="now"), jobs=1, quiet=True)
    details = Workspace.open(tmp_path / "work").read_rejects()["detail"]
    assert details.str.len_chars().min() > 0
    assert not details.str.contains("Traceback|object at 0x").any()


def test_the_corpus_is_the_same_each_time_and_no_two_files_are_alike():
    for corpus in (lambda: list(labels(Clip(number=0, frames=2).label())), lambda: list(pictures(SIZE))):
        first, second = corpus(), corpus()
        assert first == second
        assert len({name for name, _ in first}) == len(first)
        assert len({data for _, data in first}) >= 0.95 * len(first)
    assert jpeg(SIZE) not in {data for _, data in pictures(SIZE)}
