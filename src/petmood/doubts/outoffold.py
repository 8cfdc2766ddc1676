"""What a plain classifier says of clips that it was not fitted to: logistic regression, out of fold by group."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from petmood.metrics import Floats, Ints

#: Inverse strengths of the pull of the weights towards zero that are tried; more of it comes first.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
#: Steps of a fit. One that has not settled by then is only pulled more strongly towards zero.
_STEPS = 200
#: No emotion is ever ruled out: one such answer would decide the whole log loss.
_SMALLEST = 1e-6

Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class OutOfFold(NamedTuple):
    """Predictions for every clip by classifiers that saw neither it nor its group."""

    probabilities: npt.NDArray[np.float64]
    """(clips, classes); rows sum to 1. Emotions are expected as often as they occur."""
    strength: float
    """The inverse strength of regularisation that was chosen."""


def out_of_fold(
    features: npt.NDArray[np.float32],
    labels: Ints,
    groups: Sequence[str],
    *,
    folds: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> OutOfFold:
    """Predictions for every clip by classifiers that saw neither it nor its group.

    Classes are not weighted, so that the probabilities are those at which the emotions occur; cleanlab compares them
    with each class's own mean. The regularisation is the one with the least log loss over all clips. That it was chosen
    on what it judges hardly matters: it is one of four.

    Args:
        features: (clips, features).
        labels: class number of each clip, 0 to classes - 1, each present in at least ``folds`` groups.
        groups: of each clip; none is divided.
        folds: parts.
        seed: decides the parts.
        advance: told 1 after each of ``folds * len(STRENGTHS)`` fits.
    """
    parts = list(_parts(labels, groups, folds=folds, seed=seed))
    classes = int(labels.max()) + 1
    found = np.full((len(STRENGTHS), len(labels), classes), 0.0)
    for fitted, judged in parts:
        # One fold's features at a time are in memory twice.
        scaler = StandardScaler().fit(features[fitted])
        seen, unseen = scaler.transform(features[fitted]), scaler.transform(features[judged])
        for number, strength in enumerate(STRENGTHS):
            found[number, judged] = _predictions(seen, labels[fitted], unseen, strength=strength, classes=classes)
            advance(1)
    losses = [log_loss(labels, probabilities, labels=range(classes)) for probabilities in found]
    best = int(np.argmin(losses))
    return OutOfFold(found[best], STRENGTHS[best])


def _parts(labels: Ints, groups: Sequence[str], *, folds: int, seed: int) -> Iterator[Fold]:
    """Rows to fit and rows to judge, of each fold."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    yield from splitter.split(np.zeros(len(labels)), labels, np.asarray(groups))


def _predictions(
    seen: npt.NDArray[np.float32],
    labels: Ints,
    unseen: npt.NDArray[np.float32],
    *,
    strength: float,
    classes: int,
) -> Floats:
    """Probabilities (unseen, classes) of a classifier fitted to ``seen``."""
    found = np.zeros((len(unseen), classes))
    present = np.unique(labels)
    if len(present) == 1:
        found[:, present] = 1.0
    else:
        model = LogisticRegression(C=strength, max_iter=_STEPS, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(seen, labels)
        found[:, present] = model.predict_proba(unseen)
    found = np.maximum(found, _SMALLEST)
    return np.asarray(found / found.sum(axis=1, keepdims=True))
