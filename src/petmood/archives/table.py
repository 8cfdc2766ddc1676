"""The table of an archive's members, from its central directory; and what of it is refused."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Content(Protocol):
    """The bytes of an archive, wherever they are."""

    @property
    def size(self) -> int:
        """How many there are."""

    def at(self, offset: int, length: int) -> bytes:
        """Bytes from an offset; fewer where the archive ends."""


#: One member: where its local header begins, its packed and real size in bytes, where its name begins in the table's
#: bytes; checksum; method, flags, Unix mode (0 if not told), and how long the name is.
MEMBER = np.dtype(
    [
        *((name, np.int64) for name in ("offset", "packed", "size", "name")),
        *((name, np.uint32) for name in ("crc",)),
        *((name, np.uint16) for name in ("method", "flags", "mode", "length")),
    ]
)
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
#: Bytes of a local header before the name.
HEAD = 30
STORED, DEFLATED = 0, 8
#: A size or offset that stands in the extra field instead.
ELSEWHERE = 0xFFFFFFFF

_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
#: A larger directory is refused: it would be some ten million members.
_LARGEST = 1 << 30
#: Deflate makes at most 1,032 bytes of one (zlib's technical notes); a few more for tiny members.
_MOST_OF_ONE = 1032
#: Numbers beyond all reason are cut to this, so that sums of them can be held.
FAR = 1 << 60

_FIXED = np.dtype(
    {
        "names": ["creator", "flags", "method", "crc", "packed", "size", "length", "mode", "offset"],
        "formats": ["u1", "<u2", "<u2", "<u4", "<u4", "<u4", "<u2", "<u2", "<u4"],
        "offsets": [5, 8, 10, 16, 20, 24, 28, 40, 42],
        "itemsize": 46,
    }
)
#: Systems whose archives tell a file's mode: Unix and macOS.
_TELL_MODE = (3, 19)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """All members of an archive."""

    members: NDArray[np.void]
    """One `MEMBER` each."""
    names: bytes
    """Holds their names."""
    damage: str = ""
    """Why the directory could not be used; empty if it could."""

    def raw_names(self, rows: NDArray[np.int32] | None = None) -> Iterator[bytes]:
        """The names of some members, or of all, as they are stored."""
        members = self.members if rows is None else self.members[rows]
        places = zip(members["name"].tolist(), members["length"].tolist(), strict=True)
        return (self.names[start : start + length] for start, length in places)

    def raw_name(self, row: int) -> bytes:
        """A member's name as it is stored."""
        start = int(self.members["name"][row])
        return self.names[start : start + int(self.members["length"][row])]


class DirectoryError(Exception):
    """The directory is missing or damaged; the text says how."""


def read_directory(content: Content) -> Table:
    """The members that the central directory names.

    Raises:
        DirectoryError: it is missing, damaged, or that of a part of an archive.
        OSError: the archive cannot be read.
    """
    start, size, count, shift = _find(content)
    directory = content.at(start, size)
    begins = _beginnings(directory)
    if len(directory) != size or len(begins) & 0xFFFF != count & 0xFFFF:
        raise DirectoryError(f"its directory is damaged after {len(begins):,} of {count:,} members")
    members = np.zeros(len(begins), MEMBER)
    rows = np.array(begins, np.int64)
    if not begins:
        return Table(members, directory)
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(directory, np.uint8), _FIXED.itemsize)
    fixed = windows[rows].view(_FIXED)[:, 0]
    for name in ("flags", "method", "crc", "packed", "size", "length", "offset"):
        members[name] = fixed[name]
    members["mode"] = np.where(np.isin(fixed["creator"], _TELL_MODE), fixed["mode"], 0)
    members["name"] = rows + _FIXED.itemsize
    _fill_in(members, directory, rows)
    members["offset"] += shift
    return Table(members, directory)


