"""Where the curves of a training go beside metrics.csv: TensorBoard always, MLflow or Weights & Biases if asked for."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import types
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from petmood.errors import PetmoodError, UserError
from petmood.recipes import TrainSettings
from petmood.settings import to_plain
from petmood.train.processes import is_first
from petmood.workspace import read_json, write_json

Tracker = Literal["mlflow", "wandb"]

#: The name under which both services gather runs, unless their own environment variables say otherwise.
_PROJECT = "petmood"
#: Calls in a row that may fail before a tracker is left alone: each of them can take a minute.
_PATIENCE = 3


def check_tracker(settings: TrainSettings) -> None:
    """Refuse a tracker that is not installed. Call it before anything of the training is written.

    Raises:
        UserError: the package is missing.
    """
    if settings.track != "none" and importlib.util.find_spec(settings.track) is None:
        raise UserError(
            f"track {settings.track} is asked for, but the package {settings.track} is not installed.",
            hint=f"pip install 'petmood[{settings.track}]', or leave out --track",
        )


def trackers(settings: TrainSettings, run: Path) -> list[Logger]:
    """Lightning's loggers for a run; a resumed one goes on in the tracker's own run.

    Args:
        settings: of the training; ``track``.
        run: its folder, whose name is the run's.

    Raises:
        UserError: the package of the tracker is missing.
    """
    check_tracker(settings)
    # TensorBoard would load the whole of TensorFlow, where it is installed, to write a few numbers; this name is the
    # switch that it looks for.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    loggers: list[Logger] = [TensorBoardLogger(run, name="tensorboard", version="", default_hp_metric=False)]
    if settings.track != "none":
        loggers.append(Tolerated(settings.track, run, to_plain(settings)))
    return loggers


class LearningRateScore(Callback):
    """Gives the trackers the learning rate of the head beside the scores, once an epoch."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log it; with layer decay the head has the largest."""
        pl_module.log("learning_rate", max(group["lr"] for group in trainer.optimizers[0].param_groups))


class Tolerated(Logger):
    """A tracker that never ends a training: when it fails it is said once, and three times in a row end the tracking.

    The tracker's own run begins with the settings as its parameters. Its id stands in tracker.json in the run folder,
    so that a resumed training goes on there.
    """

    def __init__(self, kind: Tracker, run: Path, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = kind
        self.run = run
        self._note = run / "tracker.json"
        self._parameters = dict(parameters)
        self._tracker: Logger | None = None
        self._failed = 0
        self._call(lambda tracker: None)  # begin now: what is wrong is told before the hours, not after them

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.name

    @property
    def version(self) -> str:
        """Nothing: folders are not made by it."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Lightning has it
        """Nothing: the settings were told at the beginning."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Tell the scores of a step."""
        self._call(lambda tracker: tracker.log_metrics(dict(metrics), step))

    def finalize(self, status: str) -> None:
        """Close the tracker's run: "success" or not."""
        if self._tracker:
            self._call(lambda tracker: tracker.finalize(status))
            self._tracker = None

    def _call(self, what: Callable[[Logger], None]) -> None:
        if self._failed >= _PATIENCE or not is_first():
            return
        try:
            if self._tracker is None:
                self._tracker = self._begun()
            what(self._tracker)
            self._failed = 0
        except PetmoodError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a service or the way to it comes up with
            self._failed += 1
            self._tell(error)

    def _begun(self) -> Logger:
        """The tracker with its run open, a new one or the one that it had."""
        mark = read_json(self._note) if self._note.is_file() else {}
        known = str(mark["id"]) if mark.get("tracker") == self.kind else None
        tracker = _mlflow(self.run, known) if self.kind == "mlflow" else _wandb(self.run, known)
        if known is None:
            tracker.log_hyperparams(self._parameters)
        write_json(self._note, {"tracker": self.kind, "id": str(tracker.version)})
        return tracker

    def _tell(self, error: Exception) -> None:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        if self._failed == 1:
            _note(f"{self.kind} could not be told: {text}; training goes on, metrics.csv has all")
        if self._failed == _PATIENCE:
            _note(f"{self.kind} is not told any more")


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)  # noqa: T201


def _mlflow(run: Path, known: str | None) -> Logger:
    """MLflow's run; in WORK/mlflow.db unless MLFLOW_TRACKING_URI says where."""
    # The defaults keep a training waiting for up to a quarter of an hour, at every call, when a server is gone.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    # What it has to say about tables that it makes is nothing for a training's screen.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    address, work = os.environ.get("MLFLOW_TRACKING_URI"), _work_folder(run)
    logger = MLFlowLogger(
        os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
        run_name=run.name,
        tracking_uri=address or f"sqlite:///{work / 'mlflow.db'}",
        artifact_location=None if address else (work / "mlflow-artifacts").as_uri(),
        run_id=known,
    )
    if known:
        logger.experiment.update_run(known, status="RUNNING")  # it was closed when the training stopped
    return logger


class _ClosingWandbLogger(WandbLogger):
    """Lightning's, which leaves the run open, so that the next training of this process would write into it."""

    def finalize(self, status: str) -> None:
        """Close the run; the service shows it as failed if the training did not end well."""
        super().finalize(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def _wandb(run: Path, known: str | None) -> Logger:
    """A run of Weights & Biases, in the mode that the user has chosen for it (WANDB_MODE, `wandb offline`)."""
    logger = _ClosingWandbLogger(
        name=run.name,
        save_dir=run,
        version=known,
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        settings={"console": "off"},  # its copy of the screen would tear the progress bar apart
    )
    _ = logger.experiment  # opens the run
    return logger


def _work_folder(run: Path) -> Path:
    """The work folder that a run belongs to; where there is none, the folder of runs."""
    parents = run.absolute().parents
    return next((folder for folder in parents if (folder / "petmood.json").is_file()), parents[0])
