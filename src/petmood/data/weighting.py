"""How much each chosen frame counts in training."""

from __future__ import annotations

import polars as pl


def even_weights(clips: pl.Series, keep: pl.Series) -> pl.Series:
    """Weight of each frame (float32): all clips count the same, however many frames of each are kept.

    The weights of the kept frames have the mean 1; a frame that is not kept has 1 (it is never shown).

    Args:
        clips: clip of each frame.
        keep: whether it is kept.

    >>> even_weights(pl.Series(["a", "a", "a", "b"]), pl.Series([True, True, False, True])).round(2).to_list()
    [0.75, 0.75, 1.0, 1.5]
    """
    kept = keep.cast(pl.Int64)
    mean = kept.sum() / max(1, clips.filter(keep).n_unique())
    table = pl.DataFrame({"clip": clips, "keep": keep, "kept": kept})
    weight = pl.when("keep").then(mean / pl.col("kept").sum().over("clip")).otherwise(1.0)
    return table.select(weight.cast(pl.Float32).alias("weight"))["weight"]
