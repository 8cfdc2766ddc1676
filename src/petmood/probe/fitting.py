"""From features and labels to the head: what is done about rare emotions, the strength, and the fit of all rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from petmood.losses import ClassWeights, Shares, class_weights, filled
from petmood.probe.solver import Fit, Floats, Head, Ints, Problem, fit
from petmood.probe.strength import Choice, Clips, choose_strength, fold_order, untried

#: Rows on which the strength is chosen, at most: more would say the same and take longer.
_CHOSEN_ON = 60_000
#: Rows that are worked on at once where the work is a pass over the memory.
_AT_ONCE = 16_384
#: Probability, at most, of an emotion that has no picture to learn from.
_NEVER = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrections:
    """What is done about rare emotions; see the settings of the same names."""

    loss: Literal["cross_entropy", "balanced_softmax"]
    class_weights: ClassWeights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frames:
    """What a head is fitted to, row for row and clip for clip."""

    features: torch.Tensor
    """(rows, features), float32, on the processor, as the backbone gives them; they are standardised in place."""
    clips: Ints
    """Number of the clip of each row, 0 to clips - 1, each at least once."""
    labels: Ints
    """Class number of each clip."""
    groups: Sequence[str]
    """Group of each clip."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """A head and how it came about."""

    head: Head
    choice: Choice
    counts: Ints
    """Clips of each class."""
    left: Shares
    """Shares of the classes that the loss met: of the clips, times the class weights. Above 0, in sum 1."""
    expected: Shares
    """How often the head's answers expect each class."""
    passes: int
    """Over all rows, for the last fit."""


def fit_head(
    frames: Frames,
    classes: int,
    corrections: Corrections,
    *,
    folds: int,
    seed: int,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - never changed
    eps: float = 1e-5,
    advance: Callable[[int], None] = lambda _: None,
) -> Fitted:
    """The head that is fitted best to these frames; each clip counts once, however many frames it has.

    Args:
        frames: what it is fitted to; at least two classes occur.
        classes: how many there are.
        corrections: for rare emotions.
        folds: parts, divided by group, on which the strength is chosen.
        seed: decides the parts, and the rows if there are more than a choice needs.
        device: that computes; a GPU without room for the features leaves them to the processor.
        eps: added to the variances of the features, as the batch norm does that will hold them.
        advance: told 1 after each strength that was tried, and after the last fit.
    """
    counts = np.bincount(frames.labels, minlength=classes).astype(np.int64)
    shown = counts / counts.sum()
    weight = class_weights(corrections.class_weights, shown, clips=int(counts.sum()))
    left = filled(shown * weight)
    equal = np.full(classes, 1 / classes)
    expected = equal if corrections.loss == "balanced_softmax" else left
    sizes = np.bincount(frames.clips)
    mean, std = standardise(frames.features, 1 / sizes[frames.clips], eps=eps)
    present = np.flatnonzero(counts)
    known = dataclasses.replace(frames, labels=np.searchsorted(present, frames.labels))
    weights = weight[frames.labels].astype(np.float64)
    choice = _choice(known, weights, expected[present] / expected[present].sum(), folds=folds, seed=seed, device=device)
    advance(1)
    row_weights = (weights / sizes)[frames.clips]
    features = _on_device(frames.features, device)
    found = fit(Problem.of(features, known.labels[frames.clips], row_weights, len(present)), choice.strength)
    advance(1)
    ratio = expected[present] / (shown * weight)[present]
    head = Head(mean, std, *_all_classes(found, np.log(ratio), present, classes))
    return Fitted(head=head, choice=choice, counts=counts, left=left, expected=expected, passes=found.passes)


def standardise(features: torch.Tensor, weights: npt.NDArray[np.float64], *, eps: float) -> tuple[Floats, Floats]:
    """Bring features to mean 0 and deviation 1, in place; returns what was their mean and their deviation.

    Args:
        features: (rows, features), float32.
        weights: of each row in both.
        eps: added to the variance, so that a feature that never changes does no harm.
    """
    shares = torch.as_tensor(weights / weights.sum(), dtype=torch.float32)
    mean = torch.zeros(features.shape[1], dtype=torch.float64)
    for part, share in zip(features.split(_AT_ONCE), shares.split(_AT_ONCE), strict=True):
        mean += (share @ part).double()
    variance = torch.zeros_like(mean)
    for part, share in zip(features.split(_AT_ONCE), shares.split(_AT_ONCE), strict=True):
        part.sub_(mean.float())
        variance += (share @ part.square()).double()
    std = (variance + eps).sqrt().float()
    for part in features.split(_AT_ONCE):
        part.div_(std)
    return mean.float().numpy(), std.numpy()


def _choice(
    frames: Frames, weights: npt.NDArray[np.float64], expected: Shares, *, folds: int, seed: int, device: torch.device
) -> Choice:
    """The strength, chosen on rows that are drawn evenly over the clips; ``weights`` are those of the clips."""
    rows = np.sort(_drawn_evenly(frames.clips, _CHOSEN_ON, seed))
    drawn, numbers, sizes = np.unique(frames.clips[rows], return_inverse=True, return_counts=True)
    groups = np.unique(np.asarray(frames.groups)[drawn], return_inverse=True)[1]
    clips = Clips(numbers, frames.labels[drawn], groups, sizes)
    dealt = fold_order(clips, folds=folds, seed=seed)
    if dealt is None:
        return untried(len(frames.labels))
    order, starts = dealt
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_part = np.argsort(place[numbers], kind="stable")
    ordered = Clips(place[numbers][by_part], clips.labels[order], clips.groups[order], sizes[order])
    row_weights = (weights[drawn][order] / ordered.frames)[ordered.rows]
    features = _on_device(frames.features[torch.from_numpy(rows[by_part])], device)
    problem = Problem.of(features, ordered.labels[ordered.rows], row_weights, len(expected))
    return choose_strength(problem, ordered, starts, expected)


def _drawn_evenly(clips: Ints, limit: int, seed: int) -> Ints:
    """At most ``limit`` rows: a random one of each clip, then a second of each, until there are so many."""
    order = np.random.default_rng(seed).permutation(len(clips))
    by_clip = order[np.argsort(clips[order], kind="stable")]
    sorted_clips = clips[by_clip]
    starts = np.flatnonzero(np.diff(sorted_clips, prepend=-1))
    turn = np.empty(len(clips), np.int64)
    turn[by_clip] = np.arange(len(clips)) - np.repeat(starts, np.diff(np.append(starts, len(clips))))
    return np.asarray(order[np.argsort(turn[order], kind="stable")][:limit])


def _on_device(features: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The features where they are computed on; a GPU that has no room for them leaves them to the processor."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if features.nbytes < 0.8 * free:
            return features.to(device)
    return features


def _all_classes(found: Fit, shift: Shares, present: Ints, classes: int) -> tuple[Floats, Floats]:
    """Weights and intercepts of all classes, of a fit to those that are present.

    The weights of those sum to zero, because the penalty is least there, and so the largest of their logits is never
    below the mean of their intercepts. A class that cannot be learnt is put so far below that it is never answered.
    """
    weights = np.zeros((classes, found.weights.shape[1]), np.float32)
    weights[present] = found.weights
    intercepts = found.bias + shift
    bias = np.full(classes, intercepts.mean() + math.log(_NEVER), np.float32)
    bias[present] = intercepts
    return weights, bias
