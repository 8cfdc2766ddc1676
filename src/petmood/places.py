"""The one door to the files of a source, wherever they are.

A *place* is a path on disk, ``/data/x.zip!/folder/a.jpg`` for a member of a zip, ``s3://bucket/folder/a.jpg`` for
remote storage, or both: ``s3://bucket/x.zip!/folder/a.jpg``. A zip's own root is ``/data/x.zip!``.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from pathlib import Path

from petmood import storage
from petmood.archives import Archive, Content
from petmood.storage import RemoteContent, is_remote

__all__ = [
    "LABEL",
    "PICTURE",
    "absolute",
    "archive",
    "exists",
    "inside",
    "is_archive",
    "is_folder",
    "is_remote",
    "names",
    "read",
    "split",
    "state",
    "unpacked",
]

#: Most bytes of a picture and of a label file that are taken out of an archive or from remote storage.
PICTURE, LABEL = 64 << 20, 256 << 20

_ARCHIVE = re.compile(r"\.zip(?:\.part0)?$", re.IGNORECASE)
_INSIDE = re.compile(r"\.zip(?:\.part0)?!(?=/|$)", re.IGNORECASE)

#: Archives whose tables are kept in this process, at most so many, and at most so many bytes of them (one at least).
_KEPT, _KEPT_BYTES = 6, 256 << 20


def read(place: str, *, most: int = PICTURE) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read; its ``strerror`` says why. That is so for a member of an archive that is damaged or
            refused, and for one, or a remote file, of more than ``most`` bytes.
        RunError: remote storage cannot be reached, or refuses.
        UserError: a library for this storage is not installed.
    """
    found = split(place)
    if found is not None:
        return archive(found[0]).read(found[1], most=most)
    if is_remote(place):
        return storage.read(place, most=most)
    return Path(place).read_bytes()


def state(place: str) -> tuple[int, int]:
    """Size in bytes, and a number that changes with the file: time in ns on disk, checksum in an archive.

    Raises:
        OSError, RunError, UserError: as for `read`.
    """
    found = split(place)
    if found is not None:
        return archive(found[0]).state(found[1])
    if is_remote(place):
        entry = storage.state(place)
        return entry.size, entry.changed
    status = os.stat(place)
    return status.st_size, status.st_mtime_ns


def exists(place: str) -> bool:
    """Whether there is a file; its bytes are not read."""
    try:
        if split(place) is None and not is_remote(place):
            return os.path.isfile(place)
        state(place)
    except (OSError, ValueError):
        return False
    return True


def is_folder(place: str) -> bool:
    """Whether there is a folder, on disk or remote; not in an archive.

    Raises:
        OSError, RunError, UserError: as for `read`.
    """
    if not is_remote(place):
        return os.path.isdir(place)
    try:
        return storage.state(place).is_folder
    except FileNotFoundError:
        return False


def names(folder: str) -> list[str]:
    """Names of what lies in a folder, in no order; of archives and remote folders the files alone.

    Raises:
        OSError, RunError, UserError: as for `read`.
    """
    found = split(folder)
    if found is not None:
        return archive(found[0]).files(found[1])
    if is_remote(folder):
        return [entry.name for entry in storage.listed(folder) if not entry.is_folder]
    return os.listdir(folder)


def split(place: str) -> tuple[str, str] | None:
    """The archive that a place is in, and the path in it; None for other places."""
    if "!" not in place:
        return None
    for match in _INSIDE.finditer(place):
        path = place[: match.end() - 1]
        if is_remote(place) or os.path.isfile(path):  # else a folder whose name ends in an exclamation mark
            return path, place[match.end() + 1 :]
    return None


def inside(archive_path: str, path: str) -> str:
    """The place of what an archive holds; its root for an empty path."""
    return f"{archive_path}!/{path}" if path else f"{archive_path}!"


def is_archive(path: str) -> bool:
    """Whether a file's name is that of a zip, or of the first part of one."""
    return _ARCHIVE.search(path) is not None


def unpacked(place: str) -> str:
    """The place as if each archive on the way were a folder of its name without the ending."""
    return _INSIDE.sub("", place) if "!" in place else place


def absolute(place: Path | str) -> str:
    """The same place whatever folder a process works in; links on disk are followed."""
    text = os.fspath(place)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text.rstrip("/") if is_remote(text) else os.path.realpath(text)


class _DiskContent:
    """The bytes of an archive on disk."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.size = os.fstat(self._file).st_size

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def at(self, offset: int, length: int) -> bytes:
        # Without a position of the file's own: threads and forked processes may read at once.
        return os.pread(self._file, max(0, min(length, self.size - offset)), offset)


_archives: OrderedDict[str, tuple[tuple[int, ...], Archive]] = OrderedDict()
_lock = threading.Lock()


def archive(path: str) -> Archive:
    """The archive at a path or address; its table is read once a process, and again if the file changes.

    Raises:
        OSError, RunError, UserError: as for `read`.
    """
    mark: tuple[int, ...] = ()
    if not is_remote(path):
        status = os.stat(path)
        mark = (status.st_size, status.st_mtime_ns, status.st_ino)
    with _lock:
        known = _archives.get(path)
        if known is not None and known[0] == mark:
            _archives.move_to_end(path)
            return known[1]
        content: Content = RemoteContent(path) if is_remote(path) else _DiskContent(path)
        found = Archive(content, name=path)
        _archives[path] = (mark, found)
        _archives.move_to_end(path)
        while len(_archives) > 1 and (len(_archives) > _KEPT or _weight() > _KEPT_BYTES):
            _archives.popitem(last=False)
        return found


def _weight() -> int:
    return sum(kept.weight for _, kept in _archives.values())
