"""What a model knows of its own sureness: fitted by clip and group, and judged where it was not fitted."""

import dataclasses

import numpy as np
import pytest

from fixtures.answers import NAMES, made_up
from petmood.metrics import Answers, answer_sets, cross_fitted, fit_certainty, sureness, tempered
from petmood.records import Calibrated


def clips(count=600, groups=120, seed=0, **options):
    labels, probabilities = made_up(np.random.default_rng(seed), count, **options)
    names = [f"clip {number}" for number in range(count)]
    return Answers(
        labels=labels, probabilities=probabilities, clips=names, groups=[f"g{i % groups}" for i in range(count)]
    )


def picked(answers, rows):
    return Answers(
        labels=answers.labels[rows],
        probabilities=answers.probabilities[rows],
        clips=[answers.clips[i] for i in rows],
        groups=[answers.groups[i] for i in rows],
    )


def test_frames_and_clips_have_a_temperature_and_a_threshold_each():
    frames, whole = clips(too_sure=3.0), clips(too_sure=0.5, groups=60)
    found = fit_certainty(frames, whole, level=0.8)
    assert found.level == 0.8
    assert found.frames.temperature == pytest.approx(3, rel=0.2)
    assert found.clips.temperature == pytest.approx(0.5, rel=0.2)
    assert (found.frames.clips, found.frames.groups, found.clips.groups) == (600, 120, 60)
    assert 0 < found.frames.threshold < 1
    # The same answers, only surer: after the temperature the same threshold holds.
    assert found.frames.threshold == pytest.approx(fit_certainty(clips(), whole, level=0.8).frames.threshold, abs=0.01)


def test_every_clip_counts_the_same_however_many_frames_it_has():
    answers = clips(60, groups=20)
    once = fit_certainty(answers, answers)
    many = picked(answers, np.repeat(np.arange(60), np.arange(60) % 7 + 1))
    again = fit_certainty(many, answers)
    assert again.frames.temperature == pytest.approx(once.frames.temperature, rel=1e-3)
    assert again.frames.threshold == pytest.approx(once.frames.threshold, rel=1e-3)
    assert again.frames.clips == 60
    judged = (sureness(one, once.frames, NAMES, level=0.9) for one in (answers, many))
    there, here = (dataclasses.astuple(dataclasses.replace(one.before, bins=())) for one in judged)
    # Adaptive bins are cut between frames, so that they may lie a little otherwise.
    assert (there[0], *there[2:4]) == pytest.approx((here[0], *here[2:4]))


def test_many_clips_of_few_groups_are_no_reason_for_more_certainty():
    """All answers are right. Twenty copies of each clip, in the same groups, tell nothing new."""
    answers = clips(40, groups=40, signal=2.5)
    right = picked(answers, np.flatnonzero(answers.probabilities.argmax(axis=1) == answers.labels))
    copies = picked(right, np.repeat(np.arange(len(right.labels)), 20))
    named = dataclasses.replace(copies, clips=[f"copy {number}" for number in range(len(copies.labels))])
    found, once = fit_certainty(named, named).clips, fit_certainty(right, right).clips
    assert found.clips == 20 * once.clips
    assert found.temperature == pytest.approx(once.temperature, rel=1e-3)


def test_sureness_is_told_before_and_after():
    fitted, judged = clips(too_sure=3.0), clips(seed=1, too_sure=3.0)
    found = sureness(judged, fit_certainty(fitted, fitted).clips, NAMES, level=0.9)
    assert found.before.ece > 0.1
    assert found.after.ece < 0.06
    assert found.after.nll < found.before.nll
    assert 0.86 < found.sets.covered < 0.96
    assert found.sets.level == 0.9
    assert found.selective.risk[-1] == pytest.approx(np.mean(judged.probabilities.argmax(axis=1) != judged.labels))


def test_sets_are_those_of_threshold_and_temperature():
    answers = clips(40)
    found = sureness(answers, Calibrated(temperature=2.0, threshold=0.3, clips=1, groups=1), NAMES, level=0.9)
    sizes = answer_sets(tempered(answers.probabilities, 2.0), 0.3).sum(axis=1)
    assert found.sets.mean_size == pytest.approx(sizes.mean())
    assert found.sets.single == pytest.approx(np.mean(sizes == 1))


def ten_groups():
    """One clip a group; the true class has the lowest probability in the first group, where it is not the likeliest."""
    probabilities = np.array([[0.1, 0.9]] + [[0.6 + number / 100, 0.4 - number / 100] for number in range(9)])
    names = [str(number) for number in range(10)]
    return Answers(labels=np.zeros(10, int), probabilities=probabilities, clips=names, groups=names)


def test_no_group_is_judged_with_what_was_fitted_on_it():
    """At 0.9 the threshold is the lowest probability of nine or of ten groups; the lowest of all is held by itself."""
    names = ("a", "b")
    fitted_on_itself = fit_certainty(ten_groups(), ten_groups()).clips
    assert sureness(ten_groups(), fitted_on_itself, names, level=0.9).sets.covered == 1
    assert cross_fitted(ten_groups(), names, folds=10).sets.covered == pytest.approx(0.9)


def test_a_fold_with_too_few_other_groups_gives_every_class():
    found = cross_fitted(ten_groups(), ("a", "b"), folds=5)  # eight others
    assert (found.sets.covered, found.sets.mean_size) == (1, 2)


@pytest.mark.parametrize("groups", [1, 2, 4, 30])
def test_few_groups_are_judged_too(groups):
    answers = clips(60, groups=groups, too_sure=3.0)
    found = cross_fitted(answers, NAMES)
    assert found.after.nll < found.before.nll
    assert sum(one.count for one in found.after.bins) == 60
    assert found == cross_fitted(answers, NAMES)
    if groups == 1:
        assert found == sureness(answers, fit_certainty(answers, answers).clips, NAMES, level=0.9)


def test_cross_fitted_sets_hold_the_truth_as_promised():
    held = [cross_fitted(clips(120, groups=40, seed=seed), NAMES).sets.covered for seed in range(25)]
    assert 0.88 < np.mean(held) < 0.96


def test_nothing_cannot_be_fitted():
    nothing = clips(0)
    with pytest.raises(ValueError, match="0 labels"):
        fit_certainty(nothing, nothing)
    with pytest.raises(ValueError, match="0 labels"):
        cross_fitted(nothing, NAMES)
