"""Removing files and folders of a work folder: never through a link, never outside, never half where it matters."""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from petmood.upkeep.freeing import ASIDE
from petmood.upkeep.sizes import size_of
from petmood.workspace import move


@dataclasses.dataclass(frozen=True, kw_only=True)
class Removed:
    """What became of some paths."""

    size: int
    """Bytes that are free now."""
    left: tuple[str, ...]
    """What was left where it is, and why, as clauses."""


def remove(root: Path, paths: Sequence[Path]) -> Removed:
    """Remove files and folders below ``root``; what is, or is reached by, a link is left.

    A folder is first moved aside under a name that nothing reads, so that a killed removal leaves nothing half; the
    next one takes up what is left.
    """
    size, left = 0, []
    for path in paths:
        problem = refusal(root, path)
        if problem:
            left.append(f"{path}: {problem}")
            continue
        there = size_of(path)
        try:
            _remove(root, path)
        except FileNotFoundError:
            continue
        except OSError as error:
            left.append(f"{path}: {error.strerror or error}")
        size += there - size_of(path)
    return Removed(size=size, left=tuple(left))


def refusal(root: Path, path: Path) -> str:
    """Why a path must not be removed, as a clause; empty if it may be."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        return "it is not in the work folder"
    if not parts or ".." in parts:
        return "it is not in the work folder"
    here = root
    for part in parts:
        here = here / part
        if here.is_symlink():
            return f"{here.name} is a link, which is left alone with what it leads to"
    return ""


def _remove(root: Path, path: Path) -> None:
    if not path.is_dir():
        path.unlink()
        return
    aside = path
    if not path.name.startswith(ASIDE):
        aside = root / f"{ASIDE}{uuid.uuid4().hex[:12]}"
        try:
            move(path, aside)
        except OSError:  # a mount point, or a disk of its own: it goes file by file
            aside = path
    shutil.rmtree(aside)
