"""What stands at the rim of the crops of one class alone: black corners, borders, a mark in one place.

Copies of pictures that were turned to fill up a class carry black corners; pictures of one web site carry its mark. A
network finds that before it finds an emotion. So the rims of a sample of crops are compared between classes, and how
far chance goes is told by dealing the classes anew, a group of clips as a whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.crops import CropStore
from petmood.doctor.clips import CHANCE, Floats, Ints, chance_of, is_packed, not_packed, shuffled, skipped
from petmood.doctor.records import Check
from petmood.doctor.sides import classes_here
from petmood.media import thumbnail
from petmood.workspace import Workspace, read_table

Pictures = npt.NDArray[np.uint8]
How = Literal["brightness", "steady"]

SIDE = 64
#: Crops of a class that are looked at, at most: one a group.
MOST_OF_A_CLASS = 400
#: A class of fewer groups is not compared.
FEWEST = 10
DRAWS = 199

#: Cells along a corner's side, rows of a border, and cells along the side of the coarse picture.
_CORNER, _BORDER, _COARSE = 4, 2, 32
#: Grey values of "black" and "white": the mean at most and the extreme at most so far from it. Of public dog photos 4 %
#: have such a black corner by nature; in two classes that were filled up with turned copies 22 % and 34 % have.
_MEAN, _EXTREME, _FLAT = 6, 32, 3.0
#: Side of a patch in cells; how much it must vary not to be plain sky or floor; how far two may differ to be the same
#: (root mean square, grey values); and the share of all crops, and the number, in which it must return. Of 1,400 public
#: dog and cat photos none has such a patch; with 12 grey values a third of the cats' have.
_PATCH, _BUSY, _SAME, _OFTEN, _RETURNS = 4, 16.0, 8.0, 0.01, 4
#: How many more crops of a class than of the others must have a mark.
_MORE = 0.1
#: A cell stands out if classes differ in it by so many standard deviations, or if it varies so much less in one.
_DISTANCE, _STEADY = 0.8, 0.25
_WORDS = ("black corners", "white corners", "flat borders", "a fixed mark")
_PLACES = ("top left", "top right", "bottom left", "bottom right")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mark:
    """Something at the rim that crops of one class have more often than others."""

    what: str
    """black corners, white corners, flat borders or a fixed mark."""
    emotion: str
    """Where it is most frequent in comparison with all others."""
    shares: Mapping[str, float]
    """Of the crops of each class, 0 to 1."""
    share: float
    """Of that class's crops."""
    elsewhere: float
    """Of all other crops."""
    chance: float
    """How often classes that are dealt at random differ as much in this, 0 to 1."""

    @property
    def alarming(self) -> bool:
        """Whether it is too large for chance and large enough to matter."""
        return self.chance <= CHANCE and self.share - self.elsewhere >= _MORE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spot:
    """The cell of the rim that sets a class apart most."""

    how: How
    """``brightness``: its mean differs; ``steady``: it hardly varies from picture to picture, as a fixed mark."""
    emotion: str
    place: str
    size: float
    """Standard deviations between the means; or the variance as a part of that in the other classes."""
    chance: float

    @property
    def alarming(self) -> bool:
        """Whether it is too large for chance and large enough to matter."""
        large = self.size >= _DISTANCE if self.how == "brightness" else self.size <= _STEADY
        return self.chance <= CHANCE and large


def check_corners(workspace: Workspace) -> Check:
    """Whether black or white corners, borders or a fixed mark go with a class."""
    if not is_packed(workspace):
        return not_packed("corners", workspace)
    crops = sampled(_placed(workspace))
    names = classes_here(crops)
    if len(names) < 2:
        return skipped("corners", f"fewer than two classes have crops of {FEWEST} groups: too few to tell.")
    store = CropStore(workspace.crops, crops)
    pictures = np.stack([thumbnail(store.jpeg(row), SIDE) for row in range(len(store))])
    labels = np.array([names.index(name) for name in crops["emotion"]], np.int64)
    return corners(compared(pictures, labels, names), spots(pictures, labels, names), len(crops))


def _placed(workspace: Workspace) -> pl.DataFrame:
    """Kept crops with where they lie, clip, group and emotion."""
    crops = read_table(workspace.crops / "crops.parquet", columns=("frame_id", "part", "offset", "size"))
    frames = read_table(workspace.frames, columns=("frame_id", "clip", "group", "emotion", "keep"))
    kept = frames.filter("keep", pl.col("emotion").is_not_null()).with_columns(
        pl.col("group").fill_null(pl.col("clip"))
    )
    return crops.join(kept.drop("keep"), on="frame_id", maintain_order="left")


