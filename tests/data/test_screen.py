from __future__ import annotations

import dataclasses
import json
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from fixtures.trees import SIZE, Clip, picture
from petmood.data import screen as stage
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import index
from petmood.data.pack import PackSettings, pack
from petmood.data.screen import ScreenSettings, screen
from petmood.errors import RunError, UserError
from petmood.media import decode, encode
from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
from petmood.workspace import Workspace

NAMES = [f"cat-walkrun-{number:06d}" for number in range(9)]


def blurred(data, sigma):
    return encode(cv2.GaussianBlur(decode(data), (0, 0), sigma), 90)


def packed(tree, work, **settings):
    index(tree.root, work, jobs=1, quiet=True)
    curate(work, CurateSettings(**settings))
    pack(work, jobs=1, quiet=True)
    return work


def pictures_of(clip, names):
    """One picture a frame, each the one that its name stands for; bytes are taken as they are."""
    data = [name if isinstance(name, bytes) else picture(SIZE, name) for name in names]
    return {clip.picture(number): some for number, some in enumerate(data)}


def add(tree, number, *names):
    """A clip of an animal of its own that shows the named pictures."""
    clip = Clip(number=number, breed=str(number), frames=len(names))
    return tree.add(clip, pictures=pictures_of(clip, names))


@pytest.fixture
def work(tree, tmp_path):
    """Six clips: two that repeat a frame, three that share one (one of them re-encoded), one of its own."""
    add(tree, 0, "a", "b", "a", "c")
    add(tree, 1, "d", "d", "d")
    add(tree, 2, "e", "f")
    add(tree, 3, "g", encode(decode(picture(SIZE, "f")), 60))
    add(tree, 4, "h", "g")
    add(tree, 5, "i", "j")
    return packed(tree, tmp_path / "work")


def frames_of(work):
    return Workspace.open(work).read_frames()


def groups_of(work, column="group"):
    """Clips that stand in one group, as sets of their numbers; those alone are left out."""
    table = frames_of(work).group_by(column).agg(pl.col("clip").unique().sort())
    return sorted([int(name[-6:]) for name in clips] for clips in table["clip"] if len(clips) > 1)


def rejects_of(work):
    rejects = Workspace.open(work).read_rejects().filter(pl.col("stage") == "screen")
    return dict(rejects.select("frame_id", "reason").iter_rows())


def everything(work):
    return {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}


# --- near-copies ------------------------------------------------------------------------------------------------------


def test_a_repeated_frame_of_a_clip_is_dropped_and_the_first_in_time_stays(work):
    summary = screen(work)
    dropped = frames_of(work).filter(~pl.col("keep"))["frame_id"].to_list()
    assert dropped == [f"{NAMES[0]}/{Clip().picture(2)[:-4]}"] + [
        f"{NAMES[1]}/{Clip().picture(number)[:-4]}" for number in (1, 2)
    ]
    assert rejects_of(work) == dict.fromkeys(dropped, "near_copy")
    rejects = Workspace.open(work).read_rejects()
    assert rejects.schema == dict(REJECT_SCHEMA)
    assert rejects["detail"][0] == f"0 bits from {NAMES[0]}/{Clip().picture(0)[:-4]}"
    assert summary.counts["refused"] == {"near_copy": 3}
    assert (summary.counts["crops"], summary.counts["kept"]) == (15, 12)


def test_all_clips_still_count_the_same_after_dropping(work):
    screen(work)
    kept = frames_of(work).filter("keep")
    assert kept["weight"].mean() == pytest.approx(1)
    assert kept.group_by("clip").agg(pl.col("weight").sum())["weight"].to_list() == pytest.approx([2] * 6)


def test_frames_chosen_whatever_their_clip_keep_the_weight_one(tree, work):
    curate(work, CurateSettings(method="all"))
    pack(work, jobs=1, quiet=True)
    screen(work)
    assert set(frames_of(work)["weight"]) == {1.0}


