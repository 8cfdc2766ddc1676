"""Calibration against scikit-learn and torchmetrics; temperatures are found again, and few clips cannot fool them."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from fixtures.answers import made_up
from petmood.metrics import fit_temperature, tempered
from petmood.metrics.calibration import COLDEST, HOTTEST, calibration


@st.composite
def probable(draw):
    """Labels and probabilities, some of them rounded so that many are equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    labels, probabilities = made_up(rng, draw(st.integers(1, 90)), too_sure=draw(st.sampled_from([0.5, 1, 3])))
    if draw(st.booleans()):
        probabilities = np.round(probabilities, 1) + 1e-3
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities


@given(probable())
@settings(max_examples=25)
def test_numbers_agree_with_scikit_learn_and_torchmetrics(pair):
    labels, probabilities = pair
    found = calibration(labels, probabilities)
    told, truth = torch.tensor(probabilities), torch.tensor(labels)
    assert found.ece == pytest.approx(float(multiclass_calibration_error(told, truth, 4, n_bins=15)), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        brier = brier_score_loss(labels, probabilities, labels=range(4), scale_by_half=False)
        assert found.brier == pytest.approx(brier)
        assert found.nll == pytest.approx(log_loss(labels, probabilities, labels=range(4)))


@given(probable())
def test_the_curve_holds_every_answer_and_tells_the_error(pair):
    labels, probabilities = pair
    found = calibration(labels, probabilities)
    assert sum(one.count for one in found.bins) == len(labels)
    error = sum(one.count * abs(one.confidence - one.accuracy) for one in found.bins) / len(labels)
    assert found.ece == pytest.approx(error)
    assert [one.confidence for one in found.bins] == sorted(one.confidence for one in found.bins)
    right = sum(one.count * one.accuracy for one in found.bins)
    assert right == pytest.approx(np.sum(probabilities.argmax(axis=1) == labels))


def test_adaptive_bins_hold_equally_many():
    labels, probabilities = made_up(np.random.default_rng(0), 45 * 15, too_sure=3)
    order = np.argsort(probabilities.max(axis=1))
    confidence, right = probabilities.max(axis=1)[order], (probabilities.argmax(axis=1) == labels)[order]
    parts = zip(np.array_split(confidence, 15), np.array_split(right, 15), strict=True)
    expected = np.mean([abs(np.mean(one) - np.mean(two)) for one, two in parts])
    assert calibration(labels, probabilities).adaptive_ece == pytest.approx(expected)


@given(probable(), st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(pair, seed):
    labels, probabilities = pair
    order = np.random.default_rng(seed).permutation(len(labels))
    one, other = calibration(labels, probabilities), calibration(labels[order], probabilities[order])
    assert (one.ece, one.adaptive_ece, one.brier) == pytest.approx((other.ece, other.adaptive_ece, other.brier))


@given(probable(), st.integers(0, 100))
def test_a_weight_of_three_is_three_rows(pair, seed):
    labels, probabilities = pair
    times = np.random.default_rng(seed).integers(1, 4, size=len(labels))
    rows = np.repeat(np.arange(len(labels)), times)
    weighed, repeated = (
        calibration(labels, probabilities, weights=times.astype(float)),
        calibration(labels[rows], probabilities[rows]),
    )
    for number in ("ece", "brier", "nll"):
        assert getattr(weighed, number) == pytest.approx(getattr(repeated, number))
    colder = fit_temperature(labels, probabilities, weights=times.astype(float))
    assert colder == pytest.approx(fit_temperature(labels[rows], probabilities[rows]), rel=1e-3)


def test_full_certainty_is_a_number():
    right = calibration(np.array([0, 1]), np.eye(2))
    assert (right.ece, right.adaptive_ece, right.brier, right.nll) == (0, 0, 0, 0)
    assert right.bins[0].confidence == 1
    wrong = calibration(np.array([1, 0]), np.eye(2))
    assert (wrong.ece, wrong.brier) == (1, 2)
    assert np.isfinite(wrong.nll)


def test_probabilities_that_hold_have_little_error():
    """The true class is drawn from the probabilities themselves, so that they are as right as can be."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 20_000)
    labels = (rng.random(20_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    found = calibration(labels, probabilities)
    assert found.ece < 0.012
    assert found.adaptive_ece < 0.012
    too_sure = calibration(labels, tempered(probabilities, 1 / 3))
    assert too_sure.ece > 0.15
    assert too_sure.brier > found.brier


@pytest.mark.parametrize("too_sure", [0.25, 1.0, 4.0])
def test_the_temperature_is_found_again(too_sure):
    labels, probabilities = made_up(np.random.default_rng(1), 5_000, too_sure=too_sure)
    temperature = fit_temperature(labels, probabilities)
    assert temperature == pytest.approx(too_sure, rel=0.08)
    assert calibration(labels, tempered(probabilities, temperature)).ece < 0.02


def test_the_temperature_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels, seen = made_up(rng, 4_000)
    fitted = LogisticRegression(C=100).fit(seen[:200], labels[:200])
    peer = CalibratedClassifierCV(FrozenEstimator(fitted), method="temperature").fit(seen[200:], labels[200:])
    inverse = peer.calibrated_classifiers_[0].calibrators[0].beta_
    found = fit_temperature(labels[200:], fitted.predict_proba(seen[200:]))
    assert found == pytest.approx(1 / inverse, rel=5e-3)


@given(probable())
def test_the_temperature_never_makes_likelihood_worse(pair):
    labels, probabilities = pair
    temperature = fit_temperature(labels, probabilities)
    assert COLDEST <= temperature <= HOTTEST
    assert (
        calibration(labels, tempered(probabilities, temperature)).nll <= calibration(labels, probabilities).nll + 1e-6
    )


def test_few_answers_that_are_all_right_do_not_make_a_model_all_sure():
    """Ten right answers of a model that errs once in eleven; likelihood alone would make each as good as certain."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(20):
        labels, probabilities = made_up(rng, 10, signal=2.5)
        right = probabilities.argmax(axis=1) == labels
        temperature = fit_temperature(labels[right], probabilities[right])
        assert temperature > 0.4
        labels, probabilities = made_up(rng, 2_000, signal=2.5)
        before, after = (calibration(labels, tempered(probabilities, one)).nll for one in (1.0, temperature))
        worst = max(worst, after / before)
    assert worst < 1.6


@given(probable(), st.floats(0.2, 20))
def test_tempering_keeps_the_order_of_classes_and_sums_to_one(pair, temperature):
    _, probabilities = pair
    after = tempered(probabilities, temperature)
    assert np.isfinite(after).all()
    np.testing.assert_allclose(after.sum(axis=1), 1)
    np.testing.assert_allclose(tempered(probabilities, 1), probabilities, atol=1e-9)
    np.testing.assert_allclose(tempered(after, 1 / temperature), probabilities, atol=1e-6)
    ranks = np.argsort(probabilities, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(after, ranks, axis=1), axis=1) >= -1e-12).all()


def test_tempering_takes_zeros_and_no_rows():
    cold, hot = tempered(np.array([[1.0, 0.0, 0.0]]), 0.05), tempered(np.array([[1.0, 0.0, 0.0]], np.float32), 20)
    assert cold[0, 0] == 1
    assert 0 < hot[0, 1] < 0.02
    assert tempered(np.empty((0, 3)), 2).shape == (0, 3)


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_a_temperature_must_be_above_nothing(temperature):
    with pytest.raises(ValueError, match=f"temperature {temperature} is not above 0"):
        tempered(np.eye(2), temperature)


@pytest.mark.parametrize("weights", [np.ones(1), np.zeros(2), np.array([1.0, -1.0])])
def test_weights_must_fit(weights):
    with pytest.raises(ValueError, match=r"weights of shape .* do not fit 2 labels, or are not positive"):
        calibration(np.array([0, 1]), np.eye(2), weights=weights)


def test_nothing_cannot_be_fitted():
    with pytest.raises(ValueError, match="0 labels"):
        fit_temperature(np.array([], int), np.empty((0, 3)))
