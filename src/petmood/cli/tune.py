"""`petmood tune`."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Json
from petmood.cli.folders import Work
from petmood.cli.recipes import DEFAULT, fill_from_recipe
from petmood.lock import owned
from petmood.recipes import TrainSettings
from petmood.recipes.tuning import TuneSettings

if TYPE_CHECKING:
    from petmood.tune import TuneSummary

#: An app of its own, because it takes values from a recipe.
tune = cyclopts.App(name="tune", config=fill_from_recipe)

#: Trials that are shown.
_SHOWN = 5


@tune.default
def command(
    work: Work,
    *,
    search: Annotated[TuneSettings, Parameter(name="*", group="search")] = TuneSettings(),  # noqa: B008 - frozen
    recipe: Annotated[str, Parameter(help="To start from: shipped (default, demo, …) or a .yaml file.")] = DEFAULT,
    name: Annotated[str, Parameter(help="Of the search; the recipe's name if left out.")] = "",
    settings: Annotated[
        TrainSettings, Parameter(name="*", group="settings to start from (the recipe's if left out)")
    ] = TrainSettings(),  # noqa: B008 - frozen
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], help="No line for each trial.", negative=())] = False,
    json: Json = False,
) -> None:
    """Search good settings of training on the validation side; the result is the recipe WORK/tune/NAME/best.yaml.

    Parameters
    ----------
    work
        A work folder that `petmood prepare` made.
    """
    from petmood.tune import tune as run
    from petmood.workspace import Workspace

    title = Path(recipe).stem
    with owned(work, "petmood tune", part=f"tune/{name or title}"):
        summary = run(Workspace.open(work), name or title, settings, search, recipe=title, quiet=quiet)
    if json:
        print(json_module.dumps(dataclasses.asdict(summary), ensure_ascii=False, indent=2, default=str))
        return
    for line in _lines(summary, work):
        print(line)


def _lines(summary: TuneSummary, work: Path) -> Iterator[str]:
    """The search for people: how it ended, the best trials, what to do next."""
    ended = (f"{summary.count(state)} {state}" for state in ("finished", "given up", "failed") if summary.count(state))
    counts = ", ".join(ended)
    own = f"; the recipe itself scored {summary.base.score:.3f}" if summary.base and summary.base.score else ""
    yield f"tune: {counts}; best is trial {summary.best.number} with macro-F1 {summary.best.score:.3f}{own}"
    for row in summary.ranking[:_SHOWN]:
        values = " ".join(f"{name.replace('_', '-')}={value:.3g}" for name, value in row.values.items())
        yield f"  trial {row.number}: {row.score:.3f} · {values}"
    yield "These scores are of the validation side and chose the trial: they are optimistic. Train and judge on test:"
    run = f"{summary.folder.name}-tuned"
    yield f"  petmood train {work} --recipe {summary.recipe} --name {run}"
    yield f"  petmood evaluate {work / 'runs' / run}"
