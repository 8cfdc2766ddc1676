"""`petmood train`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Cluster, Json, Quiet, on_machines, reached, tell
from petmood.cli.folders import Work
from petmood.cli.recipes import DEFAULT, fill_from_recipe
from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.records import StageSummary

if TYPE_CHECKING:
    from petmood.workspace import Workspace

#: An app of its own, because only this command takes values from a recipe.
train = cyclopts.App(name="train", config=fill_from_recipe)


@train.default
def command(
    work: Work,
    *,
    recipe: Annotated[
        str, Parameter(help="Shipped (probe, default, demo, fine-tune, notes, retrain-head) or a .yaml file.")
    ] = DEFAULT,
    name: Annotated[str, Parameter(help="Of the run; the recipe's name if left out.")] = "",
    resume: Annotated[bool, Parameter(help="Go on with a stopped run, by its own settings.", negative=())] = False,
    settings: Annotated[
        TrainSettings, Parameter(name="*", group="settings (the recipe's if left out)")
    ] = TrainSettings(),  # noqa: B008 - frozen
    doctor: Annotated[
        bool, Parameter(help="Ask the doctor briefly first; what would make the training fail or lie stops it.")
    ] = True,
    cluster: Cluster = "",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a classifier on a prepared work folder; the result is WORK/runs/NAME.

    Parameters
    ----------
    work
        A work folder that `petmood prepare` made.
    """
    from petmood.workspace import Workspace

    title = Path(recipe).stem
    work = reached(work, cluster)
    workspace = Workspace.open(work)
    how = _Run(workspace, name or title, settings, title, resume, quiet)
    # A stopped run goes on by its own settings, whatever recipe is named now.
    method = _method_of(workspace, name or title) if resume else settings.method
    if cluster and method != "probe":
        raise UserError(
            f"cluster {cluster} is for the features of a probe, and method {method!r} trains by steps.",
            hint="several machines train together by torchrun or srun (docs/guide/resume-and-clusters.md)",
        )
    with _owned(how):
        if doctor and not resume:
            _ask_doctor(how)
        with on_machines(cluster, work):
            counts, lines = _probe(how) if method == "probe" else _train(how)
    tell(StageSummary(stage="train", skipped=False, counts=counts, lines=lines), json=json)


class _Run(NamedTuple):
    """What both ways of training are told."""

    workspace: Workspace
    name: str
    settings: TrainSettings
    recipe: str
    resume: bool
    quiet: bool


def _owned(how: _Run) -> AbstractContextManager[None]:
    """A block that alone changes this run; of several processes that train it together the first holds it for all."""
    from petmood.train.processes import is_first
    from petmood.workspace import owned_run

    return owned_run(how.workspace.runs / how.name, "petmood train") if is_first() else nullcontext()


def _ask_doctor(how: _Run) -> None:
    """Stop a training that would fail or lie; only the first of several processes asks."""
    from petmood.cli.doctor import ask_before_training
    from petmood.runfolder import run_folder
    from petmood.train.processes import is_first

    run_folder(how.workspace.runs, how.name, resume=False, shared=not is_first())
    if is_first():
        ask_before_training(how.workspace.root, how.settings)


def _method_of(workspace: Workspace, name: str) -> str:
    from petmood.runfolder import read_config, run_folder

    return read_config(run_folder(workspace.runs, name, resume=True))[0].method


def _train(how: _Run) -> tuple[dict[str, object], tuple[str, ...]]:
    from petmood.train import train as run

    summary = run(how.workspace, how.name, how.settings, recipe=how.recipe, resume=how.resume, quiet=how.quiet)
    counts = {"run": str(summary.run), "epochs": summary.epochs, "best_epoch": summary.best_epoch}
    return {**counts, **summary.scores, "seconds": round(summary.seconds, 1)}, summary.lines


def _probe(how: _Run) -> tuple[dict[str, object], tuple[str, ...]]:
    from petmood.probe import probe as run

    summary = run(how.workspace, how.name, how.settings, recipe=how.recipe, resume=how.resume, quiet=how.quiet)
    seconds = {
        "feature_seconds": round(summary.feature_seconds, 1),
        "fit_seconds": round(summary.fit_seconds, 1),
        "seconds": round(summary.seconds, 1),
    }
    counts = {"run": str(summary.run), "features": summary.features, "cached": summary.cached}
    return {**counts, "strength": summary.strength, **summary.scores, **seconds}, summary.lines
