"""Sets of answers that hold the truth as often as promised, whatever the network does (conformal prediction)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from petmood.metrics.ranges import range_of_mean
from petmood.metrics.records import AnswerSets, Floats, Ints
from petmood.metrics.scores import likeliest

#: Sums of shares are off by less.
_ROUNDING = 1e-9


def fit_threshold(
    labels: Ints, probabilities: Floats, groups: Sequence[str], *, level: float, weights: Floats | None = None
) -> float:
    """The probability from which on a class belongs to the set, so that sets of new groups hold the truth at ``level``.

    Split-conformal prediction for grouped data (HCP: Lee, Barber and Willett, Distribution-free Inference with
    Hierarchical Data, 2023, arXiv 2306.06342). The score of a row is 1 - probability of its true class. Each of K
    groups has the mass 1 / (K + 1), shared by its rows; the mass of the group still to come lies at infinity. It holds
    for a row of a new group if groups are exchangeable, however alike the clips of a group are.

    Args:
        labels: true class numbers, (n,), n > 0; of data that the network was not trained on.
        probabilities: (n, classes), 0 to 1.
        groups: group of each row, (n,).
        level: share of the sets that shall hold the truth, above 0 and below 1.
        weights: how a group's mass is shared by its rows, (n,); None if equally.

    Returns:
        0 to 1; 0 (every class) if there are too few groups for the promise: fewer than level / (1 - level).

    Raises:
        ValueError: lengths differ, or ``level`` is no share.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is no share between 0 and 1")
    likeliest(labels, probabilities, probabilities.shape[1])
    masses, count = _masses(groups, len(labels), weights)
    own = np.take_along_axis(probabilities, np.asarray(labels)[:, None], axis=1)[:, 0]
    order = np.argsort(-own, kind="stable")
    held = np.cumsum(masses[order]) / (count + 1)
    enough = np.flatnonzero(held >= level - _ROUNDING)
    return float(own[order[enough[0]]]) if enough.size else 0.0


def judge_sets(
    labels: Ints,
    sets: npt.NDArray[np.bool_],
    groups: Sequence[str],
    names: Sequence[str],
    *,
    level: float,
    weights: Floats | None = None,
) -> AnswerSets:
    """How often sets of answers hold the truth, and how large they are.

    Args:
        labels: true class numbers, (n,), n > 0.
        sets: (n, classes), of `probabilities.answer_sets`.
        groups: group of each row, (n,).
        names: the data set's classes, in order.
        level: share that was promised.
        weights: how much each row counts in its group, (n,); None if all count the same.

    Raises:
        ValueError: lengths differ, or nothing to judge.
    """
    if not len(labels) or sets.shape != (len(labels), len(names)):
        raise ValueError(f"{len(labels)} labels and sets of shape {sets.shape} for {len(names)} classes do not match")
    labels, sizes = np.asarray(labels), sets.sum(axis=1)
    held = np.take_along_axis(sets, labels[:, None], axis=1)[:, 0]
    masses, count = _masses(groups, len(labels), weights)
    rows = np.unique(np.asarray(groups, np.str_), return_inverse=True)[1]
    # Rounding may put a share a little above 1.
    of_groups = np.minimum(np.bincount(rows, masses * held, count), 1.0)
    return AnswerSets(
        level=level,
        covered=float(of_groups.mean()),
        covered_range=range_of_mean(of_groups),
        single=float(np.mean(sizes == 1)),
        double=float(np.mean(sizes == 2)),
        unsure=float(np.mean(sizes > 2)),
        mean_size=float(sizes.mean()),
        classes={
            name: float(held[labels == i].mean()) if (labels == i).any() else None for i, name in enumerate(names)
        },
    )


def _masses(groups: Sequence[str], count: int, weights: Floats | None) -> tuple[npt.NDArray[np.float64], int]:
    """Share of each row in its group, (n,), and how many groups there are.

    Raises:
        ValueError: the lengths differ.
    """
    if len(groups) != count:
        raise ValueError(f"{count} labels and {len(groups)} groups do not match")
    names, rows = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    return weights / np.bincount(rows, weights, len(names))[rows], len(names)
