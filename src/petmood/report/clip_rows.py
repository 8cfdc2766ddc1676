"""From the tables of a workspace to the rows of the contact sheet: which clips, which frames, and what became of each.

Only the rows of the clips shown are read, so that a sheet of millions of frames costs seconds and little memory.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from petmood.data.cutshort import cut_short
from petmood.errors import UserError
from petmood.geometry import Box
from petmood.labels import EMOTIONS, EMOTIONS_KO, emotion_of
from petmood.recipes.sheet import SheetSettings
from petmood.schemas import REJECT_SCHEMA
from petmood.workspace import Workspace, reading

#: What became of a frame: kept, left (good but not chosen), refused, open (nothing was chosen yet), missing (no file).
State = Literal["kept", "left", "refused", "open", "missing"]

#: Emotion, species and name of a clip.
_Kind = tuple[str, str | None, str]
#: Between two frames that lie this many usual steps apart, time is missing.
_HOLE = 1.5
#: Time of a refused frame, which its name alone tells.
_TIME = pl.col("frame_id").str.extract(r"_timestamp_(\d+)$").cast(pl.Int64, strict=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame of a clip, as the tables speak of it."""

    frame_id: str
    path: str
    state: State
    time_ms: int | None
    box: Box | None
    """None where the label has no usable box: the whole picture stands for it."""
    size: tuple[int, int] | None
    """Width and height that the label speaks of."""
    weight: float | None
    reason: str = ""
    """A key of ``REASONS`` if it was refused."""
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """What is not shown between two frames."""

    thinned: int = 0
    """Frames that are there, but left out of the sheet to keep it short."""
    missing: int = 0
    """Pictures that the label speaks of and that are not there."""
    seconds: float | None = None
    """Length of a hole in time; None if there is none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One clip with all its frames in the order of time."""

    name: str
    species: str | None
    emotion: str | None
    owner: str | None
    """The owner's emotion where it is another one."""
    action: str | None
    split: str | None
    joined: bool
    """Its group was joined with others, as they share near-copies."""
    cut_short: bool
    """Only the first pictures in string order are there (0, 102, 108 … 12): holes in time, not a shorter clip."""
    frames: tuple[Frame, ...]
    other: Mapping[str, int]
    """Reason word → label files and unlabelled pictures of this clip that were refused."""

    def count(self, state: State) -> int:
        """How many of its frames are in this state."""
        return sum(frame.state == state for frame in self.frames)

    @property
    def step_ms(self) -> float:
        """Usual time between two frames, pictures that are not there included; 0 if unknown."""
        times = [frame.time_ms for frame in self.frames if frame.time_ms is not None]
        steps = np.diff(np.unique(times))
        return float(np.median(steps)) if len(steps) else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmotionTotal:
    """How much of an emotion was kept."""

    name: str
    clips: int
    frames: int
    kept: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Totals:
    """The whole work folder in numbers."""

    emotions: tuple[EmotionTotal, ...]
    refused: Mapping[str, int]
    """Reason word → rows, most frequent first."""

    @property
    def clips(self) -> int:
        """Clips with at least one good frame."""
        return sum(one.clips for one in self.emotions)

    @property
    def frames(self) -> int:
        """Good frames by their labels."""
        return sum(one.frames for one in self.emotions)

    @property
    def kept(self) -> int:
        """Frames in use."""
        return sum(one.kept for one in self.emotions)


def clip_table(workspace: Workspace) -> pl.DataFrame:
    """One row a clip: clip, species, emotion, frames, kept; sorted by clip."""
    columns = (pl.col("species", "emotion").first(), pl.len().alias("frames"), pl.col("keep").sum().alias("kept"))
    with reading(workspace.frames):
        return _frames(workspace).group_by("clip").agg(*columns).sort("clip").collect(engine="streaming")


def totals(clips: pl.DataFrame, workspace: Workspace) -> Totals:
    """Numbers of the whole work folder; ``clips`` is what `clip_table` returns."""
    known = clips.group_by("emotion").agg(pl.len(), pl.col("frames", "kept").sum())
    found = {row[0]: row[1:] for row in known.iter_rows()}
    counted = _rejects(workspace).group_by("reason").len().sort("len", "reason", descending=[True, False])
    with reading(workspace.rejects):
        refused = dict(counted.collect(engine="streaming").iter_rows())
    emotions = tuple(
        EmotionTotal(name=name, clips=found[name][0], frames=found[name][1], kept=found[name][2])
        for name in EMOTIONS
        if name in found
    )
    return Totals(emotions=emotions, refused=refused)