def test_clips_that_share_near_copies_become_one_group_over_a_third_one(work):
    before = frames_of(work)
    summary = screen(work)
    assert groups_of(work) == [[2, 3, 4]]
    after = frames_of(work)
    assert after.schema == dict(FRAME_SCHEMA)
    assert after["source_group"].equals(before["group"])
    first = before.filter(pl.col("clip") == NAMES[2])["group"][0]
    assert after.filter(pl.col("clip") == NAMES[4])["group"].to_list() == [first, first]
    assert summary.counts["source_groups"] - summary.counts["groups"] == 2
    assert summary.counts["joined_by"] == {"hash": 2, "features": 0}
    assert summary.counts["largest_joined"] == 3
    assert "the largest joined one has 3 clips" in summary.lines[2]
    assert all(frame.split("/")[0] != other.split("/")[0] for frame, other in summary.counts["examples"])


def test_all_clips_of_the_joined_groups_change_their_group(tree, tmp_path):
    for number, breed, names in ((0, "x", "ab"), (1, "x", "cd"), (2, "y", "ef"), (3, "y", "ga"), (4, "z", "hi")):
        clip = Clip(number=number, breed=breed, frames=2)
        tree.add(clip, pictures=pictures_of(clip, names))
    work = packed(tree, tmp_path / "work")
    assert groups_of(work) == [[0, 1], [2, 3]]
    screen(work)
    assert groups_of(work) == [[0, 1, 2, 3]]


def test_hashes_alone_join_nothing_whose_pixels_differ(work):
    crops = Workspace.open(work).crops / "crops.parquet"
    pl.read_parquet(crops).with_columns(hash=pl.lit(5, pl.UInt64)).write_parquet(crops)
    screen(work, ScreenSettings(within=0))
    assert groups_of(work) == []  # one frame a clip is left, each another picture


def test_without_a_group_in_the_source_joined_clips_are_named_by_the_first(work):
    workspace = Workspace.open(work)
    blank = pl.repeat(None, 15, dtype=pl.String, eager=True)
    workspace.set_columns({"group": blank, "source_group": blank})
    screen(work)
    groups = dict(frames_of(work).select("clip", "group").unique().iter_rows())
    assert groups == dict(zip(NAMES[:6], [None, None, NAMES[2], NAMES[2], NAMES[2], None], strict=True))


def test_other_thresholds_start_again_from_what_was_packed(work):
    screen(work)
    before = frames_of(work)
    screen(work, ScreenSettings(near_copies="off"))
    assert frames_of(work)["keep"].all()
    assert frames_of(work)["group"].equals(before["source_group"])
    assert rejects_of(work) == {}
    screen(work, ScreenSettings(between=0, within=16))
    assert groups_of(work) == [[3, 4]]  # the re-encoded picture has another hash
    screen(work)
    assert frames_of(work).equals(before)


def test_a_group_that_holds_many_clips_is_warned_of(work):
    lines = screen(work).lines
    assert any(line.startswith("WARNING: one joined group holds 50% of the clips") for line in lines)
    assert not any("WARNING" in line for line in screen(work, ScreenSettings(near_copies="off")).lines)


# --- blank and blurred ------------------------------------------------------------------------------------------------


def test_blank_and_blurred_crops_are_refused_with_their_reason(tree, tmp_path):
    add(tree, 0, "a", encode(np.full((48, 64, 3), 120, np.uint8), 90), "b")
    add(tree, 1, blurred(picture(SIZE, "c"), 8), "d")
    work = packed(tree, tmp_path / "work")
    summary = screen(work)
    assert list(rejects_of(work).items()) == [
        (f"{NAMES[0]}/{Clip().picture(1)[:-4]}", "blank"),
        (f"{NAMES[1]}/{Clip().picture(0)[:-4]}", "blurred"),
    ]
    assert "sharpness" in Workspace.open(work).read_rejects()["detail"][1]
    assert any("40% of the crops are blank or blurred" in line for line in summary.lines)
    screen(work, ScreenSettings(min_sharpness=0))
    assert frames_of(work)["keep"].all()


def test_when_nothing_is_left_the_workspace_stays_as_it_was(work):
    screen(work)
    before = everything(work)
    with pytest.raises(RunError, match="min-sharpness 1e\\+09 refuses all 15 crops; the sharpest has ") as caught:
        screen(work, ScreenSettings(min_sharpness=1e9))
    assert "--min-sharpness" in caught.value.hint
    assert everything(work) == before


