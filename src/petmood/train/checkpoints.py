"""Checkpoints that a training can be taken up from whatever happened to it.

checkpoints/  last.ckpt (the newest) · previous.ckpt (the one before it) · best.ckpt (the end of the best epoch)

Each is written to a temporary name, flushed and renamed, so that a name always holds a whole checkpoint. Reading one
runs no code: torch's restricted unpickler takes tensors and plain values alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import pickle
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from petmood.errors import UserError
from petmood.loading import Batch
from petmood.train.epochs import DIRECTION
from petmood.train.module import diverged
from petmood.train.stopping import StopSignals
from petmood.workspace import replacing, sweep

FOLDER = "checkpoints"
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

#: What a checkpoint of a training holds, at least.
_KEYS = frozenset({"state_dict", "epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers"})


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint wholly or not at all; of last.ckpt the one before it stays as previous.ckpt."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write a file.

        Raises:
            OSError: what the disk refused; what was there is as it was.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _write(checkpoint, temporary)
            if path.name == LAST and path.exists():
                path.replace(path.with_name(PREVIOUS))


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:  # torch closes the file's directory after a failed write, and fails again
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class BestCheckpoint(ModelCheckpoint):
    """The end of the epoch with the best validation score, as best.ckpt.

    Lightning's own memory of the best score names files by their full path and is lost when the folder is moved; this
    one is the score alone. It counts only while best.ckpt is there.
    """

    def __init__(self, folder: Path, score: str) -> None:
        super().__init__(folder, Path(BEST).stem, monitor=score, mode=DIRECTION[score], enable_version_counter=False)
        self._file = str(Path(str(self.dirpath)) / BEST)
        self._there = False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Look for best.ckpt, in the first process for all."""
        super().setup(trainer, pl_module, stage)
        self._there = trainer.strategy.broadcast(Path(self._file).is_file())

    def state_dict(self) -> dict[str, Any]:
        """The best score."""
        return {"score": None if self.best_model_score is None else float(self.best_model_score)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the best score."""
        if state_dict["score"] is not None and self._there:
            score = torch.tensor(state_dict["score"])
            self.best_k_models = {self._file: score}
            self.best_model_path = self.kth_best_model_path = self._file
            self.best_model_score = self.kth_value = score


class LastCheckpoint(Checkpoint):
    """last.ckpt: after each epoch, every few minutes within one, and when the user or the machine asks to stop.

    Within an epoch it is written between two steps of the optimizer, never between batches whose gradients are being
    added up, and not after an epoch's last batch: its end follows, and a training cannot be resumed before validation.
    """

    def __init__(self, folder: Path, *, minutes: float, signals: StopSignals) -> None:
        self.path = folder / LAST
        self.interval = datetime.timedelta(minutes=minutes).total_seconds()
        self.signals = signals
        self._saved = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock; a training that had stopped early when it was killed is not taken further."""
        self._saved = time.monotonic()
        for callback in trainer.callbacks:
            if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
                trainer.should_stop = True

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save if it is time, and stop if that was asked for."""
        done = batch_idx + 1
        if done % trainer.accumulate_grad_batches or done >= trainer.num_training_batches:
            return
        due = time.monotonic() - self._saved >= self.interval
        stop = self.signals.agreed(due=due)
        if stop is not None:
            self._save(trainer)
            self.signals.obey(stop)

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object
    ) -> None:
        """Stop if that was asked for; the validation is repeated later."""
        stop = self.signals.agreed(due=False)
        if stop is not None:
            self.signals.obey(stop)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save what all others have learnt in this epoch: Lightning calls checkpoints last, in their order."""
        self._save(trainer)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse weights that are no numbers, in best.ckpt too: they must not take the place of good ones.

        Raises:
            RunError: a weight, or a mean of weights, is infinite or not a number; in all processes together.
        """
        finite = all(map(_is_finite, _weights(checkpoint)))
        if not trainer.strategy.reduce_boolean_decision(finite):
            diverged(pl_module.settings, "a weight", trainer.current_epoch)

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()


def _weights(checkpoint: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    yield from checkpoint["state_dict"].values()
    yield from checkpoint.get("current_model_state", {}).values()


def _is_finite(weights: torch.Tensor) -> bool:
    return not weights.is_floating_point() or bool(torch.isfinite(weights).all())


@dataclasses.dataclass(frozen=True)
class ResumePoint:
    """A checkpoint that was read and is whole."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    """Of its weights."""

    def check_fits(self, module: torch.nn.Module) -> None:
        """Whether its weights are those of a module's network.

        Raises:
            UserError: they are not.
        """
        expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        if dict(self.shapes) != expected:
            wrong = sorted({name for name, _ in self.shapes.items() ^ expected.items()})
            raise UserError(
                f"checkpoint {self.path} is of another network than this run; {wrong[0]} differs.",
                hint="delete it to go on from the one before it, or begin again under another --name",
            )


def resume_point(run: Path) -> ResumePoint | None:
    """The newest whole checkpoint of a run; None if it has none yet.

    A damaged one is passed over with a warning on standard error; a damaged best.ckpt is removed, so that the best of
    the epochs to come takes its place. Temporary files of killed processes are removed.

    Raises:
        UserError: there are checkpoints, and none is whole.
    """
    folder = run / FOLDER
    if not folder.is_dir():
        return None
    first = rank_zero_only.rank == 0
    if first:
        sweep(folder)
        sweep(run)
    damaged: list[Path] = []
    point = None
    for path in (folder / LAST, folder / PREVIOUS, folder / BEST):
        if not path.is_file() or (point and path.name != BEST):
            continue
        try:
            found = ResumePoint(path, _shapes(read_checkpoint(path)))
            point = point or found
        except UserError as error:
            damaged.append(path)
            if first:
                print(f"warning: {error.message}", file=sys.stderr)  # noqa: T201
    if damaged and point is None:
        raise UserError(
            f"run {run.name!r} has no checkpoint that can be used; damaged are {', '.join(p.name for p in damaged)}.",
            hint=f"begin again under another --name, or copy {folder} from a backup",
        )
    if first and folder / BEST in damaged:
        (folder / BEST).unlink()
    return point


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, with tensors in main memory. No code in the file is run.

    Raises:
        UserError: it is damaged, or no checkpoint of a training.
    """
    problem = "it is no checkpoint of a training"
    try:
        with zipfile.ZipFile(path) as file:
            flipped = file.testzip()
        if flipped:
            problem = f"{flipped} in it has changed"
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(content, dict) and content.keys() >= _KEYS:
                return content
    except zipfile.BadZipFile:
        problem = "it is cut off or something else"
    except pickle.UnpicklingError:
        problem = "it holds more than tensors and plain values, which is not read because it could run code"
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
        problem = " ".join(str(error).split())[:160] or type(error).__name__
    raise UserError(f"checkpoint {path} is damaged: {problem}.", hint="begin again under another --name") from None


def _shapes(checkpoint: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
