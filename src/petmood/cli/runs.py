"""`petmood runs`."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from petmood.cli.common import Json
from petmood.cli.folders import Work
from petmood.runs import Run, RunTable, Sort, list_runs
from petmood.workspace import Workspace

#: Columns of text when nobody looks: a run then is one line, whatever its length.
_NO_LIMIT = 4000


def runs(
    work: Work,
    *,
    sort: Annotated[Sort, Parameter(help="By time (oldest first), name, or a score (best first).")] = "time",
    all: Annotated[bool, Parameter(help="List every setting, not only those that differ.", negative=())] = False,
    json: Json = False,
) -> None:
    """List the runs of a work folder: the settings that differ, and the scores on clips.

    Parameters
    ----------
    work
        A work folder with runs that `petmood train` made.
    """
    table = list_runs(Workspace.open(work), sort=sort)
    if json:
        print(json_module.dumps(dataclasses.asdict(table), ensure_ascii=False, indent=2, default=str))
        return
    if not table.runs:
        print(f"{work} has no runs yet; make one with `petmood train {work}`")
        return
    console = Console(file=sys.stdout, markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, markup=False, highlight=False, width=_NO_LIMIT)
    console.print(_overview(table, lines=console.is_terminal))
    if all:
        console.print(_settings(table, lines=console.is_terminal))
    for note in _notes(table, work):
        console.print(note, soft_wrap=True)


def _overview(table: RunTable, *, lines: bool) -> Table:
    """One row a run."""
    shown = Table(box=box.SIMPLE_HEAD if lines else None, pad_edge=False)
    shown.add_column("run", overflow="fold")
    shown.add_column("when", min_width=16)
    shown.add_column("recipe")
    shown.add_column("epochs", justify="right", min_width=6)
    shown.add_column("val F1", justify="right", min_width=6)
    shown.add_column("judged on", min_width=9)
    shown.add_column("macro-F1", justify="right", min_width=13)
    shown.add_column("balanced", justify="right", min_width=13)
    shown.add_column("settings that differ", overflow="fold", ratio=1 if lines else None)
    for run in table.runs:
        shown.add_row(*(Text(cell) for cell in _cells(run, table.differing)))
    return shown


def _cells(run: Run, differing: tuple[str, ...]) -> Iterator[str]:
    yield run.name
    yield f"{run.when:%Y-%m-%d %H:%M}"
    yield run.recipe or run.method
    if run.state == "damaged":
        yield from ("–", "–", "–", "–", "–", "damaged")
        return
    yield "–" if run.method == "probe" else f"{run.epochs}/{run.most_epochs}"
    yield _score(run.validation)
    judged = run.judged
    yield f"{judged.split} {judged.clips:,}" if judged else "–"
    yield f"{_score(judged.macro_f1)} ({_score(judged.majority_macro_f1)})" if judged else "–"
    yield f"{_score(judged.balanced_accuracy)} ({_score(judged.majority_balanced_accuracy)})" if judged else "–"
    settings = " ".join(f"{name.replace('_', '-')}={_value(run.settings[name])}" for name in differing)
    yield f"[{run.state}] {settings}".rstrip() if run.state != "finished" else settings or "–"


def _settings(table: RunTable, *, lines: bool) -> Table:
    """One row a setting, a column a run; those that differ are marked."""
    known = [run for run in table.runs if run.settings]
    shown = Table(box=box.SIMPLE_HEAD if lines else None, pad_edge=False)
    shown.add_column("setting")
    for run in known:
        shown.add_column(Text(run.name), overflow="fold")
    for name in dict.fromkeys(name for run in known for name in run.settings):
        mark = " *" if name in table.differing else ""
        cells = (_value(run.settings.get(name)) for run in known)
        shown.add_row(*(Text(cell) for cell in (name.replace("_", "-") + mark, *cells)))
    return shown


def _notes(table: RunTable, work: Path) -> Iterator[str]:
    """How to read the table, and what to do about the runs that are not ready."""
    yield "Scores are macro-F1 and balanced accuracy of clips, in brackets those of always giving the majority answer."
    yield "val F1 chose the epoch, so it is optimistic: report the scores on test."
    yield "Whether a difference is real: `petmood compare RUN RUN`."
    chosen = [run.name for run in table.runs if run.judged and run.judged.split != "test"]
    if chosen:
        yield f"not judged on test, so optimistic: {', '.join(chosen)}"
    others = [run.name for run in table.runs if run.other_data]
    if others:
        yield f"trained on other data, or another split, than {work} has now: {', '.join(others)}"
    for run in table.runs:
        folder = work / "runs" / run.name
        if run.state == "unfinished":
            yield (
                f"{run.name}: {run.epochs} of {run.most_epochs} epochs done; unless it is still training, go on with: "
                f"petmood train {work} --name {run.name} --resume"
            )
        elif run.state == "damaged":
            yield f"{run.name}: damaged: {run.problem}"
        elif run.judged is None:
            yield f"{run.name}: not judged yet: petmood evaluate {folder}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _value(value: Any) -> str:  # noqa: ANN401 - of a setting
    """A setting's value as it would be typed."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value in ("", None) else str(value)
