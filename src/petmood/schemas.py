"""The columns of the tables that cross from one stage to the next."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

#: One row a good frame (``frames.parquet``). Boxes are pixels with the origin at the top left.
FRAME_SCHEMA: Mapping[str, pl.DataType] = {
    "frame_id": pl.String(),  # clip/file stem; unique
    "path": pl.String(),  # the picture, absolute
    "clip": pl.String(),  # full stem of the label file (NFC), or the photo itself
    "group": pl.String(),  # clips that may show the same animal; a split never separates them; `screen` joins some
    "source_group": pl.String(),  # the group by what the source says alone
    "species": pl.String(),  # dog, cat, or null where the source does not say
    "emotion": pl.String(),  # English name, by the label source chosen and after merges
    "owner_emotion": pl.String(),  # by the owner; null where the source has one label only
    "action": pl.String(),  # slug such as walkrun
    "situation": pl.String(),
    "timestamp_ms": pl.Int64(),  # time in the clip: the time axis (frame numbers depend on the camera)
    "x": pl.Int32(),
    "y": pl.Int32(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "image_width": pl.Int32(),  # as the label says; null where only the picture can tell
    "image_height": pl.Int32(),
    "official_split": pl.String(),  # train or val as the source's folders say; null where they do not
    "split": pl.String(),  # train, val or test; written by `split`, null before
    "keep": pl.Boolean(),  # chosen by `curate`; after `pack` also readable; after `screen` also worth showing
    "weight": pl.Float32(),  # of the frame in training; written by `curate` and `screen`
}

#: One row a refused frame, label file or picture (``rejects.parquet``).
REJECT_SCHEMA: Mapping[str, pl.DataType] = {
    "frame_id": pl.String(),  # null for label files and for pictures that no label speaks of
    "path": pl.String(),
    "clip": pl.String(),
    "reason": pl.String(),  # a key of REASONS
    "detail": pl.String(),
    "stage": pl.String(),  # index, curate, pack or screen
}
