"""Boxes that were read in a wrong way: sides or axes exchanged, corners for sizes, made for another resolution."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import polars as pl

from petmood.doctor.clips import skipped
from petmood.doctor.records import Check
from petmood.workspace import Workspace, read_table, reading

#: Boxes looked at, at most.
MOST_BOXES = 200_000
#: Share of all boxes that fit their pictures under the right reading, and the most that fit under a wrong one.
_FITS, _MISFITS = 0.98, 0.97
#: Where the outermost boxes end, as a share of the picture, if boxes are made for its size.
_REACH = 0.6
_FEWEST = 50
#: A box this near to an edge, in pixels, touches it.
_TOUCH = 1

_X, _Y, _WIDTH, _HEIGHT = (pl.col(name) for name in ("x", "y", "width", "height"))
_Box = tuple[pl.Expr, pl.Expr, pl.Expr, pl.Expr]

#: How four numbers may have been meant, when they are read as left, top, width and height; and what to do.
READINGS: Mapping[str, tuple[_Box, str]] = {
    "x and y, and width and height, are exchanged": ((_Y, _X, _HEIGHT, _WIDTH), "exchange both pairs"),
    "width and height are exchanged": ((_X, _Y, _HEIGHT, _WIDTH), "exchange width and height"),
    "x and y are exchanged": ((_Y, _X, _WIDTH, _HEIGHT), "exchange x and y"),
    "width and height are the right and bottom edges": (
        (_X, _Y, _WIDTH - _X, _HEIGHT - _Y),
        "give width = right - left and height = bottom - top",
    ),
    "x and y are the centre": (
        (_X - _WIDTH / 2, _Y - _HEIGHT / 2, _WIDTH, _HEIGHT),
        "give x = centre - width / 2 and y = centre - height / 2",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How well the boxes fit their pictures if they are read in one way."""

    what: str
    """A key of ``READINGS``; empty: as they are."""
    fits: float
    """Share of the boxes that lie within their pictures, 0 to 1."""


def boxes_of(workspace: Workspace) -> pl.DataFrame:
    """Boxes that were accepted, and those that were refused because of the box: a sample where there are very many.

    Columns: x, y, width, height, image_width, image_height (Int64, never null), accepted. Boxes with a negative or
    empty side are no evidence and are left out; so is what a clip's accepted boxes repeat.
    """
    names = ("x", "y", "width", "height", "image_width", "image_height")
    with reading(workspace.frames):
        accepted = (
            pl.scan_parquet(workspace.frames, glob=False)
            .select("clip", *(pl.col(name).cast(pl.Int64) for name in names))
            .drop_nulls()
            .unique(maintain_order=True)
            .select(*names, accepted=pl.lit(value=True))
            .collect()
        )
    boxes = pl.concat([accepted, _refused(workspace)])
    usable = boxes.filter(_X >= 0, _Y >= 0, _WIDTH > 0, _HEIGHT > 0, pl.min_horizontal(names[-2:]) > 0)
    return usable.sample(MOST_BOXES, seed=0) if len(usable) > MOST_BOXES else usable


def _refused(workspace: Workspace) -> pl.DataFrame:
    """Boxes of rejects.parquet, which holds them in words: ``x,y,width,height 1,2,3,4 in 640×480``."""
    told = pl.Series("detail", [], pl.String)
    if workspace.rejects.is_file():
        rejects = read_table(workspace.rejects, columns=("reason", "detail"))
        told = rejects.filter(pl.col("reason") == "box_outside_image")["detail"]
    pattern = r"(?<x>\d+),(?<y>\d+),(?<width>\d+),(?<height>\d+) in (?<image_width>\d+)×(?<image_height>\d+)$"
    return told.to_frame().select(pl.col("detail").str.extract_groups(pattern)).unnest("detail").select(
        pl.all().cast(pl.Int64), accepted=pl.lit(value=False)
    ).drop_nulls()  # fmt: skip


def _fitting(box: _Box) -> pl.Expr:
    """Whether a box lies within its picture."""
    x, y, width, height = box
    inside = (x >= -_TOUCH) & (y >= -_TOUCH) & (width > 0) & (height > 0)
    return inside & (x + width <= pl.col("image_width") + _TOUCH) & (y + height <= pl.col("image_height") + _TOUCH)


def readings(boxes: pl.DataFrame) -> list[Reading]:
    """How well the boxes fit as they are, and then under each of ``READINGS``, the best first.

    Args:
        boxes: columns x, y, width, height, image_width, image_height; one row or more.
    """
    columns = {"": _fitting((_X, _Y, _WIDTH, _HEIGHT)), **{what: _fitting(box) for what, (box, _) in READINGS.items()}}
    shares = boxes.select(value.mean().alias(what) for what, value in columns.items()).row(0, named=True)
    given, *others = (Reading(what=what, fits=float(share or 0)) for what, share in shares.items())
    return [given, *sorted(others, key=lambda reading: -reading.fits)]


