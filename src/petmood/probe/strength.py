"""How strongly the weights of a probe are pulled towards zero: chosen on clips of groups that a fit has not seen."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import StratifiedGroupKFold

from petmood.losses import Shares
from petmood.probe.solver import Fit, Ints, Problem, fit

#: Pulls that are tried first, as shares of the number of clips: half a power of ten apart, the strongest first. The
#: search goes on beyond either end if the best lies there.
_FIRST = 3.0
_STEP = math.sqrt(10.0)
_STRONGEST, _WEAKEST = 1e4, 1e-7
#: Worse results in a row after which weaker pulls are not tried any more; these are the slow ones.
_WORSE = 2
#: Pull for each clip where nothing can be tried. Between 1/10 and 1 the score hardly changes on photos of dogs.
_UNTRIED = 0.3
#: The order of the pulls shows long before a fit has settled.
_ROUGH = 1e-5
#: No emotion is ever ruled out: one such answer would decide the whole loss.
_SMALLEST = 1e-6


@dataclasses.dataclass(frozen=True)
class Choice:
    """The pull that was chosen."""

    strength: float
    """Of the solver: ``1 / C`` of scikit-learn."""
    tried: tuple[tuple[float, float], ...]
    """Each pull that was tried with its loss, the strongest first; empty if none could be."""
    note: str = ""
    """What the user should know."""


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips behind the rows of a problem, of which each counts once; class numbers are those of the problem."""

    rows: Ints
    """Number of the clip of each row."""
    labels: Ints
    """Class number of each clip."""
    groups: npt.NDArray[np.int64]
    """Number of the group of each clip."""
    frames: npt.NDArray[np.int64]
    """Rows of each clip."""


@dataclasses.dataclass(frozen=True)
class _Fold:
    """A division of the rows: those that judge stand together, those before and after them are fitted."""

    judged: slice
    fitted: tuple[slice, slice]
    first: int
    """Clip of the first row that judges."""
    clips: Ints
    """Clips that are judged: those of classes that the fit has seen."""
    ratio: Shares
    """What makes answers at the shares of the fitted rows those at the shares expected; 0 for a class not seen."""


