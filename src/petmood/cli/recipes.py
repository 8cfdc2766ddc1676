"""Recipes on the command line: a recipe's settings hold for every option that was not given."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter
from cyclopts.config import Dict

from petmood.recipes import TrainSettings, load_recipe, recipe_settings

__all__ = ["DEFAULT", "TriedRecipe", "TriedSettings", "fill_from_recipe", "recipe_settings"]

DEFAULT = "default"

#: Options of a command that tries a training without making a run.
TriedRecipe = Annotated[str, Parameter(help="Of the training: a shipped one or a .yaml file.")]
TriedSettings = Annotated[
    TrainSettings, Parameter(name="*", group="settings of the training (the recipe's if left out)")
]


def fill_from_recipe(app: cyclopts.App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
    """Give the settings of ``--recipe`` to all options that the command line leaves out (a cyclopts ``config``).

    Raises:
        UserError: no such recipe, or it has an unknown setting.
        cyclopts.CycloptsError: a value of the recipe is not allowed.
    """
    tokens = arguments["--recipe"].tokens
    recipe = tokens[-1].value if tokens else DEFAULT
    values = {name.replace("_", "-"): value for name, value in load_recipe(recipe).items()}
    Dict(values, source=f"recipe {recipe}", use_commands_as_keys=False)(app, commands, arguments)
