"""`petmood status`."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, Token
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from petmood.cli.common import Json
from petmood.errors import UserError
from petmood.recipes.upkeep import StatusSettings
from petmood.storage import is_remote

if TYPE_CHECKING:
    from petmood.upkeep import Freeable, RunStatus, StageStatus, WorkStatus

#: Columns of text when nobody looks: a row then is one line, whatever its length.
_NO_LIMIT = 4000


def _folder(_: object, tokens: Sequence[Token]) -> Path:
    """The folder that a word names; of a remote one the mirror on this machine, as it is: nothing is fetched.

    Raises:
        UserError: it has none.
    """
    word = tokens[0].value
    if not is_remote(word) or word.startswith("file://"):
        return Path(word.removeprefix("file://"))
    from petmood.remote import mirror_of

    work, _, run = word.rstrip("/").partition("/runs/")
    mirror = mirror_of(work).work
    if not mirror.is_dir():
        raise UserError(
            f"remote work folder {work} was not used on this machine yet; status tells of its mirror here.",
            hint=f"a command that uses it makes the mirror, such as `petmood runs {work}`",
        )
    print(f"of {word} this is the mirror here; what no command needed was not fetched, and is missing", file=sys.stderr)
    return mirror / "runs" / run if run else mirror


def status(
    folder: Annotated[Path, Parameter(converter=_folder)],
    *,
    settings: Annotated[StatusSettings, Parameter(name="*")] = StatusSettings(),  # noqa: B008 - frozen
    json: Json = False,
) -> None:
    """Tell what a work folder or a run holds, what is stale and why, what to do next, and what could go.

    Nothing is written, and nothing is waited for; it may be asked while another command is at work there.

    Parameters
    ----------
    folder
        A work folder that `petmood prepare` made, or a run folder WORK/runs/NAME.
    """
    from petmood.upkeep import status as look

    found = look(folder, settings)
    if json:
        print(json_module.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=2, default=str))
        return
    console = Console(file=sys.stdout, markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, markup=False, highlight=False, width=_NO_LIMIT)
    for part in _parts(found, lines=console.is_terminal):
        console.print(part, soft_wrap=isinstance(part, str))


def _parts(found: WorkStatus, *, lines: bool) -> Iterator[str | Table]:
    """Everything for people, from what is to be known first to what could be done last."""
    from petmood.upkeep.sizes import told_size

    yield f"{found.root}: {told_size(found.size)}"
    yield from (f"PROBLEM: {problem}" for problem in found.problems)
    yield from (f"in use: {owner.told}" + (f", {owner.part}" if owner.part else "") for owner in found.holders)
    if found.stages:
        yield _stages(found.stages, lines=lines)
        yield from _source(found)
    if found.runs:
        yield _runs(found.runs, lines=lines)
        yield from _notes(found.runs)
    yield from _besides(found)
    yield from _next(found)
    yield from _free(found.freeable, found.root)


def _table(*columns: str, lines: bool) -> Table:
    shown = Table(box=box.SIMPLE_HEAD if lines else None, pad_edge=False)
    for name in columns:
        right = name in ("size", "epochs")
        shown.add_column(name, justify="right" if right else "left", overflow="fold")
    return shown


def _stages(stages: tuple[StageStatus, ...], *, lines: bool) -> Table:
    """One row a stage."""
    from petmood.upkeep.sizes import told_size
    from petmood.upkeep.stages import told_pieces
    from petmood.upkeep.trained import told_when

    shown = _table("stage", "state", "when", "size", "what", "why", lines=lines)
    for stage in stages:
        when = told_when(stage.when) if stage.when else "–"
        going = stage.state == "unfinished" and stage.pieces
        told = told_pieces(stage.pieces) if going and stage.pieces else stage.told
        cells = (stage.stage, stage.state, when, told_size(stage.size), told or "–", "; ".join(stage.why))
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def _source(found: WorkStatus) -> Iterator[str]:
    source = found.source
    if source is None or not source.place:
        return
    words = {
        "same": "unchanged",
        "changed": "changed",
        "gone": "cannot be used",
        "unknown": "not known whether changed",
    }
    detail = f": {source.detail}" if source.detail else ""
    yield f"source {source.place}: {words[source.state]}{detail}"


def _runs(runs: tuple[RunStatus, ...], *, lines: bool) -> Table:
    """One row a run."""
    from petmood.upkeep.sizes import told_size
    from petmood.upkeep.trained import told_when

    shown = _table("run", "state", "when", "epochs", "size", "macro-F1 (majority)", "judged on", lines=lines)
    for run in runs:
        epochs = "–" if run.method == "probe" or not run.most_epochs else f"{run.epochs}/{run.most_epochs}"
        judged = run.judged
        score = f"{judged.macro_f1:.3f} ({judged.majority_macro_f1:.3f})" if judged else "–"
        clips = f"{judged.split}, {judged.clips:,} clips" if judged else "not judged"
        state = run.state + (", stale" if run.stale else "")
        cells = (run.name, state, told_when(run.when), epochs, told_size(run.size), score, clips)
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def _notes(runs: tuple[RunStatus, ...]) -> Iterator[str]:
    """What is wrong with the runs, and what else they hold."""
    from petmood.upkeep.sizes import told_size

    for run in runs:
        yield from (f"run {run.name}: {clause}" for clause in (run.problem, *run.stale) if clause)
        parts = [f"checkpoints {told_size(run.checkpoints)}"] if run.checkpoints else []
        parts += [f"exported as {', '.join(run.exported)}"] if run.exported else []
        parts += [f"judged on {', '.join(run.elsewhere)} too"] if run.elsewhere else []
        if parts:
            yield f"run {run.name}: {'; '.join(parts)}"


def _besides(found: WorkStatus) -> Iterator[str]:
    """Features, searches, and what petmood does not know."""
    from petmood.upkeep.sizes import told_size

    of = {True: "", False: ", of crops that are no more", None: ", of crops that are not packed now"}
    for one in found.features:
        told = one.problem or f"{one.known:,} of {one.rows:,} crops by {one.model}{of[one.current]}"
        yield f"features {one.key}: {told}, {told_size(one.size)}"
    for search in found.searches:
        yield f"search {search.name}: {search.told}, {told_size(search.size)}"
    if found.foreign:
        names = ", ".join(f"{one.name} ({told_size(one.size)})" for one in found.foreign)
        yield f"not petmood's, and left alone: {names}"


def _next(found: WorkStatus) -> Iterator[str]:
    if found.following is None:
        return
    head = f"`{found.following.command}`" if found.following.command else "nothing now"
    yield f"next: {head}"
    yield from (f"  {clause}" for clause in found.following.does)


def _free(freeable: tuple[Freeable, ...], root: str) -> Iterator[str]:
    """What `petmood clean` could free, in one line each."""
    from petmood.upkeep.sizes import told_size

    if freeable:
        yield f"`petmood clean {root}` could free:"
    for one in sorted(freeable, key=lambda one: one.option):
        option = f"with {one.option}: " if one.option else ""
        yield f"  {told_size(one.size):>8}  {option}{one.what}"
