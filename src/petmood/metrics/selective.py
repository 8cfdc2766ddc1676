"""How wrong a model is that may keep silent where it is least sure."""

from __future__ import annotations

import numpy as np

from petmood.metrics.records import Floats, Ints, Selective
from petmood.metrics.scores import likeliest

#: Coverages at which the curve is told, in steps of 1 %.
_POINTS = 101


def risk_coverage(labels: Ints, probabilities: Floats) -> Selective:
    """Share that is wrong among the surest answers, for each share that is answered.

    The surest are those whose likeliest class has the highest probability. Equal probabilities cannot be told apart and
    are answered together.

    Args:
        labels: true class numbers, (n,), n > 0.
        probabilities: (n, classes).

    Raises:
        ValueError: nothing to judge, or lengths differ.
    """
    wrong = likeliest(labels, probabilities, probabilities.shape[1]) != labels
    levels, rows = np.unique(-np.max(probabilities, axis=1), return_inverse=True)
    counts = np.bincount(rows, minlength=len(levels))
    answered, mistakes = np.cumsum(counts), np.cumsum(np.bincount(rows, wrong, len(levels)))
    coverage, risk = answered / len(wrong), mistakes / answered
    # Of all points those that first reach 0 %, 1 %, 2 % … of the rows.
    wanted = np.ceil(np.linspace(0, 1, _POINTS) * len(wrong)).astype(np.int64)
    shown = np.unique(np.searchsorted(answered, wanted))
    return Selective(
        coverage=tuple(coverage[shown].tolist()),
        risk=tuple(risk[shown].tolist()),
        aurc=float(risk @ counts / len(wrong)),
    )