def sampled(crops: pl.DataFrame, *, seed: int = 0) -> pl.DataFrame:
    """One crop of each group and class, at most ``MOST_OF_A_CLASS`` a class, of classes with ``FEWEST`` groups.

    Args:
        crops: columns group, emotion and whatever else.
        seed: the same seed, the same sample.
    """
    some = crops.sample(fraction=1, shuffle=True, seed=seed).unique(
        ["group", "emotion"], keep="first", maintain_order=True
    )
    some = some.group_by("emotion", maintain_order=True).head(MOST_OF_A_CLASS)
    return some.filter(pl.len().over("emotion") >= FEWEST).sort("emotion", "group")


# --- corners and borders ----------------------------------------------------------------------------------------------


def marked(pictures: Pictures) -> npt.NDArray[np.bool_]:
    """Whether each picture has a black corner, a white corner, a flat border, a patch that returns: (n, 4).

    Args:
        pictures: grey, (n, side, side).
    """
    row, column = np.indices((_CORNER, _CORNER))
    triangle = row + column < _CORNER
    turned = [np.rot90(pictures, turn, axes=(1, 2)) for turn in range(4)]
    cells = np.stack([picture[:, :_CORNER, :_CORNER][:, triangle] for picture in turned], axis=1).astype(np.float32)
    black = (cells.mean(axis=2) <= _MEAN) & (cells.max(axis=2) <= _EXTREME)
    white = (cells.mean(axis=2) >= 255 - _MEAN) & (cells.min(axis=2) >= 255 - _EXTREME)
    strips = np.stack([picture[:, :_BORDER].reshape(len(pictures), -1) for picture in turned], axis=1)
    flat = strips.astype(np.float32).std(axis=2) <= _FLAT
    return np.stack([black.any(axis=1), white.any(axis=1), flat.any(axis=1), returning(pictures)], axis=1)


def returning(pictures: Pictures) -> npt.NDArray[np.bool_]:
    """Whether the rim of each picture has a patch that many others have in the same place, (n,): a logo, a date.

    Args:
        pictures: grey, (n, side, side); no two of one group, so that they are no near-copies.
    """
    count, side = len(pictures), pictures.shape[1] // _PATCH
    cells = pictures.reshape(count, side, _PATCH, side, _PATCH).transpose(1, 3, 0, 2, 4)
    found = np.zeros(count, bool)
    for patch in cells[rim(side)].reshape(-1, count, _PATCH**2).astype(np.float32):
        busy = np.flatnonzero(patch.std(axis=1) >= _BUSY)
        found[busy] |= _twins(patch[busy]) >= max(_RETURNS, _OFTEN * count)
    return found


def _twins(rows: Floats) -> npt.NDArray[np.int64]:
    """How many other rows are the same but for noise, (n,)."""
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * (rows @ rows.T)
    return np.asarray((distances <= _SAME**2 * rows.shape[1]).sum(axis=1) - 1)


def compared(pictures: Pictures, labels: Ints, names: Sequence[str], *, draws: int = DRAWS) -> list[Mark]:
    """For each kind of mark the class that has it most often in comparison with the others.

    Args:
        pictures: grey, (n, side, side), one a unit that may change places with others.
        labels: class numbers, (n,), each of which occurs.
        names: of the classes.
        draws: dealings at random.
    """
    has = marked(pictures).astype(np.float64)

    def excess(dealt: Ints) -> npt.NDArray[np.float64]:
        inside, outside, *_ = _means(has, dealt, len(names))
        return np.asarray((inside - outside).max(axis=0))

    inside, outside, *_ = _means(has, labels, len(names))
    worst, drawn = (inside - outside).argmax(axis=0), shuffled(labels, excess, draws=draws)
    return [
        Mark(
            what=what,
            emotion=names[worst[kind]],
            shares={name: float(inside[number, kind]) for number, name in enumerate(names)},
            share=float(inside[worst[kind], kind]),
            elsewhere=float(outside[worst[kind], kind]),
            chance=chance_of(float((inside - outside)[worst[kind], kind]), drawn[:, kind]),
        )
        for kind, what in enumerate(_WORDS)
    ]


