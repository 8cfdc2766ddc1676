"""Heat maps of a run's network; only this module of the service needs torch."""

from __future__ import annotations

from pathlib import Path

from petmood.bundle import load_bundle
from petmood.explain import heat_of
from petmood.pictures import Pixels
from petmood.serve.service import HeatMaps


def heat_maps_of(run: Path, *, device: str = "auto") -> HeatMaps:
    """A function from a crop and an emotion to the rows of its heat map.

    Raises:
        UserError: the folder holds no usable model, or no cuda where it is asked for.
    """
    # Of its own, because the one that answers has its batch norms folded away.
    bundle = load_bundle(run)

    def make(crop: Pixels, emotion: str) -> list[list[int]]:
        rows: list[list[int]] = heat_of(bundle, crop, emotion, device=device).tolist()
        return rows

    return make
