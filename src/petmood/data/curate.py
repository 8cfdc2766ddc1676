"""Stage 2: choose the frames that matter, before any picture is decoded.

One label is spread over a whole clip and its frames are near-copies (5 a second), so a few of them that differ most
hold nearly all that the clip has to say (docs/concepts.md has the arithmetic). What differs is told by the labels
alone: keypoints, boxes and times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.data.cutshort import cut_short
from petmood.data.farthest import Floats, Looks, farthest_first
from petmood.data.poses import read_points
from petmood.data.tables import add_rejects, numbered
from petmood.data.weighting import even_weights
from petmood.errors import UserError
from petmood.labels import EMOTIONS_KO, classes_of
from petmood.parallel import run_tasks
from petmood.records import StageSummary
from petmood.settings import SETTINGS, fingerprint, to_plain
from petmood.workspace import Workspace, read_table, reading

#: Part of what a choice is made from: raise it when the rules change, so that old ones count as outdated.
CURATE_RULES = 2

#: Frames a task, as whole clips: a second or less of work. Fixed, so that the choice does not depend on the machine.
FRAMES_A_TASK = 1 << 18

_BOX = ("x", "y", "width", "height")
_COLUMNS = ("clip", "species", "emotion", "timestamp_ms", *_BOX, "image_width", "image_height")


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CurateSettings:
    """Which frames of a clip are used."""

    method: Literal["pose", "time", "random", "all"] = "pose"
    """The frames of each clip whose poses differ most, its frames evenly spread over time, a random share of all frames
    whatever their clip, or all."""
    per_clip: Annotated[int, Field(ge=0)] = 8
    """At most this many frames of a clip by pose or time; 0 keeps all."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the frames that the random choice keeps."""
    rare: Literal["same", "all"] = "same"
    """Choose from rare emotions as from others, or keep all their frames (clips still count the same in training)."""
    rare_below: Annotated[float, Field(ge=0, le=1)] = 0.05
    """An emotion with less than this share of the clips is rare."""
    min_box: Annotated[int, Field(ge=0)] = 32
    """Refuse frames whose box is shorter than this on its shorter side, in pixels; 0 refuses none."""
    draw_seed: Annotated[int, Field(ge=0)] = 0
    """Of the random choice."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What `choose` decided, row by row."""

    keep: pl.Series
    small: pl.Series
    """Whether the box is too small to show an animal; such a frame is never kept."""
    rare: tuple[str, ...] = ()
    """Emotions whose frames were all kept because they are rare."""


def curate(
    work: Path,
    settings: CurateSettings = CurateSettings(),  # noqa: B008 - frozen
    *,
    jobs: int = 1,
    force: bool = False,
) -> StageSummary:
    """Decide ``keep`` and ``weight`` of every frame in frames.parquet.

    Raises:
        UserError: the workspace has no index, its tables do not fit together, or every box is too small.
    """
    workspace = Workspace.open(work)
    made_from = curate_made_from(workspace.require("index")["made_from"], settings)
    if not force and workspace.is_current("curate", made_from):
        return StageSummary(stage="curate", skipped=True, counts=workspace.mark("curate")["counts"])
    frames = read_table(workspace.frames, columns=_COLUMNS).with_columns(numbered("clip"))
    points = read_points(workspace, len(frames)) if settings.method == "pose" else None
    choice = choose(frames, points, settings, jobs=jobs)
    if choice.small.all():
        raise UserError(
            f"min-box {settings.min_box} refuses all {len(frames):,} frames; the largest box has "
            f"{frames.select(pl.min_horizontal('width', 'height').max()).item()} pixels on its shorter side.",
            hint="give a smaller --min-box, or 0 for none",
        )
    counts = _count(frames, choice, posed=points is not None) | {"cut_short": _cut_short(workspace)}
    workspace.begin("curate")
    _write_rejects(workspace, choice.small, settings.min_box)
    even = settings.method in {"pose", "time"}
    alike = pl.repeat(1.0, len(frames), dtype=pl.Float32, eager=True)
    weight = even_weights(frames["clip"], choice.keep) if even else alike
    workspace.set_columns({"keep": choice.keep, "weight": weight})
    workspace.finish("curate", made_from=made_from, settings=to_plain(settings), counts=counts)
    return StageSummary(stage="curate", skipped=False, counts=counts, lines=tuple(_lines(counts, settings)))


def curate_made_from(indexed: str, settings: CurateSettings | Mapping[str, Any], *, rules: int = CURATE_RULES) -> str:
    """What a choice counts as made from: the index's fingerprint and the settings, also as a mark has kept them."""
    return fingerprint("curate", rules, indexed, settings)


