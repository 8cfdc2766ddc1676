from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.trees import Clip, Tree
from petmood.data import curate as curate_stage
from petmood.data.curate import CurateSettings, choose, curate, rare_emotions
from petmood.data.index import index
from petmood.errors import UserError
from petmood.sources.rows import NO_POINT
from petmood.workspace import Workspace, write_table


def table(*clips, emotion="calm", side=100):
    """Frames of clips given as (name, times)."""
    rows = [(name, moment) for name, moments in clips for moment in moments]
    frames = pl.DataFrame(rows, schema={"clip": pl.String, "timestamp_ms": pl.Int64}, orient="row")
    size = pl.lit(side, pl.Int32)
    place = {"x": pl.lit(10, pl.Int32), "y": pl.lit(20, pl.Int32), "width": size, "height": size}
    picture = {"image_width": pl.lit(640, pl.Int32), "image_height": pl.lit(480, pl.Int32)}
    return frames.with_columns(emotion=pl.lit(emotion), species=pl.lit("dog"), **place, **picture)


def kept(frames, points=None, **settings):
    return choose(frames, points, CurateSettings(**settings)).keep.to_list()


# --- the choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pose", "time"])
def test_every_clip_is_chosen_from_on_its_own(method):
    frames = table(("a", [0, 200, 400, 600]), ("b", [100]), ("c", [900, 0, 300]))
    chosen = kept(frames, method=method, per_clip=2)
    assert chosen == [True, False, False, True, True, True, True, False]


def test_frames_of_two_clips_may_stand_mixed():
    frames = table(("a", [0]), ("b", [0]), ("a", [200]), ("b", [900]), ("a", [900]))
    assert kept(frames, per_clip=2) == [True, True, False, True, True]


def test_photos_without_time_are_taken_in_their_order():
    assert kept(table(("a", [None] * 5)), per_clip=3) == [True, False, True, False, True]


def test_photos_that_are_each_their_own_clip_are_all_kept():
    assert all(kept(table(*((name, [None]) for name in "abcdef")), per_clip=1))


@pytest.mark.parametrize("settings", [{"per_clip": 0}, {"method": "time", "per_clip": 0}, {"method": "all"}])
def test_zero_and_all_keep_all(settings):
    assert all(kept(table(("a", range(30))), **settings))


def test_a_picture_whose_size_is_not_told_does_no_harm():
    frames = table(("a", range(0, 6000, 200))).with_columns(image_width=pl.lit(None, pl.Int32))
    assert kept(frames, per_clip=4) == kept(table(("a", range(0, 6000, 200))), per_clip=4)


def test_the_random_half_is_a_half_of_all_frames_whatever_their_clip():
    frames = table(*((str(number), range(0, 2000, 200)) for number in range(20)))
    chosen = kept(frames, method="random")
    assert sum(chosen) == 100
    assert chosen == kept(frames, method="random", per_clip=1)
    assert chosen != kept(frames, method="random", draw_seed=1)
    assert sum(kept(frames, method="random", share=0.1)) == 20
    assert len({sum(chosen[start : start + 10]) for start in range(0, 200, 10)}) > 2


frames_of_clips = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 400).map(lambda n: 100 * n), st.integers(20, 60)),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:2],
)


def keypoints(rows, hidden):
    """Keypoints that depend on clip and time alone."""
    points = [np.random.default_rng([ord(clip), moment]).integers(0, 120, 30) for clip, moment, _ in rows]
    hides = [np.random.default_rng([ord(clip), moment, 1]).random(30) < hidden for clip, moment, _ in rows]
    return np.where(hides, NO_POINT, points).astype(np.int16)


def frames_with(rows):
    frames = table(*((clip, [moment]) for clip, moment, _ in rows))
    return frames.with_columns(width=pl.Series([side for *_, side in rows], dtype=pl.Int32))


@given(frames_of_clips, st.integers(1, 6), st.sampled_from(["pose", "time"]), st.sampled_from([None, 0.0, 0.5]))
def test_every_clip_keeps_as_many_frames_as_asked_for_or_all_that_are_large_enough(rows, count, method, hidden):
    frames = frames_with(rows)
    points = None if hidden is None else keypoints(rows, hidden)
    settings = CurateSettings(method=method, per_clip=count, min_box=32)
    choice = choose(frames, points, settings)
    assert not (choice.keep & choice.small).any()
    assert choice.small.to_list() == [side < 32 for *_, side in rows]
    numbers = (
        frames.with_columns(choice.keep, choice.small)
        .group_by("clip")
        .agg(kept=pl.col("keep").sum(), large=(~pl.col("small")).sum())
    )
    assert numbers.filter(pl.col("kept") != pl.min_horizontal("large", pl.lit(count))).is_empty()
    assert choose(frames, points, settings).keep.equals(choice.keep)


