"""Settings of the two finders, apart from ``train``, which needs torch; --help must not."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FindRateSettings:
    """How learning rates are tried."""

    steps: Annotated[int, Field(ge=20)] = 100
    """Steps of training, each at a larger learning rate than the one before; epochs follow each other if one has
    fewer."""
    smallest: Annotated[float, Field(gt=0)] = 1e-6
    """Learning rate of the first step."""
    largest: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the last step, unless the loss diverges before."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FindBatchSettings:
    """How batch sizes are tried."""

    steps: Annotated[int, Field(ge=1)] = 5
    """Steps of training that are timed at each size, after two that are not."""
    most: Annotated[int, Field(ge=2)] = 4096
    """Largest size that is tried."""