def choose(
    frames: pl.DataFrame, points: NDArray[np.int16] | None, settings: CurateSettings, *, jobs: int = 1
) -> Choice:
    """Which frames are kept. The same rows in another order give the same choice, but for frames of equal time.

    Args:
        frames: columns clip (any type), emotion, timestamp_ms (null in photos: such clips are taken in their order),
            x, y, width, height, image_width, image_height.
        points: keypoints of each frame (`sources.rows.POINTS`); None: poses do not count.
        settings: how to choose.
        jobs: processes; 0 means all cores.
    """
    small = frames.select(small=pl.min_horizontal("width", "height") < settings.min_box)["small"]
    rows = np.flatnonzero(~small.to_numpy())
    if settings.method == "random":
        # As the notes drew their half: of all frames, whatever their clip.
        generator = np.random.default_rng(settings.draw_seed)
        rows = generator.permutation(rows)[: round(settings.share * len(rows))]
    elif settings.method != "all" and settings.per_clip:
        rows = _of_each_clip(frames, rows, points, settings, jobs=jobs)
    keep = np.zeros(len(frames), bool)
    keep[rows] = True
    rare = rare_emotions(frames, settings.rare_below) if settings.rare == "all" else ()
    kept = pl.Series("keep", keep) | (frames["emotion"].is_in(rare) & ~small)
    return Choice(kept.alias("keep"), small, rare)


def rare_emotions(frames: pl.DataFrame, below: float) -> tuple[str, ...]:
    """Emotions with less than a share of the clips, in the fixed order."""
    clips = frames.select("clip", "emotion").unique()["emotion"].value_counts()
    few = clips.filter(pl.col("count") < below * pl.col("count").sum())
    return classes_of(few["emotion"])


def _of_each_clip(
    frames: pl.DataFrame,
    rows: NDArray[np.int64],
    points: NDArray[np.int16] | None,
    settings: CurateSettings,
    *,
    jobs: int,
) -> NDArray[np.int64]:
    """Of some rows those that farthest point first chooses in each clip."""
    told = frames.select(
        clip=pl.col("clip").rank("dense"), time=pl.col("timestamp_ms").fill_null(pl.int_range(pl.len()))
    )
    clips, times = told["clip"].to_numpy()[rows], told["time"].to_numpy()[rows]
    order = np.lexsort((times, clips))
    rows, clips, times = rows[order], clips[order], times[order]
    starts = np.flatnonzero(np.diff(clips, prepend=-1))
    lengths = np.diff(starts, append=len(clips))
    looks = Looks(_shares_of_time(times, starts, lengths))
    if settings.method == "pose":
        boxes, origins = _boxes(frames, rows)
        looks = Looks(looks.times, boxes, points, origins)
    tasks = _Tasks(looks, rows, lengths, settings.per_clip)
    chosen = list(run_tasks(_chosen, tasks, jobs=jobs))
    return rows[np.concatenate(chosen)] if chosen else rows


@dataclasses.dataclass(frozen=True)
class _Task:
    """The frames of some whole clips."""

    looks: Looks
    lengths: NDArray[np.int64]
    count: int


def _chosen(task: _Task) -> NDArray[np.bool_]:
    """Whether each frame of a task is chosen."""
    return farthest_first(task.looks, task.lengths, task.count)


class _Tasks(Sequence[_Task]):
    """The tasks of a choice, each cut out when it is its turn."""

    def __init__(self, looks: Looks, rows: NDArray[np.int64], lengths: NDArray[np.int64], count: int) -> None:
        """Divide all frames.

        Args:
            looks: of all frames in the order of ``rows``, but for its points, which are in the order of the index.
            rows: of the index, those of a clip in a row.
            lengths: frames of each clip.
            count: frames of a clip at the most.
        """
        self._looks, self._rows, self._lengths, self._count = looks, rows, lengths, count
        self._ends = np.cumsum(lengths)
        first = np.searchsorted(self._ends, np.arange(0, len(rows), FRAMES_A_TASK), side="right")
        self._clips = [*np.unique(first).tolist(), len(lengths)]

    def __len__(self) -> int:
        return len(self._clips) - 1

    @overload
    def __getitem__(self, number: int) -> _Task: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[_Task]: ...
    def __getitem__(self, number: int | slice) -> _Task | Sequence[_Task]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        clips = slice(self._clips[number], self._clips[number + 1])
        start = self._ends[clips.start] - self._lengths[clips.start]
        part = slice(start, self._ends[clips.stop - 1])
        looks = self._looks
        return _Task(
            Looks(
                looks.times[part],
                None if looks.boxes is None else looks.boxes[part],
                None if looks.points is None else looks.points[self._rows[part]],
                None if looks.origins is None else looks.origins[part],
            ),
            self._lengths[clips],
            self._count,
        )


