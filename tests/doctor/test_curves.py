"""What the epochs tell: each course of a training has its name, and a good one has none."""

import dataclasses

import pytest

from petmood.doctor.curves import judge_diverged, judge_never_learnt, judge_overfit, judge_still_learning
from petmood.recipes import TrainSettings

SETTINGS = TrainSettings(epochs=5, checkpoint_on="val_clip_macro_f1")
JUDGES = (judge_diverged, judge_never_learnt, judge_overfit, judge_still_learning)


def epochs(train, val, f1):
    return [
        {"epoch": float(number), "train_loss": one, "val_loss": two, "val_clip_macro_f1": three}
        for number, (one, two, three) in enumerate(zip(train, val, f1, strict=True), 1)
    ]


GOOD = epochs([1.1, 0.8, 0.6, 0.5, 0.45], [1.0, 0.9, 0.85, 0.84, 0.85], [0.3, 0.4, 0.5, 0.55, 0.54])


@pytest.mark.parametrize("judge", JUDGES)
def test_a_good_course_is_fine(judge):
    assert judge(GOOD, SETTINGS).verdict == "ok"


@pytest.mark.parametrize("judge", JUDGES)
def test_without_epochs_nothing_is_said(judge):
    assert judge([], SETTINGS).verdict == "skipped"


def test_a_frozen_network_at_the_rate_of_the_notes_has_learnt_nothing():
    rows = epochs([1.79, 1.785, 1.782, 1.78, 1.779], [1.8] * 5, [0.1] * 5)
    check = judge_never_learnt(rows, dataclasses.replace(SETTINGS, learning_rate=5e-6, freeze="backbone"))
    assert check.verdict == "fail"
    assert "5.0e-6 with --freeze backbone" in check.evidence
    assert "find-lr" in check.remedy


def test_a_run_that_starts_from_a_trained_one_may_have_little_left_to_learn():
    rows = epochs([0.50, 0.495], [0.6, 0.6], [0.7, 0.7])
    assert judge_never_learnt(rows, dataclasses.replace(SETTINGS, init="/work/runs/probe")).verdict == "ok"


@pytest.mark.parametrize("last", [2.5, float("nan"), float("inf")])
def test_a_loss_that_runs_away(last):
    rows = [*GOOD, {"epoch": 6.0, "train_loss": last, "val_loss": 3.0, "val_clip_macro_f1": 0.1}]
    check = judge_diverged(rows, dataclasses.replace(SETTINGS, learning_rate=5e-2))
    assert check.verdict == "fail"
    assert "1.0e-2" in check.remedy


def test_a_model_that_has_learnt_by_heart():
    rows = epochs([1.1, 0.5, 0.1, 0.02, 0.01], [1.0, 0.8, 1.2, 1.6, 1.9], [0.3, 0.5, 0.5, 0.52, 0.51])
    check = judge_overfit(rows, SETTINGS)
    assert check.verdict == "warn"
    assert "the least was 0.800 in epoch 2" in check.evidence
    # An epoch before that became the model: no harm was done.
    assert judge_overfit(rows, dataclasses.replace(SETTINGS, checkpoint_on="val_loss")).verdict == "ok"


def test_a_training_that_was_cut_while_it_rose():
    rows = epochs([1.1, 0.8, 0.6, 0.5, 0.45], [1.0, 0.9, 0.85, 0.8, 0.75], [0.3, 0.4, 0.5, 0.55, 0.6])
    check = judge_still_learning(rows, SETTINGS)
    assert check.verdict == "warn"
    assert "--epochs 10" in check.remedy
    assert judge_still_learning(rows, dataclasses.replace(SETTINGS, epochs=50)).verdict == "ok"
