"""Finding a learning rate and a batch size by a few steps of the training that they are for; no run is made."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error

from petmood import charts
from petmood.errors import RunError, UserError
from petmood.loading import Batch
from petmood.parallel import progress
from petmood.recipes import TrainSettings
from petmood.recipes.finding import FindBatchSettings, FindRateSettings
from petmood.runfolder import resolve_init
from petmood.train.loop import Loop
from petmood.train.plan import plan_training
from petmood.workspace import Workspace, replacing

Floats = npt.NDArray[np.float64]

#: The search ends where the smoothed loss is this many times the best one.
_DIVERGED = 3.0
#: Share of the steps over which the loss is smoothed (standard deviation of a Gaussian).
_SMOOTHING = 0.04
#: Fall of the smoothed loss, in standard deviations of what smoothing took away, below which nothing was learnt.
_CLEAR = 1.0
#: A batch size is as good as the best one if its pictures/s are within this share.
_AS_GOOD = 0.05
#: The first batch size, or the next one that fits: batch norms learn badly from fewer pictures, however fast that is.
_FIRST = 16
#: Steps of each batch size before the clock starts: the first ones choose algorithms and allocate.
_WARM = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateFound:
    """What a search for a learning rate came to."""

    proposal: float
    """Learning rate to take, two digits (``propose_rate``)."""
    rates: tuple[float, ...]
    """Learning rate of each step."""
    losses: tuple[float, ...]
    """Loss of each step, before the step was made."""
    picture: Path
    seconds: float

    @property
    def lines(self) -> tuple[str, ...]:
        """The result for people."""
        return (
            f"{len(self.rates)} steps from {short(self.rates[0])} to {short(self.rates[-1])} in {self.seconds:,.0f} s",
            f"picture: {self.picture}",
            f"try --learning-rate {short(self.proposal)}",
        )


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


def find_learning_rate(
    workspace: Workspace, settings: TrainSettings, search: FindRateSettings, *, quiet: bool = False
) -> RateFound:
    """Train for some steps at ever larger learning rates and propose one at which the loss falls.

    All else is as in the training: pictures and their order, loss, frozen parts, proportions between the layers' rates.
    The picture WORK/lr-find.svg is all that is written (range test: Smith 2017, Cyclical learning rates).

    Args:
        workspace: with all data stages completed.
        settings: of the training; its own learning rate and schedule do not matter.
        search: which rates, and how many.
        quiet: no progress bar.

    Raises:
        UserError: settings or data are unusable, or no rate lowers the loss.
        RunError: the memory ran out.
    """
    if search.largest < 10 * search.smallest:
        raise UserError(f"largest {search.largest:g} is not ten times smallest {search.smallest:g} or more.")
    started = time.monotonic()
    rates = np.geomspace(search.smallest, search.largest, search.steps)
    # Its largest rate is 1, so that those of the layers are their proportions.
    asked = dataclasses.replace(settings, learning_rate=1.0)
    with _planned(workspace, asked) as loop, progress("learning rates", search.steps, "steps", quiet=quiet) as advance:
        test = RangeTest(rates, advance)
        try:
            loop.try_steps(search.steps, test)
        except RunError:
            if not test.losses:  # else: diverged, which is where the search ends
                raise
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            hint = f"find one that fits: `petmood find-batch-size {workspace.root}`"
            raise RunError(f"batch-size {settings.batch_size} does not fit into the memory.", hint=hint) from None
    losses = np.array(test.losses)
    proposal = propose_rate(rates[: len(losses)], losses)
    picture = _draw(workspace, rates[: len(losses)], losses, proposal)
    return RateFound(
        proposal=proposal,
        rates=tuple(rates[: len(losses)].tolist()),
        losses=tuple(losses.tolist()),
        picture=picture,
        seconds=time.monotonic() - started,
    )


def propose_rate(rates: Floats, losses: Floats) -> float:
    """A learning rate at which the loss falls, rounded to two digits.

    It is the middle, on the logarithmic axis, of the two usual proposals: where the smoothed loss falls fastest for the
    same factor of the rate, and a tenth of where it is smallest (both in Howard and Gugger 2020, fastai). Each alone
    scatters with the pictures that happen to come. Lightning's own proposal takes the slope along the rate instead of
    its logarithm, which makes the first steps look steep; docs/lab-log.md has figures.

    Args:
        rates: of each step, rising by a constant factor.
        losses: of each step, finite.

    Raises:
        UserError: the loss does not fall, or not by more than it scatters.
    """
    low, high = (short(float(rate)) for rate in (rates[0], rates[-1])) if len(rates) else ("?", "?")
    hint = "check the labels, or give more --steps, a larger --batch-size or another range (--smallest, --largest)"
    if len(losses) < 10:
        raise UserError(f"the loss diverges at learning rate {high} already, after {len(losses)} steps.", hint=hint)
    smooth = smoothed(losses)
    end = int(smooth.argmin())
    noise = float(np.std((losses - smooth)[: end + 1]))
    fall = float(smooth[: end + 1].max() - smooth[end])
    if fall <= max(_CLEAR * noise, 1e-3 * abs(float(smooth[0]))) or end < 2:
        raise UserError(f"no learning rate from {low} to {high} lowers the loss clearly (by {fall:.3g}).", hint=hint)
    slopes = np.gradient(smooth[: end + 1])
    return float(f"{math.sqrt(rates[int(slopes.argmin())] * rates[end] / 10):.1e}")


def smoothed(losses: Floats) -> Floats:
    """A running mean of the losses with Gaussian weights, as many as there are; it lags neither behind nor ahead."""
    places = np.arange(len(losses))
    width = max(1.0, _SMOOTHING * len(losses))
    weights = np.exp(-0.5 * ((places[:, None] - places[None, :]) / width) ** 2)
    means: Floats = weights @ losses / weights.sum(axis=1)
    return means


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
    with _planned(workspace, asked) as loop:
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


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device's memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)


class RangeTest(Callback):
    """Makes each step at the next learning rate; ends training where the loss diverges."""

    def __init__(self, rates: Floats, advance: Callable[[int], None]) -> None:
        self.losses: list[float] = []
        """Of each step that was completed, finite."""
        self._rates = rates
        self._advance = advance
        self._parts: list[float] = []
        self._shares: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the proportions between the groups of parameters."""
        self._shares = [group.get("initial_lr", group["lr"]) for group in trainer.optimizers[0].param_groups]

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Set the rate of the step that this batch belongs to."""
        rate = self._rates[min(len(self.losses), len(self._rates) - 1)]
        for group, share in zip(trainer.optimizers[0].param_groups, self._shares, strict=True):
            group["lr"] = rate * share

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: dict[str, torch.Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Take the loss down once the step is made."""
        # Lightning has divided it by the number of batches of a step.
        self._parts.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        if trainer.global_step == len(self.losses):
            return
        loss = statistics.mean(self._parts)
        self._parts.clear()
        if not math.isfinite(loss):
            trainer.should_stop = True
            return
        self.losses.append(loss)
        self._advance(1)
        smooth = smoothed(np.array(self.losses))
        if len(smooth) > 10 and smooth[-1] > _DIVERGED * smooth.min():
            trainer.should_stop = True


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


@contextlib.contextmanager
def _planned(workspace: Workspace, settings: TrainSettings) -> Iterator[Loop]:
    """A loop for a workspace without a run, on one device, without what only matters over epochs."""
    if settings.method == "probe":
        raise UserError("method probe has neither steps nor batches.", hint="give another recipe: --recipe default")
    short = dataclasses.replace(
        resolve_init(settings),
        schedule="constant",
        warmup_epochs=0.0,
        small_size=0,
        ema=0.0,
        track="none",
        devices=1,
        nodes=1,
    )
    with tempfile.TemporaryDirectory(prefix="petmood-find-") as folder:
        yield plan_training(workspace, Path(folder) / "run", short).loop


def _draw(workspace: Workspace, rates: Floats, losses: Floats, proposal: float) -> Path:
    path = workspace.root / "lr-find.svg"
    text = charts.rates(
        "Loss while the learning rate rises",
        rates.tolist(),
        losses.tolist(),
        smoothed(losses).tolist(),
        mark=proposal,
        mark_label=f"try {short(proposal)}",
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def short(rate: float) -> str:
    """A learning rate with two digits, such as 3.2e-4."""
    digits, power = f"{rate:.1e}".split("e")
    return f"{digits}e{int(power)}"
