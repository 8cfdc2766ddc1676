"""What stands on two sides of a split: clips, groups of clips, and frames that show the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from petmood.crops import CropStore
from petmood.data.copies import Thumbnails, find_copies
from petmood.workspace import Workspace, read_table, replacing

SIDES = ("train", "val", "test")
#: One row a leak (``leaks.csv``).
LEAK_SCHEMA: dict[str, pl.DataType] = {
    "kind": pl.String(),  # clip, group or frame
    "name": pl.String(),  # of the clip or group; or the frame_id
    "other": pl.String(),  # frame_id of the near-copy on the other side; null for clips and groups
    "sides": pl.String(),  # train|val|test: for a pair of frames its own side, then the other's
    "bits": pl.Int64(),  # in which the hashes of two frames differ
}


def leaking_clips(clips: pl.DataFrame) -> pl.DataFrame:
    """Clips and groups that stand on more than one side (``LEAK_SCHEMA``).

    Args:
        clips: columns clip, group, split; nulls belong to no group and to no side.
    """
    return pl.concat([_on_two_sides(clips, kind) for kind in ("clip", "group")])


def _on_two_sides(clips: pl.DataFrame, kind: str) -> pl.DataFrame:
    sided = clips.filter(pl.col("split").is_not_null() & pl.col(kind).is_not_null())
    return (
        sided.group_by(name=kind)
        .agg(sides=pl.col("split").cast(pl.Enum(SIDES)).unique().sort().cast(pl.String))
        .filter(pl.col("sides").list.len() > 1)
        .sort("name")
        .select(
            kind=pl.lit(kind),
            name=pl.col("name").cast(pl.String),
            other=pl.lit(None, pl.String),
            sides=pl.col("sides").list.join("|"),
            bits=pl.lit(None, pl.Int64),
        )
    )


def leaking_frames(workspace: Workspace, sides: pl.DataFrame, *, within: int) -> pl.DataFrame:
    """Pairs of kept frames on different sides that show the same (``LEAK_SCHEMA``).

    The search is `screen`'s own, so what was joined there and kept whole cannot be found here. Of several frames of
    one side with equal hashes, each is named once.

    Args:
        workspace: with crops.
        sides: columns clip, split.
        within: bits in which the hashes of near-copies differ at most.
    """
    crops = read_table(workspace.crops / "crops.parquet").with_row_index("row")
    frames = read_table(workspace.frames, columns=("frame_id", "clip", "keep"))
    kept = (
        crops.join(frames.filter("keep"), on="frame_id", how="inner", maintain_order="left")
        .join(sides.select("clip", side="split"), on="clip", how="inner", maintain_order="left")
        .filter(pl.col("side").is_not_null())
    )
    number = kept["side"].rank("dense").cast(pl.Int64).to_numpy()
    place = kept["row"].cast(pl.Int64).to_numpy()
    thumbnails = Thumbnails(CropStore(workspace.crops))
    found = find_copies(
        kept["hash"].to_numpy(),
        within=within,
        alike=lambda left, right: thumbnails.alike(place[left], place[right]),
        settled=lambda left, right: number[left] == number[right],
        sides=number,
    )
    ids, side = kept["frame_id"], kept["side"]
    rows = np.concatenate([np.stack(links, axis=1) for links in found])
    left, right = (rows[:, column].tolist() for column in (0, 1))
    table = pl.DataFrame(
        {"name": ids[left], "other": ids[right], "first": side[left], "second": side[right], "bits": rows[:, 2]}
    )
    return table.select(
        kind=pl.lit("frame"), name="name", other="other", sides=pl.format("{}|{}", "first", "second"), bits="bits"
    ).sort("name", "other")


def summed(leaks: pl.DataFrame) -> dict[str, Any]:
    """Numbers for scripts: how many clips, groups and pairs of frames, and some of them."""
    numbers = dict(leaks.group_by("kind").len().iter_rows())
    return {
        "clips": numbers.get("clip", 0),
        "groups": numbers.get("group", 0),
        "frames": numbers.get("frame", 0),
        "examples": leaks.filter(pl.col("kind") == "group")["name"].head(5).to_list(),
    }


def told(leaks: pl.DataFrame, most: int = 10) -> Iterator[str]:
    """Up to ``most`` leaks in words, of every kind some."""
    for _, some in leaks.group_by("kind", maintain_order=True):
        for kind, name, other, sides, bits in some.head(most // leaks["kind"].n_unique()).iter_rows():
            if kind == "frame":
                first, second = sides.split("|")
                yield f"frames {name} ({first}) and {other} ({second}), {bits} bits apart"
            else:
                yield f"{kind} {name} ({sides.replace('|', ', ')})"


def write_leaks(workspace: Workspace, leaks: pl.DataFrame) -> None:
    """Leave all leaks in leaks.csv for a spreadsheet (UTF-8 with a mark); without any, remove the file."""
    if leaks.is_empty():
        workspace.leaks.unlink(missing_ok=True)
        return
    with replacing(workspace.leaks) as temporary:
        leaks.write_csv(temporary, include_bom=True)
