"""Clips cut short in string order: AI Hub's release holds only the first 13 or 14 pictures, by name, of a dog's clip.

Sorted as text, frame 120 comes before frame 12: what is left of such a clip is its first moment, one at 0.4 s and a
stretch from 3.4 to 5.6 s. The index cannot know why pictures are missing; their names tell.
"""

from __future__ import annotations

import polars as pl

#: One picture may be lost for another reason than the cut; a cut takes at least this many.
_LOST, _CUT = 1, 3

_MOMENT = pl.col("name").str.extract(r"_timestamp_(\d+)").cast(pl.Int64, strict=False)


def cut_short(frames: pl.LazyFrame, rejects: pl.LazyFrame) -> pl.DataFrame:
    """Clips with good frames whose pictures are their label's first in string order but not in time.

    Columns: clip, present (pictures that are there), listed (all that the label lists).

    Args:
        frames: good frames: clip, frame_id, timestamp_ms.
        rejects: refused rows: clip, frame_id, reason.
    """
    named = rejects.filter(pl.col("frame_id").is_not_null(), pl.col("reason") != "duplicate_label")
    told = named.select("clip", "reason", name="frame_id").with_columns(moment=_MOMENT)
    missing = told.filter(pl.col("reason") == "no_image").join(frames, on="clip", how="semi")
    there = pl.concat(
        [
            frames.select("clip", name="frame_id", moment="timestamp_ms"),
            told.filter(pl.col("reason") != "no_image").select("clip", "name", "moment"),
        ]
    )
    present = (
        there.join(missing.select("clip").unique(), on="clip", how="semi")
        .group_by("clip")
        .agg(present=pl.len(), last=pl.col("name").max(), latest=pl.col("moment").max())
    )
    behind = pl.col("name") > pl.col("last")
    clips = (
        missing.join(present, on="clip")
        .group_by("clip")
        .agg(
            pl.col("present", "latest").first(),
            behind=behind.sum(),
            lost=(~behind).sum(),
            earliest=pl.col("moment").filter(behind).min(),
        )
        .filter(pl.col("lost") <= _LOST, pl.col("behind") >= _CUT, pl.col("latest") > pl.col("earliest"))
    )
    listed = pl.col("present") + pl.col("lost") + pl.col("behind")
    return clips.select("clip", "present", listed=listed).sort("clip").collect(engine="streaming")