# --- features ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Described:
    values: Any
    key: str = "one"


def test_features_join_what_hashes_cannot_see(work):
    values = np.eye(15, 20, dtype=np.float16)
    values[14] = values[0] * 0.9 + values[14] * 0.3  # last frame of clip 5, first of clip 0: cosine 0.95
    settings = ScreenSettings(near_copies="features")
    summary = screen(work, settings, features=Described(values))
    assert groups_of(work) == [[0, 5], [2, 3, 4]]
    assert summary.counts["joined_by"] == {"hash": 2, "features": 1}
    screen(work, ScreenSettings(near_copies="features", min_similarity=0.97), features=Described(values))
    assert groups_of(work) == [[2, 3, 4]]


def test_other_features_are_other_input(work):
    values = np.eye(15)
    settings = ScreenSettings(near_copies="features")
    assert not screen(work, settings, features=Described(values)).skipped
    assert screen(work, settings, features=Described(values)).skipped
    assert not screen(work, settings, features=Described(values, "two")).skipped


@pytest.mark.parametrize(("features", "found"), [(None, "none are"), (Described(np.eye(4)), "4 are")])
def test_features_that_are_missing_or_of_other_crops_are_refused(work, features, found):
    with pytest.raises(UserError, match=f"one row of features a crop, 15; {found} given"):
        screen(work, ScreenSettings(near_copies="features"), features=features)


def test_of_very_many_frames_the_same_number_of_each_clip_is_compared(monkeypatch):
    monkeypatch.setattr(stage, "_FEATURE_ROWS", 7)
    clips = np.array([1, 1, 1, 1, 1, 2, 3, 3, 3])
    assert stage._some_of_each(clips).tolist() == [0, 2, 5, 6, 7]


# --- the stage --------------------------------------------------------------------------------------------------------


def test_the_stage_is_skipped_until_something_changes(work):
    assert not screen(work).skipped
    assert screen(work).skipped
    assert not screen(work, force=True).skipped
    pack(work, PackSettings(shorter_side=32), jobs=1, quiet=True)
    assert Workspace.open(work).mark("screen") == {}
    assert not screen(work).skipped


def test_the_stage_needs_crops(tree, tmp_path):
    tree.add()
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    with pytest.raises(UserError, match="has no completed stage `pack`"):
        screen(tmp_path / "work")


def test_packing_again_takes_up_what_was_screened_out(work):
    screen(work)
    pack(work, PackSettings(shorter_side=32), jobs=1, quiet=True)
    assert Workspace.open(work).mark("pack")["counts"]["crops"] == 15
    assert rejects_of(work) == {}


@pytest.mark.parametrize("call", [1, 2, 3])
def test_stopped_at_any_moment_nothing_is_forgotten_and_the_next_run_mends_all(work, monkeypatch, call):
    screen(work, ScreenSettings(within=8))
    strict = frames_of(work)
    screen(work, ScreenSettings(near_copies="off"))
    screen(work, ScreenSettings(within=8))
    calls = []
    original = Workspace.set_columns, stage.add_rejects

    def counted(function):
        def stopping(*arguments, **named):
            calls.append(function)
            if len(calls) == call:
                raise KeyboardInterrupt
            return function(*arguments, **named)

        return stopping

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "set_columns", counted(original[0]))
        patch.setattr(stage, "add_rejects", counted(original[1]))
        with pytest.raises(KeyboardInterrupt):
            screen(work, ScreenSettings(near_copies="off"))
    assert Workspace.open(work).mark("screen") == {}
    kept = set(frames_of(work).filter("keep")["frame_id"])
    assert kept | set(rejects_of(work)) == set(frames_of(work)["frame_id"])
    screen(work, ScreenSettings(within=8))
    assert frames_of(work).equals(strict)
    assert len(rejects_of(work)) == (~strict["keep"]).sum()


def test_the_mark_says_what_was_done(work):
    screen(work, ScreenSettings(between=5))
    mark = json.loads((work / "screen.json").read_text(encoding="utf-8"))
    assert mark["settings"]["between"] == 5
    assert mark["counts"]["kept"] == 12