def _find(content: Content) -> tuple[int, int, int, int]:
    """Where the directory is, its size, how many members it names, and by how much its offsets are to be moved."""
    tail_at = max(0, content.size - 0xFFFF - _END.size - _END64_PLACE.size)
    tail = content.at(tail_at, content.size - tail_at)
    at = tail.rfind(END)
    if at < 0 or at + _END.size > len(tail):
        raise DirectoryError("it ends without a directory, as one whose download broke off")
    _, disk, _, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end_at = tail_at + at
    place = tail[max(0, at - _END64_PLACE.size) : at]
    if place[:4] == b"PK\x06\x07":
        end_at = _END64_PLACE.unpack(place)[2]
        record = content.at(end_at, _END64.size)
        if len(record) != _END64.size or record[:4] != b"PK\x06\x06":
            raise DirectoryError("its directory is damaged")
        _, _, _, _, disk, _, _, count, size, offset = _END64.unpack(record)
    if disk not in (0, 0xFFFF):
        raise DirectoryError("it is the last part of several")
    shift = end_at - size - offset  # something stands before the archive
    if shift < 0 or size > _LARGEST:
        raise DirectoryError(
            "its directory is damaged" if shift < 0 else f"its directory of {size:,} bytes is too large"
        )
    return end_at - size, size, count, shift


def _beginnings(directory: bytes) -> list[int]:
    """Where each entry of a directory begins; as far as they follow one upon the other."""
    begins = []
    at, last, lengths = 0, len(directory) - _FIXED.itemsize, struct.Struct("<3H").unpack_from
    while at <= last and directory[at : at + 4] == CENTRAL:
        begins.append(at)
        name, extra, comment = lengths(directory, at + 28)
        at += _FIXED.itemsize + name + extra + comment
    return begins


def _fill_in(members: NDArray[np.void], directory: bytes, begins: NDArray[np.int64]) -> None:
    """Sizes and offsets of zip64, from the extra fields."""
    names = ("size", "packed", "offset")
    far = np.logical_or.reduce([members[name] == ELSEWHERE for name in names])
    for row in np.flatnonzero(far):
        name_length, extra_length = struct.unpack_from("<2H", directory, int(begins[row]) + 28)
        start = int(begins[row]) + _FIXED.itemsize + name_length
        wanted = [name for name in names if members[name][row] == ELSEWHERE]
        found = zip64(directory[start : start + extra_length], len(wanted))
        for name, value in zip(wanted, found, strict=False):
            members[name][row] = value


def zip64(extra: bytes, wanted: int) -> list[int]:
    """The first numbers of the zip64 field among the extra fields; fewer if there are none."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            count = min(wanted, length // 8, (len(extra) - at - 4) // 8)
            return [min(value, FAR) for value in struct.unpack_from(f"<{count}Q", extra, at + 4)]
        at += 4 + length
    return []


def refusals(table: Table, size: int) -> dict[int, str]:
    """Why members cannot be read, as far as the table tells; ``size`` is that of the archive in bytes."""
    members = table.members
    ends = members["offset"] + HEAD + members["length"] + members["packed"]
    deflated, stored = members["method"] == DEFLATED, members["method"] == STORED
    too_much = deflated & (members["size"] > _MOST_OF_ONE * members["packed"] + 64)
    rules = {
        "it reaches beyond the end of the archive, whose download may have broken off": ends > size,
        "it overlaps another member": _overlaps(members["offset"], ends),
        "it says to be larger than its packed bytes can be": too_much,
        "its two sizes differ although it is not compressed": stored & (members["size"] != members["packed"]),
        "it is a link": (members["mode"] & 0xF000) == 0xA000,
        "it is encrypted": (members["flags"] & 0x41) != 0,
    }
    found = {int(row): why for why, rows in rules.items() for row in np.flatnonzero(rows)}
    for row in np.flatnonzero(~deflated & ~stored):
        found.setdefault(int(row), f"it is compressed by method {members['method'][row]}; only deflate is known")
    return found


def _overlaps(offsets: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which members reach into the one behind them, or begin where another does."""
    order = np.argsort(offsets, kind="stable")
    begins = offsets[order]
    same = begins[1:] == begins[:-1]
    wrong = np.zeros(len(offsets), bool)
    wrong[order[:-1]] = ends[order][:-1] > begins[1:]
    wrong[order[1:]] |= same
    return wrong
