"""A head for clips: which of their frames to look at (attention pooling), learnt on features and only kept if it helps.

The frames of a clip carry one label, but its emotion may show in few of them. Gated attention (Ilse et al. 2018, arXiv
1802.04712) learns from the clips' labels alone which ones tell it. The classifier stays the probe's, but for one
factor: how sure it is.

A probe is all too sure of frames that it was fitted to, and what it gets right already teaches the attention nothing.
So the attention learns from what probes say of clips that they have not seen (stacking, Wolpert 1992).
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch.nn import functional, init

from petmood.metrics import macro_f1
from petmood.model import FrameAttention
from petmood.probe.solver import Head, Problem, fit

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Clips that the attention learns from, at most: more would take minutes and teach it little.
_SAMPLE = 4096
#: Fewest parts: a probe for a clip of one part leaves out another part, too.
_FEWEST = 3
#: Clips of a step.
_BATCH = 128
#: Steps after which the clips held out are asked; the best of these is how long the attention learns.
_POINTS = (0, 5, 10, 20, 30, 45, 60, 80, 100, 130, 160, 200, 250, 320, 400)
#: Points without improvement after which no later one is tried.
_PATIENCE = 4
#: Rates of the attention and of the logarithm of the factor.
_RATES = (1e-3, 2e-2)
_DECAY = 0.1
#: The attention must lower the loss of the clips held out by so many standard errors.
_SURE = 2.0
#: Least pull of the weights that is believed: a probe that was fitted without any has none to tell.
_WEAKEST = 1e-6


@dataclasses.dataclass(frozen=True)
class ClipHead:
    """The probe's classifier, and the attention that goes with it."""

    weights: Floats
    """(classes, features), for standardised features: those of the probe, times a factor."""
    bias: Floats
    """(classes,), times the same factor."""
    attention: dict[str, torch.Tensor]
    """State of a ``model.FrameAttention``."""
    note: str
    """What was found on the clips held out, or why nothing could be; for people."""
    attentive: bool
    """Whether attention helped. If not, all frames of a clip count the same."""


