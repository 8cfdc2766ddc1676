"""Scores against scikit-learn, by hand, and by their properties."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from petmood import metrics

NAMES = ("happy", "calm", "anxious", "angry")


@st.composite
def answers(draw):
    n = draw(st.integers(1, 60))
    numbers = st.lists(st.integers(0, len(NAMES) - 1), min_size=n, max_size=n)
    return np.array(draw(numbers)), np.array(draw(numbers))


@given(answers())
@settings(max_examples=40, deadline=None)
def test_scores_agree_with_scikit_learn(pair):
    labels, predicted = pair
    present = np.unique(labels)
    judged = metrics.judge(labels, predicted, NAMES, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert judged.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
        assert judged.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
        f1 = reference.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert judged.macro_f1 == pytest.approx(f1)
    assert metrics.macro_f1(labels, predicted, len(NAMES)) == judged.macro_f1
    np.testing.assert_array_equal(judged.confusion, reference.confusion_matrix(labels, predicted, labels=range(4)))


@given(answers())
@settings(max_examples=40, deadline=None)
def test_parts_of_a_judgement_fit_together(pair):
    labels, predicted = pair
    judged = metrics.judge(labels, predicted, NAMES, 1)
    counts = np.array(judged.confusion)
    assert counts.sum() == judged.count == len(labels)
    assert judged.right == np.trace(counts) == round(judged.accuracy * judged.count)
    assert [one.support for one in judged.classes] == counts.sum(axis=1).tolist()
    assert [one.predicted for one in judged.classes] == counts.sum(axis=0).tolist()
    known = [one.f1 for one in judged.classes if one.f1 is not None]
    assert judged.macro_f1 == pytest.approx(np.mean(known))
    for one in judged.classes:
        assert (one.recall is None) == (one.f1 is None) == (one.support == 0)
        assert (one.precision is None) == (one.predicted == 0)


@given(answers())
@settings(max_examples=25, deadline=None)
def test_perfect_answers_score_one_and_order_does_not_matter(pair):
    labels, predicted = pair
    assert metrics.macro_f1(labels, labels, 4) == metrics.balanced_accuracy(labels, labels, 4) == 1.0
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = metrics.judge(labels[order], predicted[order], NAMES, 0)
    assert shuffled == metrics.judge(labels, predicted, NAMES, 0)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_clip_means_are_the_means_of_their_frames(clips, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), len(clips)).astype(np.float32)
    labels = np.array([ord(clip) % 3 for clip in clips])
    pooled = metrics.clip_means(clips, probabilities, labels)
    assert pooled.clips == tuple(dict.fromkeys(clips))
    for clip, mean, label in zip(pooled.clips, pooled.probabilities, pooled.labels, strict=True):
        rows = [i for i, name in enumerate(clips) if name == clip]
        np.testing.assert_allclose(mean, probabilities[rows].astype(float).mean(axis=0), rtol=1e-9)
        assert label == ord(clip) % 3
    np.testing.assert_allclose(pooled.probabilities.sum(axis=1), 1, rtol=1e-5)


@st.composite
def attended(draw):
    """Names of clips, probabilities that vary much, class numbers that follow from the clip, and attention scores."""
    clips = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=30))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    logits = rng.normal(scale=draw(st.sampled_from([0.5, 5.0, 40.0])), size=(len(clips), 3))
    attention = rng.normal(scale=draw(st.sampled_from([0.1, 3.0, 500.0])), size=len(clips))
    return clips, _softmax(logits), np.array([ord(clip) % 3 for clip in clips]), attention, logits


def _softmax(logits):
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


@given(attended())
@settings(max_examples=60, deadline=None)
def test_attention_weighs_the_logits_of_a_clip(case):
    clips, probabilities, labels, attention, logits = case
    pooled = metrics.clip_means(clips, probabilities, labels, attention)
    for clip, answer in zip(pooled.clips, pooled.probabilities, strict=True):
        rows = [i for i, name in enumerate(clips) if name == clip]
        # Probabilities below the smallest number of 32 bits count as that number.
        floored = np.maximum(logits[rows] - _logsumexp(logits[rows]), np.log(np.finfo(np.float32).tiny))
        np.testing.assert_allclose(answer, _softmax(_softmax(attention[rows]) @ floored), atol=1e-9)


def _logsumexp(logits):
    highest = logits.max(axis=1, keepdims=True)
    return highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))


@given(attended(), st.floats(-1e4, 1e4))
@settings(max_examples=40, deadline=None)
def test_only_differences_of_attention_within_a_clip_matter(case, constant):
    clips, probabilities, labels, attention, _ = case
    pooled = metrics.clip_means(clips, probabilities, labels, attention).probabilities
    assert np.isfinite(pooled).all()
    np.testing.assert_allclose(pooled.sum(axis=1), 1)
    shifted = metrics.clip_means(clips, probabilities, labels, attention + constant).probabilities
    np.testing.assert_allclose(shifted, pooled, atol=1e-7)
    equal = metrics.clip_means(clips, probabilities, labels, np.full(len(clips), constant)).probabilities
    alone = {clip for clip in clips if clips.count(clip) == 1}
    numbers = {clip: number for number, clip in enumerate(dict.fromkeys(clips))}
    for clip in alone:
        np.testing.assert_allclose(pooled[numbers[clip]], probabilities[clips.index(clip)], atol=1e-9)
        np.testing.assert_allclose(equal[numbers[clip]], probabilities[clips.index(clip)], atol=1e-9)
    order = np.random.default_rng(0).permutation(len(clips))
    turned = metrics.clip_means([clips[i] for i in order], probabilities[order], labels[order], attention[order])
    for clip, answer in zip(turned.clips, turned.probabilities, strict=True):
        np.testing.assert_allclose(answer, pooled[numbers[clip]], atol=1e-9)


def test_frames_that_say_the_same_answer_as_one_of_them():
    probabilities = np.repeat([[0.2, 0.5, 0.3]], 4, axis=0)
    pooled = metrics.clip_means(["a"] * 4, probabilities, np.zeros(4, int), np.array([3.0, -1.0, 0.0, 900.0]))
    np.testing.assert_allclose(pooled.probabilities, [[0.2, 0.5, 0.3]])


def test_attention_looks_at_the_frame_with_the_highest_score():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.0, 1.0]], np.float32)
    pooled = metrics.clip_means(["a"] * 3, probabilities, np.zeros(3, int), np.array([0.0, 0.0, 50.0]))
    assert pooled.probabilities[0, 1] > 0.999
    assert metrics.clip_means(["a"] * 3, probabilities, np.zeros(3, int)).probabilities[0, 1] < 0.5


def test_a_clip_with_two_labels_is_refused():
    with pytest.raises(ValueError, match=r"clip 'a' has two labels, 0 and 1"):
        metrics.clip_means(["a", "b", "a"], np.ones((3, 2)) / 2, np.array([0, 1, 1]))


def test_lengths_and_numbers_are_checked():
    with pytest.raises(ValueError, match="do not match"):
        metrics.clip_means(["a"], np.ones((2, 2)), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"2 frames and attention of shape \(1,\) do not match"):
        metrics.clip_means(["a", "a"], np.ones((2, 2)), np.array([0, 0]), np.zeros(1))
    with pytest.raises(ValueError, match="0 labels and 0 answers"):
        metrics.macro_f1(np.array([], int), np.array([], int), 3)
    with pytest.raises(ValueError, match="0 labels and 0 answers"):
        metrics.accuracy(np.array([], int), np.array([], int))
    with pytest.raises(ValueError, match="answer 3 is no class number; there are 3 classes"):
        metrics.macro_f1(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="label -1 is no class number"):
        metrics.confusion(np.array([0, -1]), np.array([0, 1]), 3)


def test_clip_means_of_no_frames_are_no_clips():
    pooled = metrics.clip_means([], np.empty((0, 3)), np.empty(0, int))
    assert pooled.clips == ()
    assert pooled.probabilities.shape == (0, 3)
    attentive = metrics.clip_means([], np.empty((0, 3)), np.empty(0, int), np.empty(0))
    assert attentive.probabilities.shape == (0, 3)


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
    judged = metrics.judge(np.array([0, 0, 1]), np.array([0, 0, 0]), ("a", "b", "c"), metrics.majority(training, 3))
    assert judged.baseline == metrics.Baseline(answer="b", accuracy=1 / 3, macro_f1=0.25)
    with pytest.raises(ValueError, match="no training clips"):
        metrics.majority(np.array([], int), 3)


def judged(accuracy, f1, base_accuracy, base_f1):
    one = metrics.judge(np.array([0, 1]), np.array([0, 1]), ("a", "b"), 0)
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


def evaluation():
    one = metrics.judge(np.array([0, 1, 1]), np.array([0, 1, 0]), ("happy", "calm", "fear"), 1)
    return metrics.Evaluation(
        split="val",
        split_by="group",
        classes=("happy", "calm", "fear"),
        verdict=metrics.verdict(one),
        cautions=(metrics.Caution(kind="leak", clips=3, groups=1),),
        frames=one,
        clips=one,
        species=(metrics.SpeciesJudgement(species="cat", frames=one, clips=one),),
        training_clips={"happy": 1, "calm": 4},
        settings={"split": "auto"},
        versions={"petmood": "0"},
    )


def test_an_evaluation_survives_json():
    original = evaluation()
    text = json.dumps(original.to_dict())
    assert "NaN" not in text
    assert metrics.Evaluation.from_dict(json.loads(text)) == original


def test_something_else_is_no_evaluation():
    with pytest.raises(ValueError, match="split"):
        metrics.Evaluation.from_dict({"format": 1})
