"""Scores against scikit-learn and torchmetrics, by hand, and by their properties."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from torchmetrics.functional import classification as peer

from fixtures.answers import NAMES, made_up, one_hot
from petmood import metrics


@st.composite
def answers(draw):
    n = draw(st.integers(1, 60))
    numbers = st.lists(st.integers(0, len(NAMES) - 1), min_size=n, max_size=n)
    return np.array(draw(numbers)), np.array(draw(numbers))


@st.composite
def probable(draw):
    """Labels with probabilities, all different."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return made_up(rng, draw(st.integers(1, 60)), signal=draw(st.sampled_from([0.1, 1.0, 3.0])))


@given(answers())
@settings(max_examples=25)
def test_scores_agree_with_scikit_learn(pair):
    labels, predicted = pair
    present = np.unique(labels)
    judged = metrics.judge(labels, one_hot(predicted), NAMES, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert judged.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
        assert judged.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
        f1 = reference.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert judged.macro_f1 == pytest.approx(f1)
    assert metrics.macro_f1(labels, predicted, len(NAMES)) == judged.macro_f1
    np.testing.assert_array_equal(judged.confusion, reference.confusion_matrix(labels, predicted, labels=range(4)))
    short = metrics.short_scores(labels, one_hot(predicted), 4)
    assert dataclasses.astuple(short) == (judged.accuracy, judged.balanced_accuracy, judged.macro_f1)


@given(probable())
@settings(max_examples=25)
def test_what_probabilities_tell_agrees_with_torchmetrics(pair):
    labels, probabilities = pair
    judged = metrics.judge(labels, probabilities, NAMES, 1)
    told, truth = torch.tensor(probabilities), torch.tensor(labels)
    assert judged.top2 == pytest.approx(float(peer.multiclass_accuracy(told, truth, 4, average="micro", top_k=2)))
    if len(np.unique(labels)) > 1:
        assert judged.kappa == pytest.approx(float(peer.multiclass_cohen_kappa(told, truth, 4)), abs=1e-6)
    else:
        assert judged.kappa is None
    for number, one in enumerate(judged.classes):
        if 0 < one.support < len(labels):
            of_class = float(peer.binary_average_precision(told[:, number], (truth == number).int()))
            assert one.average_precision == pytest.approx(of_class, abs=1e-6)
        else:
            assert one.average_precision is None
    known = [one.average_precision for one in judged.classes if one.average_precision is not None]
    assert judged.macro_ap == (pytest.approx(np.mean(known)) if known else None)


@given(answers())
@settings(max_examples=25)
def test_parts_of_a_judgement_fit_together(pair):
    labels, predicted = pair
    judged = metrics.judge(labels, one_hot(predicted), NAMES, 1)
    counts = np.array(judged.confusion)
    assert counts.sum() == judged.count == len(labels)
    assert judged.right == np.trace(counts) == round(judged.accuracy * judged.count)
    assert [one.support for one in judged.classes] == counts.sum(axis=1).tolist()
    assert [one.predicted for one in judged.classes] == counts.sum(axis=0).tolist()
    known = [one.f1 for one in judged.classes if one.f1 is not None]
    assert judged.macro_f1 == pytest.approx(np.mean(known))
    assert judged.accuracy <= judged.top2 <= 1
    for one in judged.classes:
        assert (one.recall is None) == (one.f1 is None) == (one.support == 0)
        assert (one.precision is None) == (one.predicted == 0)


@given(probable())
@settings(max_examples=25)
def test_perfect_answers_score_one_and_order_does_not_matter(pair):
    labels, probabilities = pair
    assert metrics.macro_f1(labels, labels, 4) == metrics.balanced_accuracy(labels, labels, 4) == 1.0
    assert metrics.kappa(labels, labels) in (None, 1.0)
    order = np.random.default_rng(0).permutation(len(labels))
    groups = [str(number % 7) for number in range(len(labels))]
    there = metrics.judge(labels, probabilities, NAMES, 0, groups=groups, draw=False)
    turned = [groups[i] for i in order]
    assert metrics.judge(labels[order], probabilities[order], NAMES, 0, groups=turned, draw=False) == there


def test_of_equal_probabilities_the_first_class_comes_first():
    probabilities = np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]])
    assert metrics.likeliest(np.zeros(3, int), probabilities, 3).tolist() == [0, 1, 0]
    assert metrics.top2(np.array([1, 2, 2]), probabilities) == pytest.approx(2 / 3)  # the last is the third of three


def test_two_classes_have_no_second_best_and_one_class_no_kappa():
    judged = metrics.judge(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]), ("a", "b"), 0)
    assert (judged.top2, judged.kappa, judged.macro_ap) == (None, None, None)


