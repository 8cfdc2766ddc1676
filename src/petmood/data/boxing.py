"""Boxes for photos that come without one: a detector looks, so that training sees what prediction will cut out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from petmood import places
from petmood.detect import Animal, Detector, animals_in, open_detector
from petmood.geometry import Box
from petmood.pictures import BadPictureError

_BOX = ("x", "y", "width", "height")


class _Refused(NamedTuple):
    reason: str
    detail: str


@lru_cache(maxsize=1)
def detector_of(weights: str) -> Detector:
    """The detector of a file, opened once in each process; one thread, as there is a process for each core."""
    return open_detector(weights, threads=1)


def box_animals(frames: pl.DataFrame, detector: Detector) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames whose animal has a box, and rejects for photos in which none is found or that cannot be read.

    A frame whose box is the whole picture gets that of its surest animal: of the species that it is told to show, if
    one is found. Other frames are left as they are, and their pictures are not opened.

    Args:
        frames: ``schemas.FRAME_SCHEMA`` and perhaps more columns.
        detector: that looks.
    """
    found = [
        _found(path, species, detector) if whole else None
        for path, species, whole in frames.select("path", "species", _is_whole()).iter_rows()
    ]
    good = pl.Series([not isinstance(one, _Refused) for one in found], dtype=pl.Boolean)
    boxes = [one if isinstance(one, Box) else None for one in found]
    placed = frames.with_columns(
        pl.coalesce(pl.Series(name, [box and getattr(box, name) for box in boxes], pl.Int32), pl.col(name))
        for name in _BOX
    )
    return placed.filter(good), _rejects(frames.filter(~good), [one for one in found if isinstance(one, _Refused)])


def _is_whole() -> pl.Expr:
    """Whether a box is the whole picture, as where a source has none."""
    corner = (pl.col("x") == 0) & (pl.col("y") == 0)
    size = (pl.col("width") == pl.col("image_width")) & (pl.col("height") == pl.col("image_height"))
    return (corner & size).fill_null(value=False)


def _found(path: str, species: str | None, detector: Detector) -> Box | _Refused:
    try:
        animals = animals_in(places.read(path), detector)
    except FileNotFoundError as error:
        return _Refused("no_image", str(error.strerror))
    except OSError as error:
        return _Refused("unreadable_image", str(error.strerror))
    except BadPictureError as error:
        return _Refused(error.reason, error.detail)
    return _meant(animals, species) or _Refused("no_animal", "the detector sees no cat or dog")


def _meant(animals: Sequence[Animal], species: str | None) -> Box | None:
    """Box of the animal that the label speaks of. A detector mistakes cats for dogs more easily than it misses them."""
    of_species = (animal.box for animal in animals if animal.species == species)
    return next(of_species, animals[0].box if animals else None)


def _rejects(refused: pl.DataFrame, why: Sequence[_Refused]) -> pl.DataFrame:
    named = pl.DataFrame(why, schema={"reason": pl.String, "detail": pl.String}, orient="row")
    return refused.select("frame_id", "path", "clip").hstack(named).with_columns(stage=pl.lit("index"))
