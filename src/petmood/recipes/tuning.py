"""The settings of tuning, apart from ``tune`` as those of training are: it imports torch, --help must not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS

Tuned = Literal[
    "learning-rate",
    "weight-decay",
    "layer-decay",
    "label-smoothing",
    "dropout",
    "min-scale",
    "rand-augment",
    "mixup",
]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TuneSettings:
    """Settings of ``petmood tune``."""

    trials: Annotated[int, Field(ge=1)] = 30
    """Trainings in all, finished or given up; the same command goes on with a stopped search, a larger number adds."""
    search: tuple[Tuned, ...] = ()
    """Settings that are searched, each with an option of its own; all of them if left out."""
    prune: bool = True
    """Give up a trial that after a third of its epochs is worse than the median of the others."""