def test_every_group_counts_the_same():
    """Animal x: 4 clips, all wrong. Animal y: 1 clip, right. By clip 1/5 are right, by group 1/2."""
    labels, predicted = np.array([0, 0, 0, 0, 0]), np.array([1, 1, 1, 1, 0])
    clips = metrics.ClipScores(tuple("abcde"), one_hot(predicted, 2), labels)
    found = metrics.by_group(clips, ["x", "x", "x", "x", "y"])
    assert dataclasses.astuple(found) == pytest.approx((1 / 2, 1 / 2, 2 / 3))
    assert metrics.short_scores(labels, clips.probabilities, 2).accuracy == pytest.approx(1 / 5)
    with pytest.raises(ValueError, match="5 clips and 1 groups do not match"):
        metrics.by_group(clips, ["x"])


@given(probable())
@settings(max_examples=25)
def test_groups_of_one_clip_change_nothing_and_groups_of_copies_are_one_clip(pair):
    labels, probabilities = pair
    groups = [f"g{number}" for number in range(len(labels))]
    clips = metrics.ClipScores(tuple(groups), probabilities, labels)
    short = metrics.short_scores(labels, probabilities, 4)
    assert dataclasses.astuple(metrics.by_group(clips, groups)) == pytest.approx(dataclasses.astuple(short))
    rows = np.repeat(np.arange(len(labels)), np.arange(len(labels)) % 5 + 1)
    copies = metrics.ClipScores(tuple(map(str, range(len(rows)))), probabilities[rows], labels[rows])
    again = metrics.by_group(copies, [groups[i] for i in rows])
    assert dataclasses.astuple(again) == pytest.approx(dataclasses.astuple(short))


def test_lengths_and_numbers_are_checked():
    none = np.array([], int)
    with pytest.raises(ValueError, match="0 labels and 0 answers"):
        metrics.macro_f1(none, none, 3)
    with pytest.raises(ValueError, match="0 labels and 0 answers"):
        metrics.accuracy(none, none)
    with pytest.raises(ValueError, match="answer 3 is no class number; there are 3 classes"):
        metrics.macro_f1(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="label -1 is no class number"):
        metrics.confusion(np.array([0, -1]), np.array([0, 1]), 3)


@pytest.mark.parametrize(
    ("labels", "probabilities", "problem"),
    [
        ([], np.empty((0, 3)), r"0 labels and probabilities of shape \(0, 3\) do not match; \(n, 3\) is needed"),
        ([0, 1], np.ones((1, 3)), r"shape \(1, 3\) do not match; \(2, 3\) is needed"),
        ([0], np.ones((1, 2)), r"shape \(1, 2\) do not match; \(1, 3\) is needed"),
        ([0], np.array([[0.5, np.nan, 0.5]]), "a probability is negative or no number; all must be 0 to 1"),
        ([0], np.array([[1.5, -0.5, 0.0]]), "a probability is negative or no number; all must be 0 to 1"),
        ([3], np.ones((1, 3)), "label 3 is no class number; there are 3 classes"),
    ],
)
def test_probabilities_are_checked(labels, probabilities, problem):
    with pytest.raises(ValueError, match=problem):
        metrics.judge(np.array(labels, int), probabilities, ("a", "b", "c"), 0)


def test_classes_that_never_occur_do_not_count():
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    # F1 of class 0 is 1; of class 1: precision 1, recall 1/2, hence 2/3. Class 2 was answered and never true.
    assert metrics.macro_f1(labels, predicted, 6) == pytest.approx((1 + 2 / 3) / 2)
    scores = metrics.class_scores(labels, predicted, ("a", "b", "c"))
    assert (scores[2].support, scores[2].predicted, scores[2].precision) == (0, 1, 0.0)
    assert scores[2].recall is None
    assert scores[2].f1 is None


def test_the_majority_is_of_the_training_clips():
    training = np.array([1, 1, 1, 0, 2])
    assert metrics.majority(training, 3) == 1
    calm = metrics.majority(training, 3)
    judged = metrics.judge(np.array([0, 0, 1]), one_hot(np.array([0, 0, 0]), 3), ("a", "b", "c"), calm)
    assert judged.baseline == metrics.Baseline(answer="b", accuracy=1 / 3, macro_f1=0.25)
    with pytest.raises(ValueError, match="no training clips"):
        metrics.majority(np.array([], int), 3)


def judged(accuracy, f1, base_accuracy, base_f1):
    one = metrics.judge(np.array([0, 1]), np.eye(2), ("a", "b"), 0)
    baseline = metrics.Baseline(answer="a", accuracy=base_accuracy, macro_f1=base_f1)
    return dataclasses.replace(one, accuracy=accuracy, macro_f1=f1, baseline=baseline)


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ((0.7, 0.5, 0.616, 0.13), "beats"),
        ((0.5, 0.3, 0.616, 0.13), "f1_only"),
        ((0.7, 0.1, 0.616, 0.13), "accuracy_only"),
        ((0.498, 0.1, 0.616, 0.13), "neither"),
        ((0.616, 0.13, 0.616, 0.13), "neither"),  # equal is not beaten
        ((0.616, 0.2, 0.616, 0.13), "f1_only"),
    ],
)
def test_verdict_wants_both_accuracy_and_macro_f1(scores, kind):
    assert metrics.verdict(judged(*scores)) == kind
