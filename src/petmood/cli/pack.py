"""`petmood pack`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Cluster, Force, Jobs, Json, Quiet, on_machines, reached, source_of, tell
from petmood.cli.folders import Work
from petmood.data.pack import PackSettings
from petmood.lock import owned


def pack(
    work: Work,
    *,
    settings: Annotated[PackSettings, Parameter(name="*")] = PackSettings(),  # noqa: B008 - frozen
    jobs: Jobs = 0,
    cluster: Cluster = "",
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Decode each chosen frame once and keep the animal as a small crop.

    Parameters
    ----------
    work
        A work folder that `petmood index` made.
    """
    from petmood.data.pack import pack as run

    work = reached(work, cluster)
    with owned(work, "petmood pack"), on_machines(cluster, work, sees=source_of(work), bring=True):
        tell(run(work, settings, jobs=jobs, quiet=quiet, force=force), json=json)
