"""Keypoints of the frames: poses.parquet, one row a row of frames.parquet, in the same order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from petmood.errors import UserError
from petmood.workspace import Workspace, read_table


def read_points(workspace: Workspace, frames: int) -> NDArray[np.int16] | None:
    """Keypoints as (frames, 30) pixels (`sources.rows.POINTS`), or None: the source has none.

    Args:
        workspace: an indexed workspace.
        frames: rows of its frames.parquet.

    Raises:
        UserError: the file is damaged, or has another number of rows.
    """
    if not workspace.poses.exists():
        return None
    points = read_table(workspace.poses, columns=["points"])["points"]
    if len(points) != frames:
        raise UserError(
            f"{workspace.poses} has {len(points):,} rows and {workspace.frames.name} {frames:,}; one index makes both.",
            hint="run `petmood index SOURCE WORK --force`",
        )
    return points.to_numpy()
