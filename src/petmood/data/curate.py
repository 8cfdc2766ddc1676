"""Stage 2: choose the frames that matter, before any picture is decoded.

One label is spread over a whole clip and its frames are near-copies (5 a second), so a few of them, far apart in time,
hold nearly all that the clip has to say (docs/concepts.md has the arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.records import StageSummary
from petmood.settings import SETTINGS, fingerprint, to_plain
from petmood.workspace import Workspace, write_table


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CurateSettings:
    """Which frames of a clip are used."""

    per_clip: Annotated[int, Field(ge=0)] = 8
    """At most this many frames of a clip, evenly spread over its time; 0 keeps all."""


def curate(
    work: Path,
    settings: CurateSettings = CurateSettings(),  # noqa: B008 - frozen
    *,
    force: bool = False,
) -> StageSummary:
    """Decide ``keep`` and ``weight`` of every frame in frames.parquet.

    Raises:
        UserError: the workspace has no index.
    """
    workspace = Workspace.open(work)
    made_from = fingerprint("curate", workspace.require("index")["made_from"], settings)
    if not force and workspace.is_current("curate", made_from):
        return StageSummary(stage="curate", skipped=True, counts=workspace.mark("curate")["counts"])
    workspace.begin("curate")
    frames = workspace.read_frames()
    keep = choose(frames, settings.per_clip)
    # What `pack` refused belongs to the choice that it packed.
    write_table(workspace.read_rejects().filter(pl.col("stage") != "pack"), workspace.rejects)
    write_table(frames.with_columns(keep=keep, weight=pl.lit(1.0, pl.Float32)), workspace.frames)
    counts = {"frames": len(frames), "chosen": int(keep.sum()), "clips": frames["clip"].n_unique()}
    workspace.finish("curate", made_from=made_from, settings=to_plain(settings), counts=counts)
    share = counts["chosen"] / counts["frames"]
    line = f"chose {counts['chosen']:,} of {counts['frames']:,} frames ({share:.0%}) of {counts['clips']:,} clips"
    return StageSummary(stage="curate", skipped=False, counts=counts, lines=(line,))


def choose(frames: pl.DataFrame, per_clip: int) -> pl.Series:
    """Whether each frame is kept: at most ``per_clip`` of a clip (0: all), spread over its time.

    Args:
        frames: columns ``clip`` and ``timestamp_ms`` (null in photos: such clips are taken in their order).
        per_clip: frames of a clip at the most.
    """
    keep = np.zeros(len(frames), bool)
    if per_clip == 0:
        return pl.Series("keep", ~keep)
    numbered = frames.select("clip", "timestamp_ms").with_row_index("row")
    clips = numbered.group_by("clip", maintain_order=True).agg("row", pl.col("timestamp_ms").fill_null(pl.col("row")))
    for rows, times in clips.select("row", "timestamp_ms").iter_rows():
        chosen = spread_over_time(times, per_clip)
        keep[np.asarray(rows)[chosen]] = True
    return pl.Series("keep", keep)


def spread_over_time(times: Sequence[int], count: int) -> list[int]:
    """Positions of at most ``count`` frames whose times lie far apart: the earliest, then always the farthest.

    A clip that was cut short in string order has holes in its time (one frame at 0 s, the next at 3.4 s); fixed slots
    would stay empty there, farthest point first always returns ``min(count, len(times))`` frames.

    >>> spread_over_time([0, 200, 400, 600, 800], 3)
    [0, 2, 4]
    """
    if len(times) <= count:
        return list(range(len(times)))
    axis = np.asarray(times, np.float64)
    chosen = [int(axis.argmin())]
    distance = np.abs(axis - axis[chosen[0]])
    while len(chosen) < count:
        distance[chosen] = -1.0  # frames of one timestamp are not taken twice
        farthest = int(distance.argmax())
        chosen.append(farthest)
        distance = np.minimum(distance, np.abs(axis - axis[farthest]))
    return sorted(chosen)