@given(frames_of_clips, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, count, generator):
    mixed = generator.sample(rows, len(rows))
    settings = CurateSettings(per_clip=count)
    one, two = (choose(frames_with(some), keypoints(some, 0.2), settings).keep for some in (rows, mixed))
    assert {row for row, keep in zip(rows, one, strict=True) if keep} == {
        row for row, keep in zip(mixed, two, strict=True) if keep
    }


# --- small boxes and rare emotions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames_a_task", [1, 7, 200])
def test_the_choice_does_not_depend_on_how_the_clips_are_dealt_to_tasks(frames_a_task, monkeypatch):
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 40, 60)
    frames = table(*((f"clip {number}", range(0, 200 * length, 200)) for number, length in enumerate(lengths)))
    points = (np.cumsum(generator.integers(-4, 5, (len(frames), 30)), axis=0) % 300).astype(np.int16)
    points[generator.random(len(frames)) < 0.2, 4:8] = NO_POINT
    whole = kept(frames, points, per_clip=4)
    monkeypatch.setattr(curate_stage, "FRAMES_A_TASK", frames_a_task)
    assert kept(frames, points, per_clip=4) == whole
    assert choose(frames, points, CurateSettings(per_clip=4), jobs=2).keep.to_list() == whole


def test_the_shorter_side_of_a_box_decides_and_zero_refuses_none():
    frames = table(("a", range(4))).with_columns(
        width=pl.Series([32, 31, 200, 32]), height=pl.Series([32, 200, 31, 500])
    )
    assert kept(frames) == [True, False, False, True]
    assert all(kept(frames, min_box=0))
    for method in ("time", "random", "all"):
        assert not any(kept(frames, method=method, share=1)[1:3])


def several_emotions():
    calm = [table((f"calm {number}", range(0, 4000, 200))) for number in range(19)]
    return pl.concat([*calm, table(("fear 1", range(0, 4000, 200)), emotion="fear")])


def test_an_emotion_is_rare_by_its_share_of_the_clips():
    frames = several_emotions()
    assert rare_emotions(frames, 0.05) == ()
    assert rare_emotions(frames, 0.051) == ("fear",)


def test_rare_emotions_keep_all_frames_if_asked_for_but_no_small_boxes():
    frames = several_emotions().with_columns(width=pl.when(pl.int_range(pl.len()) == 399).then(20).otherwise("width"))
    choice = choose(frames, None, CurateSettings(rare="all", rare_below=0.1, per_clip=4))
    numbers = dict(frames.with_columns(choice.keep).group_by("emotion").agg(pl.col("keep").sum()).iter_rows())
    assert choice.rare == ("fear",)
    assert numbers == {"calm": 19 * 4, "fear": 19}
    assert choose(frames, None, CurateSettings(rare="same", rare_below=0.1)).rare == ()


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    tree = Tree(tmp_path / "source")
    for number in range(3):
        tree.add(Clip(number=number, frames=12))
    return tree


@pytest.fixture
def work(tree, tmp_path):
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    return tmp_path / "work"


def test_the_stage_keeps_eight_frames_a_clip_and_changes_nothing_else(work):
    before = Workspace.open(work).read_frames()
    rejects = Workspace.open(work).read_rejects()
    summary = curate(work)
    after = Workspace.open(work).read_frames()
    assert summary.counts == {
        "frames": 36, "chosen": 24, "clips": 3, "clips_left": 3, "small_box": 0, "posed": True, "rare": [],
        "species": {"cat": {"calm": {"frames": 36, "chosen": 24, "clips": 3}}},
        "cut_short": {"clips": 0, "frames": 0, "listed": 0},
    }  # fmt: skip
    assert summary.lines[0] == "chose 24 of 36 frames (67%) of 3 clips by pose, box and time"
    assert [line.split() for line in summary.lines[1:]] == [
        ["emotion", "cat", "frames", "chosen"], ["calm", "편안/안정", "36", "24"],
    ]  # fmt: skip
    assert after["keep"].sum() == 24
    assert after.drop("keep").equals(before.drop("keep"))
    assert Workspace.open(work).read_rejects().equals(rejects)


def test_without_keypoints_the_summary_says_so(tree, tmp_path):
    for number in range(3):
        tree.add(Clip(number=number), edit=lambda label: [item.pop("keypoints") for item in label["annotations"]])
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert curate(tmp_path / "work").lines[0].endswith("of 3 clips by box and time (no keypoints)")


def test_the_poses_that_a_label_tells_decide(tmp_path):
    tree, turned = Tree(tmp_path / "source"), (3, 17)

    def edit(label):
        for frame, annotation in enumerate(label["annotations"]):
            low = 30 if frame in turned else 0
            annotation["keypoints"] = {str(code): {"x": 10 + 2 * code, "y": 5 + low} for code in range(1, 16)}

    tree.add(Clip(frames=24), edit=edit)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    for method, found in (("pose", True), ("time", False)):
        curate(tmp_path / "work", CurateSettings(per_clip=4, method=method))
        keep = Workspace.open(tmp_path / "work").read_frames()["keep"]
        assert all(keep[frame] for frame in turned) == found


