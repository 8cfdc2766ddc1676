"""The bootstrap over groups: the same scores as metrics, the same draws for both models, intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood import metrics
from petmood.bootstrap import (
    SCORES,
    drawn_counts,
    drawn_means,
    f1_of,
    group_counts,
    interval,
    recall_of,
    score_of,
)

CLASSES = 4


@st.composite
def answers(draw, least_groups=2):
    """Labels, two models' answers and groups of 2 to 60 clips; some classes may not occur."""
    count = draw(st.integers(least_groups, 60))
    number = st.lists(st.integers(0, CLASSES - 1), min_size=count, max_size=count).map(np.array)
    groups = draw(st.lists(st.integers(0, 9), min_size=count - least_groups, max_size=count - least_groups))
    return draw(number), draw(number), draw(number), [*range(least_groups), *groups]


def _counts(labels, predicted, groups):
    return group_counts(labels, predicted, groups, CLASSES)


@given(answers())
def test_scores_of_undrawn_counts_are_those_of_metrics(drawn):
    labels, predicted, _, groups = drawn
    whole = _counts(labels, predicted, groups).sum(axis=0)
    assert np.array_equal(whole, metrics.confusion(labels, predicted, CLASSES))
    assert score_of(whole, "macro_f1") == pytest.approx(metrics.macro_f1(labels, predicted, CLASSES))
    assert score_of(whole, "balanced_accuracy") == pytest.approx(metrics.balanced_accuracy(labels, predicted, CLASSES))
    assert score_of(whole, "accuracy") == pytest.approx(metrics.accuracy(labels, predicted))


@given(answers())
def test_equal_answers_differ_by_exactly_nothing(drawn):
    labels, predicted, _, groups = drawn
    counts = _counts(labels, predicted, groups)
    first, second = drawn_counts(np.stack([counts, counts]), draws=50)
    for score in SCORES:
        assert not np.any(score_of(first, score) - score_of(second, score))


@given(answers())
def test_swapping_the_models_flips_the_sign(drawn):
    labels, one, other, groups = drawn
    a, b = _counts(labels, one, groups), _counts(labels, other, groups)
    forth, back = drawn_counts(np.stack([a, b]), draws=80), drawn_counts(np.stack([b, a]), draws=80)
    there = score_of(forth[1], "macro_f1") - score_of(forth[0], "macro_f1")
    again = score_of(back[1], "macro_f1") - score_of(back[0], "macro_f1")
    assert np.array_equal(there, -again)
    first, second = interval(0.1, there), interval(-0.1, again)
    assert (first.low, first.high) == pytest.approx((-second.high, -second.low), abs=1e-12)


@given(answers(), st.integers(0, 5))
def test_every_draw_holds_whole_groups_and_as_many_of_them(drawn, seed):
    labels, predicted, _, groups = drawn
    counts = _counts(labels, predicted, groups)
    number = len(counts)
    marked = np.zeros((1, number, CLASSES, CLASSES), np.float32)
    marked[0, :, 0, 0] = 1  # one clip a group: a draw's sum is how many groups were drawn
    assert np.all(drawn_counts(marked, draws=20, seed=seed).sum(axis=(2, 3)) == number)


def test_draws_are_those_of_drawing_clips_one_by_one():
    labels, groups = np.array([0, 0, 1, 1, 2]), ["x", "y", "x", "z", "z"]
    predicted = np.array([0, 1, 1, 1, 0])
    drawn = drawn_counts(_counts(labels, predicted, groups)[None], draws=6, seed=3)[0]
    chosen = np.random.default_rng(3).integers(3, size=(6, 3))
    names = np.array(groups)
    for counts, draw in zip(drawn, chosen, strict=True):
        rows = np.concatenate([np.flatnonzero(names == "xyz"[group]) for group in draw])
        assert score_of(counts, "macro_f1") == pytest.approx(metrics.macro_f1(labels[rows], predicted[rows], CLASSES))


