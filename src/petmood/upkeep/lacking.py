"""Whether the results that a stage's mark speaks of are there: by names, sizes and what Parquet says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from petmood.upkeep.sizes import named
from petmood.workspace import Stage, Workspace

#: What a damaged table may raise in polars.
_DAMAGE = (OSError, pl.exceptions.PolarsError)


def lacking(workspace: Workspace, stage: Stage, counts: Mapping[str, Any]) -> str:
    """What of a stage's results is missing or damaged, as a clause; empty if all is there as far as this tells.

    No table is read but the places of the crops in their parts.
    """
    if stage == "index":
        posed = bool(counts.get("posed"))
        return (
            _table(workspace.frames, counts.get("kept"))
            or _table(workspace.rejects, None)
            or (_table(workspace.poses, counts.get("kept")) if posed else "")
        )
    if stage == "pack":
        return _table(workspace.crops / "crops.parquet", counts.get("crops")) or _parts(workspace.crops)
    return ""


def rows_of(path: Path) -> int | None:
    """Rows of a Parquet file by its own metadata; None if it is missing or damaged."""
    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except _DAMAGE:
        return None


def _table(path: Path, expected: object) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    rows = rows_of(path)
    if rows is None:
        return f"{path.name} is damaged"
    if isinstance(expected, int) and rows != expected:
        return f"{path.name} has {rows:,} rows; {expected:,} were written"
    return ""


def _parts(folder: Path) -> str:
    """Which parts of the crops are missing or too short."""
    end = (pl.col("offset") + pl.col("size")).max()
    try:
        table = pl.scan_parquet(folder / "crops.parquet", glob=False)
        ends = table.group_by("part").agg(end.alias("end")).sort("part").collect()
    except _DAMAGE:
        return "crops.parquet is damaged"
    wrong = [folder / name for name, least in ends.iter_rows() if not _has(folder / name, least)]
    return f"{len(wrong):,} of {len(ends):,} parts are missing or cut off ({named(wrong)})" if wrong else ""


def _has(path: Path, least: int) -> bool:
    try:
        return path.stat().st_size >= least
    except OSError:
        return False
