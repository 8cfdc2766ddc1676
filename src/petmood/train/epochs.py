"""metrics.csv: what each epoch came to, one row an epoch."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from petmood.loading import Batch
from petmood.train.bottleneck import Waiting
from petmood.workspace import replacing

#: Scores by which training is steered, and whether smaller or larger is better.
DIRECTION: Mapping[str, Literal["min", "max"]] = {"val_loss": "min", "val_accuracy": "max", "val_clip_macro_f1": "max"}


class MetricsFile(Callback):
    """One row an epoch in a CSV file, which is complete after each epoch and goes on when a training is resumed.

    ``train_loss`` is the mean over all pictures of the epoch, in all processes and also before the training was stopped
    within it: the sum is part of the checkpoints.
    """

    def __init__(
        self,
        path: Path,
        told: Callable[[int, Mapping[str, float]], None] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self.path = path
        self.told = told
        self.waiting = waiting
        #: Sum of the losses of this epoch's pictures (of this process), and their number (over all processes).
        self.loss, self.shown = torch.zeros((), dtype=torch.float64), 0
        self._start()

    def _start(self) -> None:
        self.pictures = 0
        self.started = time.monotonic()
        self.trained = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The sums of a begun epoch. All processes must call it together."""
        return {"loss": float(_summed(self.loss)), "shown": self.shown}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the sums; what was summed over all processes is the first one's now (``on_train_start``)."""
        self.loss, self.shown = torch.tensor(state_dict["loss"], dtype=torch.float64), state_dict["shown"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock also where a training goes on within an epoch, whose start nobody announces."""
        self._start()
        if not trainer.is_global_zero:
            self.loss = torch.zeros_like(self.loss)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock and the sums."""
        self._start()
        self.loss, self.shown = torch.zeros_like(self.loss), 0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's word for what a step returned
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the pictures and add up their losses, without waiting for a GPU to have them."""
        self.pictures += batch.total
        self.shown += batch.total
        # Lightning divides by the batches of a step, our module multiplies so that the processes' mean is the whole's.
        share = batch.total * trainer.accumulate_grad_batches / trainer.world_size
        loss = outputs["loss"].detach().double() * share
        self.loss = self.loss.to(loss.device) + loss

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Training is over for this epoch, validation begins."""
        self.trained = time.monotonic() - self.started

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add this epoch's row; rows of later epochs, left by a training that was stopped, are replaced."""
        loss = float(_summed(self.loss)) / self.shown
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        row: dict[str, float] = {"epoch": epoch, "train_loss": loss}
        row |= {name: float(trainer.callback_metrics[name]) for name in DIRECTION}
        row["learning_rate"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        row["pictures_per_second"] = self.pictures / self.trained if self.trained else 0.0
        if self.waiting:
            row["waiting"] = self.waiting.share
        row["seconds"] = time.monotonic() - self.started
        self._write([*(old for old in read_metrics(self.path) if old["epoch"] < epoch), row])
        if self.told:
            self.told(epoch, {name: row[name] for name in DIRECTION})

    def _write(self, rows: list[dict[str, float]]) -> None:
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[-1]), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics.csv, one an epoch, in order; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _summed(value: torch.Tensor) -> torch.Tensor:
    """Sum over the processes."""
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        value = value.clone()
        torch.distributed.all_reduce(value)
    return value
