"""All that is known about a work folder or a run, in seconds and without writing anything."""

from __future__ import annotations

from pathlib import Path

from petmood.errors import PetmoodError, UserError
from petmood.lock import holders
from petmood.recipes.upkeep import StatusSettings
from petmood.upkeep.caches import read_features, read_foreign, read_searches
from petmood.upkeep.following import Known, following
from petmood.upkeep.freeing import freeable
from petmood.upkeep.records import WorkStatus
from petmood.upkeep.sizes import size_of
from petmood.upkeep.source import Look, look_at_source
from petmood.upkeep.stages import Mark, Marks, judge_stages, read_marks
from petmood.upkeep.trained import read_runs, run_status
from petmood.workspace import ORDER, Workspace


def status(folder: Path, settings: StatusSettings = StatusSettings()) -> WorkStatus:  # noqa: B008 - frozen
    """What ``folder`` (a work folder, or WORK/runs/NAME) holds, what is stale and why, and what to do next.

    Writes nothing. Of tables only the metadata and the list of crops are read; a file that is damaged is told.

    Raises:
        UserError: ``folder`` is neither a work folder nor a run, or of another format version.
    """
    if _is_run(folder):
        return _of_run(folder)
    workspace, problems = _opened(folder)
    marks = read_marks(workspace)
    look = look_at(workspace, marks, seconds=settings.source_seconds)
    stages = judge_stages(workspace, marks, look)
    runs, features = read_runs(workspace, marks), read_features(workspace)
    at_work = holders(folder)
    known = Known(root=folder, marks=marks, source=look.status, stages=stages, runs=runs, holders=at_work)
    return WorkStatus(
        root=str(folder),
        problems=problems,
        holders=at_work,
        source=look.status,
        stages=stages,
        runs=runs,
        features=features,
        searches=read_searches(workspace),
        foreign=read_foreign(workspace),
        size=size_of(folder.resolve()),
        following=following(known),
        # While somebody writes there, a half-written file is not a killed one's.
        freeable=() if at_work else freeable(workspace, marks, look, runs, features),
    )


def look_at(workspace: Workspace, marks: Marks, *, seconds: float) -> Look:
    """A look at the source of a work folder's index."""
    mark = marks["index"].content
    return look_at_source(mark, seconds=seconds, words_unknown=_is_elsewhere(workspace.root))


def _is_elsewhere(root: Path) -> bool:
    """Whether a work folder is that of another source which a run was judged on: RUN/elsewhere/NAME/work."""
    return root.absolute().parent.parent.name == "elsewhere"


def _is_run(folder: Path) -> bool:
    names = ("bundle.json", "config.yaml")
    return not (folder / "petmood.json").exists() and any((folder / name).is_file() for name in names)


def _opened(folder: Path) -> tuple[Workspace, tuple[str, ...]]:
    """The work folder, and what is wrong with it as a whole.

    Raises:
        UserError: it is none, or one of another format version.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        hint = "give a folder that `petmood prepare SOURCE WORK` made, or one of its runs"
        raise UserError(f"work folder {folder} {what}.", hint=hint)
    try:
        return Workspace.open(folder), ()
    except UserError as error:
        lost = not (folder / "petmood.json").is_file() or "damaged" in error.message
        if not lost or not _has_something(folder):
            raise
        problem = error.message.rstrip(".")
        return Workspace(folder), (f"{problem}; what is here looks like one, so that is what is told",)


def _has_something(folder: Path) -> bool:
    """Whether a folder holds what only petmood leaves."""
    return any((folder / f"{stage}.json").is_file() for stage in ORDER)


def _of_run(folder: Path) -> WorkStatus:
    """The status of one run alone."""
    root = folder.absolute().parent.parent
    problems: tuple[str, ...] = ()
    try:
        marks = read_marks(Workspace.open(root))
        at_work = tuple(owner for owner in holders(root) if owner.part in ("", f"runs/{folder.name}"))
    except PetmoodError as error:
        marks, at_work = dict.fromkeys(ORDER, Mark(content={}, when=None)), ()
        problems = (f"it stands in no work folder: {error.message.rstrip('.')}",)
    run = run_status(folder, marks)
    known = Known(root=root, marks=marks, source=None, stages=(), runs=(run,), holders=at_work)
    return WorkStatus(
        root=str(folder), problems=problems, holders=at_work, runs=(run,), size=run.size, following=following(known)
    )
