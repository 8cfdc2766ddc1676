"""What the finders share: a training that is only tried, and how a rate is written."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning.pytorch.utilities.memory import is_oom_error

from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.runfolder import resolve_init
from petmood.train.loop import Loop
from petmood.train.plan import plan_training
from petmood.workspace import Workspace


@contextlib.contextmanager
def planned(workspace: Workspace, settings: TrainSettings) -> Iterator[Loop]:
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


def short(rate: float) -> str:
    """A learning rate with two digits, such as 3.2e-4."""
    digits, power = f"{rate:.1e}".split("e")
    return f"{digits}e{int(power)}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device's memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)
