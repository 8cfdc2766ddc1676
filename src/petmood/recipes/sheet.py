"""The settings of the contact sheet, apart from ``report.sheet``: that imports a lot, --help must not."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SheetSettings:
    """Which clips the contact sheet shows, and how much of them."""

    clips: Annotated[int, Field(ge=1, le=200)] = 12
    """Clips to show, drawn so that every emotion and species appears where there are enough."""
    frames: Annotated[int, Field(ge=1)] = 40
    """Frames of a clip at the most, evenly thinned; kept ones are always shown."""
    emotion: tuple[str, ...] = ()
    """Draw from clips of this emotion alone, Korean or English; can be given more than once."""
    clip: tuple[str, ...] = ()
    """Show this clip instead of drawing some; can be given more than once."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Same seed, same clips; another seed draws others."""
    max_mb: Annotated[float, Field(gt=0)] = 8.0
    """Megabytes of pictures at the most; clips that do not fit any more are left out, and the page says so."""
