"""Sources: each kind turns a place on disk into rows. To add one: a module here, and a case in `open_source`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from petmood.errors import UserError
from petmood.sources.aihub import open_aihub, speaks_of_clips
from petmood.sources.folders import open_folders
from petmood.sources.rows import Source
from petmood.sources.table import open_table
from petmood.sources.tree import scan
from petmood.sources.words import renamed_source

__all__ = ["Source", "open_source"]

_KINDS = "an AI Hub folder (label files and pictures), class folders (happy/*.jpg) or a CSV"


def open_source(path: Path, *, named: Sequence[str] = (), words: Mapping[str, str] | None = None) -> Source:
    """Look through a source and tell what it is; reads no label and no picture.

    Args:
        path: a folder or a CSV file.
        named: further words that name classes (the left sides of merges).
        words: what the source's own words mean (`words.read_words`).

    Raises:
        UserError: it does not exist, is empty, or is nothing that petmood can read.
    """
    if not path.exists():
        raise UserError(f"source {path} does not exist.", hint=f"give {_KINDS}")
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return open_table(path, words or {})
        raise UserError(f"source {path} is a {path.suffix or 'nameless'} file.", hint=f"give {_KINDS}")
    found = _open_folder(path, [*named, *(words or ())])
    return renamed_source(found, words) if words else found


def _open_folder(path: Path, named: Sequence[str]) -> Source:
    root = path.resolve()
    tree = scan(root)
    if tree.misnamed:
        raise UserError(
            f"source {path} holds {len(tree.misnamed):,} names that are not UTF-8, such as {tree.misnamed[0]}.",
            hint="unpack the zips again with a tool that knows Korean names, or rename with "
            f"`convmv -r -f cp949 -t utf-8 --notest {path}`",
        )
    if tree.labels and (not tree.pictures or speaks_of_clips(tree)):
        return open_aihub(root, tree)
    if tree.pictures or tree.clip_folders:
        entered = scan(root, enter_clips=True)
        if speaks_of_clips(entered):  # label files beside the pictures of their clip
            return open_aihub(root, entered)
        return open_folders(root, entered, named)
    if tree.archives:
        raise UserError(
            f"source {path} holds {len(tree.archives)} zip files and nothing unpacked.",
            hint="unpack them first, each into a folder; their names do not matter",
        )
    raise UserError(f"source {path} holds neither label files nor pictures.", hint=f"give {_KINDS}")