def reach(boxes: pl.DataFrame) -> tuple[float, float]:
    """Where the outermost boxes end, as shares of their pictures' width and height (all but one in a thousand)."""
    right = ((_X + _WIDTH) / pl.col("image_width")).quantile(0.999)
    bottom = ((_Y + _HEIGHT) / pl.col("image_height")).quantile(0.999)
    far, low = boxes.select(right.alias("right"), bottom.alias("bottom")).row(0)
    return float(far), float(low)


def cut_share(boxes: pl.DataFrame) -> float:
    """Share of boxes that end at the picture's right or bottom edge without starting at the other, 0 to 1."""
    right = ((_X + _WIDTH).ge(pl.col("image_width") - _TOUCH)) & (_X > _TOUCH)
    bottom = ((_Y + _HEIGHT).ge(pl.col("image_height") - _TOUCH)) & (_Y > _TOUCH)
    return float(boxes.select((right | bottom).mean()).item() or 0)


def check_boxes(workspace: Workspace) -> Check:
    """Whether boxes look as if their numbers meant something else, or were made for another resolution."""
    boxes = boxes_of(workspace)
    if len(boxes) < _FEWEST:
        return skipped("boxes", f"{len(boxes)} different boxes in pictures of known size are too few to tell.")
    whole = boxes.select((_WIDTH.eq(pl.col("image_width")) & _HEIGHT.eq(pl.col("image_height"))).all()).item()
    if whole:
        return Check(name="boxes", verdict="ok", evidence=f"all {len(boxes):,} boxes are whole pictures.")
    return next(check for judge in JUDGES if (check := judge(boxes)))


def _exchanged(boxes: pl.DataFrame) -> Check | None:
    """Fail if the boxes leave their pictures as they are read, and fit under another reading."""
    given, best, *_ = found = readings(boxes)
    if given.fits > _MISFITS or best.fits < _FITS:
        return None
    evidence = f"{given.fits:.1%} of {len(boxes):,} boxes lie within their pictures, and {best.fits:.1%} would if "
    remedy = f"{READINGS[best.what][1]} in the labels, then `petmood index` again"
    return Check(
        name="boxes",
        verdict="fail",
        evidence=f"{evidence}{best.what}.",
        remedy=remedy,
        numbers={reading.what or "as given": reading.fits for reading in found},
    )


def _enlarged(boxes: pl.DataFrame) -> Check | None:
    """Fail if the boxes reach equally far beyond both edges: made for larger pictures."""
    right, bottom = reach(boxes)
    fits = readings(boxes)[0].fits
    if fits > 0.8 or min(right, bottom) < 1.2 or max(right, bottom) > 1.15 * min(right, bottom):
        return None
    times = max(right, bottom)
    evidence = f"only {fits:.1%} of {len(boxes):,} boxes lie within their pictures; they reach {times:.2f} times as far"
    return _scaled(f"{evidence}: made for larger pictures.", 1 / times, right, bottom)


def _shrunk(boxes: pl.DataFrame) -> Check | None:
    """Fail if all boxes lie in the top left part of their pictures: made for smaller ones."""
    right, bottom = reach(boxes)
    if max(right, bottom) > _REACH:
        return None
    evidence = f"all {len(boxes):,} boxes end by {right:.0%} of the width and {bottom:.0%} of the height: made for "
    return _scaled(f"{evidence}smaller pictures, perhaps {max(right, bottom):.2f} of the size.", 1, right, bottom)


def _scaled(evidence: str, factor: float, right: float, bottom: float) -> Check:
    remedy = "multiply the boxes by picture size / size that they were made for, then `petmood index` again"
    numbers = {"right": right, "bottom": bottom, "factor": factor}
    return Check(name="boxes", verdict="fail", evidence=evidence, remedy=remedy, numbers=numbers)


def _cut(boxes: pl.DataFrame) -> Check | None:
    """Warn if very many boxes were cut at the right or bottom edge alone."""
    share = cut_share(boxes.filter("accepted"))
    if share < 0.5:
        return None
    evidence = f"{share:.0%} of the boxes end at the picture's right or bottom edge, as boxes that were cut there."
    remedy = "look at petmood sheet; if boxes are too large, see what the source means by width and height"
    return Check(name="boxes", verdict="warn", evidence=evidence, remedy=remedy, numbers={"cut": share})


def _sound(boxes: pl.DataFrame) -> Check:
    given = readings(boxes)[0]
    right, bottom = reach(boxes)
    evidence = f"{given.fits:.1%} of {len(boxes):,} different boxes lie within their pictures, spread over "
    evidence += f"{right:.0%} of the width and {bottom:.0%} of the height; no other reading fits better."
    numbers = {"fits": given.fits, "right": right, "bottom": bottom}
    return Check(name="boxes", verdict="ok", evidence=evidence, numbers=numbers)


#: Asked in this order; the first that has something to say decides.
JUDGES: tuple[Callable[[pl.DataFrame], Check | None], ...] = (_exchanged, _enlarged, _shrunk, _cut, _sound)
