"""What in a work folder could go, how much that frees, and what it costs to have it again. Removes nothing.

Only what petmood itself has written under names that it knows is ever listed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from petmood.upkeep.caches import files_of_features
from petmood.upkeep.records import FeaturesStatus, Freeable, Option, RunStatus
from petmood.upkeep.sizes import entries, files_below, named, size_of, told_size
from petmood.upkeep.source import Look
from petmood.upkeep.stages import Marks, expected_key, key_of, unfinished_folders
from petmood.upkeep.trained import CHECKPOINTS, PREVIOUS
from petmood.workspace import ORDER, Stage, Workspace, is_litter

#: Seconds for which pieces of other settings than the usual ones are kept: somebody may go on with them.
_KEPT = 24 * 3600.0
#: Folders that `clean` moves aside before it removes them.
ASIDE = ".clean-"


def freeable(
    workspace: Workspace,
    marks: Marks,
    look: Look,
    runs: Sequence[RunStatus],
    features: Sequence[FeaturesStatus],
) -> tuple[Freeable, ...]:
    """All that could go; what has no option is what nobody can miss."""
    return (
        *_litter(workspace),
        *_damaged_marks(workspace, marks),
        *_features(workspace, features),
        *_unfinished(workspace, marks, look),
        *_checkpoints(workspace, runs),
        *_crops(workspace, marks),
    )


def _one(what: str, paths: Sequence[Path], *, again: str = "", option: Option = "") -> Iterator[Freeable]:
    if paths:
        yield Freeable(what=what, again=again, paths=tuple(paths), size=size_of(*paths), option=option)


def _litter(workspace: Workspace) -> Iterator[Freeable]:
    """Half-written files, and what an earlier `clean` had moved aside."""
    files = [path for folder in _own_folders(workspace) for path in files_below(folder) if is_litter(path)]
    files += [path for path in entries(workspace.root) if is_litter(path) and not path.is_dir()]
    yield from _one("half-written files of commands that were killed", files)
    aside = [path for path in entries(workspace.root) if path.name.startswith(ASIDE) and path.is_dir()]
    yield from _one("what an earlier `petmood clean` had begun to remove", aside)


def _own_folders(workspace: Workspace) -> tuple[Path, ...]:
    """Folders of which petmood owns all that is in them; pieces of stages are a matter of their own."""
    return (workspace.crops, workspace.features, workspace.runs, workspace.root / "tune")


def _damaged_marks(workspace: Workspace, marks: Marks) -> Iterator[Freeable]:
    paths = [workspace.root / f"{stage}.json" for stage in ORDER if marks[stage].problem]
    yield from _one(
        "damaged marks of stages, which stop every command", paths, again="`petmood prepare` runs them again"
    )


def _features(workspace: Workspace, features: Sequence[FeaturesStatus]) -> Iterator[Freeable]:
    def files(some: Sequence[FeaturesStatus]) -> list[Path]:
        return [path for one in some for path in files_of_features(workspace.features, one.key)]

    yield from _one("features of crops that are no more", files([one for one in features if one.current is False]))
    rest = [one for one in features if one.current is not False]
    known = sum(one.known for one in rest)
    again = f"the next probe or audit sends {known:,} crops through a network again"
    yield from _one("features of the crops", files(rest), again=again, option="--all-features")


def _unfinished(workspace: Workspace, marks: Marks, look: Look) -> Iterator[Freeable]:
    """Pieces of stopped stages: those that the usual next command does not take up go after a day."""
    useless: list[Path] = []
    useful: list[Path] = []
    stages: tuple[Stage, ...] = ("index", "pack")
    for stage in stages:
        key = expected_key(stage, marks, look)
        for folder in unfinished_folders(workspace, stage):
            of_others = bool(key) and key_of(folder) != key
            (useless if of_others and _is_old(folder) else useful).append(folder)
    yield from _one(f"pieces of stopped stages with other settings ({named(useless)})", useless)
    again = "the same command reads labels and decodes pictures from the start"
    yield from _one(f"pieces of stopped stages ({named(useful)})", useful, again=again, option="--unfinished")


def _is_old(folder: Path) -> bool:
    try:
        newest = max(path.stat().st_mtime for path in (folder, *entries(folder)))
    except OSError:
        return False
    return time.time() - newest > _KEPT


def _checkpoints(workspace: Workspace, runs: Sequence[RunStatus]) -> Iterator[Freeable]:
    """Checkpoints of trainings that came to their end: evaluate, adjust, predict and export use the model alone."""
    over = [workspace.runs / run.name / CHECKPOINTS for run in runs if not run.resume_needs_checkpoints]
    spare = [path for folder in over if (path := folder / PREVIOUS).is_file() and (folder / "last.ckpt").is_file()]
    yield from _one("second-newest checkpoints of finished runs", spare)
    trials = [path for path in _trials(workspace) if path.is_dir()]
    yield from _one("checkpoints of finished trials of `petmood tune`, which never go on", trials)
    rest = [path for folder in over for path in entries(folder) if path.suffix == ".ckpt" and path not in spare]
    yield from _one(
        f"checkpoints of finished runs ({named([folder.parent for folder in over if folder.is_dir()])})",
        rest,
        again="cannot be made again but by training; the models stay, and --resume has nothing to do there",
        option="--checkpoints",
    )


def _trials(workspace: Workspace) -> Iterator[Path]:
    """Folders of checkpoints of trials that have a model; trials begin anew whenever a search goes on."""
    for search in entries(workspace.root / "tune"):
        for trial in entries(search / "trials"):
            if (trial / "bundle.json").is_file() and not trial.is_symlink():
                yield trial / CHECKPOINTS


def _crops(workspace: Workspace, marks: Marks) -> Iterator[Freeable]:
    if not (workspace.crops / "crops.parquet").is_file():
        return
    counts = marks["pack"].counts
    number, size = counts.get("crops"), size_of(workspace.crops)
    pictures = f"{number:,} pictures" if isinstance(number, int) else "all chosen pictures"
    again = (
        f"`petmood prepare` decodes {pictures} again ({told_size(size)}); until then nothing can be trained or judged"
    )
    yield from _one("the crops", [workspace.crops], again=again, option="--crops")
