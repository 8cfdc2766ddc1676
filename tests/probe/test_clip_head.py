"""Attention over the frames of a clip: found where it is there, not made up where it is not, and never by accident."""

import numpy as np
import pytest
import torch

from petmood.metrics import clip_means, macro_f1
from petmood.model import FrameAttention
from petmood.probe import clip_head
from petmood.probe.clip_head import fit_clip_head
from petmood.probe.solver import Head, Problem, fit

# OpenMP threads wait by spinning: beside other processes on few cores these small steps would take 20 times as long.
torch.set_num_threads(1)

FRAMES, WIDTH, CLASSES = 8, 16, 3
DIRECTIONS = np.linalg.qr(np.random.default_rng(7).normal(size=(WIDTH, WIDTH)))[0][:CLASSES]


def clips_of(count, *, seed, shown):
    """Features, clip numbers, labels and groups of clips that show their class in ``shown`` of eight frames."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(CLASSES, size=count)
    features = generator.normal(size=(count, FRAMES, WIDTH))
    telling = generator.random((count, FRAMES)).argsort(axis=1) < shown
    features += 5.0 * telling[:, :, None] * DIRECTIONS[labels][:, None]
    features = (3 + 2 * features).astype(np.float32)  # as a backbone gives them: not standardised
    return features.reshape(-1, WIDTH), np.repeat(np.arange(count), FRAMES), labels, telling


def groups_of(count):
    return [f"animal-{number // 2}" for number in range(count)]


def probe_of(features, clips, labels, strength=1.0):
    mean, std = features.mean(axis=0), features.std(axis=0)
    weights = (1 / np.bincount(clips))[clips]
    standardised = torch.from_numpy((features - mean) / std)
    found = fit(Problem.of(standardised, labels[clips], weights, CLASSES), strength)
    return Head(mean, std, found.weights.astype(np.float32), found.bias.astype(np.float32))


def fitted(features, clips, labels, *, shares=None, seed=0, groups=None):
    head = probe_of(features, clips, labels)
    groups = groups_of(len(labels)) if groups is None else groups
    return head, fit_clip_head(features, clips, labels, groups, head, shares=shares, seed=seed, folds=3)


def scores_of(head, found, features):
    """Attention of frames by what was found."""
    attention = FrameAttention(WIDTH)
    attention.load_state_dict(found.attention)
    with torch.no_grad():
        return attention(torch.from_numpy((features - head.mean) / head.std)).numpy()


def clip_score(head, weights, bias, attention, case):
    """Macro-F1 of clips, by the way in which a saved model answers."""
    features, clips, labels, _ = case
    logits = (features - head.mean) / head.std @ weights.T + bias
    shares = torch.from_numpy(logits).softmax(dim=1).numpy()
    answers = clip_means([str(clip) for clip in clips], shares, labels[clips], attention)
    return macro_f1(labels, answers.probabilities.argmax(axis=1), CLASSES)


@pytest.fixture(scope="module")
def rare():
    """Clips whose emotion shows in one frame of eight, and what was learnt from them."""
    features, clips, labels, _ = clips_of(160, seed=0, shown=1)
    return fitted(features, clips, labels)


def test_attention_finds_the_one_frame_that_tells_and_beats_the_mean(rare):
    head, found = rare
    assert found.attentive
    assert "attention over the frames of a clip helps on 160 clips held out" in found.note
    unseen = clips_of(300, seed=1, shown=1)
    features, _, _, telling = unseen
    scores = scores_of(head, found, features)
    right = scores.reshape(-1, FRAMES).argmax(axis=1) == telling.argmax(axis=1)
    assert right.mean() > 0.8  # chance is 0.125
    mean = clip_score(head, head.weights, head.bias, None, unseen)
    assert clip_score(head, found.weights, found.bias, scores, unseen) > mean + 0.2


def test_the_classifier_is_the_probe_but_for_one_factor(rare):
    head, found = rare
    factor = found.weights / head.weights
    assert factor.min() > 1.5  # a probe of frames that mostly say nothing is not sure enough of those that do
    np.testing.assert_allclose(factor, factor[0, 0], rtol=1e-4)
    np.testing.assert_allclose(found.bias, head.bias * factor[0, 0], rtol=1e-4)


def test_the_same_again_with_frames_in_another_order(rare):
    features, clips, labels, _ = clips_of(160, seed=0, shown=1)
    order = np.random.default_rng(3).permutation(len(clips))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    head, found = fitted(features[order], clips[order], labels)
    assert torch.equal(torch.get_rng_state(), before)  # nothing else that is random is touched
    probes, expected = rare
    np.testing.assert_allclose(found.weights, expected.weights, rtol=0.02)
    unseen = clips_of(20, seed=1, shown=1)[0]
    np.testing.assert_allclose(scores_of(head, found, unseen), scores_of(probes, expected, unseen), atol=0.1)


def test_balanced_softmax_stays_balanced():
    """The probe expects equal shares; so must the clips' answers, whatever the shares in training."""
    features, clips, labels, _ = clips_of(240, seed=2, shown=1)
    often = np.flatnonzero((labels == 0) | (np.random.default_rng(0).random(240) < 0.4))
    rows = np.isin(clips, often)
    features, labels = features[rows], labels[often]
    clips = np.searchsorted(often, clips[rows])
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    plain = probe_of(features, clips, labels)
    head = Head(plain.mean, plain.std, plain.weights, (plain.bias - np.log(shares)).astype(np.float32))
    found = fit_clip_head(features, clips, labels, groups_of(len(labels)), head, shares=shares, seed=0, folds=3)
    assert found.attentive
    unseen = clips_of(600, seed=4, shown=1)
    scores = scores_of(head, found, unseen[0])
    logits = (unseen[0] - head.mean) / head.std @ found.weights.T + found.bias
    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy()
    names = [str(clip) for clip in unseen[1]]
    answers = clip_means(names, probabilities, unseen[2][unseen[1]], scores).probabilities
    truth = np.bincount(unseen[2], minlength=CLASSES) / 600
    np.testing.assert_allclose(answers.mean(axis=0), truth, atol=0.08)
    assert np.abs(shares - truth).max() > 0.15


