"""Finding a learning rate by a few steps of the training that it is for; no run is made."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback

from petmood import charts
from petmood.errors import RunError, UserError
from petmood.loading import Batch
from petmood.parallel import progress
from petmood.recipes import TrainSettings
from petmood.recipes.finding import FindRateSettings
from petmood.train.trial import out_of_memory, planned, short
from petmood.workspace import Workspace, replacing

Floats = npt.NDArray[np.float64]

#: The search ends where the smoothed loss is this many times the best one.
_DIVERGED = 3.0
#: Share of the steps over which the loss is smoothed (standard deviation of a Gaussian).
_SMOOTHING = 0.04
#: Fall of the smoothed loss, in standard deviations of what smoothing took away, below which nothing was learnt.
_CLEAR = 1.0


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
    with planned(workspace, asked) as loop, progress("learning rates", search.steps, "steps", quiet=quiet) as advance:
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
