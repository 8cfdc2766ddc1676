"""Lightning's loop around a plan: trainer, callbacks, and what it does when it is interrupted."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint, RichProgressBar

from petmood.loading import Batch, CropBatches, Samples
from petmood.preprocess import Augmentation, Preprocessing
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.train.module import EmotionModule
from petmood.train.optimise import Device, choose_precision
from petmood.train.trackers import trackers
from petmood.workspace import replacing

#: Scores by which training is steered, and whether smaller or larger is better.
DIRECTION: Mapping[str, Literal["min", "max"]] = {"val_loss": "min", "val_accuracy": "max", "val_clip_macro_f1": "max"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """All that the loop works with."""

    run: Path
    settings: TrainSettings
    device: Device
    train: Samples
    sampler: ClipSampler
    """Decides which rows of ``train`` an epoch shows."""
    val: Samples
    preprocessing: Preprocessing
    module: EmotionModule
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None
    """Told the epoch (from 1) and its validation scores (``DIRECTION``) after each epoch, in the first process alone; an
    exception ends the training and passes through."""

    def fit(self, checkpoint: Path | None, *, quiet: bool) -> None:
        """Train, from a checkpoint on if one is given; leaves metrics.csv, tensorboard/ and checkpoints/ in the run.

        Raises:
            RunError: the loss is no finite number.
            KeyboardInterrupt: Ctrl-C, which Lightning would turn into exit code 1.
        """
        with _lightning_hushed():
            trainer = self._trainer(quiet=quiet)
            batches = self._training_batches(trainer)
            self.module.steps = self.settings.epochs * math.ceil(len(batches) / self.settings.accumulate)
            val = self._validation_batches(trainer)
            with _interruptible():
                trainer.fit(self.module, batches, val, ckpt_path=checkpoint, weights_only=True)

    def _training_batches(self, trainer: lightning.Trainer) -> CropBatches:
        """The sampler's rows, changed at random; this process's part of them."""
        settings, samples = self.settings, self.train
        return CropBatches(
            samples.store,
            self.preprocessing,
            batch_size=settings.batch_size // trainer.world_size,
            labels=samples.labels,
            weights=samples.weights if self.sampler.uses_weights else None,
            augmentation=Augmentation(horizontal_flip=settings.horizontal_flip, min_scale=settings.min_scale),
            sampler=self.sampler,
            seed=settings.seed,
            epoch=lambda: int(trainer.current_epoch),
            rank=trainer.global_rank,
            world=trainer.world_size,
            threads=settings.threads,
            pinned=self.device == "cuda",
        )

    def _validation_batches(self, trainer: lightning.Trainer) -> CropBatches:
        """All pictures in order and as they are; this process's part of them."""
        return CropBatches(
            self.val.store,
            self.preprocessing,
            batch_size=self.settings.batch_size,
            labels=self.val.labels,
            rank=trainer.global_rank,
            world=trainer.world_size,
            threads=self.settings.threads,
            pinned=self.device == "cuda",
        )

    def _trainer(self, *, quiet: bool) -> lightning.Trainer:
        settings = self.settings
        return lightning.Trainer(
            accelerator="gpu" if self.device == "cuda" else "cpu",
            devices=settings.devices or "auto",
            num_nodes=settings.nodes,
            sync_batchnorm=self.device == "cuda",  # torch has none for processors
            use_distributed_sampler=False,  # our batches are dealt to the processes already
            precision=choose_precision(settings.precision, self.device),
            max_epochs=settings.epochs,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.clip_gradient or None,
            callbacks=self._callbacks(quiet=quiet),
            logger=trackers(settings, self.run),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            benchmark=self.device == "cuda",
            enable_progress_bar=not quiet,
            enable_model_summary=False,
            default_root_dir=self.run,
        )

    def _callbacks(self, *, quiet: bool) -> list[Callback]:
        checkpoints = self.run / "checkpoints"
        stop, best = self.settings.stop_on, self.settings.checkpoint_on
        callbacks: list[Callback] = [EMAWeightAveraging(decay=self.settings.ema)] if self.settings.ema else []
        callbacks += [
            EarlyStopping(stop, mode=DIRECTION[stop], patience=self.settings.patience),
            MetricsFile(self.run / "metrics.csv", self.after_epoch),
            ModelCheckpoint(checkpoints, "best", monitor=best, mode=DIRECTION[best], enable_version_counter=False),
            # After the others, so that it holds what they have learnt in this epoch.
            ModelCheckpoint(checkpoints, "last", enable_version_counter=False, save_on_train_epoch_end=True),
        ]
        if not quiet:
            callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
        return callbacks


class MetricsFile(Callback):
    """One row an epoch in a CSV file, which is complete after each epoch and goes on when a training is resumed."""

    def __init__(self, path: Path, told: Callable[[int, Mapping[str, float]], None] | None = None) -> None:
        self.path = path
        self.told = told
        self._start()

    def _start(self) -> None:
        self.pictures = 0
        self.started = time.monotonic()
        self.trained = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock also where a training goes on within an epoch, whose start nobody announces."""
        self._start()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._start()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the pictures."""
        self.pictures += len(batch.labels) * trainer.world_size

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Training is over for this epoch, validation begins."""
        self.trained = time.monotonic() - self.started

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add this epoch's row; rows of later epochs, left by a training that was stopped, are replaced."""
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        row: dict[str, float] = {"epoch": epoch, "train_loss": float(trainer.callback_metrics["train_loss"])}
        row |= {name: float(trainer.callback_metrics[name]) for name in DIRECTION}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["pictures_per_second"] = self.pictures / self.trained if self.trained else 0.0
        row["seconds"] = time.monotonic() - self.started
        rows = [old for old in read_metrics(self.path) if old["epoch"] < epoch]
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in each.items()} for each in [*rows, row])
        if self.told:
            self.told(epoch, {name: row[name] for name in DIRECTION})


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics.csv, one an epoch, in order; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C through as KeyboardInterrupt: Lightning answers it by ignoring further ones and ``sys.exit(1)``."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _lightning_hushed() -> Iterator[None]:
    """Silence what Lightning says about itself; what goes wrong still comes as an exception."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # On purpose: a resumed run writes into the same checkpoint folder.
            warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty")
            # On purpose: frozen batch norms keep their statistics.
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
            # Lightning 2.6 beside a newer torch.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
