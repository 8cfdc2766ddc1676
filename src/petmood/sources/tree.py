"""One walk over a folder: where its label files, clip folders and pictures are. Opens no file."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from petmood.labels import normalise

#: ``20201028_cat-arch-000156.mp4`` (manual stream) or ``cat-arch-000156`` (auto stream).
CLIP_NAME = re.compile(r"(?:(?P<date>\d{8})_)?(?P<species>dog|cat)-(?P<action>[a-z]+)-(?P<number>\d+)(?:\.mp4)?")
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclasses.dataclass
class Tree:
    """What a walk found, as paths in the order of their names; names are compared in NFC."""

    labels: list[str] = dataclasses.field(default_factory=list)
    """JSON files."""
    clip_folders: list[str] = dataclasses.field(default_factory=list)
    """Folders named like a clip (not entered), and folders that hold pictures."""
    pictures: list[str] = dataclasses.field(default_factory=list)
    """Pictures in folders that are not named like a clip."""
    archives: list[str] = dataclasses.field(default_factory=list)
    """Zip files."""
    misnamed: list[str] = dataclasses.field(default_factory=list)
    """What has a name that is not UTF-8 (left by unpacking Korean zips), in printable form."""
    stamps: list[tuple[str, int, int]] = dataclasses.field(default_factory=list)
    """Path, size and change time of everything above, for telling whether something changed."""


def scan(root: Path, *, enter_clips: bool = False) -> Tree:
    """Walk ``root`` once. Folders that cannot be entered are passed over; hidden ones and workspaces too.

    ``enter_clips`` lists the pictures of clip folders as well, which a set with label files does later, in parallel.
    """
    tree = Tree()
    _visit(os.fspath(root), tree, enter_clips=enter_clips)
    return tree


def _visit(folder: str, tree: Tree, *, enter_clips: bool) -> None:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: normalise(entry.name))
    except OSError:
        return
    if any(entry.name == "petmood.json" for entry in found):
        return
    holds_pictures = False
    for entry in found:
        if entry.name.startswith((".", "__MACOSX")) or _leads_back(entry, folder):
            continue
        if not entry.name.isascii() and printable(entry.name) != entry.name:
            tree.misnamed.append(printable(entry.path))
            continue
        if entry.is_dir():
            if not enter_clips and CLIP_NAME.fullmatch(normalise(entry.name)):
                tree.clip_folders.append(entry.path)
                _stamp(entry, tree)
            else:
                _visit(entry.path, tree, enter_clips=enter_clips)
            continue
        holds_pictures |= _take_file(entry, tree)
    if holds_pictures:
        tree.clip_folders.append(folder)


def printable(name: str) -> str:
    r"""A file name that can be stored as text: bytes that are no UTF-8 become ``\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _leads_back(entry: os.DirEntry[str], folder: str) -> bool:
    """Whether an entry is a link to a folder that it stands in: following it would never end."""
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    return os.path.commonpath([target, os.path.realpath(folder)]) == target


def _take_file(entry: os.DirEntry[str], tree: Tree) -> bool:
    """Note one file; True if it is a picture."""
    suffix = os.path.splitext(entry.name)[1].lower()
    kinds = {".json": tree.labels, ".zip": tree.archives}
    is_picture = suffix in PICTURE_SUFFIXES
    target = tree.pictures if is_picture else kinds.get(suffix)
    if target is not None:
        target.append(entry.path)
        _stamp(entry, tree)
    return is_picture


def _stamp(entry: os.DirEntry[str], tree: Tree) -> None:
    try:
        status = entry.stat()
    except OSError:
        return
    tree.stamps.append((entry.path, status.st_size, status.st_mtime_ns))
