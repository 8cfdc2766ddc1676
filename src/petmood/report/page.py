"""From the files of a run and its workspace to the data of one page; runs no model, writes nothing."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from petmood.bootstrap import Interval, Score
from petmood.errors import UserError
from petmood.metrics import Evaluation
from petmood.report.advantage import advantage
from petmood.report.dataset import Data, read_data
from petmood.report.doubts import DoubtPage, read_doubts
from petmood.report.galleries import Galleries, read_galleries
from petmood.workspace import Workspace, read_json, read_table

#: Most doubtful labels that are shown.
DOUBTS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves:
    """The training, one value an epoch; None where an epoch has none."""

    epochs: tuple[float, ...]
    columns: Mapping[str, tuple[float | None, ...]]
    """Column of metrics.csv → values."""
    kept: int
    """The epoch whose weights are the model, from 1; 0 if unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the report shows, before words and looks."""

    run: str
    model: str
    """timm name of the backbone."""
    evaluation: Evaluation
    advantage: Mapping[Score, Interval]
    """How much better than the majority answer; empty if it cannot be told."""
    data: Data
    curves: Curves | None
    galleries: Galleries
    doubts: DoubtPage | None
    """None if the labels were not audited."""
    started_from: str
    """The run that training started from; empty if none."""
    training_clips: Mapping[str, int]
    """Emotion → clips that the model was trained on, as its bundle says."""
    training_settings: Mapping[str, Any]


def read_page(run: Path) -> Page:
    """The page data of an evaluated run.

    Raises:
        UserError: the run was not evaluated, not in a workspace, or a file is damaged.
    """
    run = run.absolute()
    evaluation = read_evaluation(run)
    workspace = Workspace.of_run(run)
    bundle = read_json(run / "bundle.json") if (run / "bundle.json").is_file() else {}
    predictions = _predictions(run, evaluation)
    return Page(
        run=run.name,
        model=str(bundle.get("model", "")),
        evaluation=evaluation,
        advantage=advantage(predictions, evaluation),
        data=read_data(workspace),
        curves=_curves(run / "metrics.csv", kept=int(bundle.get("epoch", 0))),
        galleries=read_galleries(workspace, run, predictions, evaluation.classes),
        doubts=_doubts(run, workspace),
        started_from=str((bundle.get("init") or {}).get("run", "")),
        training_clips=bundle.get("training_clips", {}),
        training_settings=bundle.get("settings", {}),
    )


def read_evaluation(run: Path) -> Evaluation:
    """What `petmood evaluate` found about a run.

    Raises:
        UserError: the run was not evaluated, or by another version.
    """
    path = run / "metrics.json"
    if not path.is_file():
        raise UserError(f"run folder {run} was not evaluated.", hint=f"run `petmood evaluate {run}`")
    try:
        return Evaluation.from_dict(read_json(path))
    except ValueError:
        raise UserError(
            f"{path} is not what this petmood writes.", hint=f"run `petmood evaluate {run}` again"
        ) from None


def _predictions(run: Path, evaluation: Evaluation) -> pl.DataFrame:
    """The table of the run's answers, as wide as the page needs it."""
    path, hint = run / "predictions.parquet", f"run `petmood evaluate {run}` again"
    if not path.is_file():
        raise UserError(f"run folder {run} has no predictions.parquet.", hint=hint)
    table = read_table(path)
    needed = ("frame_id", "clip", "group", "species", "emotion", *(f"p_{name}" for name in evaluation.classes))
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise UserError(f"{path} is damaged: it has no column {', '.join(missing)}.", hint=hint)
    if table.is_empty() or not set(table["emotion"].unique()) <= set(evaluation.classes):
        raise UserError(f"{path} does not belong to the run's metrics.json: it has other emotions.", hint=hint)
    return table


def _doubts(run: Path, workspace: Workspace) -> DoubtPage | None:
    """The most doubtful labels as the run sees them, else as the audit of the work folder does."""
    for folder in (run, workspace.root):
        if (folder / "doubts.json").is_file() and (folder / "doubts.parquet").is_file():
            return read_doubts(folder, DOUBTS)
    return None


def _curves(path: Path, *, kept: int) -> Curves | None:
    """The columns of a metrics.csv; None if there is no such file or nothing in it."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("epoch")]
    if not rows:
        return None
    columns = {
        name: tuple(float(row[name]) if row.get(name) else None for row in rows) for name in rows[0] if name != "epoch"
    }
    return Curves(epochs=tuple(float(row["epoch"]) for row in rows), columns=columns, kept=kept)
