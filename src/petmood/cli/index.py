"""`petmood index`: read the labels, keep the good frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Force, Jobs, Json, Quiet, tell
from petmood.data.index import IndexSettings


def index(
    source: Path,
    work: Path,
    *,
    settings: Annotated[IndexSettings, Parameter(name="*")] = IndexSettings(),  # noqa: B008 - frozen
    jobs: Jobs = 0,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Read every label of SOURCE, keep the good frames in WORK and refuse the others, each with a reason.

    Parameters
    ----------
    source
        An AI Hub folder (label files and pictures, in any of its layouts), class folders (happy/*.jpg), or a CSV.
    work
        The work folder; made if it is not there.
    """
    from petmood.data.index import index as run

    tell(run(source, work, settings, jobs=jobs, quiet=quiet, force=force), json=json)
