"""`petmood train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Json, Quiet, tell
from petmood.cli.recipes import DEFAULT, fill_from_recipe
from petmood.recipes import TrainSettings
from petmood.records import StageSummary

#: An app of its own, because only this command takes values from a recipe.
train = cyclopts.App(name="train", config=fill_from_recipe)


@train.default
def command(
    work: Path,
    *,
    recipe: Annotated[str, Parameter(help="Shipped (default, demo, notes, retrain-head) or a .yaml file.")] = DEFAULT,
    name: Annotated[str, Parameter(help="Of the run; the recipe's name if left out.")] = "",
    resume: Annotated[bool, Parameter(help="Go on with a stopped run, by its own settings.", negative=())] = False,
    settings: Annotated[
        TrainSettings, Parameter(name="*", group="settings (the recipe's if left out)")
    ] = TrainSettings(),  # noqa: B008 - frozen
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a classifier on a prepared work folder; the result is WORK/runs/NAME.

    Parameters
    ----------
    work
        A work folder that `petmood prepare` made.
    """
    from petmood.train import train as run
    from petmood.workspace import Workspace

    title = Path(recipe).stem
    summary = run(Workspace.open(work), name or title, settings, recipe=title, resume=resume, quiet=quiet)
    counts = {"run": str(summary.run), "epochs": summary.epochs, "best_epoch": summary.best_epoch}
    counts |= {**summary.scores, "seconds": round(summary.seconds, 1)}
    tell(StageSummary(stage="train", skipped=False, counts=counts, lines=summary.lines), json=json)
