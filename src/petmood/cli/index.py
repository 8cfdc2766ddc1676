"""`petmood index`: read the labels, keep the good frames."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Cluster, Force, Jobs, Json, Quiet, on_machines, reached, tell
from petmood.cli.folders import Work
from petmood.data.index import IndexSettings
from petmood.lock import owned
from petmood.places import absolute


def index(
    source: str,
    work: Work,
    *,
    settings: Annotated[IndexSettings, Parameter(name="*")] = IndexSettings(),  # noqa: B008 - frozen
    jobs: Jobs = 0,
    cluster: Cluster = "",
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

    work = reached(work, cluster)
    with owned(work, "petmood index", new=True), on_machines(cluster, work, sees=[absolute(source)], bring=True):
        tell(run(source, work, settings, jobs=jobs, quiet=quiet, force=force), json=json)
