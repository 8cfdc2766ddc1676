"""The file that says who holds a work folder: one line about the owner, one with a counter that rises."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import socket
import uuid
from pathlib import Path

#: Digits of the counter, which is written over in place.
_DIGITS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """Who writes into a work folder."""

    command: str
    pid: int
    host: str
    since: str
    """Local time of its machine, for people."""
    machine: str
    """Changes with the machine and each of its starts."""
    token: str
    """Of this holding alone."""
    part: str = ""
    """What of the folder is held, such as ``runs/default``; empty for all of it."""

    @property
    def told(self) -> str:
        """For people: the command, its process, its machine, since when."""
        return f"`{self.command}` (process {self.pid} on {self.host}, since {self.since})"


def new_owner(command: str, part: str) -> Owner:
    """This process, about to hold a folder or a part of it."""
    return Owner(
        command=command,
        pid=os.getpid(),
        host=socket.gethostname(),
        since=datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        machine=this_machine(),
        token=uuid.uuid4().hex,
        part=part,
    )


def write_owner(path: Path, owner: Owner) -> None:
    """Write a new owner file.

    Raises:
        FileExistsError: there is one.
    """
    line = json.dumps(dataclasses.asdict(owner), ensure_ascii=False) + "\n"
    with path.open("xb") as file:
        file.write(line.encode() + _counter(0))


def write_count(path: Path, number: int) -> None:
    """Write the counter over the old one: one small write, so that no reader sees half of it."""
    with path.open("rb+") as file:
        file.readline()
        file.write(_counter(number))


def _counter(number: int) -> bytes:
    return f"{number:0{_DIGITS}d}\n".encode()


def read_owner(path: Path) -> Owner | None:
    """The owner that a file names; None without a file, or with one that says nothing (its writer was killed)."""
    try:
        with path.open("rb") as file:
            return Owner(**json.loads(file.readline()))
    except (OSError, ValueError, TypeError):
        return None


def read_count(path: Path) -> bytes:
    """What stands in an owner file now, to see whether it changes; opened anew, as shared folders need it."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def is_process(pid: int) -> bool:
    """Whether this machine has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def this_machine() -> str:
    """What tells this machine, and each of its starts, from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{socket.gethostname()}-{uuid.getnode():x}"
