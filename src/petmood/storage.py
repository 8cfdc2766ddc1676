"""Remote storage (``s3://``, ``gs://`` and whatever else fsspec knows): what lies in a folder, and bytes of it.

Credentials and endpoint come from the environment, as the storage's own tools have them (``AWS_ENDPOINT_URL``,
``AWS_PROFILE``, ``GOOGLE_APPLICATION_CREDENTIALS`` …). An object that is not there is a FileNotFoundError;
whatever else goes wrong, after the library's own retries, is a RunError: a storage that fails for a while must end the
work, which goes on later, and not refuse what it holds.
"""

from __future__ import annotations

import errno
import importlib
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from petmood.errors import RunError, UserError

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
#: What a storage calls the mark that changes with an object; the first that is there is taken.
_CHANGED = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "last_modified", "created")
#: Reads that follow one upon the other fetch ever more ahead, from and up to so many bytes.
_AHEAD = (256 << 10, 8 << 20)
#: A read that begins so near behind the last one counts as its continuation.
_NEAR = 128 << 10


class Entry(NamedTuple):
    """One object or folder."""

    name: str
    is_folder: bool
    size: int
    changed: int
    """A number that changes whenever the object does; 0 for folders."""


def is_remote(text: str) -> bool:
    """Whether a text is an address (``s3://bucket/folder``) and no path on disk."""
    return _ADDRESS.match(text) is not None


def listed(address: str) -> list[Entry]:
    """What lies in a folder, in no order; nothing if there is no such folder.

    Raises:
        UserError: the library for this storage is not installed.
        RunError: the storage cannot be reached, or refuses.
    """
    with telling(address):
        storage, path = opened(address)
        try:
            found = storage.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # The mark of an empty folder bears the folder's own name.
        return [_entry(info) for info in found if info["name"].strip("/") != path.strip("/")]


def state(address: str) -> Entry:
    """Size and mark of one object, or that it is a folder.

    Raises:
        FileNotFoundError: there is nothing of this name.
        RunError, UserError: as for `listed`.
    """
    with telling(address):
        storage, path = opened(address)
        return _entry(storage.info(path))


def read(address: str, *, most: int) -> bytes:
    """The bytes of one object.

    Raises:
        FileNotFoundError: there is none.
        OSError: it has more than ``most`` bytes.
        RunError, UserError: as for `listed`.
    """
    with telling(address):
        storage, path = opened(address)
        try:
            found: bytes = storage.cat_file(path, start=0, end=most + 1)
        except Exception:  # an empty object has no first byte, which S3 calls an error
            if storage.info(path)["size"]:
                raise
            return b""
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it has more than the {most:,} bytes that are read", address)
    return found


class RemoteContent:
    """The bytes of one large object, by ranges."""

    def __init__(self, address: str) -> None:
        """Ask for the object's size.

        Raises:
            FileNotFoundError, RunError, UserError: as for `state`.
        """
        self._address = address
        self.size = state(address).size
        self._lock = threading.Lock()
        self._start, self._block = 0, b""
        self._ahead = 0

    def at(self, offset: int, length: int) -> bytes:
        """Bytes from an offset, in one request or from what an earlier one fetched ahead.

        Raises:
            RunError, UserError: as for `listed`.
        """
        length = max(0, min(length, self.size - offset))
        with self._lock:
            begin = offset - self._start
            if begin < 0 or begin + length > len(self._block):
                gap = begin - len(self._block)
                follows = bool(self._block) and -length <= gap <= _NEAR
                self._ahead = min(max(2 * self._ahead, _AHEAD[0]), _AHEAD[1]) if follows else 0
                self._fetch(offset, max(length, self._ahead))
                begin = 0
            return self._block[begin : begin + length]

    def _fetch(self, offset: int, length: int) -> None:
        with telling(self._address):
            storage, path = opened(self._address)
            end = min(offset + length, self.size)
            self._block = storage.cat_file(path, start=offset, end=end) if offset < end else b""
        self._start = offset


def opened(address: str) -> tuple[Any, str]:
    """The storage of an address (an fsspec file system), and the path in it; to be used within `telling`.

    Raises:
        UserError: the library for this storage is not installed, or there is no such storage.
    """
    try:
        core = importlib.import_module("fsspec.core")
        # Lists are asked for anew: what another machine has put there since counts too.
        storage, path = core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise UserError(
            f"storage {address} needs a library that is not installed: {error}.",
            hint="install it with `pip install 'petmood[remote]'`",
        ) from None
    except ValueError as error:
        raise UserError(f"storage {address} is of no known kind: {error}.", hint="s3://, gs:// or a path") from None
    return storage, path


def _entry(info: Mapping[str, Any]) -> Entry:
    mark = next((info[name] for name in _CHANGED if info.get(name)), "")
    is_folder = info["type"] == "directory"
    changed = 0 if is_folder else zlib.crc32(str(mark).encode()) + 1
    return Entry(info["name"].rstrip("/").rpartition("/")[2], is_folder, int(info.get("size") or 0), changed)


@contextmanager
def telling(address: str) -> Iterator[None]:
    """A block that asks the storage: whatever goes wrong is an OSError with a reason for people."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", address) from None
    except Exception as error:  # noqa: BLE001 - each storage's library has errors of its own
        problem = (str(error).splitlines() or [type(error).__name__])[0].removesuffix(".")
        raise RunError(
            f"storage {address} does not answer as it should: {problem}.",
            hint="run the same command again: it goes on where it stopped; credentials and endpoint come from the "
            "environment (AWS_PROFILE, AWS_ENDPOINT_URL …)",
        ) from None
