"""The settings of looking after a work folder: of its status, and of freeing space."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class StatusSettings:
    """Settings of ``petmood status``."""

    source_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Look at most so long whether the source has changed; 0 does not look."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CleanSettings:
    """Settings of ``petmood clean``: what goes besides that which nobody can miss."""

    dry_run: bool = False
    """Tell what would go, and remove nothing."""
    all_features: bool = False
    """The features of crops too, which the next probe or audit computes again."""
    checkpoints: bool = False
    """All checkpoints of finished runs too; their models stay."""
    unfinished: bool = False
    """The pieces of stopped indexing and packing too, which the same command would take up."""
    crops: bool = False
    """The crops too, if every picture that they were cut from is still there."""
    run: tuple[str, ...] = ()
    """This run too, with its model. May be repeated."""