class _Clips(NamedTuple):
    """Frames by clip; a clip is its number."""

    features: torch.Tensor
    """(frames, features), standardised, clip after clip."""
    sizes: torch.Tensor
    """Frames of each clip, at least 1."""
    labels: torch.Tensor
    """Class number of each clip."""
    log_shares: torch.Tensor
    """(classes,): what training adds to the logits: zeros, or the logarithm of the classes' shares (balanced
    softmax)."""

    def frames(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of all frames of these clips, and the position in ``clips`` of each one's clip."""
        sizes = self.sizes[clips]
        starts = (self.sizes.cumsum(0) - self.sizes)[clips]
        owner = torch.repeat_interleave(sizes)
        first = torch.repeat_interleave(starts - (sizes.cumsum(0) - sizes), sizes)
        return first + torch.arange(len(owner)), owner

    def only(self, clips: torch.Tensor) -> _Clips:
        """These clips alone."""
        return self._replace(
            features=self.features[self.frames(clips)[0]], sizes=self.sizes[clips], labels=self.labels[clips]
        )


class _Linear(NamedTuple):
    """A linear classifier over standardised features."""

    weights: torch.Tensor
    bias: torch.Tensor


def fit_clip_head(
    features: Floats,
    clips: Ints,
    labels: Ints,
    groups: Sequence[str],
    head: Head,
    *,
    shares: npt.NDArray[np.floating] | None,
    seed: int,
    folds: int,
) -> ClipHead:
    """Attention over the frames of a clip that goes with a probe.

    How many steps it learns, and whether it helps at all, is judged on clips held out by group, with probes of the same
    strength that have not seen them. It is kept only if their loss is lower by two standard errors (over groups) than
    that of the frames' mean, which may learn a factor too, at no worse macro-F1. Otherwise the probe comes back as it
    is, with equal attention to all frames.

    Args:
        features: float32, (frames, features), as the backbone gives them.
        clips: clip number of each frame, 0 to clips - 1, each at least once, in any order.
        labels: class number of each clip.
        groups: of each clip; none is divided between the folds.
        head: the probe, fitted to all these frames, each clip counting once.
        shares: of the classes among the clips, if ``head`` was made for equally frequent classes (balanced softmax).
        seed: decides which clips are looked at if there are many, first weights, batches and folds.
        folds: parts, at least 3; fewer are made if there are fewer groups.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        even = ClipHead(head.weights, head.bias, _even_attention(features.shape[1]).state_dict(), "", attentive=False)
        if np.bincount(clips).max() == 1:
            return dataclasses.replace(even, note="each clip has one frame, so that there is nothing to attend to")
        if len(set(groups)) < _FEWEST or len(np.unique(labels)) < 2:
            reason = "attention cannot be judged on fewer than three groups and two emotions; the frames' mean is kept"
            return dataclasses.replace(even, note=reason)
        chosen = torch.randperm(len(labels))[:_SAMPLE].sort().values.numpy()
        sample = _sample(features, clips, labels, head, chosen, shares)
        members = np.unique(np.asarray(groups)[chosen], return_inverse=True)[1]
        parts = _parts(sample.labels.numpy(), members, folds=max(folds, _FEWEST), seed=seed)
        unseen = _unseen_logits(sample, parts, _strength_of(sample, head))
        found = _judged(sample, unseen, parts, members)
        if not found.better:
            return dataclasses.replace(even, note=found.note)
        training = _Training(sample, unseen.by_fold, torch.arange(len(chosen)), attentive=True)
        training.reach(found.steps)
        factor = np.float32(training.log_factor.exp().item())
    state = training.attention.state_dict()
    return ClipHead(head.weights * factor, head.bias * factor, state, found.note, attentive=True)


def _even_attention(features: int) -> FrameAttention:
    """Attention that scores every frame 0, so that all count the same, but can learn."""
    attention = FrameAttention(features)
    init.zeros_(attention.score.weight)
    return attention


def _sample(
    features: Floats,
    clips: Ints,
    labels: Ints,
    head: Head,
    chosen: Ints,
    shares: npt.NDArray[np.floating] | None,
) -> _Clips:
    """The chosen clips, which are in rising order."""
    position = np.full(len(labels), -1)
    position[chosen] = np.arange(len(chosen))
    places = position[clips]
    rows = np.flatnonzero(places >= 0)
    rows = rows[np.argsort(places[rows], kind="stable")]
    # A class without clips is not ruled out altogether: infinite logits cannot be trained.
    log_shares = np.zeros(len(head.bias)) if shares is None else np.log(np.maximum(shares, 1e-6))
    return _Clips(
        features=torch.from_numpy(features[rows]).sub_(torch.from_numpy(head.mean)).div_(torch.from_numpy(head.std)),
        sizes=torch.from_numpy(np.bincount(places[rows], minlength=len(chosen))),
        labels=torch.from_numpy(np.asarray(labels, np.int64)[chosen]),
        log_shares=torch.from_numpy(log_shares.astype(np.float32)),
    )


def _parts(labels: Ints, groups: Ints, *, folds: int, seed: int) -> torch.Tensor:
    """Number of the fold of each clip; groups are not divided."""
    count = min(folds, int(groups.max()) + 1, max(int(np.bincount(labels).max()), _FEWEST))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    parts = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        # Some folds lack an emotion with fewer clips than folds: then neither side of the comparison knows it there.
        warnings.filterwarnings("ignore", "The least populated class")
        for number, (_, held) in enumerate(splitter.split(parts, labels, groups)):
            parts[held] = number
    return torch.from_numpy(np.unique(parts, return_inverse=True)[1])


class _Unseen(NamedTuple):
    """What probes say of frames of clips that they have not seen; logits (frames, classes)."""

    by_fold: torch.Tensor
    """By the probe that left out the frame's own fold."""
    apart_from: tuple[torch.Tensor, ...]
    """For each fold: of its frames as above; of all others by the probe that left out that fold, too."""


def _unseen_logits(clips: _Clips, parts: torch.Tensor, strength: float) -> _Unseen:
    part = parts[torch.repeat_interleave(clips.sizes)]
    count = int(parts.max()) + 1
    by_fold = torch.zeros(len(part), len(clips.log_shares))
    for one in range(count):
        probe = _probe(clips.only(torch.nonzero(parts != one)[:, 0]), strength)
        by_fold[part == one] = functional.linear(clips.features[part == one], *probe)
    apart_from = tuple(by_fold.clone() for _ in range(count))
    for one, other in itertools.combinations(range(count), 2):
        probe = _probe(clips.only(torch.nonzero((parts != one) & (parts != other))[:, 0]), strength)
        for held, taught in ((one, other), (other, one)):
            apart_from[held][part == taught] = functional.linear(clips.features[part == taught], *probe)
    return _Unseen(by_fold, apart_from)


def _probe(clips: _Clips, strength: float) -> _Linear:
    """A probe fitted to these clips alone."""
    owner = torch.repeat_interleave(clips.sizes)
    weights = (1 / clips.sizes)[owner].numpy()
    problem = Problem.of(clips.features, clips.labels[owner].numpy(), weights, len(clips.log_shares))
    found = fit(problem, strength * len(clips.labels))
    bias = torch.from_numpy(found.bias).float() - clips.log_shares  # why this is all: see ``solver``
    return _Linear(torch.from_numpy(found.weights).float(), bias)


def _strength_of(clips: _Clips, head: Head) -> float:
    """How strongly the weights of a probe were pulled towards zero.

    At the minimum of ``loss + strength / 2 * |W|²`` the gradient of the loss is ``-strength * W``.
    """
    weights = torch.from_numpy(head.weights).clone().requires_grad_()
    owner = torch.repeat_interleave(clips.sizes)
    logits = functional.linear(clips.features, weights, torch.from_numpy(head.bias)) + clips.log_shares
    losses = functional.cross_entropy(logits, clips.labels[owner], reduction="none")
    (slope,) = torch.autograd.grad((losses / clips.sizes[owner]).sum() / len(clips.labels), weights)
    size = float(np.square(head.weights).sum())
    return max(-float((slope * weights.detach()).sum()) / size, _WEAKEST) if size else 1.0


class _Training:
    """Attention and the factor of the logits, or the factor alone, by steps of AdamW over batches of clips.

    The rates are constant, so that it may end at any step.
    """

    def __init__(self, clips: _Clips, logits: torch.Tensor, chosen: torch.Tensor, *, attentive: bool) -> None:
        self.clips, self.logits, self.attentive = clips, logits, attentive
        self.attention = _even_attention(clips.features.shape[1])
        self.log_factor = torch.zeros((), requires_grad=True)
        self.batches = _endless(chosen)
        self.done = 0
        learnt = [{"params": [self.log_factor], "lr": _RATES[1], "weight_decay": 0.0}]
        if attentive:
            learnt.append({"params": list(self.attention.parameters()), "lr": _RATES[0], "weight_decay": _DECAY})
        self.optimizer = torch.optim.AdamW(learnt)

    def reach(self, steps: int) -> None:
        """Learn until so many steps are done."""
        for batch in itertools.islice(self.batches, steps - self.done):
            logits = self._pooled(batch) + self.clips.log_shares
            loss = functional.cross_entropy(logits, self.clips.labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.done = steps

    @torch.no_grad()
    def answers(self, chosen: torch.Tensor) -> torch.Tensor:
        """Logits (chosen, classes) of clips by what was learnt so far."""
        return torch.cat([self._pooled(part) for part in chosen.split(_BATCH)])

    def _pooled(self, batch: torch.Tensor) -> torch.Tensor:
        rows, owner = self.clips.frames(batch)
        logits = self.logits[rows] * self.log_factor.exp()
        scores = self.attention(self.clips.features[rows]) if self.attentive else logits.new_zeros(len(rows))
        share = _softmax_by_clip(scores, owner, len(batch))
        return logits.new_zeros(len(batch), logits.shape[1]).index_add(0, owner, share[:, None] * logits)


def _endless(chosen: torch.Tensor) -> Iterator[torch.Tensor]:
    """Batches of these clips, in a new order each time round."""
    while True:
        yield from chosen[torch.randperm(len(chosen))].split(_BATCH)


def _softmax_by_clip(scores: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Softmax of the scores (n,) among those of the same clip."""
    highest = scores.new_full((count,), -torch.inf).scatter_reduce(0, owner, scores.detach(), "amax")
    weights = (scores - highest[owner]).exp()
    return weights / weights.new_zeros(count).index_add(0, owner, weights)[owner]


class _Found(NamedTuple):
    steps: int
    better: bool
    note: str


def _judged(clips: _Clips, unseen: _Unseen, parts: torch.Tensor, groups: Ints) -> _Found:
    """How long the attention should learn, and whether it then beats the mean on clips held out."""
    weights = _weights(clips.labels, balanced=bool(clips.log_shares.any()))
    steps, answers = _best(clips, unseen, parts, weights, attentive=True)
    _, mean = _best(clips, unseen, parts, weights, attentive=False)
    return _compared(answers, mean, clips.labels, weights, groups, steps)


def _best(
    clips: _Clips, unseen: _Unseen, parts: torch.Tensor, weights: torch.Tensor, *, attentive: bool
) -> tuple[int, torch.Tensor]:
    """The number of steps with the least loss of the clips held out, and their logits (clips, classes) then."""
    contest = [
        _Training(clips, logits, torch.nonzero(parts != one)[:, 0], attentive=attentive)
        for one, logits in enumerate(unseen.apart_from)
    ]
    held = [torch.nonzero(parts == one)[:, 0] for one in range(len(contest))]
    order = torch.cat(held).argsort()
    found: list[torch.Tensor] = []
    totals: list[float] = []
    for steps in _POINTS:
        for training in contest:
            training.reach(steps)
        found.append(torch.cat([one.answers(rows) for one, rows in zip(contest, held, strict=True)])[order])
        totals.append(float((weights * _loss(found[-1], clips.labels)).sum()))
        if len(totals) - 1 - int(np.argmin(totals)) >= _PATIENCE:
            break
    best = int(np.argmin(totals))
    return _POINTS[best], found[best]


def _compared(
    mine: torch.Tensor, mean: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, groups: Ints, steps: int
) -> _Found:
    """Whether logits (clips, classes) are surely better than those of the mean."""
    gain = (weights * (_loss(mean, labels) - _loss(mine, labels))).numpy()
    by_group = np.bincount(groups, gain)
    error = float(np.sqrt(len(by_group) * by_group.var(ddof=1)))
    truth, classes = labels.numpy(), mine.shape[1]
    scores = [macro_f1(truth, logits.argmax(dim=1).numpy(), classes) for logits in (mine, mean)]
    told = (
        f"on {len(truth):,} clips held out: loss {-gain.sum():+.3f} ± {error:.3f} against the frames' mean, macro-F1 "
        f"{scores[0]:.3f} against {scores[1]:.3f}"
    )
    if gain.sum() > _SURE * error and scores[0] >= scores[1]:
        return _Found(steps, True, f"attention over the frames of a clip helps {told}")
    return _Found(0, False, f"attention over the frames of a clip does not surely help {told}; the mean is kept")


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.double(), labels, reduction="none")


def _weights(labels: torch.Tensor, *, balanced: bool) -> torch.Tensor:
    """Of each clip in a mean: equal, or equal sums for the classes that occur."""
    counts = torch.bincount(labels).double()
    each = 1 / counts[labels] if balanced else torch.ones(len(labels), dtype=torch.float64)
    return each / each.sum()
