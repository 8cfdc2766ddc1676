"""Which of the two holds a training up, the loader of pictures or the network, and what to change."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import lightning
from lightning.pytorch.callbacks import Callback

from petmood.loading import CropBatches
from petmood.parallel import cores
from petmood.recipes import TrainSettings
from petmood.train.optimise import Device

#: Steps at the beginning of an epoch that do not count: the loader fills, algorithms are tried, networks compiled.
_SKIPPED = 3
#: From this share of waiting on, a faster loader is worth more than a faster network.
_HELD_UP = 0.1
#: A GPU has too little to do at once with fewer pictures.
_FULL_BATCH = 128


class _Mark(NamedTuple):
    """A moment of a training."""

    seconds: float
    waited: float
    """Seconds in which the loop has waited for pictures until then."""


class Waiting(Callback):
    """Measures for which share of an epoch's steps the loop waited for pictures; needs ``CropBatches``.

    The loop alone is watched: a GPU may have had work left while the loop waited, but not for long if it always waits.
    """

    def __init__(self) -> None:
        self._marks: list[_Mark] = []
        self._steps = 0

    @property
    def share(self) -> float:
        """Of this epoch until now, 0 to 1, without its first steps; 0 before the first step."""
        if not self._steps:
            return 0.0
        first, last = self._marks[min(_SKIPPED, self._steps // 2)], self._marks[-1]
        return min(1.0, (last.waited - first.waited) / max(1e-9, last.seconds - first.seconds))

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin also where a training goes on within an epoch, whose start nobody announces."""
        self._begin(trainer)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin."""
        self._begin(trainer)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's word for what a step returned
        batch: object,
        batch_idx: int,
    ) -> None:
        """Note the end of a step: of the first ones and of the newest."""
        self._steps += 1
        if self._steps > _SKIPPED + 1:
            self._marks.pop()
        self._marks.append(_mark(trainer))

    def _begin(self, trainer: lightning.Trainer) -> None:
        self._marks, self._steps = [_mark(trainer)], 0


def _mark(trainer: lightning.Trainer) -> _Mark:
    loader = trainer.train_dataloader
    return _Mark(time.perf_counter(), loader.waited if isinstance(loader, CropBatches) else 0.0)


def bottleneck_of(rows: Sequence[Mapping[str, float]], settings: TrainSettings, device: Device) -> str:
    """What held a training up, for people: one sentence, or nothing if it was not measured.

    Args:
        rows: of the run's metrics.csv; ``waiting`` (a share, 0 to 1) and ``pictures_per_second``.
        settings: of the training.
        device: on which the network computed.
    """
    measured = [row for row in rows if "waiting" in row]
    if not measured:
        return ""
    seconds = [1 / max(1e-9, row["pictures_per_second"]) for row in measured]
    # Epochs show about as many pictures each: a slow one lasts longer and counts for more.
    waiting = sum(row["waiting"] * time for row, time in zip(measured, seconds, strict=True)) / sum(seconds)
    return bottleneck(waiting, len(seconds) / sum(seconds), settings, device)


def bottleneck(waiting: float, pictures_per_second: float, settings: TrainSettings, device: Device) -> str:
    """Whether the loader or the network holds a training up, and what would make it faster, in one sentence.

    Args:
        waiting: share of the time in which the loop waited for pictures, 0 to 1.
        pictures_per_second: that were trained on.
        settings: of the training; what it has chosen already is not proposed.
        device: on which the network computes.
    """
    by_loader = waiting >= _HELD_UP
    advice = "; ".join(_for_loader(settings) if by_loader else _for_network(settings, device))
    shared = " (they share the processor's cores: what spares one helps both)" if device == "cpu" else ""
    return (
        f"bottleneck: the {'loader' if by_loader else 'network'}{shared}; "
        f"{100 * waiting:.0f} % of the time was spent waiting for pictures, "
        f"{pictures_per_second:,.0f} were seen a second" + (f". Faster: {advice}" if advice else "")
    )


def _for_loader(settings: TrainSettings) -> Iterator[str]:
    found = cores()
    if cores(settings.threads) < found:
        yield f"--threads 0 for all {found} cores (now {settings.threads})"
    else:
        yield f"more cores than these {found}"
    yield "smaller crops (`petmood pack --shorter-side`)"
    if not settings.small_size:
        yield "--small-size 160"


def _for_network(settings: TrainSettings, device: Device) -> Iterator[str]:
    gpu = device == "cuda"
    if not gpu:
        yield "a GPU"
    if gpu and settings.precision == "32":
        yield "--precision auto"
    if gpu and not settings.compile:
        yield "--compile"
    if settings.freeze == "none":
        yield "--freeze stem"
    if not settings.small_size:
        yield "--small-size 160"
    if gpu and settings.batch_size < _FULL_BATCH:
        yield "a larger --batch-size (`petmood find-batch-size`)"
