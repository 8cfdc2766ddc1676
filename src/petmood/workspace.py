"""A data set's life in one folder: paths, atomic writes, and which stage was made from what.

Every stage leaves ``STAGE.json`` beside its results, written last: settings, versions, counts and a fingerprint of
what it was made from. A stage whose fingerprint has not changed is skipped; one that was killed runs again.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import polars as pl

import petmood
from petmood.errors import UserError
from petmood.lock import is_lock, owned

#: Raised whenever an older petmood could misread a newer folder.
FORMAT = 1

#: What network disks answer that cannot flush a folder; they keep the order of names themselves.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}

Stage = Literal["index", "curate", "pack", "screen", "split"]
ORDER: tuple[Stage, ...] = ("index", "curate", "pack", "screen", "split")


class Workspace:
    """Paths and stage marks of one work folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.frames = root / "frames.parquet"
        self.frames_csv = root / "frames.csv"
        self.poses = root / "poses.parquet"
        self.rejects = root / "rejects.parquet"
        self.stamps = root / "stamps.parquet"
        self.leaks = root / "leaks.csv"
        self.classes_picture = root / "classes.svg"
        self.contact_sheet = root / "contact-sheet.html"
        self.crops = root / "crops"
        self.features = root / "features"
        self.runs = root / "runs"

    @classmethod
    def create(cls, root: Path) -> Workspace:
        """Open ``root`` as a workspace, making the folder if needed.

        Raises:
            UserError: a file or a folder of something else is in the way, or another version's workspace.
        """
        mark = root / "petmood.json"
        if root.is_dir() and mark.exists():
            return cls.open(root)
        if root.exists() and (
            not root.is_dir() or any(not (is_litter(path) or is_lock(path)) for path in root.iterdir())
        ):
            raise UserError(
                f"work folder {root} holds something else than a petmood workspace.",
                hint="give a new folder, or one that `petmood index` made",
            )
        root.mkdir(parents=True, exist_ok=True)
        write_json(mark, {"format": FORMAT, "petmood": petmood.__version__})
        return cls(root)

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Open an existing workspace.

        Raises:
            UserError: ``root`` is no workspace, or one of another format version.
        """
        mark = root / "petmood.json"
        if not mark.is_file():
            raise UserError(
                f"work folder {root} is not a petmood workspace (petmood.json is missing).",
                hint=f"make one with `petmood prepare SOURCE {root}`",
            )
        found = read_json(mark).get("format")
        if found != FORMAT:
            raise UserError(
                f"work folder {root} has format {found}; this petmood ({petmood.__version__}) reads format {FORMAT}.",
                hint="prepare the source again into a new folder, or use the petmood version that made it",
            )
        return cls(root)

    @classmethod
    def of_run(cls, run: Path) -> Workspace:
        """Open the workspace that a run folder stands in.

        Raises:
            UserError: it stands in none.
        """
        try:
            return cls.open(run.absolute().parent.parent)
        except UserError as error:
            raise UserError(
                f"run folder {run} is not in a work folder: {error.message}",
                hint="its pictures are needed: give WORK/runs/NAME, where `petmood train` left it",
            ) from None

    def mark(self, stage: Stage) -> dict[str, Any]:
        """The mark that ``stage`` left, or an empty mapping if it has not been completed."""
        path = self.root / f"{stage}.json"
        return read_json(path) if path.is_file() else {}

    def require(self, stage: Stage) -> dict[str, Any]:
        """The mark of a stage that must have been completed.

        Raises:
            UserError: it has not; the hint names the command.
        """
        mark = self.mark(stage)
        if not mark:
            what = "SOURCE " if stage == "index" else ""
            raise UserError(
                f"work folder {self.root} has no completed stage `{stage}`.",
                hint=f"run `petmood {stage} {what}{self.root}`, or `petmood prepare SOURCE {self.root}` for all stages",
            )
        return mark

    def is_current(self, stage: Stage, made_from: str) -> bool:
        """Whether ``stage`` was completed from exactly this input and these settings."""
        return bool(self.mark(stage).get("made_from") == made_from)

    def begin(self, stage: Stage) -> None:
        """Take back the marks of ``stage`` and of all later ones. Call it when the first result is about to change."""
        drop(*(self.root / f"{later}.json" for later in reversed(ORDER[ORDER.index(stage) :])))
        sweep(self.root)

    def finish(self, stage: Stage, *, made_from: str, settings: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
        """Leave the mark that ``stage`` is complete. Call it last."""
        content = {
            "format": FORMAT,
            "stage": stage,
            "made_from": made_from,
            "settings": dict(settings),
            "versions": versions(),
            "counts": dict(counts),
        }
        write_json(self.root / f"{stage}.json", content)

    def read_frames(self) -> pl.DataFrame:
        """All good frames (``FRAME_SCHEMA``), in the order of the index."""
        return read_table(self.frames)

    def set_columns(self, columns: Mapping[str, pl.Series]) -> None:
        """Give frames.parquet other values in some of its columns; the rest is copied without being held in memory."""
        frames = pl.scan_parquet(self.frames, glob=False)
        with reading(self.frames), replacing(self.frames) as temporary:
            names = frames.collect_schema().names()
            kept, given = frames.drop(*columns), pl.LazyFrame({name: columns[name] for name in columns})
            pl.concat([kept, given], how="horizontal").select(names).sink_parquet(temporary)

    def read_rejects(self, *, before: Stage | None = None) -> pl.DataFrame:
        """Refused rows (``REJECT_SCHEMA``): all of them, or those of the stages before one."""
        rejects = read_table(self.rejects)
        return rejects if before is None else rejects.filter(pl.col("stage").is_in(ORDER[: ORDER.index(before)]))


@contextmanager
def owned_run(run: Path, command: str) -> Iterator[None]:
    """A block that alone changes a run folder WORK/runs/NAME, as ``lock.owned``; half-written files in it go first.

    A run outside of a work folder is free to all.

    Raises:
        UserError: somebody else is at work there, or the folder cannot be written to.
    """
    folder = Path(os.path.abspath(run))  # noqa: PTH100 - links stay links, ".." is taken out
    with owned(folder.parent.parent, command, part=f"runs/{folder.name}"):
        if folder.is_dir() and os.access(folder, os.W_OK):
            sweep(folder)
        yield


def versions() -> dict[str, str]:
    """Versions of petmood and of the libraries that decide what comes out of a data stage."""
    names = ("polars", "simplejpeg", "pillow", "opencv-python-headless", "scikit-learn")
    return {"petmood": petmood.__version__, **{name: importlib.metadata.version(name) for name in names}}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place when the block ends, and vanishes if the block fails.

    The content is flushed to the disk before the rename and the rename after it, so that a power cut leaves the old
    file or the new one, and what was written before another file is there wherever that one is.

    Raises:
        OSError: what the disk refused, with the path, also where polars hides it in an error of its own.
    """
    # A number of its own beside the process's: machines that share a folder count their processes alike.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        move(temporary, path)
    except (OSError, pl.exceptions.PolarsError) as error:
        number = _error_number(error) or _refusal(temporary)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), getattr(error, "filename", None) or str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Give a file or a folder another name; when this returns, a power cut no longer undoes it.

    What is in it must be on the disk already. Of two folders the entry that appears is made lasting first.
    """
    source.replace(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def drop(*paths: Path) -> None:
    """Remove files that may be missing; when this returns, a power cut no longer brings them back."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        if folder.is_dir():
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, where the system knows how to (Windows does it by itself)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def _error_number(error: Exception) -> int | None:
    """The operating system's number of an error, which polars gives in words alone."""
    number: int | None = getattr(error, "errno", None)
    told = re.search(r"\(os error (\d+)\)", str(error))
    return number or (int(told[1]) if told else None)


