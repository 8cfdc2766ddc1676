"""Which frames an epoch shows: an epoch goes over clips, because a clip's frames are nearly the same picture.

Nothing is remembered between epochs. The rows of an epoch are a pure function of the data, the settings, the seed and
the epoch's number, so that any epoch can be shown again, taken up in the middle, or dealt to several processes.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from petmood.settings import fingerprint

Sampling = Literal["natural", "sqrt", "balanced"]
Numbers = npt.NDArray[np.int64]

#: Uses of the seed, each with random numbers of its own.
_SHUFFLE_CLIPS, _SHUFFLE_FRAMES, _SHUFFLE_EPOCH = 1, 2, 3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class ClipSampler:
    """The rows that each epoch shows, in order.

    - ``natural``: every clip is visited once an epoch and shows ``frames_per_clip`` of its frames, no frame twice (all,
      if it has fewer). A clip with n frames shows other ones in each of n // frames_per_clip epochs running, then its
      frames are shuffled anew.
    - ``sqrt`` and ``balanced``: an epoch makes as many visits as there are clips, but gives each class a share of them:
      by the square root of its number of clips, or the same for all classes. A class's clips take turns in an order
      that is shuffled anew after each round, and the rounds run on from epoch to epoch, so that no clip is forgotten.
      Each visit shows exactly ``frames_per_clip`` frames, the next ones of that clip; a shorter clip repeats some.

    Frames of one clip that have different labels count as clips of their own.
    """

    uses_weights: bool
    """Whether a frame's weight from ``curate`` counts in the loss. It does only where every frame is shown once an
    epoch: elsewhere a visit is one clip already, and the weights would even the clips out a second time."""
    fingerprint: str
    """Sixteen hex digits that change with the settings, the seed, the clips and the labels."""

    def __init__(
        self,
        clips: Sequence[str],
        labels: Numbers,
        *,
        frames_per_clip: int,
        sampling: Sampling = "natural",
        seed: int = 0,
    ) -> None:
        """Sampler over the rows of a split.

        Args:
            clips: clip of each row; a clip's rows need not stand together.
            labels: class number of each row, ≥ 0.
            frames_per_clip: that a visit shows; 0 shows every frame once an epoch where the sampling is natural, else
                as many as a clip has on average.
            sampling: how often clips of a class are visited.
            seed: ≥ 0; decides which frames and clips, and their order.
        """
        units, self._labels = _units(clips, labels)
        self._rows = np.argsort(units, kind="stable")  # clip by clip
        self._sizes = np.bincount(units)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._quotas = None if sampling == "natural" else _quotas(np.bincount(self._labels), sampling)
        self._frames_per_visit = frames_per_clip or max(1, round(len(units) / len(self._sizes)))
        self._seed = seed
        self.uses_weights = frames_per_clip == 0 and sampling == "natural"
        data = hashlib.sha256("\0".join(dict.fromkeys(clips)).encode() + units.tobytes() + self._labels.tobytes())
        self.fingerprint = fingerprint(frames_per_clip, sampling, seed, data.hexdigest())

    def __len__(self) -> int:
        """Rows that an epoch shows: the same number in every epoch."""
        return int(self._shown().sum())

    def rows(self, epoch: int) -> Numbers:
        """Row numbers in the order in which this epoch shows them, over all processes: int64.

        The whole epoch is shuffled, so that a batch holds all classes and hardly ever two frames of a clip.
        """
        drawn = self._rows if self.uses_weights else self._drawn(*self._visits(epoch))
        return np.random.default_rng((self._seed, epoch, _SHUFFLE_EPOCH)).permutation(drawn)

    def class_shares(self, classes: int, weights: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float64]:
        """Share of each class in what an epoch shows: ``classes`` numbers that sum to 1.

        Args:
            classes: how many there are; one that has no row gets 0.
            weights: of each row; taken into account where ``uses_weights``.
        """
        if self.uses_weights and weights is not None:
            row_labels = np.repeat(self._labels, self._sizes)
            sums = np.bincount(row_labels, weights[self._rows].astype(np.float64), minlength=classes)
        elif self._quotas is None:
            sums = np.bincount(self._labels, self._shown(), minlength=classes)
        else:
            sums = np.bincount(np.arange(len(self._quotas)), self._quotas, minlength=classes)
        return sums / sums.sum()

    def _shown(self) -> Numbers:
        """Rows that an epoch shows of each clip, or of each class where classes have quotas."""
        if self.uses_weights:
            return self._sizes
        if self._quotas is None:
            return np.minimum(self._frames_per_visit, self._sizes)
        return self._quotas * self._frames_per_visit

    def _visits(self, epoch: int) -> tuple[Numbers, Numbers]:
        """Clips that the epoch visits, and which visit of that clip it is, counted from the first epoch on."""
        if self._quotas is None:
            clips = np.arange(len(self._sizes))
            return clips, np.full_like(clips, epoch)
        turns = [self._turns(label, int(quota), epoch) for label, quota in enumerate(self._quotas) if quota]
        return np.concatenate([clips for clips, _ in turns]), np.concatenate([visits for _, visits in turns])

    def _turns(self, label: int, quota: int, epoch: int) -> tuple[Numbers, Numbers]:
        """The same for one class: the next ``quota`` of an endless row of rounds, each of which visits every clip."""
        members = np.flatnonzero(self._labels == label)
        first = epoch * quota
        rounds = np.arange(first // len(members), (first + quota - 1) // len(members) + 1)
        keys = _random_bits(self._seed, _SHUFFLE_CLIPS, rounds[:, None], members[None, :])
        order = members[np.argsort(keys, axis=1, kind="stable")].ravel()
        skipped = first - int(rounds[0]) * len(members)
        part = slice(skipped, skipped + quota)
        return order[part], np.repeat(rounds, len(members))[part]

    def _drawn(self, clips: Numbers, visits: Numbers) -> Numbers:
        """Rows of all visits: each takes the clip's next block of frames, which are shuffled anew after the last."""
        block = np.minimum(self._frames_per_visit, self._sizes[clips])
        blocks = self._sizes[clips] // block
        rows, starts = self._shuffled(clips, visits // blocks)
        shown = block if self._quotas is None else np.full_like(block, self._frames_per_visit)
        turn = _counted(shown) % np.repeat(block, shown)  # starts again in a clip that is too short
        return rows[np.repeat(starts + visits % blocks * block, shown) + turn]

    def _shuffled(self, clips: Numbers, shuffles: Numbers) -> tuple[Numbers, Numbers]:
        """Rows of clips in the order of their n-th shuffle, one after the other, and where each begins in them.

        A clip with the same shuffle is sorted once, however often it is visited: the work stays in proportion to the
        rows shown also where a rare class has a few long clips.
        """
        span = int(shuffles.max()) + 1
        pairs, which = np.unique(clips * span + shuffles, return_inverse=True)
        clips, shuffles = np.divmod(pairs, span)
        sizes = self._sizes[clips]
        owner = np.repeat(np.arange(len(pairs)), sizes)
        rows = self._rows[self._starts[clips][owner] + _counted(sizes)]
        keys = _random_bits(self._seed, _SHUFFLE_FRAMES, rows, shuffles[owner])
        return rows[np.lexsort((keys, owner))], (np.cumsum(sizes) - sizes)[which]


def deal(rows: int, *, batch_size: int, least: int = 1, rank: int = 0, world: int = 1) -> list[range]:
    """Places in an epoch's order that each batch of one process takes: no place is left out or taken twice.

    Of the next ``batch_size * world`` places each process takes every ``world``-th, so that together they take a step
    as one process would with batches of that size. All processes get the same number of batches. What remains for the
    last batch is dealt in the same way, so that its size differs by one between processes at most; if there were fewer
    than ``least`` places for any of them, it is added to the batch before it.

    Args:
        rows: that an epoch shows.
        batch_size: places of a batch.
        least: places of the last batch.
        rank: number of the process, below ``world``.
        world: number of processes.
    """
    starts = list(range(0, rows, batch_size * world))
    if len(starts) > 1 and rows - starts[-1] < least * world:
        starts.pop()
    return [range(start + rank, end, world) for start, end in itertools.pairwise([*starts, rows])]


def _units(clips: Sequence[str], labels: Numbers) -> tuple[Numbers, Numbers]:
    """Number of each row's clip (in order of appearance, one for each label in it), and the label of each number."""
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(clip, len(numbers)) for clip in clips), np.int64, len(clips))
    classes = int(labels.max()) + 1
    pairs, units = np.unique(codes * classes + labels, return_inverse=True)
    return units.astype(np.int64), pairs % classes


