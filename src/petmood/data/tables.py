"""How the data stages write tables of millions of rows: never holding them in memory."""

from __future__ import annotations

import polars as pl

from petmood.schemas import REJECT_SCHEMA
from petmood.workspace import ORDER, Stage, Workspace, reading, replacing

#: Rows of a row group: said, so that a file does not depend on the parts in which its rows came.
ROW_GROUP = 1 << 16


def add_rejects(workspace: Workspace, refused: pl.LazyFrame, *, after: Stage) -> None:
    """Put rows (``REJECT_SCHEMA``) into rejects.parquet behind those of the stages up to ``after``; later ones go.

    Raises:
        UserError: a table that is read for it is damaged.
    """
    kept = ORDER[: ORDER.index(after) + 1]
    earlier = pl.scan_parquet(workspace.rejects, glob=False).filter(pl.col("stage").is_in(kept))
    with reading(workspace.rejects, workspace.frames), replacing(workspace.rejects) as temporary:
        pl.concat([earlier, refused.select(*REJECT_SCHEMA)]).sink_parquet(temporary, row_group_size=ROW_GROUP)


def among(workspace: Workspace, frames: pl.Series) -> pl.Series:
    """Whether each row of frames.parquet is one of some frames, by ``frame_id``; called ``keep``."""
    some = pl.LazyFrame({"frame_id": frames}).with_columns(keep=pl.lit(value=True))
    with reading(workspace.frames):
        ids = pl.scan_parquet(workspace.frames, glob=False).select("frame_id")
        found = ids.join(some, on="frame_id", how="left", maintain_order="left")
        return found.select(pl.col("keep").fill_null(value=False)).collect(engine="streaming")["keep"]


def numbered(column: str) -> pl.Expr:
    """A column of repeated texts as numbers: a fraction of the memory."""
    return pl.col(column).cast(pl.Categorical).to_physical()
