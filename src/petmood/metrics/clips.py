"""Frames gathered into clips: what they say together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from petmood.metrics.records import ClipScores, Floats, Ints


def clip_means(
    clips: Sequence[str], probabilities: Floats, labels: Ints, attention: Floats | None = None
) -> ClipScores:
    """Frames gathered into clips: what they say together, in order of first appearance.

    Without attention a clip's answer is the mean of its frames' probabilities. With attention it is the softmax of
    their logits' mean, weighted by the softmax of the clip's attention scores (Ilse et al. 2018, arXiv 1802.04712; why
    logits serve: ``docs/decisions/0008``). Logarithms of probabilities are logits up to a constant, which the softmax
    does not see.

    Args:
        clips: name of each frame's clip, (n,).
        probabilities: (n, classes).
        labels: class number of each frame, (n,).
        attention: score of each frame, (n,), any finite numbers; None if all frames of a clip count the same.

    Raises:
        ValueError: the lengths differ, or a clip has two labels.
    """
    names, rows, clip_labels = _gathered(clips, probabilities, labels)
    if attention is not None and np.shape(attention) != (len(clips),):
        raise ValueError(f"{len(clips)} frames and attention of shape {np.shape(attention)} do not match")
    if attention is None:
        means = _sums(probabilities, rows, len(names)) / np.bincount(rows, minlength=len(names))[:, None]
    else:
        means = _attended(probabilities, attention, rows, len(names))
    return ClipScores(names, means, clip_labels)


def clip_medians(clips: Sequence[str], probabilities: Floats, labels: Ints) -> ClipScores:
    """Frames gathered into clips by the median of each class's probability, made to sum to 1.

    A few frames that are far off cannot move it. Where all medians are 0 (frames that contradict each other with full
    certainty) the mean stands in.

    Args:
        clips: name of each frame's clip, (n,).
        probabilities: (n, classes).
        labels: class number of each frame, (n,).

    Raises:
        ValueError: the lengths differ, or a clip has two labels.
    """
    means = clip_means(clips, probabilities, labels)
    _, rows, _ = _gathered(clips, probabilities, labels)
    ordered = np.asarray(probabilities, np.float64)[np.argsort(rows, kind="stable")]
    ends = np.cumsum(np.bincount(rows, minlength=len(means.clips)))
    medians = np.zeros_like(means.probabilities)
    for number, (start, end) in enumerate(zip(ends - np.diff(ends, prepend=0), ends, strict=True)):
        medians[number] = np.median(ordered[start:end], axis=0)
    sums = medians.sum(axis=1, keepdims=True)
    medians = np.divide(medians, sums, out=means.probabilities.copy(), where=sums > 0)
    return ClipScores(means.clips, medians, means.labels)


def _gathered(
    clips: Sequence[str], probabilities: Floats, labels: Ints
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Names of the clips, number of each frame's clip (n,), class number of each clip; checked as `clip_means` says."""
    labels = np.asarray(labels, np.int64)
    if not len(clips) == len(probabilities) == len(labels):
        raise ValueError(
            f"{len(clips)} clips, {len(probabilities)} probabilities and {len(labels)} labels do not match"
        )
    numbers: dict[str, int] = {}
    rows = np.fromiter((numbers.setdefault(clip, len(numbers)) for clip in clips), np.int64, len(clips))
    names = tuple(numbers)
    clip_labels = np.zeros(len(names), np.int64)
    clip_labels[rows] = labels
    differing = np.flatnonzero(clip_labels[rows] != labels)
    if differing.size:
        row = int(differing[0])
        raise ValueError(f"clip {names[rows[row]]!r} has two labels, {labels[row]} and {clip_labels[rows[row]]}")
    return names, rows, clip_labels


def _attended(probabilities: Floats, attention: Floats, rows: Ints, count: int) -> npt.NDArray[np.float64]:
    """Answers (count, classes) of clips by attention; ``rows`` is the number of each frame's clip."""
    scores = np.asarray(attention, np.float64)
    # Softmax over the frames of a clip, from the highest score down, so that no exponential overflows.
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, rows, scores)
    weights = np.exp(scores - highest[rows])
    weights /= _sums(weights[:, None], rows, count)[rows, 0]
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny, dtype=np.float64))
    pooled = _sums(weights[:, None] * logits, rows, count)
    answers = np.exp(pooled - pooled.max(axis=1, keepdims=True))
    return np.asarray(answers / answers.sum(axis=1, keepdims=True), np.float64)


def _sums(values: Floats, rows: Ints, count: int) -> npt.NDArray[np.float64]:
    """Sums (count, columns) of the values (n, columns) with the same number in ``rows``."""
    sums = np.zeros((count, values.shape[1]), np.float64)
    np.add.at(sums, rows, values)
    return sums