def fold_order(clips: Clips, *, folds: int, seed: int) -> tuple[Ints, Ints] | None:
    """Clips in the order of the parts that they are dealt to, and where each part but the first begins.

    No group is divided, and classes are spread evenly over the parts. There are fewer parts if a class has fewer
    groups; a class with a single group is left out of this count, for it can never be judged.

    Returns:
        clip numbers, and positions in them; None if no two classes have two groups.
    """
    groups = [len(np.unique(clips.groups[clips.labels == label])) for label in np.unique(clips.labels)]
    several = [count for count in groups if count > 1]
    if len(several) < 2:
        return None
    splitter = StratifiedGroupKFold(min(folds, *several), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # that is the class with one group
        parts = [judged for _, judged in splitter.split(clips.labels, clips.labels, clips.groups)]
    parts = [part for part in parts if len(part)]
    return np.concatenate(parts), np.cumsum([len(part) for part in parts])[:-1]


def choose_strength(
    problem: Problem,
    clips: Clips,
    starts: Ints,
    expected: Shares,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Choice:
    """The pull towards zero with the least loss on clips of other groups than those fitted.

    The loss is the mean of ``-log p`` over the clips, with ``p`` from the mean of the frames' probabilities, as
    ``evaluate`` takes it. Answers and mean are those at which each emotion is as frequent as ``expected`` says: with
    equal shares all emotions count the same. The loss moves with macro-F1 and is far less noisy, because it does not
    hang on which of two close answers is ahead.

    Args:
        problem: rows ordered by part, clip for clip.
        clips: behind the rows, in the order of the parts.
        starts: clip at which each part but the first begins.
        expected: shares of the classes that the answers shall expect.
        advance: told 1 after each pull.
    """
    folds = [_fold(problem, clips, first, last, expected) for first, last in _borders(starts, len(clips.labels))]
    weights = clip_weights(clips.labels, expected)
    size = len(clips.labels)

    def loss(strength: float, fits: list[Fit | None]) -> float:
        advance(1)
        return _loss(problem, clips, folds, weights, fits, strength)

    tried: dict[float, float] = {}
    fits: list[Fit | None] = [None] * len(folds)
    strength, worse = _FIRST * size, 0
    while worse < _WORSE and strength > _WEAKEST * size:
        best = min(tried.values(), default=math.inf)
        tried[strength] = loss(strength, fits)
        worse = 0 if tried[strength] < best else worse + 1
        strength /= _STEP
    strength = _FIRST * size
    while tried[strength] == min(tried.values()) and strength < _STRONGEST * size:
        strength *= _STEP
        tried[strength] = loss(strength, [None] * len(folds))
    return Choice(min(tried, key=lambda pull: tried[pull]), tuple(sorted(tried.items(), reverse=True)))


def clip_weights(labels: Ints, expected: Shares) -> npt.NDArray[np.float64]:
    """Weight of each clip with which the classes count as ``expected`` says, however many clips they have; mean 1."""
    counts = np.bincount(labels, minlength=len(expected))
    return np.asarray((expected * len(labels) / np.maximum(counts, 1))[labels], np.float64)


def untried(clips: int) -> Choice:
    """A fair pull for so many clips where there is nothing to try it on."""
    note = (
        "too few groups of clips to choose the strength of the regularisation by cross-validation: a usual one is taken"
    )
    return Choice(_UNTRIED * clips, (), note)


def _borders(starts: Ints, clips: int) -> list[tuple[int, int]]:
    """First clip of each part and the one after its last."""
    edges = [0, *(int(start) for start in starts), clips]
    return list(itertools.pairwise(edges))


def _fold(problem: Problem, clips: Clips, first: int, last: int, expected: Shares) -> _Fold:
    begin, end = int(clips.frames[:first].sum()), int(clips.frames[:last].sum())
    fitted = (slice(0, begin), slice(end, len(clips.rows)))
    mass = sum(problem.targets[:, part].sum(dim=1, dtype=torch.float64).cpu().numpy() for part in fitted)
    shares = mass / np.sum(mass)
    judged = np.arange(first, last)
    return _Fold(
        judged=slice(begin, end),
        fitted=fitted,
        first=first,
        clips=judged[shares[clips.labels[judged]] > 0],
        ratio=np.divide(expected, shares, out=np.zeros_like(shares), where=shares > 0),
    )


def _loss(
    problem: Problem,
    clips: Clips,
    folds: Sequence[_Fold],
    weights: npt.NDArray[np.float64],
    fits: list[Fit | None],
    strength: float,
) -> float:
    """Weighted mean loss of the judged clips; ``fits`` are where the folds' fits begin, and then where they ended."""
    total, mass = 0.0, 0.0
    for number, fold in enumerate(folds):
        found = fit(problem, strength, parts=fold.fitted, start=fits[number], tolerance=_ROUGH)
        fits[number] = found
        probabilities = _clip_means(found.logits(problem, fold.judged), fold.ratio, clips.rows[fold.judged])
        right = probabilities[fold.clips - fold.first, clips.labels[fold.clips]]
        total -= float((weights[fold.clips] * np.log(np.maximum(right, _SMALLEST))).sum())
        mass += float(weights[fold.clips].sum())
    return total / mass


def _clip_means(logits: torch.Tensor, ratio: Shares, rows: Ints) -> npt.NDArray[np.float64]:
    """Mean probabilities of each clip, in order; ``rows`` are the rising clip numbers of the rows."""
    shifted = logits.double() + torch.from_numpy(ratio).log()  # a class that was not seen: minus infinity
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    sums = np.add.reduceat(shifted.softmax(dim=1).numpy(), starts, axis=0)
    return np.asarray(sums / np.diff(np.append(starts, len(rows)))[:, None])
