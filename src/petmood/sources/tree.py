"""One walk over a folder, also into its zips: where label files, clip folders and pictures are. Opens none of them."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from petmood import places, storage
from petmood.archives import Archive
from petmood.labels import normalise
from petmood.sources.rows import PICTURE_SUFFIXES

#: ``20201028_cat-arch-000156.mp4`` (manual stream) or ``cat-arch-000156`` (auto stream).
CLIP_NAME = re.compile(r"(?:(?P<date>\d{8})_)?(?P<species>dog|cat)-(?P<action>[a-z]+)-(?P<number>\d+)(?:\.mp4)?")
#: Pieces in which aihubshell fetches a large zip, named by where each begins.
_PIECE = re.compile(r"\.zip\.part(\d+)", re.IGNORECASE)


class Inside(NamedTuple):
    """Where something lies in an archive."""

    archive: int
    """Number of the archive in the order of the walk."""
    offset: int
    """Of a file, or of the first file of a folder."""
    stamp: int
    """64 bits that change with its bytes, for a folder with its files' names and bytes."""


@dataclasses.dataclass
class Tree:
    """What a walk found, as places in the order of their names; names are compared in NFC."""

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
    refused: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Members of archives that are left out for their names: place and what is wrong."""
    remarks: list[str] = dataclasses.field(default_factory=list)
    """What the user should know of archives: one that is damaged, in pieces, or holds others."""
    stamps: list[tuple[str, int, int]] = dataclasses.field(default_factory=list)
    """Path, size and change time of everything above, for telling whether something changed; of archives as a whole."""
    inside: dict[str, Inside] = dataclasses.field(default_factory=dict)
    """For label files and folders in archives: where they lie."""


def scan(root: str | os.PathLike[str], *, enter_clips: bool = False) -> Tree:
    """Walk ``root`` (a folder or an archive) once.

    Folders that cannot be entered are passed over; hidden ones and workspaces too. Of remote storage, they are not.

    Args:
        root: a folder or an archive, on disk or remote.
        enter_clips: list the pictures of clip folders as well, which a set with label files does later, in parallel.

    Raises:
        UserError: a library for this storage is not installed.
        RunError: the storage refuses or cannot be reached.
    """
    tree = Tree()
    place = os.fspath(root)
    if places.is_archive(place) and not os.path.isdir(place):
        tree.archives.append(place)
        _stamp(place, tree)
        _enter(place, tree, enter_clips=enter_clips)
    else:
        _visit(place, tree, enter_clips=enter_clips)
    return tree


class _Found(NamedTuple):
    """A file or folder."""

    name: str
    path: str
    is_folder: bool
    state: tuple[int, int] | None
    """Size and change time, if the list told them."""


def _visit(folder: str, tree: Tree, *, enter_clips: bool) -> None:
    found = sorted(_listed(folder, tree), key=lambda entry: normalise(entry.name))
    if any(entry.name == "petmood.json" for entry in found):
        return
    holds_pictures = False
    for entry in found:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_folder:
            if not enter_clips and CLIP_NAME.fullmatch(normalise(entry.name)):
                tree.clip_folders.append(entry.path)
                _stamp(entry.path, tree, entry.state)
            else:
                _visit(entry.path, tree, enter_clips=enter_clips)
            continue
        holds_pictures |= _take_file(entry, tree, enter_clips=enter_clips)
    if holds_pictures:
        tree.clip_folders.append(folder)
        _stamp(folder, tree, None if not places.is_remote(folder) else (0, 0))


def _listed(folder: str, tree: Tree) -> Iterator[_Found]:
    """What lies in a folder on disk or remote; misnamed things are noted."""
    if places.is_remote(folder):
        for item in storage.listed(folder):
            yield _Found(item.name, f"{folder}/{item.name}", item.is_folder, (item.size, item.changed))
        return
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        return
    for entry in found:
        if entry.name.startswith((".", "__MACOSX")) or _leads_back(entry, folder):
            continue
        if not entry.name.isascii() and printable(entry.name) != entry.name:
            tree.misnamed.append(printable(entry.path))
            continue
        yield _Found(entry.name, entry.path, entry.is_dir(), None)


def printable(name: str) -> str:
    r"""A file name that can be stored as text: bytes that are no UTF-8 become ``\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _leads_back(entry: os.DirEntry[str], folder: str) -> bool:
    """Whether an entry is a link to a folder that it stands in: following it would never end."""
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    return os.path.commonpath([target, os.path.realpath(folder)]) == target


