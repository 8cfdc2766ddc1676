from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.data.index import index
from petmood.doctor.data import (
    check_crops,
    check_frames_per_clip,
    check_labels,
    check_leakage,
    check_official_split,
    check_refused,
    crop_sizes,
    effective_number,
    labels,
    refused,
)
from petmood.doctor.data_checks import DATA_CHECKS
from petmood.labels import EMOTIONS
from petmood.synth import SynthSettings, synth
from petmood.workspace import Workspace, read_json, read_table, write_json, write_table


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "work", clips_per_class=6, frames_per_clip=3)


def edited(workspace, **columns):
    write_table(workspace.read_frames().with_columns(**columns), workspace.frames)
    return workspace


def marked(workspace, stage, part, **values):
    """Change what a stage's mark says."""
    path = workspace.root / f"{stage}.json"
    mark = read_json(path)
    write_json(path, {**mark, part: {**mark[part], **values}})
    return workspace


# --- leaks ------------------------------------------------------------------------------------------------------------


def test_a_clean_split_is_ok_and_says_what_was_looked_at(workspace):
    check = check_leakage(workspace)
    assert check.verdict == "ok", check
    assert "near-copies among 54 crops" in check.evidence


def test_frames_of_one_clip_on_two_sides_fail(workspace):
    side = pl.when(pl.col("frame_id") == "dog-happy-000/frame_0").then(pl.lit("test")).otherwise("split")
    check = check_leakage(edited(workspace, split=side))
    assert check.verdict == "fail"
    assert "1 clips" in check.evidence
    assert "clip dog-happy-000 (train, test)" in check.evidence
    assert "petmood split" in check.remedy
    json.dumps(check.numbers)


def test_clips_of_one_group_on_two_sides_fail(workspace):
    group = pl.when(pl.col("clip").is_in(["dog-happy-000", "dog-happy-002"])).then(pl.lit("Rex")).otherwise("group")
    check = check_leakage(edited(workspace, group=group))
    assert check.verdict == "fail"
    assert "group Rex (train, val)" in check.evidence
    assert check.numbers["groups"] == 1


def test_the_same_picture_on_two_sides_fails(workspace):
    path = workspace.crops / "crops.parquet"
    crops = read_table(path)
    rows = crops.to_dicts()
    seen = {row["frame_id"]: row for row in rows}
    copied, original = seen["dog-happy-002/frame_0"], seen["dog-happy-000/frame_0"]
    copied.update({name: original[name] for name in ("offset", "size", "hash")})
    write_table(pl.DataFrame(rows, schema=crops.schema), path)
    check = check_leakage(workspace)
    assert check.verdict == "fail"
    assert check.numbers["frames"] == 1
    assert "dog-happy-000/frame_0 (train)" in check.evidence


def test_an_allowed_leak_is_a_warning_that_says_so(workspace):
    group = pl.when(pl.col("emotion") == "calm").then(pl.lit("Rex")).otherwise("group")
    leak = {"clips": 0, "groups": 1, "frames": 0, "allowed": True}
    check = check_leakage(marked(edited(workspace, group=group), "split", "counts", leak=leak))
    assert check.verdict == "warn"
    assert "it was allowed" in check.evidence


def test_frames_that_are_not_kept_do_not_leak(workspace):
    group = pl.when(pl.col("emotion") == "calm").then(pl.lit("Rex")).otherwise("group")
    keep = pl.col("emotion") != "calm"
    assert check_leakage(edited(workspace, group=group, keep=keep)).verdict == "ok"


def test_the_sources_own_split_is_said(workspace):
    assert check_official_split(workspace).verdict == "ok"
    check = check_official_split(marked(workspace, "split", "settings", split="official"))
    assert check.verdict == "warn"
    assert "animals may stand on both sides" in check.evidence


def test_a_split_by_something_else_than_the_group_is_said(workspace):
    check = check_official_split(marked(workspace, "split", "settings", group_by="clip"))
    assert check.verdict == "warn"
    assert "by 'clip'" in check.evidence


def test_groups_of_one_clip_each_are_said_to_be_taken_on_trust(workspace):
    assert "taken on trust" in check_official_split(workspace).evidence
    pairs = edited(workspace, group=pl.col("clip").str.slice(0, 9))
    assert "taken on trust" not in check_official_split(pairs).evidence


# --- labels -----------------------------------------------------------------------------------------------------------


def test_one_order_everywhere_is_ok(workspace):
    assert check_labels(workspace).evidence == "one order everywhere: 0 happy, 1 calm, 2 angry."


def test_classes_in_order_of_appearance_fail(workspace):
    check = check_labels(marked(workspace, "index", "counts", classes=["calm", "angry", "happy"]))
    assert check.verdict == "fail"
    assert "calm, angry, happy, not in the one order" in check.evidence


def test_a_clip_with_two_emotions_fails(workspace):
    emotion = pl.when(pl.col("frame_id") == "dog-happy-000/frame_0").then(pl.lit("angry")).otherwise("emotion")
    check = check_labels(edited(workspace, emotion=emotion))
    assert check.verdict == "fail"
    assert "1 clips have several emotions" in check.evidence


def test_a_class_that_no_stage_kept_is_named(workspace):
    check = check_labels(edited(workspace, keep=pl.col("emotion") != "calm"))
    assert check.verdict == "warn"
    assert "no frame of calm is kept" in check.evidence


