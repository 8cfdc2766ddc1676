"""Where the curves of a training go beside metrics.csv: TensorBoard always, MLflow or Weights & Biases if asked for."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from petmood.recipes import TrainSettings


def trackers(settings: TrainSettings, run: Path) -> list[Logger]:
    """Lightning's loggers for a run.

    Args:
        settings: of the training; ``track``.
        run: its folder, whose name is the run's.
    """
    # TensorBoard would load the whole of TensorFlow, where it is installed, to write a few numbers; this name is the
    # switch that it looks for.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    return [TensorBoardLogger(run, name="tensorboard", version="", default_hp_metric=False)]
