"""A remote work folder's mirror: what to fetch, what to push, and in which order."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock

from petmood.errors import RunError, UserError
from petmood.storage import opened, telling
from petmood.workspace import ORDER, read_json, replacing, write_json

PUSH = ".petmood-push.json"
#: What tells that other objects are whole: taken away before those change, and put after them.
_MARKS = ("crops/crops.parquet", *(f"{stage}.json" for stage in ORDER))
_OF_RUN = re.compile(r"runs/[^/]+/bundle\.json$")
#: What a storage calls the mark that changes with an object.
_CHANGED = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "last_modified")
#: Objects that are fetched or put at once, and seconds between two notes of what was.
_AT_ONCE, _NOTE = 8, 2.0
#: Times that a fetch begins again because another machine pushed meanwhile.
_TRIES = 3


@dataclasses.dataclass(frozen=True)
class _Known:
    """One object as it was fetched or pushed: the remote side's mark, and the local file's size and time."""

    remote: str
    size: int
    time: int

    def is_file(self, path: Path) -> bool:
        """Whether the local file is still that."""
        return _state(path) == (self.size, self.time)


def cache_folder() -> Path:
    """Folder of all mirrors: below XDG_CACHE_HOME, or else ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "petmood" / "remote"


def mirror_of(url: str) -> Mirror:
    """The mirror of a remote work folder; nothing is fetched yet."""
    url = url.rstrip("/")
    name = re.sub(r"[^\w.-]+", "-", url.partition("://")[2])[-40:].strip("-.")
    return Mirror(url, cache_folder() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}")


