"""Whether batches are mixed: a network that sees one class at a time forgets the others each time."""

from __future__ import annotations

import dataclasses

import numpy as np

from petmood.doctor.records import Check
from petmood.doctor.work import Work
from petmood.sampling import Numbers

#: Batches at the beginning that are looked at, and random orders that they are compared with.
_BATCHES, _SHUFFLES = 20, 20
#: Share of the entropy of a random order below which batches are not mixed.
_POOR, _FAIR = 0.8, 0.95


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How varied batches are: mean entropy in bits over the batches; 0 if each holds one thing only."""

    bits: float
    random_bits: float
    """The same in random orders of the same rows, on average."""
    least_random_bits: float
    """The smallest of these orders."""

    @property
    def share(self) -> float:
        """Of what a random order would have; 1 is as mixed as chance."""
        return self.bits / self.random_bits if self.random_bits else 1.0

    def below(self, share: float) -> bool:
        """Whether the batches are less varied than that share of a random order, and than any random order."""
        return self.share < share and self.bits < self.least_random_bits


def mixing(numbers: Numbers, *, batch_size: int, batches: int = _BATCHES, seed: int = 0) -> Mixing:
    """How varied the first batches of an epoch are, against random orders of the whole epoch.

    Args:
        numbers: class (or clip) number of each row, ≥ 0, in the order in which the epoch shows them.
        batch_size: rows of a batch; what is left over at the end is not looked at, unless it is all there is.
        batches: that are looked at, from the first on.
        seed: of the random orders.
    """
    size = min(batch_size, len(numbers))
    count = min(batches, len(numbers) // size)
    codes = np.unique(numbers, return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    random = [_bits(generator.permutation(codes)[: count * size], size) for _ in range(_SHUFFLES)]
    return Mixing(_bits(codes[: count * size], size), float(np.mean(random)), float(np.min(random)))


def _bits(numbers: Numbers, size: int) -> float:
    """Mean entropy of consecutive batches of ``size``."""
    return float(np.mean([_entropy(batch) for batch in numbers.reshape(-1, size)]))


def _entropy(batch: Numbers) -> float:
    counts = np.unique(batch, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def check_batch_mixing(work: Work) -> Check:
    """Whether the first batches hold classes and clips as mixed as chance would."""
    samples, size = work.loop.train, work.loop.settings.batch_size
    rows = work.loop.sampler.rows(0)
    clips = np.unique(np.array(samples.clips), return_inverse=True)[1]
    return judge_mixing(mixing(samples.labels[rows], batch_size=size), mixing(clips[rows], batch_size=size))


def judge_mixing(classes: Mixing, clips: Mixing) -> Check:
    """The verdict on how mixed batches are."""
    evidence = (
        f"the first batches have {classes.bits:.2f} bits of classes where random orders have {classes.random_bits:.2f} "
        f"({classes.share:.0%}), and {clips.bits:.2f} bits of clips against {clips.random_bits:.2f} ({clips.share:.0%})"
    )
    poor = classes.below(_POOR) or clips.below(_POOR)
    fair = classes.below(_FAIR) or clips.below(_FAIR)
    remedy = ""
    if poor or fair:
        remedy = (
            "rows come in the order of the source, or are shuffled within a few batches only: shuffle the whole epoch "
            "(petmood's own sampler does; look for what has replaced it)"
        )
    return Check(
        name="batch-mixing",
        verdict="fail" if poor else "warn" if fair else "ok",
        evidence=evidence,
        remedy=remedy,
        numbers={"classes": dataclasses.asdict(classes), "clips": dataclasses.asdict(clips)},
    )
