"""Rows of an earlier index that are carried over: of clips that have not changed since, so that only new ones are read.

``stamps.parquet`` beside the index holds what each clip was made from. Carried rows stand where reading them would have
put them, and bear what the index gives, not what later stages made of it: the tables are the same as those of an index
that reads everything, byte for byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import polars as pl

from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
from petmood.settings import fingerprint
from petmood.sources.aihub import AihubTask
from petmood.sources.rows import NO_POINT, POINTS, RefusedTask, Task
from petmood.workspace import Workspace, read_table, write_table

#: One row a clip, in the order of the source.
STAMP_SCHEMA: dict[str, pl.DataType] = {
    "clip": pl.String(),
    "stamp": pl.UInt64(),  # changes with the clip's files
    "verdict": pl.String(),  # the user's, null if there is none
    "judged": pl.String(),  # changes with the rules and the settings
    "index": pl.String(),  # what the whole index is made from: only beside that index are the others true
}

#: Columns that later stages change, as the index gives them.
_AS_INDEXED = (
    pl.col("source_group").alias("group"),
    pl.lit(None, pl.String).alias("split"),
    pl.lit(value=True).alias("keep"),
    pl.lit(1.0, pl.Float32).alias("weight"),
)


@dataclasses.dataclass(frozen=True)
class Carried:
    """Which clips of a source need not be read again."""

    stamps: pl.DataFrame
    """What the new index is made from (``STAMP_SCHEMA`` without ``index``); no rows if that cannot be told by clip."""
    clips: frozenset[str] = frozenset()
    """Clips whose rows are carried over."""

    @property
    def key(self) -> str:
        """Changes with the clips that are carried over; empty if none are."""
        return f"-{fingerprint(sorted(self.clips))}" if self.clips else ""

    def rest(self, tasks: Sequence[Task]) -> list[Task]:
        """What is left to be read."""
        left = [task.without(self.clips) if isinstance(task, AihubTask) else task for task in tasks]
        return [task for task in left if task.size]

    def frames(self, workspace: Workspace, read: pl.LazyFrame) -> pl.LazyFrame:
        """All good frames with their ``points``: those carried over from the workspace and those just read."""
        if not self.clips:
            return read
        table = pl.scan_parquet(workspace.frames, glob=False)
        if workspace.poses.exists():
            points = pl.scan_parquet(workspace.poses, glob=False).select("points")
            table = pl.concat([table, points], how="horizontal")
        else:  # an index without any keypoint leaves no file
            unknown = pl.Series([[NO_POINT] * POINTS.size], dtype=POINTS)
            table = table.with_columns(points=pl.lit(unknown).first())
        return self._together(table.with_columns(*_AS_INDEXED), read, [*FRAME_SCHEMA, "points"])

    def rejects(self, workspace: Workspace, read: pl.LazyFrame) -> pl.LazyFrame:
        """All rows that the index refuses: those carried over and those just read."""
        if not self.clips:
            return read
        table = pl.scan_parquet(workspace.rejects, glob=False).filter(pl.col("stage") == "index")
        return self._together(table, read, list(REJECT_SCHEMA))

    def _together(self, carried: pl.LazyFrame, read: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
        """Rows of both, clip by clip in the order of the source; what belongs to no clip comes last."""
        places = self.stamps.lazy().select("clip").with_row_index("place")
        kept = places.filter(pl.col("clip").is_in(list(self.clips)))
        ours = carried.join(kept, on="clip", how="inner", maintain_order="left")
        theirs = read.join(places, on="clip", how="left", maintain_order="left").with_columns(
            pl.col("place").fill_null(len(self.stamps))
        )
        return ours.select(*columns, "place").merge_sorted(theirs.select(*columns, "place"), key="place").drop("place")

    def lines(self) -> list[str]:
        """What to say of it, for people."""
        unread = f"{len(self.clips):,} of {len(self.stamps):,} clips have not changed: their rows are kept"
        return [unread] if self.clips else []

    def remember(self, workspace: Workspace, made_from: str) -> None:
        """Leave the stamps beside the index that is made from this; no file where there are none."""
        if self.stamps.is_empty():
            workspace.stamps.unlink(missing_ok=True)
        else:
            write_table(self.stamps.with_columns(index=pl.lit(made_from)), workspace.stamps)


def carried_over(
    workspace: Workspace, tasks: Sequence[Task], verdicts: Mapping[str, str], *, judged: str, force: bool
) -> Carried:
    """Which clips of a source have rows in the workspace that reading them again would only repeat.

    Args:
        workspace: with or without an index.
        tasks: of the source as it is now.
        verdicts: the user's, by clip.
        judged: changes with everything but the files and the verdicts that decides about a clip's rows.
        force: carry nothing over.

    Raises:
        UserError: stamps.parquet is damaged.
    """
    stamps = _stamps(tasks, verdicts, judged)
    mark = workspace.mark("index")
    if force or stamps.is_empty() or not mark or not workspace.stamps.exists():
        return Carried(stamps)
    earlier = read_table(workspace.stamps)
    if earlier.schema != STAMP_SCHEMA or set(earlier["index"]) != {mark["made_from"]}:
        return Carried(stamps)
    same = ("clip", "stamp", "verdict", "judged")
    numbered = stamps.with_row_index("place").join(
        earlier.with_row_index("before"), on=same, how="inner", nulls_equal=True, maintain_order="left"
    )
    if not numbered["before"].is_sorted():  # the source has another order now
        return Carried(stamps)
    return Carried(stamps, frozenset(numbered["clip"]))


def _stamps(tasks: Sequence[Task], verdicts: Mapping[str, str], judged: str) -> pl.DataFrame:
    """One row a clip in the order of the tasks; none if a task cannot tell its clips' stamps."""
    rows: list[tuple[str, int, str | None, str]] = []
    for task in tasks:
        if isinstance(task, AihubTask):
            rows += [(clip, stamp, verdicts.get(clip), judged) for clip, stamp in task.stamps()]
        elif not isinstance(task, RefusedTask):  # that one's rows are made anew each time
            rows.clear()
            break
    return pl.DataFrame(rows, schema={name: STAMP_SCHEMA[name] for name in list(STAMP_SCHEMA)[:-1]}, orient="row")


def in_order_of_clips(task: Task, rejects: pl.DataFrame) -> pl.DataFrame:
    """A task's refused rows, clip by clip: in an order that does not depend on which clips share a task."""
    if not isinstance(task, AihubTask) or rejects.is_empty():
        return rejects
    clips = [clip for clip, _ in task.stamps()]
    place = rejects["clip"].replace_strict(clips, list(range(len(clips))), default=len(clips), return_dtype=pl.UInt32)
    return rejects.with_columns(place=place).sort("place", maintain_order=True).drop("place")
