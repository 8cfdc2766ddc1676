"""Lightning's loop around a plan: trainer, callbacks, and what it does when it is interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException

from petmood.loading import Batch, CropBatches, Samples
from petmood.preprocess import Augmentation, Preprocessing
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.train.averaging import averaging
from petmood.train.bottleneck import Waiting
from petmood.train.checkpoints import FOLDER, BestCheckpoint, LastCheckpoint, WholeCheckpoints
from petmood.train.epochs import DIRECTION, MetricsFile
from petmood.train.module import EmotionModule
from petmood.train.optimise import Device, choose_precision
from petmood.train.processes import Processes, is_first
from petmood.train.squares import square_sizes
from petmood.train.stopping import Stopped, StopSignals
from petmood.train.trackers import LearningRateScore, trackers


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
    processes: Processes = dataclasses.field(default_factory=Processes)
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None
    """Told the epoch (from 1) and its validation scores (``epochs.DIRECTION``) after each epoch, in the first process
    alone; an exception ends the training and passes through."""

    def fit(self, checkpoint: Path | None, *, quiet: bool) -> None:
        """Train, from a checkpoint on if one is given; leaves metrics.csv, tensorboard/ and checkpoints/ in the run.

        Raises:
            RunError: a loss or a weight is no finite number.
            KeyboardInterrupt: Ctrl-C, after the step was finished and saved.
            SystemExit: SIGTERM, likewise (code 143); or Ctrl-C in another process than the first (code 0).
            OSError: what the disk refused.
        """
        with _lightning_hushed(), _signals_as_they_were():
            trainer = self._trainer(quiet=quiet)
            batches = self._training_batches(trainer, square_sizes(self.settings, self.preprocessing.image_size))
            self.module.steps = self.settings.epochs * math.ceil(len(batches) / self.settings.accumulate)
            val = self._validation_batches(trainer)
            with _stops_translated(), _all_ended(trainer):
                trainer.fit(self.module, batches, val, ckpt_path=checkpoint, weights_only=True)

    def try_steps(self, number: int, callback: Callback, *, repeat: bool = False) -> None:
        """Make some steps of the training in this process alone, over as many epochs as they take; nothing is kept.

        Args:
            number: of steps.
            callback: what to do at them; it may end them earlier by ``trainer.should_stop``.
            repeat: show the first batch again and again, so that loading costs nothing.

        Raises:
            RunError: the loss is no finite number.
            KeyboardInterrupt: Ctrl-C.
        """
        settings = self.settings
        with _lightning_hushed(), _signals_as_they_were(), _stops_translated():
            trainer = lightning.Trainer(
                accelerator="gpu" if self.device == "cuda" else "cpu",
                devices=1,
                precision=choose_precision(settings.precision, self.device),
                max_epochs=-1,
                max_steps=number,
                accumulate_grad_batches=settings.accumulate,
                gradient_clip_val=settings.clip_gradient or None,
                callbacks=[callback],
                logger=False,
                limit_val_batches=0,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                benchmark=self.device == "cuda",
                default_root_dir=self.run,
            )
            batches = self._training_batches(trainer)
            self.module.steps = number
            shown = Repeated(next(iter(batches)), number * settings.accumulate) if repeat else batches
            trainer.fit(self.module, shown, batches)

    def _training_batches(self, trainer: lightning.Trainer, sizes: Callable[[int], int] | None = None) -> CropBatches:
        """The sampler's rows, changed at random, in squares of the full or each epoch's size; this process's part."""
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
            sizes=sizes,
            device=trainer.strategy.root_device,
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
            devices=self.processes.devices,
            num_nodes=self.processes.nodes,
            strategy=self.processes.strategy(),
            plugins=[WholeCheckpoints(), *self.processes.plugins(self.device)],
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
        settings, signals, waiting = self.settings, StopSignals(), Waiting()
        callbacks: list[Callback] = [averaging(settings.ema, self.device)] if settings.ema else []
        callbacks += [
            signals,
            EarlyStopping(settings.stop_on, mode=DIRECTION[settings.stop_on], patience=settings.patience),
            waiting,
            LearningRateScore(),
            MetricsFile(self.run / "metrics.csv", self.after_epoch, waiting),
            BestCheckpoint(self.run / FOLDER, settings.checkpoint_on),
            # After the others, so that it holds what they have learnt in this epoch.
            LastCheckpoint(self.run / FOLDER, minutes=settings.checkpoint_minutes, signals=signals),
        ]
        if not quiet:
            callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
        return callbacks


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A loader that shows one batch a number of times."""

    batch: Batch
    times: int

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Batch]:
        return itertools.repeat(self.batch, self.times)


@contextlib.contextmanager
def _signals_as_they_were() -> Iterator[None]:
    """Take back the handlers of Ctrl-C and SIGTERM when the block ends, also those that Lightning sets."""
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if main and handler is not None:
                signal.signal(number, handler)


@contextlib.contextmanager
def _stops_translated() -> Iterator[None]:
    """Give what ends a training by a signal the form that the command line knows.

    Lightning answers a KeyboardInterrupt by ignoring further ones and ``sys.exit(1)``. Another process than the first
    ends without a word and with code 0: the launcher would kill all others for another one, while they save.
    """
    try:
        yield
    except Stopped as stop:
        if not is_first():
            raise SystemExit(0) from None
        if stop.signal_number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + stop.signal_number) from None
    except SIGTERMException:  # SIGTERM before the first step
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


@contextlib.contextmanager
def _all_ended(trainer: lightning.Trainer) -> Iterator[None]:
    """End what a fit that is broken off would leave behind.

    These are the loader of the training pictures, if it was validation that was broken off; and after a failure the
    processes that this one has started, which would wait for it with their GPUs held.
    """
    try:
        yield
    except BaseException as error:
        trainer.fit_loop.teardown()
        # Stopped ends the others too, by itself.
        if not isinstance(error, Stopped) and trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        raise


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
            # On purpose: every process computes the scores of the whole validation split.
            warnings.filterwarnings("ignore", r"It is recommended to use `self.log\(.*sync_dist=True\)`")
            # Lightning 2.6 beside a newer torch.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