class Mirror:
    """A remote work folder and its mirror on this machine."""

    def __init__(self, url: str, base: Path) -> None:
        """Name both; ``base`` is the folder that holds the mirror and its state."""
        self.url = url
        self.work = base / "work"
        self._base = base
        self._state = base / "state.json"
        self._known: dict[str, _Known] = {}
        self._pushes: set[str] = {""}
        self._noted = 0.0

    def fetch(self, wanted: Callable[[str], bool]) -> int:
        """Bring what is wanted up to date; returns how many objects were fetched.

        What a command changed here and did not push (it was killed) stays, unless another machine has pushed since:
        then it is set aside, and a note says where.

        Args:
            wanted: whether an object is needed, by its path in the work folder.

        Raises:
            UserError, RunError: as `storage.opened` and `storage.telling`.
        """
        self._base.mkdir(parents=True, exist_ok=True)
        with FileLock(self._base / "lock"):
            self._load()
            for _ in range(_TRIES):
                push, objects = self._push()[0], self._objects()
                fetched = self._fetch_all(push, {name: mark for name, mark in objects.items() if wanted(name)}, objects)
                if self._push()[0] == push:
                    break
            self._pushes = {push}
            self._save()
        return fetched

    def push(self, wanted: Callable[[str], bool] = lambda _: True) -> int:
        """Put what has changed here since the last fetch or push; returns how many objects changed there.

        Args:
            wanted: whether an object may be pushed, by its path in the work folder.

        Raises:
            RunError: another machine has pushed meanwhile.
            UserError, RunError: as `fetch`.
        """
        with FileLock(self._base / "lock"):
            self._load()
            files = {name: path for name, path in self._files() if wanted(name)}
            changed = [name for name, path in files.items() if not self._is_known(name, path)]
            gone = [name for name in self._known if wanted(name) and name not in files]
            before, whole = self._push()
            if before not in self._pushes:
                raise RunError(
                    f"{self.url} was changed by another machine meanwhile; nothing was pushed.",
                    hint=f"what was done here is in {self.work}; the same command sets it aside and begins anew",
                )
            if not changed and not gone and (whole or before == ""):
                return 0
            self._push_all(changed, gone, before)
        return len(changed) + len(gone)

    def _fetch_all(self, push: str, wanted: Mapping[str, str], objects: Mapping[str, str]) -> int:
        ours = push in self._pushes and bool(self._known or not objects)
        if not ours:
            self._set_aside()
            for name in [name for name in self._known if name not in objects]:
                (self.work / name).unlink(missing_ok=True)
                del self._known[name]
        missing = [name for name, mark in wanted.items() if self._is_wanting(name, mark, ours=ours)]

        def get(name: str) -> tuple[str, _Known]:
            self._get(name)
            return name, _Known(wanted[name], *_state(self.work / name))

        self._together(get, missing)
        return len(missing)

    def _is_wanting(self, name: str, mark: str, *, ours: bool) -> bool:
        """Whether an object must be fetched. What only this machine has changed since its last push stays."""
        path = self.work / name
        known = self._known.get(name)
        if known is None:
            return not ours or not path.exists()
        if ours and not known.is_file(path):
            return False
        return known.remote != mark or not path.exists()

    def _push_all(self, changed: list[str], gone: list[str], before: str) -> None:
        """Take away marks, put data, take away data, put marks; a note before and after says that it was us."""
        push = uuid.uuid4().hex
        self._pushes = {before, push}
        self._save()
        self._write_push(push, whole=False)
        marks = sorted((name for name in {*changed, *gone} if _rank(name)), key=_rank, reverse=True)
        for name in marks:
            self._remove(name)
        self._together(self._put, [name for name in changed if not _rank(name)])
        for name in gone:
            self._remove(name)
            self._known.pop(name, None)
        for name in sorted(set(marks) & set(changed), key=_rank):
            self._together(self._put, [name])
        self._write_push(push, whole=True)
        self._pushes = {push}
        self._save()

    def _set_aside(self) -> None:
        """Move away a mirror with changes that were never pushed, as another machine has pushed since."""
        unpushed = [name for name, path in self._files() if not self._is_known(name, path)]
        unpushed += [name for name in self._known if not (self.work / name).exists()]
        if not unpushed:
            return
        aside = self._base / time.strftime("set-aside-%Y%m%d-%H%M%S")
        self.work.replace(aside)
        self._known = {}
        print(  # noqa: T201
            f"note: {self.url} was changed by another machine; {len(unpushed):,} files that were changed here and not "
            f"pushed are set aside in {aside}",
            file=sys.stderr,
        )

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Files of the mirror that belong on the remote side: all but hidden ones (locks, unfinished work)."""
        for folder, folders, names in os.walk(self.work):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    path = Path(folder, name)
                    yield path.relative_to(self.work).as_posix(), path

    def _is_known(self, name: str, path: Path) -> bool:
        known = self._known.get(name)
        return known is not None and known.is_file(path)

    def _objects(self) -> dict[str, str]:
        """Path in the work folder → mark, of all objects there."""
        with telling(self.url):
            storage, root = opened(self.url)
            found = storage.find(root, detail=True)
        start = len(root.rstrip("/")) + 1
        objects = {path[start:]: _mark(info) for path, info in found.items()}
        return {name: mark for name, mark in objects.items() if not any(part[:1] == "." for part in name.split("/"))}

    def _get(self, name: str) -> None:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, telling(f"{self.url}/{name}"):
            storage, place = opened(f"{self.url}/{name}")
            storage.get_file(place, str(temporary))

    def _put(self, name: str) -> tuple[str, _Known]:
        path, address = self.work / name, f"{self.url}/{name}"
        state = _state(path)
        with telling(address):
            storage, place = opened(address)
            storage.put_file(str(path), place)
            return name, _Known(_mark(storage.info(place)), *state)

    def _remove(self, name: str) -> None:
        with telling(f"{self.url}/{name}"):
            storage, place = opened(f"{self.url}/{name}")
            if storage.exists(place):
                storage.rm_file(place)

    def _together(self, task: Callable[[str], tuple[str, _Known]], names: Iterable[str]) -> None:
        """Fetch or put several objects at once; what was done is noted every few seconds."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tasks = [pool.submit(task, name) for name in names]
            try:
                for done in tasks:
                    name, known = done.result()
                    self._known[name] = known
                    if time.monotonic() - self._noted > _NOTE:
                        self._save()
            finally:
                for waiting in tasks:
                    waiting.cancel()
                self._save()

    def _push(self) -> tuple[str, bool]:
        """Id of the last push, empty if there was none; and whether it has ended."""
        address = f"{self.url}/{PUSH}"
        with telling(address):
            storage, path = opened(address)
            try:
                found = json.loads(storage.cat_file(path))
            except FileNotFoundError:
                return "", True
        return str(found["push"]), bool(found["whole"])

    def _write_push(self, push: str, *, whole: bool) -> None:
        address = f"{self.url}/{PUSH}"
        with telling(address):
            storage, path = opened(address)
            storage.pipe_file(path, json.dumps({"push": push, "whole": whole}).encode())

    def _load(self) -> None:
        """Read the state; without one, or with a damaged one, nothing is known and all is fetched anew."""
        try:
            found: Mapping[str, Any] = read_json(self._state)
            self._known = {name: _Known(*values) for name, values in found["known"].items()}
            self._pushes = set(found["pushes"])
        except (OSError, UserError, KeyError, TypeError, AttributeError):
            self._known, self._pushes = {}, {""}

    def _save(self) -> None:
        self._noted = time.monotonic()
        known = {name: dataclasses.astuple(one) for name, one in self._known.items()}
        write_json(self._state, {"url": self.url, "pushes": sorted(self._pushes), "known": known})


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change of a file; -1 if there is none."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _mark(info: Mapping[str, Any]) -> str:
    """Changes with an object."""
    return f"{info.get('size')} {next((info[name] for name in _CHANGED if info.get(name)), '')}"


def _rank(name: str) -> int:
    """Place of a mark among those that are put last; 0 for data."""
    if _OF_RUN.match(name):
        return 1
    return 2 + _MARKS.index(name) if name in _MARKS else 0