def _shares_of_time(times: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Floats:
    """Each frame's moment from 0 (the first of its clip) to 1 (the last); ``times`` ascend within a clip."""
    first = times[starts]
    duration = np.maximum(times[starts + lengths - 1] - first, 1)
    shares = (times - np.repeat(first, lengths)) / np.repeat(duration, lengths)
    return shares.astype(np.float32)


def _boxes(frames: pl.DataFrame, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Boxes as shares of their picture (centre, width, height) and as they are (left, top, width, height)."""
    origins = np.stack([frames[name].to_numpy()[rows] for name in _BOX], axis=1).astype(np.float32)
    # Where the picture's size is not told, what the clip's boxes reach stands for it.
    far = {"image_width": pl.col("x") + pl.col("width"), "image_height": pl.col("y") + pl.col("height")}
    sizes = frames.select(pl.col(side).fill_null(reach.max().over("clip")) for side, reach in far.items())
    picture = np.stack([sizes[side].to_numpy()[rows] for side in far], axis=1).astype(np.float32)
    centre = (origins[:, :2] + origins[:, 2:] / 2) / picture
    return np.concatenate([centre, origins[:, 2:] / picture], axis=1), origins


def _cut_short(workspace: Workspace) -> dict[str, int]:
    """How many clips are cut short in string order, and how many of their frames are there and listed."""
    with reading(workspace.frames, workspace.rejects):
        clips = cut_short(pl.scan_parquet(workspace.frames, glob=False), pl.scan_parquet(workspace.rejects, glob=False))
    return {"clips": len(clips), "frames": int(clips["present"].sum()), "listed": int(clips["listed"].sum())}


def _write_rejects(workspace: Workspace, small: pl.Series, least: int) -> None:
    """Refuse the small boxes; what `curate` and later stages refused before belongs to another choice."""
    rows = pl.scan_parquet(workspace.frames, glob=False).filter(pl.lit(small))
    side = pl.concat_str(pl.lit("box "), "width", pl.lit("×"), "height", pl.lit(f", less than {least} pixels"))
    refused = rows.with_columns(reason=pl.lit("small_box"), detail=side, stage=pl.lit("curate"))
    add_rejects(workspace, refused, after="index")


def _count(frames: pl.DataFrame, choice: Choice, *, posed: bool) -> dict[str, Any]:
    """Numbers for scripts: totals, and frames before and after of each species and emotion."""
    table = frames.select("clip", "emotion", pl.col("species").fill_null("unknown"), choice.keep)
    cells = table.group_by("species", "emotion").agg(
        frames=pl.len(), chosen=pl.col("keep").sum(), clips=pl.col("clip").n_unique()
    )
    classes = classes_of(cells["emotion"])
    by_name = {(species, emotion): numbers for species, emotion, *numbers in cells.iter_rows()}
    return {
        "frames": len(frames),
        "chosen": int(choice.keep.sum()),
        "clips": frames["clip"].n_unique(),
        "clips_left": table.filter("keep")["clip"].n_unique(),
        "small_box": int(choice.small.sum()),
        "posed": posed,
        "rare": list(choice.rare),
        "species": {
            species: {
                emotion: dict(zip(("frames", "chosen", "clips"), by_name[species, emotion], strict=True))
                for emotion in classes
                if (species, emotion) in by_name
            }
            for species in sorted(cells["species"].unique())
        },
    }


def _lines(counts: Mapping[str, Any], settings: CurateSettings) -> Iterator[str]:
    """The summary for people."""
    share = counts["chosen"] / counts["frames"]
    chose = f"chose {counts['chosen']:,} of {counts['frames']:,} frames ({share:.0%}) of {counts['clips']:,} clips"
    yield f"{chose} {_way(counts, settings)}"
    if counts["small_box"]:
        yield f"refused {counts['small_box']:,} frames: the box is shorter than {settings.min_box} pixels on one side"
    if counts["clips_left"] < counts["clips"]:
        yield f"{counts['clips'] - counts['clips_left']:,} clips have no frame left"
    if counts["rare"]:
        yield f"kept whole, with less than {settings.rare_below:.0%} of the clips: {', '.join(counts['rare'])}"
    cut = counts["cut_short"]
    if cut["clips"]:
        yield (
            f"{cut['clips']:,} clips are cut short in string order: their pictures are the first by name "
            f"(0, 102, 108 … 12, 120 …), {cut['frames'] / cut['listed']:.0%} of the frames listed, with holes in time"
        )
    species = list(counts["species"])
    yield f"{'emotion':<24}" + "".join(f"{name + ' frames':>16}{'chosen':>16}" for name in species)
    for emotion in classes_of({emotion for cells in counts["species"].values() for emotion in cells}):
        cells = [counts["species"][name].get(emotion, {"frames": 0, "chosen": 0}) for name in species]
        numbers = "".join(f"{cell['frames']:>16,}{cell['chosen']:>16,}" for cell in cells)
        yield f"{emotion + ' ' + EMOTIONS_KO[emotion]:<20}" + numbers


def _way(counts: Mapping[str, Any], settings: CurateSettings) -> str:
    """How the frames were chosen, in words."""
    if settings.method == "random":
        return "at random"
    if settings.method == "all" or not settings.per_clip:
        return "(all)"
    if settings.method == "time":
        return "by time"
    return "by pose, box and time" if counts["posed"] else "by box and time (no keypoints)"
