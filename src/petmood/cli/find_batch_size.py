"""`petmood find-batch-size`."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Json, Quiet, tell
from petmood.cli.folders import Work
from petmood.cli.recipes import DEFAULT, TriedRecipe, TriedSettings, fill_from_recipe
from petmood.recipes import TrainSettings
from petmood.recipes.finding import FindBatchSettings
from petmood.records import StageSummary

#: An app of its own, because it takes values from a recipe.
find_batch_size = cyclopts.App(name="find-batch-size", config=fill_from_recipe)


@find_batch_size.default
def command(
    work: Work,
    *,
    recipe: TriedRecipe = DEFAULT,
    search: Annotated[FindBatchSettings, Parameter(name="*", group="search")] = FindBatchSettings(),  # noqa: B008 - frozen
    settings: TriedSettings = TrainSettings(),  # noqa: B008 - frozen
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Try batches of 16, 32, 64 … pictures until the memory runs out; say how fast each is. Nothing is written.

    Parameters
    ----------
    work
        A work folder that `petmood prepare` made.
    """
    from petmood.train.find_batch import find_batch_size as find
    from petmood.workspace import Workspace

    found = find(Workspace.open(work), settings, search, quiet=quiet)
    speeds = {each.size: each.pictures_per_second for each in found.tried}
    counts = {"batch_size": found.proposal, "largest": found.largest, "pictures_per_second": speeds}
    counts |= {"learning_rate": found.learning_rate}
    tell(StageSummary(stage="find-batch-size", skipped=False, counts=counts, lines=found.lines), json=json)