def test_draws_in_blocks_are_complete(monkeypatch):
    counts = _counts(np.arange(40) % 4, np.arange(40) % 3, list(range(40)))[None]
    whole = drawn_counts(counts, draws=25, seed=1)
    monkeypatch.setattr("petmood.bootstrap._AT_ONCE", 7 * 40)
    in_blocks = drawn_counts(counts, draws=25, seed=1)
    assert in_blocks.shape == (1, 25, CLASSES, CLASSES)
    assert np.array_equal(in_blocks, whole)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """200 data sets from a model that is right in 7 of 10 clips; all clips of a group are right or wrong together."""
    rng = np.random.default_rng(0)
    labels, groups = np.repeat(np.arange(60) % 2, 3), np.repeat(np.arange(60), 3).tolist()
    held = {"by group": 0, "by clip": 0}
    for seed in range(200):
        right = np.repeat(rng.random(60) < 0.7, 3)
        predicted = np.where(right, labels, 1 - labels)
        for way, of in (("by group", groups), ("by clip", list(range(180)))):
            counts = group_counts(labels, predicted, of, 2)
            found = interval(0, score_of(drawn_counts(counts[None], draws=400, seed=seed)[0], "accuracy"))
            held[way] += found.low <= 0.7 <= found.high
    assert 180 <= held["by group"] <= 200
    assert held["by clip"] < 165  # clips of one animal taken for independent ones: far too sure


def test_a_class_that_is_not_drawn_has_no_recall_and_does_not_count():
    counts = _counts(np.array([0, 0, 1]), np.array([0, 1, 1]), [0, 1, 2])
    recall = recall_of(counts.sum(axis=0))
    assert recall[:2].tolist() == [0.5, 1.0]
    assert np.isnan(recall[2:]).all()
    assert interval(1.0, np.array([np.nan, 1.0, 1.0])).low == 1.0
    with pytest.raises(ValueError, match="no draw"):
        interval(1.0, np.array([np.nan]))


@given(answers())
def test_f1_of_each_class_is_that_of_metrics(drawn):
    labels, predicted, _, groups = drawn
    scores = metrics.class_scores(labels, predicted, "abcd")
    expected = [np.nan if one.f1 is None else one.f1 for one in scores]
    np.testing.assert_allclose(f1_of(_counts(labels, predicted, groups).sum(axis=0)), expected)


def test_means_of_drawn_groups_are_those_of_drawing_one_by_one():
    values = np.array([0.0, 1.0, 5.0])
    chosen = np.random.default_rng(3).integers(3, size=(6, 3))
    np.testing.assert_allclose(drawn_means(values, draws=6, seed=3), values[chosen].mean(axis=1))
    assert set(drawn_means(np.full(49, 0.1), draws=50)) == {0.1}  # whatever rounding says
    with pytest.raises(ValueError, match="1 group of clips; at least 2"):
        drawn_means(values[:1])


def test_one_group_cannot_be_drawn_from():
    counts = _counts(np.array([0, 1]), np.array([0, 1]), ["only", "only"])
    with pytest.raises(ValueError, match="1 group of clips; at least 2"):
        drawn_counts(counts[None])


@pytest.mark.parametrize(
    ("labels", "predicted", "groups", "problem"),
    [([0, 1], [0], [1, 2], "cannot be judged"), ([], [], [], "cannot be judged"), ([0, 4], [0, 0], [1, 2], "no class")],
)
def test_answers_that_do_not_match_are_refused(labels, predicted, groups, problem):
    with pytest.raises(ValueError, match=problem):
        _counts(np.array(labels, int), np.array(predicted, int), groups)


def test_an_interval_says_whether_a_difference_is_shown():
    assert interval(0.1, np.linspace(0.05, 0.2, 100)).shown
    assert interval(-0.1, np.linspace(-0.2, -0.05, 100)).shown
    unclear = interval(0.1, np.linspace(-0.1, 0.3, 401))
    assert not unclear.shown
    assert unclear.above == pytest.approx(0.75, abs=0.01)
