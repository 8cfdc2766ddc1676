"""`petmood report`: the report of one run again, or several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from petmood.cli.folders import Run
from petmood.errors import UserError
from petmood.labels import Language
from petmood.workspace import owned_run

if TYPE_CHECKING:
    from petmood.report.side_by_side import Difference


def report(
    *runs: Run,
    lang: Annotated[Language, Parameter(help="Language of the page.")] = "en",
    pdf: Annotated[bool, Parameter(help="Also print it to a PDF beside it, by an installed Chromium.")] = False,
    out: Annotated[Path | None, Parameter(help="Page of several runs; without it WORK/comparison.html.")] = None,
) -> None:
    """Write report.html of an evaluated run again, or a page that sets several runs side by side; runs no model.

    Parameters
    ----------
    runs
        One or more run folders that `petmood evaluate` has judged: WORK/runs/NAME. Several are compared with the first.
    """
    if not runs:
        raise UserError("no run was given; one or more run folders are needed.", hint="petmood report WORK/runs/NAME")
    if len(runs) == 1 and out is not None:
        raise UserError(
            f"--out {out} is for a page of several runs; 1 run was given.",
            hint="the report of one run is always RUN/report.html",
        )
    if pdf:
        from petmood.report.printing import find_browser

        find_browser()  # before anything is written
    page = _one(runs[0], lang) if len(runs) == 1 else _several(runs, out, lang)
    print(f"report: {page}")
    if pdf:
        from petmood.report.printing import print_pdf

        print(f"pdf: {print_pdf(page)}")


def _one(run: Path, lang: Language) -> Path:
    from petmood.report.render import write_report

    with owned_run(run, "petmood report"):
        return write_report(run, lang)


def _several(runs: tuple[Path, ...], out: Path | None, lang: Language) -> Path:
    from petmood.report.side_by_side import read_sides, write_side_by_side

    names = [run.resolve() for run in runs]
    twice = next((run for number, run in enumerate(runs) if names.index(names[number]) != number), None)
    if twice is not None:
        raise UserError(f"run {twice} was given twice; different runs are set side by side.")
    page = read_sides(runs, [_difference(runs[0], run) for run in runs[1:]])
    target = out or runs[0].absolute().parent.parent / "comparison.html"
    if not target.absolute().parent.is_dir():
        raise UserError(f"folder {target.parent} of --out does not exist.", hint="make it, or name another file")
    return write_side_by_side(page, target, lang)


def _difference(first: Path, second: Path) -> Difference:
    """What separates two runs; where they cannot be compared, why."""
    from petmood.report.side_by_side import Difference
    from petmood.runs import compare_runs

    try:
        found = compare_runs(first, second)
    except UserError as error:
        return Difference(macro_f1=None, accuracy=None, problem=error.message)
    return Difference(macro_f1=found.differences["macro_f1"], accuracy=found.differences["accuracy"])