def choose_clips(clips: pl.DataFrame, settings: SheetSettings) -> list[str]:
    """Names of the clips to show, by emotion, species and name; drawn, or those asked for as they were given.

    Raises:
        UserError: an emotion is unknown or does not occur.
    """
    if settings.clip:
        return list(dict.fromkeys(settings.clip))
    wanted = _emotions(settings.emotion, clips)
    pool = clips.filter(pl.col("emotion").is_in(wanted))
    order = np.random.default_rng(settings.seed).permutation(len(pool))
    drawn = _drawn(pool[order].select("emotion", "species", "clip").rows(), settings.clips)
    return [name for *_, name in sorted(drawn, key=lambda row: (EMOTIONS.index(row[0]), row[1] or "", row[2]))]


def read_clips(workspace: Workspace, names: Sequence[str]) -> list[ClipRow]:
    """The clips of these names, in their order, with every frame that was found, good or refused.

    Raises:
        UserError: the work folder has no clip of a name.
    """
    with reading(workspace.frames, workspace.rejects):
        frames = _frames(workspace).filter(pl.col("clip").is_in(names)).collect(engine="streaming")
        rejects = _rejects(workspace).filter(pl.col("clip").is_in(names)).collect(engine="streaming")
    short = set(cut_short(frames.lazy(), rejects.lazy())["clip"])
    decided = bool(workspace.mark("curate"))
    good, bad = _by_clip(frames), _by_clip(rejects.with_columns(time_ms=_TIME))
    rows = []
    for name in names:
        if name not in good and name not in bad:
            raise _no_such_clip(workspace, name)
        rows.append(_clip_row(name, good.get(name, []), bad.get(name, []), decided=decided, short=name in short))
    return rows


def thinned(clip: ClipRow, most: int) -> list[Frame | Gap]:
    """Frames and gaps in the order of time: every kept frame, and evenly chosen others up to ``most`` frames in all."""
    there = [number for number, frame in enumerate(clip.frames) if frame.state != "missing"]
    kept = [number for number in there if clip.frames[number].state == "kept"]
    others = [number for number in there if clip.frames[number].state != "kept"]
    room = min(len(others), max(0, most - len(kept)))
    even = {others[round(place)] for place in np.linspace(0, len(others) - 1, room)} if room else set()
    shown = sorted({*kept, *even})
    items: list[Frame | Gap] = []
    for before, number in zip([-1, *shown], [*shown, len(clip.frames)], strict=True):
        gap = _gap(clip, before, number)
        if gap is not None:
            items.append(gap)
        if number < len(clip.frames):
            items.append(clip.frames[number])
    return items


def _gap(clip: ClipRow, before: int, after: int) -> Gap | None:
    """What lies between two positions of a clip's frames; None if they follow each other."""
    between = clip.frames[before + 1 : after]
    missing = sum(frame.state == "missing" for frame in between)
    seconds = None
    if missing == len(between) and before >= 0 and after < len(clip.frames):
        first, last = clip.frames[before].time_ms, clip.frames[after].time_ms
        if first is not None and last is not None and last - first > _HOLE * clip.step_ms > 0:
            seconds = (last - first) / 1000
    if not between and seconds is None:
        return None
    return Gap(thinned=len(between) - missing, missing=missing, seconds=seconds)


def _emotions(words: Iterable[str], clips: pl.DataFrame) -> list[str]:
    """The emotions asked for, or all that occur.

    Raises:
        UserError: a word names no emotion, or one that no clip has.
    """
    present = [name for name in EMOTIONS if name in set(clips["emotion"])]
    if not words:
        return present
    found = {word: emotion_of(word) for word in words}
    allowed = ", ".join(f"{name} {EMOTIONS_KO[name]}" for name in present)
    for word, emotion in found.items():
        if emotion is None:
            raise UserError(f"emotion {word!r} is unknown; this work folder has {allowed}.")
        if emotion not in present:
            raise UserError(f"emotion {word!r} does not occur; this work folder has {allowed}.")
    return [name for name in present if name in found.values()]