def _take_file(entry: _Found, tree: Tree, *, enter_clips: bool) -> bool:
    """Note one file, or all that an archive holds; True if it is a picture."""
    if places.is_archive(entry.name):
        tree.archives.append(entry.path)
        _stamp(entry.path, tree, entry.state)
        _enter(entry.path, tree, enter_clips=enter_clips)
        return False
    target = _kind(entry.name, tree)
    if target is not None:
        target.append(entry.path)
        _stamp(entry.path, tree, entry.state)
    return target is tree.pictures


def _kind(name: str, tree: Tree) -> list[str] | None:
    """The list that a file belongs to, or None."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".json":
        return tree.labels
    return tree.pictures if suffix in PICTURE_SUFFIXES else None


def _stamp(path: str, tree: Tree, state: tuple[int, int] | None = None) -> None:
    try:
        tree.stamps.append((path, *(state or places.state(path))))
    except OSError:
        return


def _enter(path: str, tree: Tree, *, enter_clips: bool) -> None:
    """Note what an archive holds, as if it were unpacked there."""
    name = os.path.basename(path)
    piece = _PIECE.search(name)
    if piece:
        whole = name[: piece.start()]
        tree.remarks.append(
            f"archive {path} is one of several pieces; only what is whole in it is read. Join them in the order of "
            f"their numbers: `ls {whole}.zip.part* | sort -V | xargs cat > {whole}.zip`"
        )
    try:
        archive = places.archive(path)
    except OSError as error:
        tree.remarks.append(f"archive {path} cannot be read: {error.strerror}")
        return
    if archive.damage and not piece:
        told = f"{len(archive):,} files are found without it" if len(archive) else "nothing is found without it"
        tree.remarks.append(f"archive {path} is damaged: {archive.damage}; {told}")
    tree.refused += [(f"{path}!/{member}", why) for member, why in archive.misnamed]
    nested = sum(_take_folder(archive, folder, tree, enter_clips=enter_clips) for folder in archive.folders)
    if nested:
        tree.remarks.append(f"archive {path} holds {nested:,} archives, which are not read; unpack it, and not those")


def _take_folder(archive: Archive, folder: str, tree: Tree, *, enter_clips: bool) -> int:
    """Note one folder of an archive; returns how many archives are in it."""
    parts = folder.split("/")
    if any(part.startswith((".", "__MACOSX")) for part in parts):
        return 0
    place = places.inside(archive.name, folder)
    clip = None if enter_clips else next((n for n, part in enumerate(parts, 1) if CLIP_NAME.fullmatch(part)), None)
    if clip is not None:
        if clip == len(parts):  # what lies deeper in a clip's folder is not looked at
            tree.clip_folders.append(place)
            _note_inside(archive, folder, tree)
        return 0
    before = len(tree.pictures)
    files = [name for name in archive.files(folder) if not name.startswith(".")]
    for name in files:
        target = _kind(name, tree)
        if target is not None:
            target.append(f"{place}/{name}")
        if target is tree.labels:
            _note_inside(archive, f"{folder}/{name}" if folder else name, tree)
    if len(tree.pictures) > before:
        tree.clip_folders.append(place)
        _note_inside(archive, folder, tree)
    return sum(map(places.is_archive, files))


def _note_inside(archive: Archive, member: str, tree: Tree) -> None:
    where = Inside(len(tree.archives) - 1, archive.offset(member), archive.stamp(member))
    tree.inside[places.inside(archive.name, member)] = where
