"""How much of the disk files and folders take; links are counted as links and never followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_of(*paths: Path) -> int:
    """Bytes of files and folders, with all that is in them; 0 for what is not there or cannot be read."""
    return sum(_size(path) for path in paths)


def _size(path: Path) -> int:
    try:
        own = path.lstat().st_size if not path.is_dir() or path.is_symlink() else 0
    except OSError:
        return 0
    return own + sum(file.lstat().st_size for file in files_below(path) if _is_there(file))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:  # removed by a command that runs beside this one
        return False
    return True


def files_below(folder: Path) -> Iterator[Path]:
    """All files and links in a folder and the folders in it; none if it is a link, a file or cannot be read."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for here, folders, names in os.walk(folder):
        place = Path(here)
        yield from (place / name for name in names)
        yield from (place / name for name in folders if (place / name).is_symlink())


def told_size(size: int) -> str:
    """Bytes for people: three digits and a unit of a thousand, such as ``12.3 MB``."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f} {_UNITS[unit]}"


def entries(folder: Path) -> list[Path]:
    """What a folder holds, by name; nothing if it is not there or cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def named(paths: Iterable[Path], *, most: int = 3) -> str:
    """Some names for people: ``a, b, c and 4 more``."""
    names = [path.name for path in paths]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
