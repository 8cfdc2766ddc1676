"""One archive: the folders and files in it, and the bytes of any of them."""

from __future__ import annotations

import errno
import hashlib
import re
import struct
import unicodedata
import zlib
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from petmood.archives.table import HEAD, LOCAL, STORED, Content, DirectoryError, read_directory, refusals
from petmood.archives.walk import walk

#: Flag of a name in UTF-8.
_UTF8 = 0x800
#: Extra fields of local headers are shorter than this; a longer one costs a second read.
_EXTRA = 64
#: Folders whose names are kept decoded.
_FOLDERS = 64
#: Names of files that need no further look.
_PLAIN = re.compile(rb"\w[\w.-]*")
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Archive:
    """What a zip holds. Names are in NFC, parts divided by ``/``; the archive's own root is the folder ``""``."""

    def __init__(self, content: Content, *, name: str) -> None:
        """Read the directory, or the local headers where it is missing or damaged.

        Args:
            content: the archive's bytes.
            name: for errors.

        Raises:
            OSError: it cannot be read.
        """
        self.name = name
        self._content = content
        try:
            self._table = read_directory(content)
        except DirectoryError as error:
            self._table = walk(content, str(error))
        self._refusals = refusals(self._table, content.size)
        self.misnamed: list[tuple[str, str]] = []
        """Members that are left out for their names: the name as far as it can be printed, and what is wrong."""
        self._folders = self._by_folder()
        self._lists: dict[str, dict[str, int]] = {}  # no `lru_cache`: the archive would hold itself, and stay open

    @property
    def damage(self) -> str:
        """Why the directory could not be used, and local headers were; empty if it could."""
        return self._table.damage

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes, roughly."""
        return len(self._table.names) + self._table.members.nbytes + 4 * len(self._table.members)

    def __len__(self) -> int:
        """How many files can be asked for."""
        return sum(map(len, self._folders.values()))

    @property
    def folders(self) -> list[str]:
        """Folders that hold files, in the order of their names."""
        return sorted(self._folders)

    def files(self, folder: str) -> list[str]:
        """Names of the files in a folder, in the order of the names; none if there is no such folder."""
        return sorted(self._listed(_in_nfc(folder)))

    def offset(self, path: str) -> int:
        """Where a file begins in the archive, or the first of a folder; 0 if there is neither."""
        rows = self._folders.get(path)
        first = self._find(path) if rows is None else int(rows[0])
        return 0 if first is None else int(self._table.members["offset"][first])

    def stamp(self, path: str) -> int:
        """64 bits that change with a file's bytes, or with the names and bytes of all files in a folder."""
        rows = self._folders.get(path)
        if rows is None:
            rows = np.array([row for row in [self._find(path)] if row is not None], np.int32)
        digest = hashlib.blake2b(b"\0".join(self._table.raw_names(rows)), digest_size=8)
        for name in ("size", "crc"):
            digest.update(self._table.members[name][rows].tobytes())
        return int.from_bytes(digest.digest(), "big")

    def state(self, path: str) -> tuple[int, int]:
        """Size in bytes and CRC of a file, as the archive tells them.

        Raises:
            FileNotFoundError: there is no such file.
        """
        row = self._row(path)
        return int(self._table.members["size"][row]), int(self._table.members["crc"][row])

    def read(self, path: str, *, most: int) -> bytes:
        """A file's bytes, whole and as their checksum says.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it is damaged, refused, or has more than ``most`` bytes.
        """
        row = self._row(path)
        member = self._table.members[row]
        size, packed = int(member["size"]), int(member["packed"])
        why = self._refusals.get(row)
        if why is None and size > most:
            why = f"it has {size:,} bytes; at most {most:,} are read"
        if why is not None:
            self._refuse(path, why)
        data = self._packed(path, row, packed)
        if member["method"] != STORED:
            data = self._inflated(path, data, size)
        if len(data) != size or zlib.crc32(data) != member["crc"]:
            self._refuse(path, "its bytes in the archive are damaged (the checksum differs)")
        return data

    def _packed(self, path: str, row: int, packed: int) -> bytes:
        """A member's bytes as they are in the archive."""
        name = self._table.raw_name(row)
        offset = int(self._table.members["offset"][row])
        found = self._content.at(offset, HEAD + len(name) + _EXTRA + packed)
        if found[:4] != LOCAL or found[HEAD : HEAD + len(name)] != name:
            self._refuse(path, "its place in the archive holds something else")
        name_length, extra_length = struct.unpack_from("<2H", found, HEAD - 4)
        start = HEAD + name_length + extra_length
        if len(found) < start + packed:
            found += self._content.at(offset + len(found), start + packed - len(found))
        return found[start : start + packed]

    def _inflated(self, path: str, data: bytes, size: int) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            inflated = inflater.decompress(data, size + 1)  # never more than it says, whatever it holds
        except zlib.error:
            self._refuse(path, "its bytes in the archive are damaged")
        if len(inflated) > size:
            self._refuse(path, f"it holds more than the {size:,} bytes that it says")
        return inflated

    def _row(self, path: str) -> int:
        row = self._find(path)
        if row is None:
            raise FileNotFoundError(errno.ENOENT, "not in the archive", f"{self.name}!/{path}")
        return row

    def _find(self, path: str) -> int | None:
        folder, _, name = _in_nfc(path).rpartition("/")
        return self._listed(folder).get(name)

    def _listed(self, folder: str) -> dict[str, int]:
        """Name → row of each file in a folder; of several of one name the last, as other programs have it."""
        known = self._lists.get(folder)
        if known is None:
            rows = self._folders.get(folder, ())
            known = {self._decoded(int(row)).rpartition("/")[2]: int(row) for row in rows}
            if len(self._lists) >= _FOLDERS:
                self._lists.clear()
            self._lists[folder] = known
        return known

    def _by_folder(self) -> dict[str, NDArray[np.int32]]:
        """Folder → rows of its files; files with names that are refused are left out."""
        found: dict[str, list[int]] = {}
        known: bytes | None = None  # a folder whose name is good, and its rows: files of one mostly stand together
        rows: list[int] = []
        for row, path in enumerate(self._table.raw_names()):
            folder, divided, name = path.rpartition(b"/")
            if folder == known and _PLAIN.fullmatch(name):
                rows.append(row)
            elif (name or not divided) and not path.endswith(b"\\"):  # else it is a folder itself
                wrong = self._wrong_name(row)
                if wrong:
                    self._leave_out(row, wrong)
                    continue
                rows = found.setdefault(self._decoded(row).rpartition("/")[0], [])
                rows.append(row)
                known = None if b"\\" in path else folder
        return {folder: np.array(inside, np.int32) for folder, inside in found.items()}

    def _wrong_name(self, row: int) -> str:
        try:
            return _wrong_name(self._decoded(row))
        except UnicodeDecodeError:
            return "its name is in no known encoding"

    def _decoded(self, row: int) -> str:
        """A member's name: UTF-8 where its flag says so or it can be, else the Korean Windows encoding.

        Some programs on Windows divide folders by a backslash, against the format's rules.
        """
        raw = self._table.raw_name(row)
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            if int(self._table.members["flags"][row]) & _UTF8:
                raise
            name = raw.decode("cp949")
        return _in_nfc(name.replace("\\", "/"))

    def _leave_out(self, row: int, why: str) -> None:
        raw = self._table.raw_name(row)
        self.misnamed.append((_CONTROL.sub("?", raw.decode("utf-8", "backslashreplace")), why))

    def _refuse(self, path: str, why: str) -> NoReturn:
        raise OSError(errno.EIO, why, f"{self.name}!/{path}")


def _in_nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _wrong_name(path: str) -> str:
    """What is wrong with a file's path, or nothing."""
    parts = path.split("/")
    if path.startswith("/") or _DRIVE.match(path):
        return "its name is absolute"
    if _CONTROL.search(path):
        return "its name has control characters"
    if ".." in parts:
        return "its name leads out of the archive"
    return "" if all(parts) and "." not in parts else "its name has empty parts"
