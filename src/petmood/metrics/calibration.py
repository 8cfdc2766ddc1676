"""Whether probabilities can be believed, and the temperature that mends them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from petmood.metrics.records import Bin, Calibration, Floats, Ints
from petmood.metrics.scores import likeliest
from petmood.probabilities import logits

#: Ranges of the reliability curve (Guo et al. 2017).
BINS = 15

#: Temperatures that are tried.
COLDEST, HOTTEST = 0.05, 20.0

#: Weights below count as this where they divide.
_LEAST = float(np.finfo(np.float32).tiny)


def calibration(labels: Ints, probabilities: Floats, *, weights: Floats | None = None) -> Calibration:
    """How far the probabilities of the answers agree with the share that is right.

    Expected calibration error and reliability curve: Guo et al., On Calibration of Modern Neural Networks, ICML 2017
    (arXiv 1706.04599), section 2. Adaptive: the same with bins of equal weight, Nixon et al., Measuring Calibration in
    Deep Learning, 2019 (arXiv 1904.01685). Brier score: of all classes, 0 to 2 (Brier 1950).

    Args:
        labels: true class numbers, (n,), n > 0.
        probabilities: (n, classes).
        weights: how much each row counts, (n,), not negative; None if all count the same.

    Raises:
        ValueError: nothing to judge, or lengths differ.
    """
    right = likeliest(labels, probabilities, probabilities.shape[1]) == labels
    weights = _shares(labels, weights)
    confidence = np.asarray(probabilities, np.float64).max(axis=1)
    # A probability of 1 belongs to the last bin.
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    own = np.arange(probabilities.shape[1]) == np.asarray(labels)[:, None]
    distances = np.square(np.asarray(probabilities, np.float64) - own).sum(axis=1)
    return Calibration(
        ece=_error(bins, confidence, right, weights),
        adaptive_ece=_adaptive(confidence, right, weights),
        brier=float(weights @ distances),
        nll=_nll(labels, probabilities, weights),
        bins=_curve(bins, confidence, right, weights),
    )


def fit_temperature(labels: Ints, probabilities: Floats, *, weights: Floats | None = None) -> float:
    """The temperature, 0.05 to 20, under which the true classes are likeliest; above 1 the network was too sure.

    Answers stay the same, only their probabilities change (Guo et al. 2017, arXiv 1706.04599, section 4.2). Where every
    answer is right, likelihood alone would ask for endless certainty. So 1 / T has a Gamma prior of shape 2 and rate 1,
    which peaks at 1 and weighs about as much as one observation: with hundreds of observations it is not felt.

    Args:
        labels: true class numbers, (n,), n > 0; of data that the network was not trained on.
        probabilities: (n, classes), before any temperature.
        weights: for how many independent observations each row stands, (n,); None if for one.

    Raises:
        ValueError: nothing to fit on, or lengths differ.
    """
    likeliest(labels, probabilities, probabilities.shape[1])
    masses = _shares(labels, weights) * (len(labels) if weights is None else np.sum(weights))
    values = logits(probabilities)
    own = np.take_along_axis(values, np.asarray(labels)[:, None], axis=1)[:, 0]

    def cost(log: float) -> float:
        cold = np.exp(-log)
        # Both parts are convex in 1 / T, so that there is one minimum.
        return float(masses @ (logsumexp(values * cold, axis=1) - own * cold) + cold + log)

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))


def _shares(labels: Ints, weights: Floats | None) -> npt.NDArray[np.float64]:
    """Weights that sum to 1."""
    if weights is None:
        return np.full(len(labels), 1 / len(labels))
    weights = np.asarray(weights, np.float64)
    if weights.shape != (len(labels),) or weights.min() < 0 or not 0 < weights.sum() < np.inf:
        raise ValueError(f"weights of shape {weights.shape} do not fit {len(labels)} labels, or are not positive")
    return np.asarray(weights / weights.sum())


def _nll(labels: Ints, probabilities: Floats, weights: Floats) -> float:
    own = np.take_along_axis(probabilities, np.asarray(labels)[:, None], axis=1)[:, 0]
    return float(-weights @ logits(own))


def _error(bins: Ints, confidence: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> float:
    """Sum over the bins of the weight in them times the distance of mean confidence and share right."""
    return float(np.abs(np.bincount(bins, weights * (confidence - right), BINS)).sum())


def _adaptive(confidence: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> float:
    order = np.lexsort((weights, confidence))
    confidence, weights = confidence[order], weights[order]
    # Equal probabilities may fall into two bins: each gets their mean, so that the order of rows does not matter.
    _, ties = np.unique(confidence, return_inverse=True)
    shares = (np.bincount(ties, weights * right[order]) / np.maximum(np.bincount(ties, weights), _LEAST))[ties]
    middles = np.cumsum(weights) - weights / 2
    bins = np.clip((middles * BINS).astype(np.int64), 0, BINS - 1)
    return float(np.abs(np.bincount(bins, weights * (confidence - shares), BINS)).sum())


def _curve(bins: Ints, confidence: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> tuple[Bin, ...]:
    mass = np.bincount(bins, weights, BINS)
    with_any = np.flatnonzero(mass > 0)
    confidences, rights = (np.bincount(bins, weights * values, BINS) for values in (confidence, right))
    counts = np.bincount(bins, minlength=BINS)
    return tuple(Bin(float(confidences[i] / mass[i]), float(rights[i] / mass[i]), int(counts[i])) for i in with_any)
