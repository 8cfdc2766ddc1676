"""The two files by which one process keeps a work folder, or a part of it: a lock, and who holds it."""

from __future__ import annotations

import contextlib
import errno
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from petmood.errors import UserError
from petmood.lock.owner import (
    Owner,
    is_process,
    new_owner,
    read_count,
    read_owner,
    this_machine,
    write_count,
    write_owner,
)

#: Seconds that a lock may be held by somebody who only looks.
_GLANCE = 0.5
#: Attempts to lock a file whose folder comes and goes.
_ATTEMPTS = 20
_BASE, _PARTS = ".petmood", ".petmood.parts"
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class InUseError(UserError):
    """Somebody else changes the folder, or that part of it."""


class Claim:
    """The two files by which one holder keeps a work folder, or a part of it."""

    def __init__(self, root: Path, part: str, *, watch: float) -> None:
        self.root = root
        self.part = part
        self.watch = watch
        base = root / _PARTS / urllib.parse.quote(part, safe=" ") if part else root / _BASE
        self.lock_file = base.with_name(f"{base.name}.lock")
        self.owner_file = base.with_name(f"{base.name}.owner")
        self.token = ""
        self._lock: FileLock | None = None

    def take(self, command: str) -> None:
        """Hold it.

        Raises:
            InUseError: somebody else does.
            OSError: the folder cannot be written to.
        """
        reached = self._lock_now()
        try:
            found = read_owner(self.owner_file)
            self._refuse(found, reached=reached)
            self._sign(command, instead_of=found)
        except InUseError:  # the file is theirs, though its lock did not reach us
            self._let_go()
            raise
        except BaseException:
            self._unlock()
            raise

    def holder(self, *, patient: bool) -> Owner | None:
        """Who holds it, or None.

        Args:
            patient: watch an owner on another machine, and remove what a dead one left; else such an owner counts as
                alive, and nothing changes.
        """
        found = read_owner(self.owner_file)
        if found is None:
            return None
        try:
            reached = self._lock_now(glance=0)
        except (InUseError, OSError):  # locked, or this is a folder that can only be read
            return found
        try:
            if found.machine != this_machine() and not patient:
                return found
            if not self._is_gone(found, reached=reached):
                return found
            if patient:
                self.owner_file.unlink(missing_ok=True)
                self.lock_file.unlink(missing_ok=True)
            return None
        finally:
            self._let_go()

    def release(self) -> None:
        """Let go of it and leave nothing behind."""
        found = read_owner(self.owner_file)
        if found and found.token == self.token:
            with contextlib.suppress(OSError):
                self.owner_file.unlink()
        self._unlock()

    def is_mine(self) -> bool:
        """Whether nobody has taken it over; an owner file that cannot be read now says nothing."""
        found = read_owner(self.owner_file)
        return found is None or found.token == self.token

    def count(self, number: int) -> None:
        """Show that this process lives."""
        write_count(self.owner_file, number)

    def _lock_now(self, *, glance: float = _GLANCE) -> bool:
        """Lock the file; returns whether this disk has locks at all.

        Raises:
            InUseError: it is locked by somebody.
        """
        lock = FileLock(self.lock_file, timeout=glance, fallback_to_soft=False)
        for attempt in range(_ATTEMPTS):
            self.lock_file.parent.mkdir(exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise in_use(self.root, self.part, read_owner(self.owner_file)) from None
            except FileNotFoundError:  # the last of other holders has just removed the folder of parts
                if attempt == _ATTEMPTS - 1:
                    raise
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    return False
                raise
            else:
                break
        self._lock = lock
        return True

    def _refuse(self, found: Owner | None, *, reached: bool) -> None:
        if found and not self._is_gone(found, reached=reached):
            raise in_use(self.root, self.part, found)

    def _unlock(self) -> None:
        # The file goes before the lock, so that nobody can hold a file that is no longer the one with this name.
        if self._lock:
            with contextlib.suppress(OSError):
                self.lock_file.unlink()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock:
            self._lock.release()
        self._lock = None
        if self.part:
            with contextlib.suppress(OSError):  # others hold their parts
                self.lock_file.parent.rmdir()

    def _is_gone(self, owner: Owner, *, reached: bool) -> bool:
        """Whether an owner is dead; ``reached``: its lock is ours, so on this machine it must be."""
        if owner.machine == this_machine() and reached:
            return True
        if owner.machine == this_machine() and not is_process(owner.pid):
            return True
        before, until = read_count(self.owner_file), time.monotonic() + self.watch
        while time.monotonic() < until:
            time.sleep(min(0.5, self.watch / 4))
            if read_count(self.owner_file) != before:
                return False
        what = f"{self.part} in work folder {self.root}" if self.part else f"work folder {self.root}"
        print(  # noqa: T201
            f"note: {what} was left by {owner.told}, which gave no sign for {self.watch:g} s; it is taken over",
            file=sys.stderr,
        )
        return True

    def _sign(self, command: str, *, instead_of: Owner | None) -> None:
        """Leave the owner file; one of a dead owner is moved away first, which only one of several can do.

        Raises:
            InUseError: somebody else was faster.
        """
        owner = new_owner(command, self.part)
        self._move_away(instead_of, owner.token)
        try:
            write_owner(self.owner_file, owner)
        except FileExistsError:
            raise in_use(self.root, self.part, read_owner(self.owner_file)) from None
        except OSError as error:  # on a full disk the lock alone must do: space can only be made by who holds it
            if error.errno not in _FULL:
                raise
            with contextlib.suppress(OSError):
                self.owner_file.unlink()
        self.token = owner.token

    def _move_away(self, dead: Owner | None, token: str) -> None:
        aside = self.owner_file.with_name(f"{self.owner_file.name}.{token}")
        try:
            self.owner_file.replace(aside)
        except FileNotFoundError:
            return
        found = read_owner(aside)
        if found and found != dead:  # another machine was faster, and this is its sign
            aside.replace(self.owner_file)
            raise in_use(self.root, self.part, found)
        aside.unlink()


def claims_of(root: Path, *, watch: float) -> Iterator[Claim]:
    """Claims to all of a folder and to those of its parts that somebody has signed for."""
    yield Claim(root, "", watch=watch)
    folder = root / _PARTS
    names = sorted(path.stem for path in folder.iterdir() if path.suffix == ".owner") if folder.is_dir() else []
    for name in names:
        yield Claim(root, urllib.parse.unquote(name), watch=watch)


def is_lock(path: Path) -> bool:
    """Whether a file or folder in a work folder belongs to this module."""
    return path.name in {f"{_BASE}.lock", f"{_BASE}.owner", _PARTS}


def in_use(root: Path, part: str, owner: Owner | None) -> InUseError:
    """What to tell somebody who must wait."""
    what = f"{part} in work folder {root}" if part else f"work folder {root}"
    who = owner.told if owner else "another petmood command"
    return InUseError(
        f"{what} is in use by {who}.", hint="wait until it has ended, or stop it there; what it has finished is kept"
    )
