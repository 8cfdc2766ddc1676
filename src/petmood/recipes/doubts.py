"""The settings of the search for doubtful labels, apart from ``doubts``, which reaches torch; --help must not."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DoubtSettings:
    """How labels are compared with predictions that have not seen them."""

    folds: Annotated[int, Field(ge=2)] = 5
    """A work folder's clips are divided into so many parts by group, and each part is judged by a classifier of the
    others. Emotions with clips in fewer groups are not judged."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides the parts."""
