"""Work folders and runs as words of the command line: paths, or addresses of remote storage whose mirror is used.

A command names its parameter `Work` or `Run`. If the word is an address (``s3://bucket/work``), the command gets the
path of the mirror; `mirrored` fetches before the command what it needs, and pushes afterwards what it changed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter, Token

from petmood.errors import UserError
from petmood.storage import is_remote

if TYPE_CHECKING:
    from petmood.remote import Mirror

#: Commands that change nothing in a work folder: they take no lock there and push nothing.
_READERS = frozenset({"compare", "doctor", "find-batch-size", "predict", "runs", "serve"})
#: Commands that need of a work folder no more than the run that they are given.
_OF_RUN = frozenset({"adjust", "export", "predict", "serve"})
#: Commands on a work folder to which its runs do not matter.
_OF_DATA = frozenset({"curate", "index", "pack", "prepare", "screen", "sheet", "split"})
#: Commands that look for computed features.
_OF_FEATURES = frozenset({"audit", "train", "tune"})
_HEAVY = (".safetensors", ".ckpt", ".onnx")


class _Asked(NamedTuple):
    """A remote work folder that the command line names."""

    mirror: Mirror
    run: str
    """Name of the run that is meant; empty if the whole folder is."""


_asked: ContextVar[list[_Asked] | None] = ContextVar("asked", default=None)


def _work(_: object, tokens: Sequence[Token]) -> Path:
    word = tokens[0].value
    return _mirror(word, "").work if _is_away(word) else _here(word)


def _run(_: object, tokens: Sequence[Token]) -> Path:
    word = tokens[0].value
    if not _is_away(word):
        return _here(word)
    work, middle, rest = word.rstrip("/").rpartition("/runs/")
    if not middle:
        raise UserError(
            f"run {word} is in no remote work folder; its address ends in /runs/NAME.",
            hint="give s3://BUCKET/WORK/runs/NAME",
        )
    return _mirror(work, rest.partition("/")[0]).work / "runs" / rest


Work = Annotated[Path, Parameter(converter=_work)]
Run = Annotated[Path, Parameter(converter=_run)]


def _is_away(word: str) -> bool:
    return is_remote(word) and not word.startswith("file://")


def _here(word: str) -> Path:
    return Path(word.removeprefix("file://"))


def _mirror(url: str, run: str) -> Mirror:
    from petmood.remote import mirror_of

    mirror = mirror_of(url)
    asked = _asked.get()
    if asked is not None and not any(one.mirror.url == mirror.url and one.run == run for one in asked):
        asked.append(_Asked(mirror, run))
    return mirror


@contextlib.contextmanager
def noticing() -> Iterator[None]:
    """A block in which the command line is read: remote folders that it names are noticed, for `mirrored`."""
    _asked.set([])
    yield


@contextlib.contextmanager
def mirrored(command: str, options: dict[str, Any]) -> Iterator[None]:
    """A block that runs a command on the mirrors of the remote folders that were noticed.

    If the command fails, only its runs are pushed: a training can go on elsewhere, and unfinished data stages never
    take the place of finished ones.

    Args:
        command: its name.
        options: its parameters by name.

    Raises:
        UserError: another machine is at work in a remote folder, or the command cannot use one.
        RunError: the storage does not answer.
    """
    asked, changes = _asked.get() or [], command not in _READERS
    with contextlib.ExitStack() as stack:
        for mirror in {one.mirror.url: one.mirror for one in asked}.values():
            if changes:
                from petmood.remote import claimed

                stack.enter_context(claimed(mirror.url, f"petmood {command}"))
            runs = [one.run for one in asked if one.mirror.url == mirror.url]
            fetched = mirror.fetch(_wanted(command, runs, resume=bool(options.get("resume"))))
            _note(f"{mirror.url}: {fetched:,} files fetched into {mirror.work}")
            if changes:
                stack.push(lambda kind, error, _, mirror=mirror: _push(mirror, failed=error is not None))
        yield


def _push(mirror: Mirror, *, failed: bool) -> None:
    if not failed:
        _note(f"{mirror.url}: {mirror.push():,} files pushed")
        return
    with contextlib.suppress(Exception):  # what the command failed of is told
        number = mirror.push(lambda name: name.startswith("runs/"))
        _note(f"{mirror.url}: {number:,} files of runs pushed; the rest is kept in {mirror.work}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _wanted(command: str, runs: Sequence[str], *, resume: bool) -> Callable[[str], bool]:
    """Which objects of a work folder a command needs, by their paths."""

    def wanted(name: str) -> bool:
        top, _, rest = name.partition("/")
        if top == "runs":
            if not all(runs):
                return resume or (command not in _OF_DATA and not name.endswith(_HEAVY))
            return rest.partition("/")[0] in runs and not name.endswith(".ckpt")
        if top == "features":
            return command in _OF_FEATURES
        return command not in _OF_RUN

    return wanted
