"""One writer a remote work folder: an object that only one machine can create, with its owner and a rising counter."""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from petmood.errors import PetmoodError, UserError
from petmood.lock.owner import Owner, is_process, new_owner, this_machine
from petmood.storage import opened, telling

LOCK = ".petmood-lock.json"
#: Seconds between two counts of an owner, and how long a count must stand still before its owner is taken for gone.
BEAT, WATCH = 10.0, 45.0


@contextlib.contextmanager
def claimed(url: str, command: str, *, beat: float = BEAT, watch: float = WATCH) -> Iterator[None]:
    """A block that alone changes a remote work folder. Clocks are not compared.

    Args:
        url: of the folder.
        command: as people know it, for those who are refused.
        beat: seconds between two counts.
        watch: seconds after which a count that stands still means that its owner is gone.

    Raises:
        UserError: somebody else is at work there.
        RunError: the storage does not answer.
    """
    claim = _Claim(f"{url}/{LOCK}", new_owner(command, ""))
    if not claim.create():
        claim.take_over(url, watch)
    stop = threading.Event()
    thread = threading.Thread(target=claim.count, args=(url, stop, beat), name="petmood-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with contextlib.suppress(PetmoodError):
            if claim.is_mine():
                claim.remove()


class _Claim:
    """The lock object of one owner."""

    def __init__(self, address: str, owner: Owner) -> None:
        self.address = address
        self.owner = owner

    def create(self) -> bool:
        """Create the object; false if somebody else's is there."""
        with telling(self.address):
            storage, path = opened(self.address)
            # What the libraries raise where it exists differs, and old servers overwrite it: what is there then counts.
            with contextlib.suppress(Exception):
                storage.pipe_file(path, self._content(0), mode="create")
        return self.is_mine()

    def read(self) -> dict[str, Any]:
        """What stands in the object; empty if there is none."""
        with telling(self.address):
            storage, path = opened(self.address)
            try:
                found = json.loads(storage.cat_file(path))
            except (FileNotFoundError, ValueError):
                return {}
        return found if isinstance(found, dict) else {}

    def is_mine(self) -> bool:
        return self.read().get("token") == self.owner.token

    def remove(self) -> None:
        with telling(self.address):
            storage, path = opened(self.address)
            with contextlib.suppress(FileNotFoundError):
                storage.rm_file(path)

    def take_over(self, url: str, watch: float) -> None:
        """Take the place of an owner that is gone.

        Raises:
            UserError: it is alive, or somebody else was faster.
        """
        found = self.read()
        owner = _owner_of(found)
        if owner and not self._is_gone(owner, found, watch):
            raise _in_use(url, owner)
        if owner:
            note = f"note: {url} was left by {owner.told}, which gave no sign; it is taken over"
            print(note, file=sys.stderr)  # noqa: T201
        if self.read() == found:
            self.remove()
        if not self.create():
            raise _in_use(url, _owner_of(self.read()))

    def count(self, url: str, stop: threading.Event, beat: float) -> None:
        """Let the counter rise; the command is interrupted if somebody else has taken its place."""
        number = 0
        while not stop.wait(beat):
            with contextlib.suppress(PetmoodError):  # storage that is away for a moment ends nothing
                found = self.read()
                if found and found.get("token") != self.owner.token:
                    note = f"{url} was taken over by another machine while this one stood still"
                    print(note, file=sys.stderr)  # noqa: T201
                    _thread.interrupt_main()
                    return
                number += 1
                with telling(self.address):
                    storage, path = opened(self.address)
                    storage.pipe_file(path, self._content(number))

    def _is_gone(self, owner: Owner, found: dict[str, Any], watch: float) -> bool:
        # Containers of one machine have processes of their own, so that its name must be the same too.
        if (owner.machine, owner.host) == (this_machine(), socket.gethostname()):
            return not is_process(owner.pid)
        until = time.monotonic() + watch
        while time.monotonic() < until:
            time.sleep(min(2.0, watch / 4))
            if self.read() != found:
                return False
        return True

    def _content(self, number: int) -> bytes:
        return json.dumps({**dataclasses.asdict(self.owner), "count": number}, ensure_ascii=False).encode()


def _owner_of(found: dict[str, Any]) -> Owner | None:
    try:
        return Owner(**{name: value for name, value in found.items() if name != "count"})
    except TypeError:
        return None


def _in_use(url: str, owner: Owner | None) -> UserError:
    who = owner.told if owner else "another petmood command"
    return UserError(
        f"{url} is in use by {who}.", hint="wait until it has ended, or stop it there; what it has pushed is kept"
    )
