"""What the commands share: options that mean the same everywhere, and how a stage's summary is told."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.records import StageSummary

Jobs = Annotated[int, Parameter(help="Processes; 0 uses all cores.")]
Force = Annotated[bool, Parameter(help="Do it again although nothing changed.", negative=())]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], help="No progress bars.", negative=())]
Json = Annotated[bool, Parameter(help="Print the result as JSON.", negative=())]


Sheet = Annotated[bool, Parameter(help="Write contact-sheet.html: kept, dropped and refused frames of some clips.")]


def tell(summary: StageSummary, *, json: bool) -> None:
    """Print what a stage did: lines for people or one JSON object, on standard output."""
    if json:
        print(json_module.dumps(dataclasses.asdict(summary), ensure_ascii=False, default=str))
        return
    state = "up to date, nothing to do" if summary.skipped else "done"
    print(f"{summary.stage}: {state}")
    for line in summary.lines:
        print(f"  {line}")


def show_sheet(work: Path, *, json: bool) -> None:
    """Write the contact sheet of a work folder and say so; with ``json`` standard output stays the stages' alone."""
    from petmood.report.sheet import write_sheet

    line = write_sheet(work).line
    if not json:
        print(f"contact sheet: {line}")
