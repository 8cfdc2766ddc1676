"""`petmood doctor`: what would make a training fail or lie, before hours are spent on it."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Json, Quiet
from petmood.cli.recipes import DEFAULT, TriedRecipe, TriedSettings, fill_from_recipe
from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.recipes.doctor import DoctorSettings

if TYPE_CHECKING:
    from petmood.doctor.records import Check, Diagnosis

_MARKS = {"ok": "✓", "warn": "!", "fail": "✗", "skipped": "-"}
_WIDTH = 120

#: An app of its own, because it takes values from a recipe.
doctor = cyclopts.App(name="doctor", config=fill_from_recipe)


@doctor.default
def command(
    folder: Path,
    *,
    recipe: TriedRecipe = DEFAULT,
    checks: Annotated[DoctorSettings, Parameter(name="*", group="checks")] = DoctorSettings(),  # noqa: B008 - frozen
    settings: TriedSettings = TrainSettings(),  # noqa: B008 - frozen
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Check a work folder or a run: each check with verdict, evidence and remedy. The exit code is 1 if any fails.

    Nothing is written, and no run is made. Takes seconds to two minutes.

    Parameters
    ----------
    folder
        A work folder (with the settings of the training that is meant), or a run folder WORK/runs/NAME.
    """
    from petmood.doctor.diagnose import diagnose

    found = diagnose(folder, checks, settings, quiet=quiet)
    if json:
        content = {**dataclasses.asdict(found), "failed": found.failed}
        print(json_module.dumps(content, ensure_ascii=False, indent=2, default=str))
    else:
        for line in diagnosis_lines(found):
            print(line)
    if found.failed:
        raise SystemExit(1)


def ask_before_training(work: Path, settings: TrainSettings) -> None:
    """Ask the brief questions about a training that is about to begin; tell what is doubtful on standard error.

    Raises:
        UserError: a check failed: the training would fail or lie.
    """
    from petmood.doctor.diagnose import diagnose

    found = diagnose(work, DoctorSettings(brief=True), settings, quiet=True)
    if any(check.name == "plan" and check.verdict == "fail" for check in found.checks):
        return  # it cannot even begin, and says so itself, in its own words
    for check in found.checks:
        if check.verdict in {"warn", "fail"}:
            for line in _lines(check, width=0):
                print(line, file=sys.stderr)
    failed = [check.name for check in found.checks if check.verdict == "fail"]
    if failed:
        raise UserError(
            f"the training was not begun, because the doctor says that it would fail or lie: {', '.join(failed)}.",
            hint=f"mend that (`petmood doctor {work}` tells more), or train all the same with --no-doctor",
        )


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """The checks for people: mark, name and evidence, then what to do; a summary last."""
    width = max(len(check.name) for check in found.checks) + 1
    for check in found.checks:
        yield from _lines(check, width=width)
    counts = {verdict: sum(check.verdict == verdict for check in found.checks) for verdict in _MARKS}
    told = ", ".join(
        f"{number} {word}"
        for word, number in zip(("ok", "to look at", "failed", "skipped"), counts.values(), strict=True)
        if number
    )
    yield f"{found.subject}: {told} ({found.seconds:,.0f} s)"


def _lines(check: Check, *, width: int) -> Iterator[str]:
    head = f"{_MARKS[check.verdict]} {check.name:<{width}} "
    indent = " " * (len(head) if width else 4)
    yield from textwrap.wrap(head + check.evidence, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
    if check.remedy:
        yield from textwrap.wrap(
            f"{indent}→ {check.remedy}", _WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False
        )
