"""Clips from their frames: means, medians and attention, by hand and by their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.answers import softmax
from petmood import metrics


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(0, 2**31))
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
    return clips, softmax(logits), np.array([ord(clip) % 3 for clip in clips]), attention, logits


@given(attended())
def test_attention_weighs_the_logits_of_a_clip(case):
    clips, probabilities, labels, attention, logits = case
    pooled = metrics.clip_means(clips, probabilities, labels, attention)
    for clip, answer in zip(pooled.clips, pooled.probabilities, strict=True):
        rows = [i for i, name in enumerate(clips) if name == clip]
        # Probabilities below the smallest number of 32 bits count as that number.
        floored = np.maximum(logits[rows] - _logsumexp(logits[rows]), np.log(np.finfo(np.float32).tiny))
        np.testing.assert_allclose(answer, softmax(softmax(attention[rows]) @ floored), atol=1e-9)


def _logsumexp(logits):
    highest = logits.max(axis=1, keepdims=True)
    return highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))


@given(attended(), st.floats(-1e4, 1e4))
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


def test_lengths_are_checked():
    with pytest.raises(ValueError, match="do not match"):
        metrics.clip_means(["a"], np.ones((2, 2)), np.array([0, 1]))
    with pytest.raises(ValueError, match="do not match"):
        metrics.clip_medians(["a"], np.ones((2, 2)), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"2 frames and attention of shape \(1,\) do not match"):
        metrics.clip_means(["a", "a"], np.ones((2, 2)), np.array([0, 0]), np.zeros(1))


def test_clip_means_of_no_frames_are_no_clips():
    pooled = metrics.clip_means([], np.empty((0, 3)), np.empty(0, int))
    assert pooled.clips == ()
    assert pooled.probabilities.shape == (0, 3)
    attentive = metrics.clip_means([], np.empty((0, 3)), np.empty(0, int), np.empty(0))
    assert attentive.probabilities.shape == (0, 3)
    assert metrics.clip_medians([], np.empty((0, 3)), np.empty(0, int)).probabilities.shape == (0, 3)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(0, 2**31))
def test_clip_medians_are_the_medians_of_their_frames(clips, seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), len(clips)).astype(np.float32)
    labels = np.array([ord(clip) % 3 for clip in clips])
    pooled = metrics.clip_medians(clips, probabilities, labels)
    means = metrics.clip_means(clips, probabilities, labels)
    assert pooled.clips == means.clips
    assert pooled.labels.tolist() == means.labels.tolist()
    for clip, answer in zip(pooled.clips, pooled.probabilities, strict=True):
        median = np.median(probabilities[[name == clip for name in clips]].astype(float), axis=0)
        np.testing.assert_allclose(answer, median / median.sum())


def test_a_few_frames_far_off_do_not_move_the_median():
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4], [0.65, 0.35], [0.0, 1.0], [0.0, 1.0]])
    labels = np.zeros(5, int)
    assert metrics.clip_means(["a"] * 5, probabilities, labels).probabilities.argmax() == 1
    assert metrics.clip_medians(["a"] * 5, probabilities, labels).probabilities.argmax() == 0


def test_where_all_medians_are_nothing_the_mean_stands_in():
    pooled = metrics.clip_medians(["a", "a", "a", "b"], np.eye(3)[[0, 1, 2, 1]], np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(pooled.probabilities, [[1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])
