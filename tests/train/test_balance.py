"""Corrections for rare emotions, in every combination: what one has corrected, the next does not correct again."""

import itertools

import numpy as np
import pytest

from petmood.losses import clip_counts
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.train.balance import balance, balance_notes

COUNTS = np.array([60, 285, 7, 1])
CLASSES = ("happy", "calm", "angry", "fear")
FRAMES = 3

SAMPLINGS = ("natural", "sqrt", "balanced")
WEIGHTS = ("none", "balanced", "sqrt", "effective")
LOSSES = ("cross_entropy", "balanced_softmax", "focal")
COMBINATIONS = list(itertools.product(SAMPLINGS, WEIGHTS, LOSSES))


def made(counts=COUNTS, **changed):
    """The balance of a training on so many clips of each class, with three frames each."""
    settings = TrainSettings(**changed)
    labels = np.repeat(np.repeat(np.arange(len(counts)), counts), FRAMES)
    clips = [f"clip {row // FRAMES}" for row in range(len(labels))]
    sampler = ClipSampler(
        clips, labels, frames_per_clip=settings.frames_per_clip, sampling=settings.sampling, seed=settings.seed
    )
    return balance(settings, clip_counts(clips, labels, len(counts)), sampler.class_shares(len(counts)))


def prior_of(loss):
    """Factors by which the loss itself multiplies the scores in training; 1 where it adds no prior."""
    return np.ones(len(CLASSES)) if loss.log_prior is None else loss.log_prior.exp().double().numpy()


@pytest.mark.parametrize(("sampling", "weights", "loss"), COMBINATIONS)
def test_shown_times_weight_is_what_the_prior_and_the_answers_share(sampling, weights, loss):
    """The whole book-keeping: shown × weights = prior of the loss × what the answers expect, each up to a factor.

    Whatever is chosen, rarity is so accounted for exactly once.
    """
    corrected = made(sampling=sampling, class_weights=weights, loss=loss)
    module = corrected.loss()
    applied = np.ones(4) if module.class_weights is None else module.class_weights.double().numpy()
    left = corrected.shown * applied
    explained = prior_of(module) * corrected.expected
    np.testing.assert_allclose(left / left.sum(), explained / explained.sum(), rtol=1e-5)
    assert corrected.expected.sum() == pytest.approx(1)
    if loss == "balanced_softmax":
        np.testing.assert_allclose(corrected.expected, 0.25)
    if sampling == "balanced" or weights == "balanced":
        np.testing.assert_allclose(corrected.expected, 0.25, rtol=0.05)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_balanced_sampling_leaves_nothing_for_weights_or_prior(weights):
    both = made(sampling="balanced", class_weights=weights)
    np.testing.assert_allclose(both.weights, 1, rtol=0.05)
    np.testing.assert_allclose(prior_of(both.loss()), 0.25, rtol=0.05)


def test_natural_shares_are_those_of_the_clips():
    plain = made(loss="cross_entropy")
    np.testing.assert_allclose(plain.shown, COUNTS / COUNTS.sum())
    np.testing.assert_allclose(plain.expected, COUNTS / COUNTS.sum())
    assert plain.clips.tolist() == COUNTS.tolist()


def test_the_focal_loss_has_its_gamma_and_no_other_loss_has():
    assert made(loss="focal", focal_gamma=3.0).loss().focal_gamma == 3.0
    assert made(loss="cross_entropy", focal_gamma=3.0).loss().focal_gamma == 0.0


def test_a_class_that_nobody_shows_is_expected_like_the_rarest():
    empty = made(np.array([6, 3, 0, 1]), loss="cross_entropy", class_weights="none")
    np.testing.assert_allclose(empty.expected, np.array([6, 3, 1, 1]) / 11)
    assert made(np.array([6, 3, 0, 1]), class_weights="balanced").weights[2] == 0


# Notes


def notes(counts=COUNTS, **changed):
    return list(balance_notes(made(counts, **changed), CLASSES))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"loss": "cross_entropy"},
        {"loss": "focal"},
        {"loss": "cross_entropy", "class_weights": "balanced"},
        {"loss": "cross_entropy", "sampling": "sqrt"},
        {"label_smoothing": 0.3},
    ],
)
def test_one_correction_needs_no_word(changed):
    assert notes(**changed) == []


def test_several_corrections_are_told_with_what_they_come_to():
    (note,) = notes(sampling="balanced", class_weights="balanced")
    assert note == (
        "3 corrections for rare emotions are chosen (balanced sampling, balanced class weights, balanced softmax); "
        "each corrects only what those before it leave: an epoch shows all emotions equally often; all class weights "
        "are 1 then, and change nothing; balanced softmax then is plain cross entropy. One of them is usually enough"
    )
    (note,) = notes(class_weights="sqrt")
    assert "an epoch shows emotions in shares of 0.28 to 81 %; class weights of " in note
    assert "make that emotions in shares of " in note
    assert note.endswith("balanced softmax takes the rest. One of them is usually enough")
    (note,) = notes(loss="focal", class_weights="balanced")
    assert "make that all emotions equally often; the focal loss raises what is hard" in note


@pytest.mark.parametrize(("sampling", "weights", "loss"), COMBINATIONS)
def test_every_combination_of_several_is_told_and_no_other(sampling, weights, loss):
    chosen = (sampling != "natural") + (weights != "none") + (loss != "cross_entropy")
    found = notes(sampling=sampling, class_weights=weights, loss=loss)
    assert len(found) == (chosen > 1)
    assert all(note.startswith(f"{chosen} corrections") for note in found)


def test_an_emotion_without_clips_is_named():
    assert notes(np.array([6, 3, 0, 1])) == ["the training split has no picture of angry: the model cannot learn it"]