def _drawn(pool: Sequence[_Kind], count: int) -> list[_Kind]:
    """The first ``count`` rows, always of the emotion, then the species, that has fewest yet."""
    waiting: dict[tuple[str, str | None], list[_Kind]] = {}
    for row in reversed(pool):
        waiting.setdefault(row[:2], []).append(row)
    emotions: Counter[str] = Counter()
    species: Counter[str | None] = Counter()
    both: Counter[tuple[str, str | None]] = Counter()
    drawn: list[_Kind] = []
    while waiting and len(drawn) < count:
        kind = min(
            waiting,
            key=lambda one: (emotions[one[0]], both[one], species[one[1]], EMOTIONS.index(one[0]), one[1] or ""),
        )
        drawn.append(waiting[kind].pop())
        emotions[kind[0]] += 1
        species[kind[1]] += 1
        both[kind] += 1
        if not waiting[kind]:
            del waiting[kind]
    return drawn


def _clip_row(
    name: str, good: list[dict[str, Any]], bad: list[dict[str, Any]], *, decided: bool, short: bool
) -> ClipRow:
    """One clip from its rows in the frames table and in the table of refused rows."""
    # A refusal by the index stands beside the good frames (it may even bear the name of one, as a duplicate does);
    # those of later stages speak of them.
    later = {row["frame_id"]: row for row in bad if row["stage"] != "index"}
    frames = [_good_frame(row, later.get(row["frame_id"]), decided=decided) for row in good]
    frames += [_refused_frame(row) for row in bad if row["stage"] == "index" and row["frame_id"] is not None]
    frames.sort(key=lambda frame: (frame.time_ms is None, frame.time_ms or 0))
    head = good[0] if good else {}
    emotion, owner = head.get("emotion"), head.get("owner_emotion")
    return ClipRow(
        name=name,
        species=head.get("species"),
        emotion=emotion,
        owner=owner if owner != emotion else None,
        action=head.get("action"),
        split=head.get("split"),
        joined=head.get("group") != head.get("source_group", head.get("group")),
        cut_short=short,
        frames=tuple(frames),
        other=Counter(row["reason"] for row in bad if row["frame_id"] is None),
    )


def _good_frame(row: dict[str, Any], refusal: dict[str, Any] | None, *, decided: bool) -> Frame:
    state: State = "open"
    if refusal is not None:
        state = "refused"
    elif decided:
        state = "kept" if row["keep"] else "left"
    size = (row["image_width"], row["image_height"])
    return Frame(
        frame_id=row["frame_id"],
        path=row["path"],
        state=state,
        time_ms=row["timestamp_ms"],
        box=Box(row["x"], row["y"], row["width"], row["height"]),
        size=None if None in size else size,
        weight=row["weight"],
        reason=refusal["reason"] if refusal else "",
        detail=(refusal["detail"] or "") if refusal else "",
    )


def _refused_frame(row: dict[str, Any]) -> Frame:
    return Frame(
        frame_id=row["frame_id"],
        path=row["path"],
        state="missing" if row["reason"] == "no_image" else "refused",
        time_ms=row["time_ms"],
        box=None,
        size=None,
        weight=None,
        reason=row["reason"],
        detail=row["detail"] or "",
    )


def _by_clip(rows: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Clip → its rows, in the table's order."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        grouped.setdefault(row["clip"], []).append(row)
    return grouped


def _frames(workspace: Workspace) -> pl.LazyFrame:
    return pl.scan_parquet(workspace.frames, glob=False)


def _rejects(workspace: Workspace) -> pl.LazyFrame:
    if not workspace.rejects.is_file():
        return pl.LazyFrame(schema=dict(REJECT_SCHEMA))
    return pl.scan_parquet(workspace.rejects, glob=False)


def _no_such_clip(workspace: Workspace, name: str) -> UserError:
    known = clip_table(workspace)["clip"].to_list()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
    return UserError(
        f"clip {name!r} is not in work folder {workspace.root}; there are {', '.join(near)} …",
        hint="the names of all clips are in column `clip` of frames.parquet",
    )
