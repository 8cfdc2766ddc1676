from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.doctor.sides import (
    always_one,
    check_baseline,
    check_imbalance,
    check_shares,
    check_sides,
    largest_shift,
)
from petmood.metrics import accuracy, macro_f1
from petmood.workspace import write_table

EMOTIONS = ("happy", "calm", "angry")


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "work", clips_per_class=12, frames_per_clip=2)


def edited(workspace, **columns):
    write_table(workspace.read_frames().with_columns(**columns), workspace.frames)
    return workspace


# --- baseline ---------------------------------------------------------------------------------------------------------

clips = st.lists(
    st.tuples(st.sampled_from(EMOTIONS), st.sampled_from(["train", "val", "test"]), st.integers(1, 9)),
    min_size=1,
    max_size=40,
).map(lambda rows: pl.DataFrame(rows, schema=["emotion", "split", "frames"], orient="row"))


@given(clips)
def test_the_score_to_beat_is_what_metrics_says_of_one_answer(table):
    if "train" not in set(table["split"]):
        with pytest.raises(ValueError, match="no training clips"):
            always_one(table)
        return
    for side, score in always_one(table).items():
        here = table.filter(pl.col("split") == side)
        labels = np.array([EMOTIONS.index(name) for name in here["emotion"]])
        answers = np.full(len(here), EMOTIONS.index(score.answer))
        assert score.clips == pytest.approx(accuracy(labels, answers))
        assert score.macro_f1 == pytest.approx(macro_f1(labels, answers, 3))
        frames = here["frames"].to_numpy()
        assert score.frames == pytest.approx(accuracy(labels.repeat(frames), answers.repeat(frames)))


def test_of_equally_frequent_emotions_the_first_in_the_one_order_is_the_answer():
    table = pl.DataFrame({"emotion": ["angry", "calm", "happy"], "split": ["train"] * 3, "frames": [1] * 3})
    assert always_one(table)["train"].answer == "happy"


def test_the_baseline_is_said_and_never_wrong(workspace):
    check = check_baseline(workspace)
    assert check.verdict == "ok"
    assert "0.333 of the val clips" in check.evidence
    assert "the score to beat" in check.evidence


def test_without_training_clips_there_is_no_baseline(workspace):
    assert check_baseline(edited(workspace, split=pl.lit("val"))).verdict == "fail"


# --- classes on each side ---------------------------------------------------------------------------------------------


def test_classes_of_few_groups_are_named_with_their_side(workspace):
    check = check_sides(workspace)
    assert check.verdict == "warn"
    assert "val 2 of happy, 2 of calm, 2 of angry" in check.evidence
    assert check.numbers["train"]["calm"] == {"clips": 8, "groups": 8}


def test_a_class_that_a_side_lacks_is_named(workspace):
    lost = pl.when((pl.col("emotion") == "calm") & (pl.col("split") == "val")).then(pl.lit("test")).otherwise("split")
    check = check_sides(edited(workspace, split=lost))
    assert check.verdict == "warn"
    assert check.evidence.startswith("val has no calm")


def test_a_class_without_training_clips_fails(workspace):
    lost = pl.when(pl.col("emotion") == "calm").then(pl.lit("val")).otherwise("split")
    check = check_sides(edited(workspace, split=lost))
    assert (check.verdict, check.evidence) == ("fail", "train has no clip of calm.")


def test_no_validation_clips_fail(workspace):
    check = check_sides(edited(workspace, split=pl.lit("train")))
    assert (check.verdict, check.evidence) == ("fail", "val has no clips.")


def test_enough_groups_on_every_side_are_ok(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=120, frames_per_clip=1, size=16)
    assert check_sides(workspace).verdict == "ok"


@pytest.mark.parametrize("check", [check_baseline, check_sides, check_shares])
def test_a_work_folder_that_is_not_split_is_skipped_with_the_command(workspace, check):
    found = check(edited(workspace, split=pl.lit(None, pl.String)))
    assert found.verdict == "skipped"
    assert "petmood split" in found.remedy


# --- imbalance --------------------------------------------------------------------------------------------------------


def test_even_classes_are_ok(workspace):
    assert check_imbalance(workspace).verdict == "ok"


def test_a_rare_class_names_the_loss(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=60, frames_per_clip=1, size=16)
    rare = (pl.col("emotion") != "angry") | (pl.col("clip").str.ends_with("000"))
    check = check_imbalance(edited(workspace, keep=rare))
    assert check.verdict == "warn"
    assert "40.0 training clips of happy (40) for one of angry (1)" in check.evidence
    assert "balanced_softmax" in check.remedy


# --- shares -----------------------------------------------------------------------------------------------------------


def dealt(generator, groups, shares, clips_a_group=4):
    """Clips of groups of one kind each: kinds by ``shares``."""
    kinds = generator.choice(list(shares), groups, p=list(shares.values()))
    return pl.DataFrame({"group": np.arange(groups), "kind": kinds}).select(pl.all().repeat_by(clips_a_group).explode())


def shift_of(train, val, **options):
    val = val.with_columns(pl.col("group") + 10_000)
    both = pl.concat([train.with_columns(side=pl.lit("train")), val.with_columns(side=pl.lit("val"))])
    return largest_shift(both["kind"], both["side"], both["group"], **options)


@given(st.integers(0, 200))
def test_the_distance_is_that_of_the_shares(seed):
    generator = np.random.default_rng(seed)
    train, val = (dealt(generator, 20, {"dog": 0.5, "cat": 0.5}) for _ in range(2))
    found = shift_of(train, val, draws=99)
    if found is None:
        assert pl.concat([train, val])["kind"].n_unique() == 1
        return
    shares = [float((table["kind"] == found.value).mean()) for table in (train, val)]
    assert (found.train, found.there) == pytest.approx(tuple(shares))
    assert found.distance == pytest.approx(abs(shares[0] - shares[1]))
    assert 0 < found.chance <= 1


def test_a_shift_of_many_groups_alarms_and_names_the_class():
    generator = np.random.default_rng(0)
    train, val = dealt(generator, 300, {"cat": 0.75, "dog": 0.25}), dealt(generator, 100, {"cat": 0.35, "dog": 0.65})
    found = shift_of(train, val)
    assert found.alarming
    assert found.side == "val"
    assert found.train == pytest.approx(1 - found.there, abs=0.5)


def test_few_groups_do_not_alarm_however_many_clips_they_have():
    generator = np.random.default_rng(1)
    train = dealt(generator, 8, {"cat": 0.75, "dog": 0.25}, clips_a_group=200)
    val = pl.DataFrame({"group": [0], "kind": ["dog"]}).select(pl.all().repeat_by(200).explode())
    found = shift_of(train, val)
    assert found.distance > 0.3
    assert not found.alarming


def test_equal_draws_alarm_in_about_one_of_a_hundred():
    generator = np.random.default_rng(2)
    shares = {"a": 0.6, "b": 0.3, "c": 0.1}
    alarms = [shift_of(dealt(generator, 60, shares), dealt(generator, 20, shares), draws=99) for _ in range(100)]
    assert sum(shift.alarming for shift in alarms) <= 5


def test_a_split_by_group_is_ok_and_a_shifted_one_is_named(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=60, frames_per_clip=1, size=16)
    assert check_shares(workspace).verdict == "ok"
    cats = pl.when((pl.col("split") == "val") & (pl.col("species") == "dog")).then(pl.lit("train")).otherwise("split")
    check = check_shares(edited(workspace, split=cats))
    assert check.verdict == "warn"
    assert "by species: " in check.evidence
    assert "of val's" in check.evidence
    json.dumps(check.numbers)