@pytest.mark.parametrize("seed", range(3))
def test_where_all_frames_say_the_same_the_probe_comes_back(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(CLASSES, size=120)
    one = generator.normal(size=(120, WIDTH)) + 1.5 * DIRECTIONS[labels]
    features = np.repeat(one, FRAMES, axis=0).astype(np.float32)
    head, found = fitted(features, np.repeat(np.arange(120), FRAMES), labels, seed=seed)
    assert not found.attentive
    assert "does not surely help on 120 clips held out" in found.note
    assert found.note.endswith("the mean is kept")
    np.testing.assert_array_equal(found.weights, head.weights)
    np.testing.assert_array_equal(found.bias, head.bias)
    assert not scores_of(head, found, features).any()


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_mean_nothing_teach_nothing(seed):
    features, clips, labels, _ = clips_of(120, seed=seed, shown=1)
    labels = np.random.default_rng(seed).permutation(labels)
    assert not fitted(features, clips, labels, seed=seed)[1].attentive


def test_what_cannot_be_judged_is_said():
    features, clips, labels, _ = clips_of(24, seed=0, shown=1)
    head, found = fitted(features[::FRAMES], np.arange(24), labels)
    assert found.note == "each clip has one frame, so that there is nothing to attend to"
    assert not found.attentive
    np.testing.assert_array_equal(found.weights, head.weights)
    _, found = fitted(features, clips, labels, groups=["a", "b"] * 12)
    assert "fewer than three groups" in found.note
    assert not found.attentive


def test_clips_of_different_lengths_and_emotions_of_one_clip_are_no_trouble():
    features, clips, labels, _ = clips_of(90, seed=0, shown=1)
    labels = np.where(labels == 2, 1, labels)
    labels[0] = 2
    kept = np.random.default_rng(0).random(len(clips)) < 0.6
    kept[::FRAMES] = True
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    _, found = fitted(features[kept], clips[kept], labels, shares=shares)
    assert "on 90 clips held out" in found.note


def test_of_many_clips_a_sample_is_enough(monkeypatch):
    monkeypatch.setattr(clip_head, "_SAMPLE", 100)
    features, clips, labels, _ = clips_of(160, seed=0, shown=1)
    _, found = fitted(features, clips, labels)
    assert "on 100 clips held out" in found.note
    assert found.attentive