def test_all_clips_count_the_same_but_at_random_and_with_all_as_the_notes_had_it(tree, tmp_path):
    tree.add(Clip(number=9, frames=2, emotion="공포", owner="공포"))
    work = tmp_path / "work"
    index(tree.root, work, jobs=1, quiet=True)

    def weights():
        frames = Workspace.open(work).read_frames().filter("keep")
        return set(frames.group_by("clip").agg(pl.col("weight").sum().round(3))["weight"]), set(frames["weight"])

    for settings in ({}, {"method": "time"}, {"rare": "all", "rare_below": 0.5}):
        curate(work, CurateSettings(**settings))
        assert len(weights()[0]) == 1
        assert len(weights()[1]) == 2
    for method in ("random", "all"):
        curate(work, CurateSettings(method=method))
        assert weights()[1] == {1.0}


def test_small_boxes_are_refused_with_a_reason_and_taken_back_by_another_choice(tree, tmp_path):
    tree.add(Clip(number=9, frames=3), edit=lambda label: [
        item["bounding_box"].update(width=31 - number) for number, item in enumerate(label["annotations"])
    ])  # fmt: skip
    work = tmp_path / "work"
    index(tree.root, work, jobs=1, quiet=True)
    summary = curate(work, CurateSettings(min_box=30))
    rejects = Workspace.open(work).read_rejects()
    assert rejects.select("frame_id", "reason", "detail", "stage").rows() == [
        ("cat-walkrun-000009/frame_12_timestamp_400", "small_box", "box 29×32, less than 30 pixels", "curate")
    ]
    assert "refused 1 frames: the box is shorter than 30 pixels on one side" in summary.lines
    summary = curate(work)
    assert Workspace.open(work).read_rejects().height == 3
    assert (summary.counts["small_box"], summary.counts["clips"], summary.counts["clips_left"]) == (3, 4, 3)
    assert "1 clips have no frame left" in summary.lines
    curate(work, CurateSettings(min_box=0))
    assert Workspace.open(work).read_rejects().is_empty()


def test_boxes_that_are_all_too_small_are_an_error_that_leaves_the_workspace_as_it_was(work):
    curate(work)
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    with pytest.raises(UserError, match="min-box 33 refuses all 36 frames; the largest box has 32 pixels") as caught:
        curate(work, CurateSettings(min_box=33))
    assert "--min-box" in caught.value.hint
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before


def test_what_later_stages_refused_belongs_to_the_choice_that_they_worked_on(work):
    workspace = Workspace.open(work)
    curate(work)
    stages = ("index", "curate", "pack", "screen")
    refused = pl.DataFrame(
        [("f", "p", "c", "blank", "d", stage) for stage in stages], schema=workspace.read_rejects().schema, orient="row"
    )
    write_table(refused, workspace.rejects)
    curate(work, force=True)
    assert workspace.read_rejects()["stage"].to_list() == ["index"]


def test_the_stage_is_skipped_until_something_changes(work):
    assert not curate(work).skipped
    assert curate(work).skipped
    assert curate(work).counts["chosen"] == 24
    assert not curate(work, CurateSettings(per_clip=2)).skipped
    assert not curate(work, CurateSettings(per_clip=2), force=True).skipped
    assert Workspace.open(work).read_frames()["keep"].sum() == 6


def test_the_stage_needs_an_index(tmp_path):
    Workspace.create(tmp_path / "work")
    with pytest.raises(UserError, match="has no completed stage `index`"):
        curate(tmp_path / "work")


def test_keypoints_of_another_index_or_damaged_ones_are_refused(work):
    workspace = Workspace.open(work)
    whole = pl.read_parquet(workspace.poses)
    write_table(whole[:-1], workspace.poses)
    with pytest.raises(UserError, match="poses.parquet has 35 rows"):
        curate(work)
    workspace.poses.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="poses.parquet is damaged"):
        curate(work)
    assert not curate(work, CurateSettings(method="time")).skipped
    assert workspace.mark("curate")


def test_a_missing_or_damaged_table_of_refused_rows_is_told(work):
    rejects = Workspace.open(work).rejects
    rejects.write_bytes(b"no table")
    with pytest.raises(UserError, match=r"rejects.parquet is damaged"):
        curate(work)
    rejects.unlink()
    with pytest.raises(UserError, match=r"rejects.parquet is missing"):
        curate(work)


def test_a_work_folder_may_have_brackets_in_its_name(work, tmp_path):
    other = tmp_path / "[원천] work*"
    shutil.copytree(work, other)
    assert curate(other).counts["chosen"] == 24
