"""`petmood find-lr`."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Json, Quiet, tell
from petmood.cli.folders import Work
from petmood.cli.recipes import DEFAULT, TriedRecipe, TriedSettings, fill_from_recipe
from petmood.lock import owned
from petmood.recipes import TrainSettings
from petmood.recipes.finding import FindRateSettings
from petmood.records import StageSummary

#: An app of its own, because it takes values from a recipe.
find_lr = cyclopts.App(name="find-lr", config=fill_from_recipe)


@find_lr.default
def command(
    work: Work,
    *,
    recipe: TriedRecipe = DEFAULT,
    search: Annotated[FindRateSettings, Parameter(name="*", group="search")] = FindRateSettings(),  # noqa: B008 - frozen
    settings: TriedSettings = TrainSettings(),  # noqa: B008 - frozen
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Try learning rates for a training and draw what they do to its loss: WORK/lr-find.svg. No run is made.

    Parameters
    ----------
    work
        A work folder that `petmood prepare` made.
    """
    from petmood.train.find_rate import find_learning_rate
    from petmood.workspace import Workspace

    with owned(work, "petmood find-lr", part="lr-find"):
        found = find_learning_rate(Workspace.open(work), settings, search, quiet=quiet)
    counts = {"learning_rate": found.proposal, "rates": list(found.rates), "losses": list(found.losses)}
    counts |= {"picture": str(found.picture), "seconds": round(found.seconds, 1)}
    tell(StageSummary(stage="find-lr", skipped=False, counts=counts, lines=found.lines), json=json)
