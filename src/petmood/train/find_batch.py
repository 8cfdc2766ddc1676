"""Finding a batch size by a few steps of the training that it is for; no run is made."""

from __future__ import annotations

import dataclasses
import math
import time

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.memory import garbage_collection_cuda

from petmood.errors import RunError
from petmood.loading import Batch
from petmood.parallel import progress
from petmood.recipes import TrainSettings
from petmood.recipes.finding import FindBatchSettings
from petmood.train.loop import Loop
from petmood.train.trial import out_of_memory, planned, short
from petmood.workspace import Workspace

#: A batch size is as good as the best one if its pictures/s are within this share.
_AS_GOOD = 0.05
#: The first batch size, or the next one that fits: batch norms learn badly from fewer pictures, however fast that is.
_FIRST = 16
#: Steps of each batch size before the clock starts: the first ones choose algorithms and allocate.
_WARM = 2


@dataclasses.dataclass(frozen=True)
class Tried:
    """One batch size."""

    size: int
    pictures_per_second: float | None
    """Of the network's step alone, without loading; None: the memory ran out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchFound:
    """What a search for a batch size came to."""

    proposal: int
    """The smallest size within 5 % of the best pictures/s."""
    largest: int
    """The largest size that trains."""
    tried: tuple[Tried, ...]
    settings: TrainSettings
    """Of the training that it is for."""

    @property
    def learning_rate(self) -> float:
        """The learning rate of the settings as it should go with the batch: by the square root, for Adam's rule.

        Malladi et al. 2022, On the SDEs and scaling rules for adaptive gradient algorithms.
        """
        return self.settings.learning_rate * math.sqrt(self.proposal / self.settings.batch_size)

    @property
    def lines(self) -> tuple[str, ...]:
        """The result for people."""
        lines = [
            f"{each.size:>5}: "
            + ("out of memory" if each.pictures_per_second is None else f"{each.pictures_per_second:,.0f} pictures/s")
            for each in self.tried
        ]
        ran_out = any(each.pictures_per_second is None for each in self.tried)
        lines.append(f"largest that {'fits into the memory' if ran_out else 'was tried'}: {self.largest}")
        lines.append(f"try --batch-size {self.proposal}: the smallest within 5 % of the best speed")
        if self.proposal != self.settings.batch_size:
            lines.append(
                f"with it --learning-rate {short(self.learning_rate)}: {short(self.settings.learning_rate)} is for "
                f"{self.settings.batch_size} pictures, and the rate goes with the square root of the batch"
            )
        return tuple(lines)


def find_batch_size(
    workspace: Workspace, settings: TrainSettings, search: FindBatchSettings, *, quiet: bool = False
) -> BatchFound:
    """Train for some steps at batches of 16, 32, 64 … pictures until the memory, an epoch's pictures or the use ends.

    Smaller ones are tried where 16 do not fit. On a processor, whose memory has no clear end, it also ends after two
    sizes that are not faster than those before.
    Nothing is written.

    Args:
        workspace: with all data stages completed.
        settings: of the training; its batch size does not matter.
        search: how many steps, and up to which size.
        quiet: no progress bar.

    Raises:
        UserError: settings or data are unusable.
        RunError: not even the smallest batch fits.
    """
    # A rate that changes nothing: sizes are compared, nothing is to be learnt and nothing can diverge.
    asked = dataclasses.replace(settings, learning_rate=1e-12, accumulate=1)
    with planned(workspace, asked) as loop:
        sizes = [2**k for k in range(1, 31) if 2**k <= min(len(loop.sampler), search.most)]
        first = min(_FIRST, sizes[-1])
        tried: list[Tried] = []
        with progress("batch sizes", len(sizes), "sizes", quiet=quiet) as advance:
            for size in (size for size in sizes if size >= first):
                tried.append(Tried(size, _speed(loop, size, search.steps)))
                advance(1)
                if tried[-1].pictures_per_second is None or (loop.device == "cpu" and _no_faster(tried)):
                    break
            for size in (size for size in reversed(sizes) if size < first):
                if tried[-1].pictures_per_second is not None or tried[-1].size > first:
                    break
                tried.append(Tried(size, _speed(loop, size, search.steps)))
    return _judged(tried, settings)


def _no_faster(tried: list[Tried]) -> bool:
    """Whether the last two sizes gained nothing on those before."""
    speeds = [each.pictures_per_second or 0.0 for each in tried]
    return len(speeds) > 3 and max(speeds[-2:]) < (1 + _AS_GOOD) * max(speeds[:-2])


def _judged(tried: list[Tried], settings: TrainSettings) -> BatchFound:
    speeds = {each.size: each.pictures_per_second for each in tried if each.pictures_per_second}
    if not speeds:
        raise RunError(
            f"a batch of {tried[-1].size} pictures does not fit into the memory.",
            hint="try a smaller --image-size or --model, or --freeze backbone",
        )
    enough = (1 - _AS_GOOD) * max(speeds.values())
    proposal = min(size for size, speed in speeds.items() if speed >= enough)
    return BatchFound(proposal=proposal, largest=max(speeds), tried=tuple(tried), settings=settings)


def _speed(loop: Loop, size: int, steps: int) -> float | None:
    """Pictures/s of training steps at a batch size, by the fastest one: what else runs can only add to it.

    None if the memory runs out.
    """
    loop = dataclasses.replace(loop, settings=dataclasses.replace(loop.settings, batch_size=size))
    clock = StepClock(loop.device)
    try:
        loop.try_steps(steps + _WARM, clock, repeat=True)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        ran_out = True
    else:
        ran_out = False
    # Here the exception is gone, which held on to the tensors of the step that failed.
    garbage_collection_cuda()
    return None if ran_out else size / min(clock.seconds[_WARM:])


class StepClock(Callback):
    """Seconds of each training step, the device's work included."""

    def __init__(self, device: str) -> None:
        self.seconds: list[float] = []
        self._device = device
        self._start = 0.0

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Start the clock."""
        self._start = self._now()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Stop the clock."""
        self.seconds.append(self._now() - self._start)

    def _now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