def _means(
    values: Floats, labels: Ints, classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means (classes, columns) within each class and without it, and how many rows they are of (classes, 1)."""
    one_hot = (np.arange(classes)[:, None] == labels).astype(values.dtype)
    sums, inside = one_hot @ values, one_hot.sum(axis=1, keepdims=True)
    outside = len(labels) - inside
    return sums / inside, (values.sum(axis=0) - sums) / outside, inside, outside


# --- one place in the rim ---------------------------------------------------------------------------------------------


def rim(side: int) -> npt.NDArray[np.bool_]:
    """The outer fifth of a square of so many cells, (side, side)."""
    mask = np.ones((side, side), bool)
    width = round(side / 5)
    mask[width:-width, width:-width] = False
    return mask


def spots(pictures: Pictures, labels: Ints, names: Sequence[str], *, draws: int = DRAWS) -> list[Spot]:
    """The cells of the rim that set a class apart most: by their brightness, and by how little they vary.

    Brightness is compared with the picture's own mean, so that a class that was filmed in a dark room does not count.

    Args:
        pictures: grey, (n, side, side), one a unit that may change places with others.
        labels: class numbers, (n,), each of which occurs.
        names: of the classes.
        draws: dealings at random.
    """
    coarse = _coarse(pictures)
    mask = rim(_COARSE)
    raw = coarse[:, mask]
    against = raw - coarse.mean(axis=(1, 2))[:, None]
    return [
        _spot("brightness", against, labels, names, np.argwhere(mask), draws),
        _spot("steady", raw, labels, names, np.argwhere(mask), draws),
    ]


def _spot(how: How, values: Floats, labels: Ints, names: Sequence[str], places: Ints, draws: int) -> Spot:
    """The cell that sets a class apart most: ``values`` (n, cells) stand at ``places`` (cells, 2)."""

    def largest(dealt: Ints) -> npt.NDArray[np.float64]:
        return np.asarray([_apart(values, dealt, len(names), how)[0].max()])

    scores, sizes = _apart(values, labels, len(names), how)
    emotion, cell = (int(number) for number in np.unravel_index(int(scores.argmax()), scores.shape))
    row, column = places[cell].tolist()
    return Spot(
        how=how,
        emotion=names[emotion],
        place=_place(row, column),
        size=float(sizes[emotion, cell]),
        chance=chance_of(float(scores.max()), shuffled(labels, largest, draws=draws)[:, 0]),
    )


def _coarse(pictures: Pictures) -> npt.NDArray[np.float32]:
    """Means over squares of cells, (n, _COARSE, _COARSE)."""
    times = pictures.shape[1] // _COARSE
    cells = pictures.reshape(len(pictures), _COARSE, times, _COARSE, times)
    return np.asarray(cells.mean(axis=(2, 4), dtype=np.float32))


def _apart(
    values: Floats, labels: Ints, classes: int, how: How
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How surely and how far each class stands apart in each cell, (classes, cells) each; sizes as in `Spot`."""
    inside, outside, many, others = _means(values, labels, classes)
    squares_in, squares_out, *_ = _means(values**2, labels, classes)
    # Four grey values squared: what JPEG adds, so that two flat places do not differ by chance.
    variance_in, variance_out = squares_in - inside**2 + 4, squares_out - outside**2 + 4
    if how == "steady":
        part = variance_in / variance_out
        return np.asarray(-np.log(part) / np.sqrt(2 / many + 2 / others)), np.asarray(part)
    spread = np.sqrt((many * variance_in + others * variance_out) / (many + others))
    distance = np.abs(inside - outside) / spread
    return np.asarray(distance / np.sqrt(1 / many + 1 / others)), np.asarray(distance)


def _place(row: int, column: int) -> str:
    """Words for a cell of the rim.

    >>> _place(0, 31), _place(15, 0), _place(31, 16)
    ('top right', 'left', 'bottom')
    """
    third = _COARSE / 3
    vertical = "top" if row < third else "bottom" if row >= 2 * third else ""
    horizontal = "left" if column < third else "right" if column >= 2 * third else ""
    return f"{vertical} {horizontal}".strip()


# --- verdict ----------------------------------------------------------------------------------------------------------


def corners(marks: Sequence[Mark], places: Sequence[Spot], crops: int) -> Check:
    """The verdict on marks and places, found among so many crops."""
    numbers: dict[str, object] = {mark.what: dataclasses.asdict(mark) for mark in marks}
    numbers |= {spot.how: dataclasses.asdict(spot) for spot in places}
    said = [_told_mark(mark) for mark in marks if mark.alarming] + [
        _told_spot(spot) for spot in places if spot.alarming
    ]
    if said:
        return Check(
            name="corners",
            verdict="warn",
            evidence=f"{'; '.join(said)} (a sample of {crops:,} crops, one a group): a network would learn that.",
            remedy="look at the class on the contact sheet (`petmood sheet`); leave turned or stamped copies out with "
            "--verdicts, or give boxes that hold the animal alone",
            numbers=numbers,
        )
    worst = max(marks, key=lambda mark: mark.share - mark.elsewhere)
    evidence = f"no corner, border or fixed mark goes with a class in a sample of {crops:,} crops, one a group (most: "
    evidence += f"{_told_mark(worst)})."
    return Check(name="corners", verdict="ok", evidence=evidence, numbers=numbers)


def _told_mark(mark: Mark) -> str:
    shares = sorted(mark.shares.items(), key=lambda item: -item[1])
    return f"{mark.what} in {', '.join(f'{share:.0%} of {name}' for name, share in shares)}"


def _told_spot(spot: Spot) -> str:
    if spot.how == "steady":
        return f"{spot.place}, pictures of {spot.emotion} hardly vary ({spot.size:.2f} of the others' variance)"
    return f"{spot.place}, {spot.emotion} is {spot.size:.1f} standard deviations brighter or darker than the others"