@given(st.lists(st.sampled_from([*EMOTIONS, "bored"]), unique=True, min_size=1))
def test_only_the_one_order_of_the_six_passes(listed):
    check = labels(listed, [name for name in EMOTIONS if name in listed], nameless=0, several=0)
    assert (check.verdict == "ok") == (listed == [name for name in EMOTIONS if name in listed])


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_high_share_of_one_reason_is_named_with_its_meaning():
    check = refused({"index": (1000, {"box_outside_image": 80, "no_box": 3})}, fewer={})
    assert check.verdict == "warn"
    assert "index refused 8.0% as box_outside_image (the box reaches beyond the picture" in check.evidence
    assert "no_box" not in check.evidence


def test_folders_that_hold_fewer_pictures_are_told_but_no_fault():
    check = refused({"index": (1000, {"no_image": 500})}, fewer={"clips": 20, "frames": 490})
    assert check.verdict == "ok"
    assert "20 folders hold fewer pictures than their labels name (490 frames)" in check.evidence


def test_what_the_user_asked_for_is_no_fault():
    check = refused({"index": (1000, {"labels_disagree": 240}), "screen": (700, {"near_copy": 200})}, fewer={})
    assert check.verdict == "ok"


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_twentieth_is_the_limit(found, share):
    count = int(found * share)
    check = refused({"pack": (found, {"truncated_image": count})}, fewer={})
    assert (check.verdict == "warn") == (count / found > 0.05)


def test_damage_that_synth_plants_is_counted(tmp_path):
    synth(tmp_path / "source", SynthSettings(clips=24, frames=6, size="160x120", pictures="few", faults=0.6))
    index(tmp_path / "source", tmp_path / "work", jobs=1, quiet=True)
    check = check_refused(Workspace.open(tmp_path / "work"))
    assert check.verdict == "warn"
    assert "index refused" in check.evidence


# --- crops and frames -------------------------------------------------------------------------------------------------


def test_small_crops_are_enlarged(workspace):
    check = check_crops(workspace)
    assert check.verdict == "warn"
    assert "100.0% of 54 crops are below 224 pixels" in check.evidence
    assert check_crops(workspace, image_size=48).verdict == "ok"


def test_crops_that_pack_made_too_small_name_its_option():
    check = crop_sizes(pl.Series([128] * 10), stored=128, image_size=224)
    assert "petmood pack --shorter-side 224" in check.remedy


def test_a_crop_of_just_the_inputs_size_is_not_enlarged():
    assert crop_sizes(pl.Series([224, 223, 300, 300]), stored=256, image_size=224).numbers["enlarged"] == 0.25


def test_few_frames_a_clip_are_ok_and_counted(workspace):
    check = check_frames_per_clip(workspace)
    assert check.verdict == "ok"
    assert "54 frames of 18 clips of 18 groups, 3 a clip (at most 3)" in check.evidence
    assert check.numbers["effective_clips"] == pytest.approx(18)


def test_many_frames_a_clip_are_named(tmp_path):
    check = check_frames_per_clip(make_workspace(tmp_path / "work", clips_per_class=2, frames_per_clip=20, size=16))
    assert check.verdict == "warn"
    assert "petmood curate" in check.remedy


def test_one_long_clip_that_outweighs_all_is_named(workspace):
    weight = pl.when(pl.col("clip") == "dog-happy-000").then(pl.lit(50.0)).otherwise(1.0).cast(pl.Float32)
    check = check_frames_per_clip(edited(workspace, weight=weight))
    assert check.verdict == "warn"
    assert check.numbers["effective_clips"] < 2


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_the_effective_number_lies_between_one_and_all(weights):
    assert 1 - 1e-9 <= effective_number(pl.Series(weights)) <= len(weights) + 1e-9


# --- all of them ------------------------------------------------------------------------------------------------------


def test_a_clean_work_folder_has_no_warnings_but_true_ones(tmp_path):
    """Crops of 64 pixels are small, and 40 clips of a class give val and test too few; the rest is sound."""
    workspace = make_workspace(tmp_path / "work", clips_per_class=40, frames_per_clip=2)
    found = {name: check(workspace) for name, check in DATA_CHECKS}
    assert all(found[name].name == name for name in found)
    verdicts = {name: check.verdict for name, check in found.items() if check.verdict != "ok"}
    # Each emotion is a shape of its own, drawn on one plain colour: corners rightly tells them apart.
    assert verdicts == {"sides": "warn", "crops": "warn", "animal": "skipped", "corners": "warn"}
    assert all(check.remedy for check in found.values() if check.verdict in {"warn", "fail"})
    json.dumps([dict(check.numbers) for check in found.values()])


def test_every_check_answers_before_the_later_stages_are_done(tmp_path):
    synth(tmp_path / "source", SynthSettings(clips=8, frames=3, size="160x120", pictures="few"))
    index(tmp_path / "source", tmp_path / "work", jobs=1, quiet=True)
    workspace = Workspace.open(tmp_path / "work")
    found = {name: check(workspace) for name, check in DATA_CHECKS}
    skipped = {name for name, check in found.items() if check.verdict == "skipped"}
    assert {"leakage", "official-split", "sides", "baseline", "shares", "corners", "crops"} <= skipped
    assert not [check for check in found.values() if check.verdict == "fail"]
