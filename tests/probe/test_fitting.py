"""From features to a head: each clip counts once, rare emotions are corrected for, absent ones are never answered."""

import numpy as np
import pytest
import torch

from petmood.probe import fitting
from petmood.probe.fitting import Corrections, Frames, fit_head, standardise

torch.set_num_threads(1)
BALANCED = Corrections(loss="balanced_softmax", class_weights="none")
PLAIN = Corrections(loss="cross_entropy", class_weights="none")


def made_up(counts, *, frames=2, seed=0):
    """Frames of so many clips of each class, whose features overlap."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    clips = np.repeat(np.arange(len(labels)), frames)
    centres = 5 + 3 * generator.normal(size=(len(counts), 6))
    features = centres[labels[clips]] + 4 * generator.normal(size=(len(clips), 6))
    groups = [f"group {clip}" for clip in range(len(labels))]
    return Frames(features=torch.from_numpy(features.astype(np.float32)), clips=clips, labels=labels, groups=groups)


def copied(frames, repeats=None):
    """The same frames in tensors of their own; each row so many times."""
    repeats = np.ones(len(frames.clips), np.int64) if repeats is None else repeats
    features = frames.features.repeat_interleave(torch.from_numpy(repeats), dim=0)
    return Frames(
        features=features.clone(), clips=np.repeat(frames.clips, repeats), labels=frames.labels, groups=frames.groups
    )


def shares(frames, fitted):
    """How often each class is answered on average, by probability."""
    logits = torch.from_numpy(fitted.head.logits(frames.features.numpy()))
    return logits.softmax(dim=1).mean(dim=0).numpy()


def test_a_clip_with_many_frames_counts_as_one():
    frames = made_up([30, 20], frames=1)
    repeats = np.where(np.arange(50) % 3 == 0, 9, 1)
    once = fit_head(copied(frames), 2, BALANCED, folds=3, seed=0)
    often = fit_head(copied(frames, repeats), 2, BALANCED, folds=3, seed=0)
    assert often.choice.strength == pytest.approx(once.choice.strength)
    assert np.allclose(often.head.weights, once.head.weights, atol=5e-3)
    assert np.allclose(often.head.mean, once.head.mean, atol=1e-4)
    assert often.counts.tolist() == [30, 20]


def test_plain_answers_are_as_frequent_as_the_clips_and_balanced_ones_are_not():
    frames = made_up([80, 20])
    plain = fit_head(copied(frames), 2, PLAIN, folds=3, seed=0)
    balanced = fit_head(copied(frames), 2, BALANCED, folds=3, seed=0)
    # An intercept without a pull makes the mean answer the share: the first-order condition of the fit.
    assert shares(frames, plain) == pytest.approx([0.8, 0.2], abs=5e-3)
    assert shares(frames, balanced)[1] > 0.3
    assert plain.expected == pytest.approx([0.8, 0.2])
    assert balanced.expected == pytest.approx([0.5, 0.5])


def test_balanced_softmax_corrects_only_what_class_weights_leave():
    frames = made_up([80, 20])
    weighted = fit_head(
        copied(frames), 2, Corrections(loss="balanced_softmax", class_weights="balanced"), folds=3, seed=0
    )
    weights = fit_head(copied(frames), 2, Corrections(loss="cross_entropy", class_weights="balanced"), folds=3, seed=0)
    assert weights.left == pytest.approx([0.5, 0.5])
    assert np.allclose(weighted.head.bias, weights.head.bias, atol=1e-4)


def test_an_emotion_without_pictures_is_never_answered():
    frames = made_up([20, 0, 20])
    fitted = fit_head(copied(frames), 3, BALANCED, folds=3, seed=0)
    logits = torch.from_numpy(fitted.head.logits(frames.features.numpy()))
    assert logits.softmax(dim=1)[:, 1].max() < 1e-5
    assert np.isfinite(fitted.head.bias).all()
    assert fitted.expected == pytest.approx([1 / 3] * 3)


def test_without_two_groups_of_two_emotions_a_usual_strength_is_taken():
    frames = made_up([4, 4])
    one = Frames(features=frames.features, clips=frames.clips, labels=frames.labels, groups=["the same"] * 8)
    fitted = fit_head(one, 2, BALANCED, folds=5, seed=0)
    assert "too few groups" in fitted.choice.note
    assert fitted.choice.strength == pytest.approx(0.3 * 8)


def test_a_choice_on_few_rows_draws_them_evenly_over_the_clips(monkeypatch):
    clips = np.repeat([0, 1, 2], [10, 1, 3])
    drawn = fitting._drawn_evenly(clips, 5, seed=0)
    assert np.bincount(clips[drawn]).tolist() == [2, 1, 2]
    assert sorted(fitting._drawn_evenly(clips, 99, seed=0)) == list(range(14))
    monkeypatch.setattr(fitting, "_CHOSEN_ON", 40)
    fitted = fit_head(made_up([30, 30], frames=3), 2, BALANCED, folds=3, seed=0)
    assert fitted.choice.tried


def test_standardised_features_have_mean_0_and_deviation_1_and_constants_do_no_harm():
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(500, 3)) * [1, 1e-1, 0] + [1000, 5, 7]).astype(np.float32)
    features, weights = torch.from_numpy(values.copy()), generator.uniform(0.5, 2, 500)
    mean, std = standardise(features, weights, eps=1e-5)
    weighted = np.average(values.astype(np.float64), axis=0, weights=weights)
    assert mean == pytest.approx(weighted, rel=1e-5)
    assert np.allclose(features.numpy(), (values - mean) / std, atol=1e-3)
    variance = np.average((features.numpy() - 0.0) ** 2, axis=0, weights=weights)
    assert variance == pytest.approx([1, 1, 0], abs=1e-2)
    assert std[2] == pytest.approx(np.sqrt(1e-5))
