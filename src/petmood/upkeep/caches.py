"""Features of the crops, searches of good settings, and what lies in a work folder besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from petmood.crops import crops_state
from petmood.errors import PetmoodError
from petmood.lock import is_lock
from petmood.upkeep.records import FeaturesStatus, Foreign, SearchStatus
from petmood.upkeep.sizes import entries, size_of
from petmood.workspace import ORDER, Workspace, is_litter, read_json

#: What petmood writes into a work folder besides what the stages do.
_OTHERS = (
    *("petmood.json", "contact-sheet.html", "features", "runs", "tune", "lr-find.svg"),
    *("doubts.parquet", "doubts.csv", "doubts.json", "doubts.html"),
)


def state_of_crops(workspace: Workspace) -> str | None:
    """What the crops are (`crops.crops_state`); None if there are none, or they cannot be read."""
    try:
        return crops_state(workspace)
    except (PetmoodError, OSError, LookupError, pl.exceptions.PolarsError):
        return None


def read_features(workspace: Workspace) -> tuple[FeaturesStatus, ...]:
    """All features that are kept, by key; a file that no mark speaks of is told under the key in its name."""
    files = [path for path in entries(workspace.features) if path.suffix in (".json", ".npy") and path.is_file()]
    keys = sorted({path.name.partition(".")[0] for path in files if not path.name.startswith(".")})
    now = state_of_crops(workspace) if keys else None
    return tuple(_features(workspace.features, key, now) for key in keys)


def files_of_features(folder: Path, key: str) -> tuple[Path, ...]:
    """The files of one key that are there, the mark first."""
    return tuple(path for end in (".json", ".known.npy", ".npy") if (path := folder / f"{key}{end}").is_file())


def _features(folder: Path, key: str, now: str | None) -> FeaturesStatus:
    size = size_of(*files_of_features(folder, key))
    try:
        mark = read_json(folder / f"{key}.json")
        crops, model, rows = str(mark["crops"]), str(mark["model"]), int(mark["rows"])
    except (PetmoodError, OSError, LookupError, TypeError, ValueError):
        problem = f"no {key}.json that can be read speaks of them"
        return FeaturesStatus(key=key, model="", rows=0, known=0, current=False, size=size, problem=problem)
    current = None if now is None else crops == now
    return FeaturesStatus(
        key=key, model=model, rows=rows, known=_known(folder / f"{key}.known.npy"), current=current, size=size
    )


def _known(path: Path) -> int:
    """Rows that are computed."""
    try:
        found: Any = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return 0
    return int(np.count_nonzero(found))


def read_searches(workspace: Workspace) -> tuple[SearchStatus, ...]:
    """All searches, by name."""
    folders = [path for path in entries(workspace.root / "tune") if path.is_dir()]
    return tuple(SearchStatus(name=path.name, told=_search(path), size=size_of(path)) for path in folders)


def _search(folder: Path) -> str:
    """What a search says of itself: the first sentence of the head of its recipe."""
    try:
        with (folder / "best.yaml").open(encoding="utf-8") as file:
            head = file.readline(400) + file.readline(400)
    except (OSError, UnicodeDecodeError):
        return "no trial has finished"
    return " ".join(head.replace("#", " ").split()).partition(". ")[0] or "best.yaml says nothing of itself"


def read_foreign(workspace: Workspace) -> tuple[Foreign, ...]:
    """What in a work folder petmood does not know."""
    known = {path.name for path in _known_paths(workspace)}
    unknown = [path for path in entries(workspace.root) if path.name not in known and not _is_own(path)]
    return tuple(Foreign(name=path.name, size=size_of(path)) for path in unknown)


def _known_paths(workspace: Workspace) -> tuple[Path, ...]:
    return (
        *(workspace.root / name for name in _OTHERS),
        *(workspace.root / f"{stage}.json" for stage in ORDER),
        *(
            workspace.frames,
            workspace.frames_csv,
            workspace.poses,
            workspace.rejects,
            workspace.stamps,
            workspace.leaks,
        ),
        *(workspace.classes_picture, workspace.contact_sheet, workspace.crops),
    )


def _is_own(path: Path) -> bool:
    """Whether a name is one that petmood gives to what it has not finished, or to its lock."""
    return is_litter(path) or is_lock(path) or path.name.startswith((".index-", ".pack-", ".clean-", ".petmood."))