def _refusal(half_written: Path) -> int | None:
    """Number of the error with which a disk refuses another MiB, or None: polars may not say why it failed."""
    try:
        with half_written.open("ab") as file:
            file.write(bytes(1 << 20))
    except OSError as error:
        return error.errno
    return None


def is_litter(path: Path) -> bool:
    """Whether a file is what `replacing` leaves when its process is killed."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def sweep(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder. No other process may be writing there."""
    for path in folder.iterdir():
        if is_litter(path):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically: UTF-8, Korean unescaped, indent 2."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that petmood wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is damaged: {error}.", hint="delete it and run the command that makes it again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: an object is expected.", hint="delete it and run the command again")
    return content


def read_table(*paths: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Rows of one or more Parquet files, one below the other. Names are taken as they are, brackets too.

    Args:
        paths: the files.
        columns: read these alone.

    Raises:
        UserError: a file is missing or damaged.
    """
    wanted = None if columns is None else list(columns)
    with reading(*paths):
        return pl.concat([pl.read_parquet(path, glob=False, columns=wanted) for path in paths])


@contextmanager
def reading(*paths: Path) -> Iterator[None]:
    """A block that reads Parquet files in any way: a file that is missing or damaged is told as `UserError`."""
    try:
        yield
    except FileNotFoundError as error:
        named = error.filename or next((path for path in paths if not path.exists()), paths[0])
        raise UserError(f"{named} is missing.", hint="run the command that makes it again") from None
    except pl.exceptions.PolarsError as error:
        shown = ", ".join(map(str, paths[:2])) + (" …" if len(paths) > 2 else "")
        problem = str(error).splitlines()[0]
        raise UserError(f"{shown} is damaged: {problem}.", hint="run the command that makes it with --force") from None


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file atomically."""
    with replacing(path) as temporary:
        table.write_parquet(temporary)
