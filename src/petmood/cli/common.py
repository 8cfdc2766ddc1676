"""What the commands share: options that mean the same everywhere, and how a stage's summary is told."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_module
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.errors import UserError
from petmood.records import StageSummary

Jobs = Annotated[int, Parameter(help="Processes; 0 uses all cores.")]
Force = Annotated[bool, Parameter(help="Do it again although nothing changed.", negative=())]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], help="No progress bars.", negative=())]
Json = Annotated[bool, Parameter(help="Print the result as JSON.", negative=())]
Cluster = Annotated[
    str, Parameter(help="Send the work to the Dask cluster whose scheduler is at this address: tcp://HOST:8786.")
]
Sheet = Annotated[bool, Parameter(help="Write contact-sheet.html: kept, dropped and refused frames of some clips.")]


@contextlib.contextmanager
def on_machines(
    cluster: str, work: Path | None = None, *, sees: Sequence[str] = (), bring: bool = False
) -> Iterator[None]:
    """A block whose tasks go to a cluster, if one is given.

    Args:
        cluster: address of its scheduler; empty leaves all work here.
        work: the work folder that the tasks read or write.
        sees: other files and folders that every worker must see.
        bring: the tasks only write into the work folder, so that it may be a remote one's mirror.

    Raises:
        UserError: the tasks read a work folder that is on this machine alone; or as `cluster.on_cluster`.
    """
    if not cluster:
        yield
        return
    from petmood.cluster import on_cluster
    from petmood.remote import cache_folder

    mirror = next((place for place in (work, *map(Path, sees)) if place and cache_folder() in place.parents), None)
    if mirror and not bring:
        raise UserError(
            f"cluster {cluster} cannot read a remote work folder; its mirror {mirror} is on this machine alone.",
            hint="leave out --cluster, or give a folder that all machines share",
        )
    with on_cluster(cluster, work=work, sees=sees, bring=mirror is not None):
        yield


def reached(work: Path, cluster: str) -> Path:
    """The work folder by a path that other machines can use, if a cluster is given."""
    return work.absolute() if cluster else work


def source_of(work: Path) -> list[str]:
    """Where the pictures of an indexed work folder are; nothing if it has no index."""
    from petmood.workspace import Workspace

    place = Workspace.open(work).mark("index").get("settings", {}).get("source")
    return [place] if place else []


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
