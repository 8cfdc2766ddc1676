"""One task of `index`: read a part of a source, judge its rows, store them as a piece. Runs in any process.

Apart from `index` so that worker processes need not load what only the whole needs (the bar picture).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from petmood import places
from petmood.data.boxing import box_animals, detector_of
from petmood.data.carried import in_order_of_clips
from petmood.data.clean import BoxRule, LabelSource, SpeciesChoice, judge
from petmood.media import inspect
from petmood.pictures import BadPictureError
from petmood.sources.rows import Task
from petmood.workspace import write_table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """One task of a source, how to judge its rows, and where they go."""

    task: Task
    label: LabelSource
    box: BoxRule
    species: SpeciesChoice
    merges: Mapping[str, str]
    verdicts: Mapping[str, str]
    check_pictures: bool
    detector: str
    """File of weights that finds the animal in photos without a box; empty leaves them whole."""
    frames: Path
    rejects: Path

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What it writes, in this order; the last one says that it is done."""
        return (self.frames, self.rejects)


def read_piece(reading: Reading) -> int:
    """Read, judge and store one task; returns its size."""
    frames, rejects = judge(
        reading.task.read(),
        label=reading.label,
        box=reading.box,
        species=reading.species,
        merges=reading.merges,
        verdicts=reading.verdicts,
    )
    if reading.check_pictures:
        frames, broken = check_pictures(frames)
        rejects = pl.concat([rejects, broken])
    if reading.detector:
        frames, without = box_animals(frames, detector_of(reading.detector))
        rejects = pl.concat([rejects, without])
    write_table(frames, reading.frames)
    write_table(
        in_order_of_clips(reading.task, rejects), reading.rejects
    )  # last: its presence says that the task is done
    return reading.task.size


def check_pictures(frames: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Open every picture: frames whose file is whole as far as its head and tail tell, and rejects for the others."""
    columns = ("path", "clip", "image_width", "image_height")
    problems = [_picture_problem(path, width, height) for path, _, width, height in frames.select(columns).iter_rows()]
    good = pl.Series([problem is None for problem in problems], dtype=pl.Boolean)
    named = pl.DataFrame(
        [problem for problem in problems if problem], schema={"reason": pl.String, "detail": pl.String}, orient="row"
    )
    broken = frames.filter(~good).select("frame_id", "path", "clip").hstack(named).with_columns(stage=pl.lit("index"))
    return frames.filter(good), broken


def _picture_problem(path: str, width: int | None, height: int | None) -> tuple[str, str] | None:
    """Reason and detail if a picture file is empty, no picture, cut short, or of another size than the label says."""
    try:
        inspect(places.read(path), expected=None if width is None or height is None else (width, height))
    except FileNotFoundError as error:
        return "no_image", str(error.strerror)
    except OSError as error:
        return "unreadable_image", str(error.strerror)
    except BadPictureError as error:
        return error.reason, error.detail
    return None
