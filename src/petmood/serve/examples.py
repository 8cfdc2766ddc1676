"""A run's own test pictures to try: three at most, of emotions that differ."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.workspace import Workspace, read_table

_MOST = 3


def examples_of(run: Path) -> tuple[bytes, ...]:
    """JPEG files of crops that the run has not been trained on, one an emotion; none if its data is not there.

    Args:
        run: WORK/runs/NAME.
    """
    try:
        workspace = Workspace.of_run(run)
        frames = workspace.read_frames().filter(pl.col("keep") & pl.col("split").is_in(["test", "val"]))
        crops = read_table(workspace.crops / "crops.parquet")
        unseen = frames.select("frame_id", "emotion", "split").join(crops, on="frame_id", maintain_order="left")
        # Test before validation, which chose the weights; of each emotion the sharpest picture.
        ordered = unseen.sort(["split", "sharpness"], descending=[False, True]).sort("split", maintain_order=True)
        chosen = ordered.unique("emotion", keep="first", maintain_order=True).head(_MOST)
        store = CropStore(workspace.crops, chosen.select(crops.columns))
        return tuple(bytes(store.jpeg(row)) for row in range(len(store)))
    except UserError:
        return ()
