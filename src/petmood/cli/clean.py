"""`petmood clean`."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, Token

from petmood.cli.common import Json
from petmood.errors import UserError
from petmood.recipes.upkeep import CleanSettings
from petmood.storage import is_remote

if TYPE_CHECKING:
    from petmood.upkeep import Cleaned, Freeable


def _work(_: object, tokens: Sequence[Token]) -> Path:
    """The work folder that a word names.

    Raises:
        UserError: it is remote: only a part of it is on this machine.
    """
    word = tokens[0].value
    if is_remote(word) and not word.startswith("file://"):
        raise UserError(
            f"work folder {word} is remote; clean removes only from folders on a disk.",
            hint="copy it to a disk, or remove single runs there by the storage's own means",
        )
    return Path(word.removeprefix("file://"))


def clean(
    work: Annotated[Path, Parameter(converter=_work)],
    *,
    settings: Annotated[CleanSettings, Parameter(name="*")] = CleanSettings(),  # noqa: B008 - frozen
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Remove runs without asking.", negative=())] = False,
    json: Json = False,
) -> None:
    """Free space: remove what nobody can miss from WORK, tell what else could go, and remove that if it is named.

    What goes by itself: half-written files of killed commands, features of crops that are no more, pieces of other
    settings' work a day old, damaged marks, and the second-newest checkpoints of finished runs.

    Parameters
    ----------
    work
        A work folder that `petmood prepare` made. No other command may be at work there.
    """
    from petmood.upkeep import clean as run

    found = run(work, settings, sure=lambda runs: yes or _sure(runs))
    if json:
        print(json_module.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=2, default=str))
        return
    for line in _lines(found, work):
        print(line)


def _sure(runs: Sequence[Freeable]) -> bool:
    """Ask on the terminal.

    Raises:
        UserError: nobody is there to answer.
    """
    for one in runs:
        print(f"{one.what}; {one.again}", file=sys.stderr)
    if not sys.stdin.isatty():
        raise UserError(f"runs to be removed: {len(runs):,}, and there is nobody to ask.", hint="add --yes")
    print("remove? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _lines(found: Cleaned, work: Path) -> Iterator[str]:
    """What was freed, what was left and what else could go."""
    from petmood.upkeep.sizes import told_size

    total = sum(one.size for one in found.removed)
    freed = f"{told_size(total)} would be freed" if found.dry_run else f"{told_size(found.freed)} freed"
    yield f"clean: {freed}" if found.removed else "clean: there is nothing that nobody can miss"
    yield from (f"  {told_size(one.size):>8}  {one.what}" for one in found.removed)
    yield from (f"left alone: {clause}" for clause in found.left)
    if found.kept:
        yield f"could go too (`petmood clean {work}` with the option):"
    for one in found.kept:
        yield f"  {told_size(one.size):>8}  {one.option}: {one.what}; {one.again}"