def _quotas(clips: Numbers, sampling: Sampling) -> Numbers:
    """Visits of each class in an epoch, as many in all as there are clips; whole numbers by the largest remainder.

    No class that has a clip is left out: its share is never below one visit, as a count is no smaller than its root.

    Args:
        clips: number of clips of each class.
        sampling: sqrt or balanced.
    """
    shares = np.sqrt(clips) if sampling == "sqrt" else (clips > 0).astype(np.float64)
    wanted = shares / shares.sum() * clips.sum()
    quotas = np.floor(wanted).astype(np.int64)
    largest = np.argsort(quotas - wanted, kind="stable")
    quotas[largest[: clips.sum() - quotas.sum()]] += 1
    return quotas


def _counted(sizes: Numbers) -> Numbers:
    """0, 1, … size - 1 for each size, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _random_bits(*parts: int | Numbers) -> npt.NDArray[np.uint64]:
    """64 random bits for each combination of numbers ≥ 0, which broadcast; the same on every machine.

    Each number goes through the step of SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195). NumPy's
    generators would have to be made for each clip, which takes seconds; sorting by such keys shuffles all at once.
    """
    bits = np.zeros(1, np.uint64)
    for part in parts:
        bits = (bits ^ np.asarray(part).astype(np.uint64)) + _GOLDEN
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    return bits
