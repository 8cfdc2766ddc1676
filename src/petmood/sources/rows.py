"""What every kind of source yields: raw rows, not yet judged, in tasks that can run in any process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import polars as pl

from petmood import places
from petmood.media import probe
from petmood.pictures import BadPictureError

#: Files that are taken for pictures.
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

#: Keypoints of a frame, as AI Hub numbers them: 1 nose, 2 forehead, 3 mouth corner, 4 lower lip, 5 neck, 6 and 7 start
#: of the front legs, 8 and 9 front ankles, 10 and 11 femurs, 12 and 13 back ankles, 14 and 15 tail's start and end.
KEYPOINTS = 15

#: Stands for both coordinates of a keypoint that is not known: a number, as a null for each would cost a mask.
NO_POINT = -(2**15)

#: Keypoints of one frame in pixels of the picture: x and y of point 1, x and y of point 2, and so on.
POINTS = pl.Array(pl.Int16, 2 * KEYPOINTS)

#: One row an annotation or an unlabelled picture, as the source says it. A null ``refused`` lets the rules decide.
RAW_SCHEMA: Mapping[str, pl.DataType] = {
    "frame_id": pl.String(),
    "path": pl.String(),
    "clip": pl.String(),
    "group": pl.String(),
    "species": pl.String(),
    "emotion_text": pl.String(),
    "owner_text": pl.String(),
    "action": pl.String(),
    "situation": pl.String(),
    "timestamp_ms": pl.Int64(),
    "x": pl.Int32(),
    "y": pl.Int32(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "image_width": pl.Int32(),
    "image_height": pl.Int32(),
    "official_split": pl.String(),
    "points": POINTS,  # null in all rows where the source has no keypoints
    "refused": pl.String(),  # a reason word that the source itself found
    "detail": pl.String(),
}


class Task(Protocol):
    """A part of a source that one process reads in one go."""

    @property
    def size(self) -> int:
        """How many of the source's units it holds."""

    def read(self) -> pl.DataFrame:
        """Its rows (``RAW_SCHEMA``). A broken file becomes a refused row, never an exception."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A place on disk, looked through but not yet read."""

    kind: str
    """What it was taken for: ``aihub``, ``folders`` or ``table``."""
    unit: str
    """What its progress counts: clips, pictures or rows."""
    tasks: Sequence[Task]
    fingerprint: str
    """Changes whenever a file that matters is added, removed or changed."""
    has_owner_labels: bool
    """Whether it can name a second emotion, by the owner."""
    remarks: Sequence[str] = ()
    """What the user should know of it beside its rows: archives that are damaged, in pieces, or within others."""


@dataclasses.dataclass(frozen=True)
class RefusedTask:
    """Members of archives that are not read, for their names."""

    members: Sequence[tuple[str, str]]
    """Place and what is wrong."""

    @property
    def size(self) -> int:
        """Number of members."""
        return len(self.members)

    def read(self) -> pl.DataFrame:
        """One refused row a label file or picture; other files are no loss."""
        table = pl.DataFrame(self.members, schema={"path": pl.String, "detail": pl.String}, orient="row")
        ending = pl.col("path").str.to_lowercase().str.extract(r"(\.[^.]*)$")
        label, picture = pl.lit("unreadable_label"), pl.lit("unreadable_image")
        reason = pl.when(ending == ".json").then(label).when(ending.is_in(PICTURE_SUFFIXES)).then(picture)
        return raw_rows(table.with_columns(clip="path", refused=reason).filter(pl.col("refused").is_not_null()))


def raw_rows(columns: pl.DataFrame | Mapping[str, object]) -> pl.DataFrame:
    """A table of ``RAW_SCHEMA`` from some of its columns; the others are null, further ones are dropped."""
    table = columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(dict(columns))
    given = set(table.columns)
    return table.select(
        _cast(name, kind) if name in given else pl.lit(None, dtype=kind).alias(name)
        for name, kind in RAW_SCHEMA.items()
    )


def _cast(name: str, kind: pl.DataType) -> pl.Expr:
    """A column in its type; numbers beyond all reason are cut to what sums of two of them can hold."""
    if not kind.is_integer():
        return pl.col(name).cast(kind)
    far = 1e9 if kind == pl.Int32 else 1e15
    return pl.col(name).cast(pl.Float64).clip(-far, far).round().cast(kind, strict=False)


def copies_remark(number: int, unit: str) -> list[str]:
    """What to say of things that stand both in an archive and unpacked; nothing if there are none."""
    return [f"{number:,} {unit} stand in archives and unpacked too; the unpacked ones are used"] if number else []


def picture_size(path: str) -> tuple[int | None, int | None, str | None, str | None]:
    """Width and height of a picture file, then reason and detail if it cannot be used (else null)."""
    try:
        info = probe(places.read(path))
    except (FileNotFoundError, IsADirectoryError, ValueError) as error:  # ValueError: a path with a null byte
        return None, None, "no_image", getattr(error, "strerror", None) or str(error)
    except OSError as error:
        return None, None, "unreadable_image", error.strerror
    except BadPictureError as error:
        return None, None, error.reason, error.detail
    return info.width, info.height, None, None


def split_of(parts: Sequence[str]) -> str | None:
    """The official split that a path's folders name: train, val or None."""
    for part in parts:
        word = part.lower()
        if word in {"training", "train"}:
            return "train"
        if word in {"validation", "valid", "val"}:
            return "val"
        if word == "test":
            return "test"
    return None
