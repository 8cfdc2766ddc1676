"""How probabilities are to be read, by numpy alone: after a temperature, and as a set of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Probabilities below count as this: a network may say 0, and its logarithm must stay a number.
_LEAST = float(np.finfo(np.float32).tiny)


def logits(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Logarithms of probabilities, which are logits up to a constant; 0 counts as the least normal 32-bit number."""
    return np.asarray(np.log(np.maximum(probabilities, _LEAST, dtype=np.float64)))


def tempered(probabilities: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities (n, classes) after division of their logits by ``temperature``; the order of classes stays.

    Logarithms of probabilities are logits up to a constant, which the softmax does not see. Probabilities of 0 count as
    the smallest normal number of 32 bits.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not above 0")
    scaled = logits(probabilities) / temperature
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def answer_sets(probabilities: npt.NDArray[Any], threshold: float) -> npt.NDArray[np.bool_]:
    """Which classes belong to the set of each row, (n, classes): those from ``threshold`` on, and always the likeliest.

    Args:
        probabilities: (n, classes), after the temperature.
        threshold: of `metrics.fit_threshold`.
    """
    probabilities = np.asarray(probabilities)
    likely = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return np.asarray((probabilities >= threshold) | likely, np.bool_)
