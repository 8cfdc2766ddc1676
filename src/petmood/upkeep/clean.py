"""Free space in a work folder: by itself what nobody can miss, by options what can be made again, or a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from petmood.errors import UserError
from petmood.lock import owned
from petmood.recipes.upkeep import CleanSettings
from petmood.upkeep.caches import read_features
from petmood.upkeep.freeing import freeable
from petmood.upkeep.pictures import check_pictures
from petmood.upkeep.records import Freeable, Option, RunStatus
from petmood.upkeep.removing import refusal, remove
from petmood.upkeep.sizes import told_size
from petmood.upkeep.stages import Marks, read_marks
from petmood.upkeep.status import look_at
from petmood.upkeep.trained import read_runs, told_when
from petmood.workspace import Workspace

#: Seconds for which it is looked whether the source has changed.
_LOOK = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was freed, and what could be."""

    removed: tuple[Freeable, ...]
    """What went; with ``dry_run`` what would."""
    freed: int
    """Bytes; 0 with ``dry_run``."""
    kept: tuple[Freeable, ...]
    """What could go too, by further options."""
    left: tuple[str, ...]
    """What was to go and is still there, with the reason."""
    dry_run: bool


def clean(
    work: Path,
    settings: CleanSettings = CleanSettings(),  # noqa: B008 - frozen
    *,
    sure: Callable[[Sequence[Freeable]], bool] = lambda _: True,
) -> Cleaned:
    """Remove from ``work`` what nobody can miss, and what the settings name; nobody else may be at work there.

    Whenever it is killed, what is left is a sound work folder; called again, it goes on.

    Args:
        work: work folder.
        settings: what goes, and whether it is only told.
        sure: asked before runs are removed, which nothing brings back; False leaves them.

    Raises:
        UserError: no work folder; another command is at work there; no such run; or crops that could not be made again.
    """
    workspace = Workspace.open(work)
    if settings.dry_run:
        return _cleaned(workspace, settings, sure)
    with owned(work, "petmood clean"):
        return _cleaned(workspace, settings, sure)


def _cleaned(workspace: Workspace, settings: CleanSettings, sure: Callable[[Sequence[Freeable]], bool]) -> Cleaned:
    marks = read_marks(workspace)
    runs = read_runs(workspace, marks)
    asked = _asked_runs(workspace, runs, settings)
    found = _found(workspace, marks, [run for run in runs if run.name not in settings.run])
    wanted = [one for one in found if _is_wanted(one.option, settings)]
    if settings.crops:
        _check_crops(workspace)
    kept = tuple(one for one in found if one not in wanted)
    if settings.dry_run:
        return Cleaned(removed=(*wanted, *asked), freed=0, kept=kept, left=_refused(workspace, wanted), dry_run=True)
    if asked and sure(asked):
        wanted += asked
    if settings.crops:
        workspace.begin("pack")  # the marks go first: crops that are only partly there belong to no finished stage
    done = [remove(workspace.root, one.paths) for one in wanted]
    return Cleaned(
        removed=tuple(wanted),
        freed=sum(one.size for one in done),
        kept=kept,
        left=tuple(clause for one in done for clause in one.left),
        dry_run=False,
    )


def _check_crops(workspace: Workspace) -> None:
    """Make sure that the crops may go.

    Raises:
        UserError: they are behind a link, or could not be made again.
    """
    problem = refusal(workspace.root, workspace.crops)
    if problem:
        raise UserError(f"crops cannot be removed: {problem}.", hint="leave out --crops, or remove them by hand")
    check_pictures(workspace)


def _found(workspace: Workspace, marks: Marks, runs: Sequence[RunStatus]) -> tuple[Freeable, ...]:
    look = look_at(workspace, marks, seconds=_LOOK)
    return freeable(workspace, marks, look, runs, read_features(workspace))


def _is_wanted(option: Option, settings: CleanSettings) -> bool:
    wanted: Mapping[Option, bool] = {
        "": True,
        "--all-features": settings.all_features,
        "--checkpoints": settings.checkpoints,
        "--unfinished": settings.unfinished,
        "--crops": settings.crops,
        "--run": False,
    }
    return wanted[option]


def _refused(workspace: Workspace, wanted: Sequence[Freeable]) -> tuple[str, ...]:
    told = ((path, refusal(workspace.root, path)) for one in wanted for path in one.paths)
    return tuple(f"{path}: {problem}" for path, problem in told if problem)


def _asked_runs(workspace: Workspace, runs: Sequence[RunStatus], settings: CleanSettings) -> list[Freeable]:
    """The runs that are to go.

    Raises:
        UserError: one of them is not there, or is a link.
    """
    by_name = {run.name: run for run in runs}
    missing = [name for name in settings.run if name not in by_name]
    if missing:
        found = ", ".join(by_name) or "none"
        raise UserError(f"run {missing[0]!r} does not exist in {workspace.runs}; found are {found}.")
    for name in settings.run:
        problem = refusal(workspace.root, workspace.runs / name)
        if problem:
            hint = "remove the link, or what it leads to, by hand"
            raise UserError(f"run {name!r} cannot be removed: {problem}.", hint=hint)
    return [_freeable_run(workspace, by_name[name]) for name in dict.fromkeys(settings.run)]


def _freeable_run(workspace: Workspace, run: RunStatus) -> Freeable:
    judged = f", macro-F1 {run.judged.macro_f1:.3f} on {run.judged.split}" if run.judged else ""
    what = f"run {run.name}: {run.state}, {told_when(run.when)}{judged}"
    again = f"nothing brings it back but training ({told_size(run.size)})"
    return Freeable(what=what, again=again, paths=(workspace.runs / run.name,), size=run.size, option="--run")
