"""What a worker is asked: a function to call, and first whether it has and sees what is needed for that."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
import pickle
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import petmood
from petmood.errors import PetmoodError, RunError, UserError
from petmood.storage import is_remote, listed

#: Libraries that decide what comes out of a task.
_LIBRARIES = ("numpy", "polars", "simplejpeg", "pillow", "opencv-python-headless", "msgspec", "torch", "timm")
#: Seconds after which a file that was written here must be seen on a worker.
_SEEN = 10.0
#: Of folders with more names than this only the existence is compared.
_MOST_NAMES = 1000

ALIKE = "all workers need the same versions, and the same folders under the same paths (docs/guide/cluster.md)"


class Sign(NamedTuple):
    """A file that was just written into the work folder."""

    file: str
    token: str


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a worker must have, as the machine that sends the tasks has it."""

    versions: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, str], ...]
    """Each with what `look` sees there."""

    def lacking(self, sign: Sign | None = None) -> str:
        """What is wrong with the machine that this is called on, for people; empty if nothing is."""
        here = dict(versions())
        for name, version in self.versions:
            if here[name] != version:
                return f"has {name} {here[name] or 'not installed'}; the tasks are sent by {version}"
        for place, expected in self.places:
            found = look(place)
            if found != expected:
                return f"sees something else at {place}" if found else f"does not see {place}"
        if sign and not _is_seen(sign):
            return f"does not share the work folder {Path(sign.file).parent}"
        return ""

    def gone(self) -> str:
        """The first place on disk that is not there; empty if all are. Quick."""
        return next((place for place, _ in self.places if not is_remote(place) and not os.path.lexists(place)), "")


class _UnfitError(RunError):
    """This worker cannot do what the others can."""


@dataclasses.dataclass(frozen=True)
class Errand:
    """What a worker is asked: a function, and what must be there to call it."""

    function: Callable[[Any], Any]
    needs: Needs
    bring: bool

    def __call__(self, task: bytes) -> tuple[Any, list[tuple[Path, bytes]]]:
        """The function's result, and what it wrote if that is to be brought.

        Raises:
            PetmoodError: the function's own, with this worker's name; or this worker is unfit.
        """
        _refuse_if_unfit(self.needs)
        argument = pickle.loads(task)  # noqa: S301 - from the user's own command
        outputs: tuple[Path, ...] = getattr(argument, "outputs", ()) if self.bring else ()
        for path in outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            result = self.function(argument)
        except PetmoodError as error:
            raise type(error)(f"worker {_name()}: {error.message}", hint=error.hint) from None
        # Pictures that vanished together with their disk were refused for a wrong reason.
        _refuse_if_unfit(self.needs)
        return result, _taken(outputs)


class Parcel(NamedTuple):
    """An errand with its task: whoever unpickles it does it, and has its result.

    So a worker is asked for no more than `pickle.loads`: one that cannot import petmood says so, and goes on living.
    """

    errand: Errand
    task: bytes

    def __reduce__(self) -> tuple[object, ...]:
        return (_do, (self.errand, self.task))


def _do(errand: Errand, task: bytes) -> object:
    return errand(task)


#: What this process was found fit for.
_fit: set[Needs] = set()


def _refuse_if_unfit(needs: Needs) -> None:
    problem = "" if needs in _fit else needs.lacking()
    gone = "" if problem else needs.gone()
    if gone:
        problem = f"does not see {gone} any more"
    if problem:
        raise _UnfitError(f"worker {_name()} {problem}.", hint=ALIKE)
    _fit.add(needs)


def distributed() -> ModuleType:
    """Dask's library for clusters.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise UserError(
            "a cluster needs dask's distributed, which is not installed.", hint="pip install 'petmood[cluster]'"
        ) from None


@contextlib.contextmanager
def signed(work: Path) -> Iterator[Sign]:
    """A block during which a new file lies in the work folder; workers that see it share the folder."""
    made = not work.exists()
    work.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    file = work.resolve() / f".petmood.{token}.tmp"
    file.write_text(token, encoding="ascii")
    try:
        yield Sign(str(file), token)
    finally:
        file.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                work.rmdir()


def _is_seen(sign: Sign) -> bool:
    """Whether a file is there; a network disk may show it only after some seconds, and sooner if its folder is read."""
    until = time.monotonic() + _SEEN
    while True:
        with contextlib.suppress(OSError):
            os.listdir(os.path.dirname(sign.file))  # noqa: PTH120, PTH208
            return Path(sign.file).read_text(encoding="ascii") == sign.token
        if time.monotonic() > until:
            return False
        time.sleep(0.2)


def look(place: str) -> str:
    """What is at a place: of a file its size, of a folder its names; empty if nothing is there."""
    try:
        if is_remote(place):
            names = sorted(entry.name for entry in listed(place))
        elif not os.path.isdir(place):  # noqa: PTH112
            return f"{os.stat(place).st_size} bytes"  # noqa: PTH116
        else:
            names = sorted(name for name in os.listdir(place) if not name.startswith("."))  # noqa: PTH208
    except (OSError, UserError):
        return ""
    return " ".join(names) if 0 < len(names) <= _MOST_NAMES else "a folder"


def _taken(outputs: Sequence[Path]) -> list[tuple[Path, bytes]]:
    """Files with their content, which are removed here."""
    taken = [(path, path.read_bytes()) for path in outputs]
    for path in outputs:
        path.unlink()
    return taken


def _name() -> str:
    """Of the worker that this is called on."""
    return str(distributed().get_worker().address)


def versions() -> tuple[tuple[str, str], ...]:
    """Names and versions; empty for what is not installed."""
    python = ".".join(platform.python_version_tuple()[:2])
    return (("petmood", petmood.__version__), ("Python", python), *((name, _version(name)) for name in _LIBRARIES))


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
