"""One writer a work folder: who holds it, told to everyone else; what a dead process held is free again.

WORK/.petmood.lock                 held (flock) while a command changes the folder; the system frees it when that dies
WORK/.petmood.owner                who it is, and a counter that rises every few seconds
WORK/.petmood.parts/PART.{lock,owner}   the same for a command that changes one part alone (a run, say)

A command that changes the data holds the whole folder: nothing else may write. One that changes a part holds that part:
others may write other parts beside it, and the data stays as it is. Both leave their own sign first and look for the
other kind then, so that two that start at once can both be refused, but never both go on.

On one machine the lock itself decides. On a folder that machines share it may not reach the others, so the counter of
an owner elsewhere is watched for a while: if it stands still, that owner is gone. Clocks are never compared.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from petmood.errors import UserError
from petmood.lock.claim import Claim, InUseError, claims_of, in_use, is_lock
from petmood.lock.owner import Owner

__all__ = ["InUseError", "Owner", "holders", "is_lock", "owned"]

#: Seconds between two counts of an owner, and how long a count must stand still before its owner is taken for gone.
BEAT, WATCH = 2.0, 20.0
#: Seconds between two looks of somebody who waits.
_PATIENCE = 0.5
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}

#: What this process holds.
_held: list[Claim] = []


@contextlib.contextmanager
def owned(
    root: Path,
    command: str,
    *,
    part: str = "",
    new: bool = False,
    wait: bool = False,
    beat: float = BEAT,
    watch: float = WATCH,
) -> Iterator[None]:
    """A block that alone changes a work folder, or with ``part`` alone changes that part of it.

    A folder that is no work folder is left alone: the command itself tells what is wrong with it. What this process
    holds already, wholly or that part, it need not hold twice.

    Args:
        root: the work folder.
        command: as the user typed it, for those who are refused.
        part: what is changed, such as ``runs/NAME``; other parts may be changed beside it. Empty: all of it.
        wait: for whoever holds it, instead of being refused.
        new: the folder may be missing or empty; it is made, and removed if the block leaves nothing in it.
        beat: seconds between two counts.
        watch: seconds after which a count that stands still means that its owner on another machine is gone.

    Raises:
        UserError: somebody else is at work there, or the folder cannot be written to.
    """
    made = _made(root) if new else []
    try:
        if _is_held(root, part) or not ((root / "petmood.json").is_file() or (new and _is_free(root))):
            yield
            return
        claim = _taken(Claim(root, part, watch=watch), command, wait=wait)
        _held.append(claim)
        try:
            with _beating(claim, beat):
                yield
        finally:
            _held.remove(claim)
            claim.release()
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty, as it should be
                folder.rmdir()


def _taken(claim: Claim, command: str, *, wait: bool) -> Claim:
    """The claim, when it is held and no other is in its way.

    Raises:
        UserError: another one is, and ``wait`` was not asked for.
    """
    told = False
    while True:
        try:
            with _writable(claim.root):
                claim.take(command)
            try:
                _refuse_others(claim)
            except BaseException:
                claim.release()
                raise
        except InUseError as error:
            if not wait:
                raise
            if not told:
                print(f"waiting: {error.message}", file=sys.stderr)  # noqa: T201
            told = True
            time.sleep(_PATIENCE)
        else:
            return claim


def _is_held(root: Path, part: str) -> bool:
    """Whether this process holds all of a folder, or that part of it."""
    return any(
        claim.part in {"", part} and claim.root.exists() and root.exists() and claim.root.samefile(root)
        for claim in _held
    )


def holders(root: Path) -> tuple[Owner, ...]:
    """Who writes into a work folder now, as far as this machine can tell at once; on others an owner may be gone."""
    found = (claim.holder(patient=False) for claim in claims_of(root, watch=0))
    return tuple(owner for owner in found if owner)


def _made(root: Path) -> list[Path]:
    """Make a folder; returns those that were missing, the innermost first."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    if missing:
        with _writable(root):
            root.mkdir(parents=True, exist_ok=True)
    return missing


def _is_free(root: Path) -> bool:
    """Whether a folder holds nothing, but for what a killed petmood left."""
    return root.is_dir() and all(path.name.startswith(".petmood.") for path in root.iterdir())


@contextlib.contextmanager
def _writable(root: Path) -> Iterator[None]:
    """A block that writes the first file; if that is refused, the user is told what still works."""
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        raise UserError(
            f"work folder {root} cannot be written to: {error.strerror}.",
            hint="`petmood status`, `predict`, `serve`, `runs`, `compare` and `doctor` only read it; for all else "
            "make it writable, or copy it",
        ) from None


def _refuse_others(mine: Claim) -> None:
    """Look for claims of the other kind: the whole folder's if a part is held, those of parts if the whole is.

    Raises:
        InUseError: one is alive.
    """
    for other in claims_of(mine.root, watch=mine.watch):
        if bool(other.part) != bool(mine.part):
            owner = other.holder(patient=True)
            if owner:
                raise in_use(mine.root, other.part, owner)


@contextlib.contextmanager
def _beating(claim: Claim, beat: float) -> Iterator[None]:
    """A block during which the counter rises; it is interrupted if somebody else took the folder over."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.wait(beat):
            if not claim.is_mine():
                print(  # noqa: T201
                    f"work folder {claim.root} was taken over by another machine while this process stood still",
                    file=sys.stderr,
                )
                _thread.interrupt_main()
                return
            number += 1
            with contextlib.suppress(OSError):  # a disk that is full or away for a moment ends nothing
                claim.count(number)

    thread = threading.Thread(target=count, name="petmood-lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
