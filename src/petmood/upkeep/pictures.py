"""Whether crops could be made again: every picture that they were cut from must still be there."""

from __future__ import annotations

from petmood import places
from petmood.errors import UserError
from petmood.workspace import Workspace, read_table


def check_pictures(workspace: Workspace) -> None:
    """Make sure that the picture of each crop is still where the index says; none is read.

    Raises:
        UserError: one is gone, or tables are missing or damaged: the crops could not be made again.
    """
    if not (workspace.crops / "crops.parquet").is_file():
        return
    workspace.require("curate")  # without which `petmood pack` would not know what to cut
    crops = read_table(workspace.crops / "crops.parquet", columns=("frame_id",))
    frames = read_table(workspace.frames, columns=("frame_id", "path"))
    paths = frames.join(crops, on="frame_id", how="semi")["path"]
    gone = [path for path in paths if not places.exists(path)]
    if gone or len(paths) < len(crops):
        number = len(gone) + len(crops) - len(paths)
        such = f", such as {gone[0]}" if gone else ""
        raise UserError(
            f"{number:,} of {len(crops):,} pictures that the crops were cut from are not there any more{such}; "
            "the crops could not be made again.",
            hint="leave out --crops, or bring the pictures back to where they were",
        )
