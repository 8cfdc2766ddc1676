"""Sources: each kind turns a place into rows. To add one: a module here, and a case in `open_source`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from petmood import places
from petmood.errors import RunError, UserError
from petmood.sources.aihub import open_aihub, speaks_of_clips
from petmood.sources.folders import open_folders
from petmood.sources.rows import Source
from petmood.sources.table import open_table
from petmood.sources.tree import scan
from petmood.sources.words import renamed_source

__all__ = ["Source", "open_source"]

_KINDS = "an AI Hub folder (label files and pictures, also in their zips), class folders (happy/*.jpg) or a CSV"


def open_source(path: Path | str, *, named: Sequence[str] = (), words: Mapping[str, str] | None = None) -> Source:
    """Look through a source and tell what it is; reads no label and no picture, but the directories of its zips.

    Args:
        path: a folder, a zip or a CSV file; on disk, or an address such as ``s3://bucket/folder``.
        named: further words that name classes (the left sides of merges).
        words: what the source's own words mean (`words.read_words`).

    Raises:
        UserError: it does not exist, is empty, cannot be reached, or is nothing that petmood can read.
    """
    shown, place = os.fspath(path), places.absolute(path)
    is_folder = _is_folder(shown, place)
    if not is_folder and not places.is_archive(place):
        suffix = os.path.splitext(place)[1]
        if suffix.lower() == ".csv":
            return open_table(shown, words or {})
        raise UserError(f"source {shown} is a {suffix or 'nameless'} file.", hint=f"give {_KINDS}")
    try:
        found = _open_folder(shown, place, [*named, *(words or ())])
    except (OSError, RunError) as error:
        raise _unreachable(shown, error) from None
    return renamed_source(found, words) if words else found


def _is_folder(shown: str, place: str) -> bool:
    """Whether the source is a folder and not a file.

    Raises:
        UserError: it is neither.
    """
    try:
        if places.is_folder(place):
            return True
        places.state(place)
    except FileNotFoundError:
        raise UserError(f"source {shown} does not exist.", hint=f"give {_KINDS}") from None
    except (OSError, ValueError, RunError) as error:
        raise _unreachable(shown, error) from None
    return False


def _unreachable(shown: str, error: Exception) -> UserError:
    hint = "credentials and endpoint come from the environment (AWS_PROFILE, AWS_ENDPOINT_URL …)"
    problem = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
    shown_hint = hint if places.is_remote(shown) else ""
    return UserError(f"source {shown} cannot be read: {problem.removesuffix('.')}.", hint=shown_hint)


def _open_folder(shown: str, place: str, named: Sequence[str]) -> Source:
    root = places.inside(place, "") if places.is_archive(place) and not places.is_folder(place) else place
    tree = scan(place)
    if tree.misnamed:
        raise UserError(
            f"source {shown} holds {len(tree.misnamed):,} names that are not UTF-8, such as {tree.misnamed[0]}.",
            hint="give the zips as they are: they need not be unpacked; or rename with "
            f"`convmv -r -f cp949 -t utf-8 --notest {shown}`",
        )
    if tree.labels and (not tree.pictures or speaks_of_clips(tree)):
        return open_aihub(root, tree)
    if tree.pictures or tree.clip_folders:
        entered = scan(place, enter_clips=True)
        if speaks_of_clips(entered):  # label files beside the pictures of their clip
            return open_aihub(root, entered)
        return open_folders(root, entered, named)
    if tree.remarks:
        raise UserError(
            f"source {shown} holds nothing that can be read: {tree.remarks[0]}.",
            hint="fetch the archive again, or unpack what is in it",
        )
    raise UserError(f"source {shown} holds neither label files nor pictures.", hint=f"give {_KINDS}")
