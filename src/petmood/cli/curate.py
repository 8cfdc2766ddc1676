"""`petmood curate`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Cluster, Force, Jobs, Json, Sheet, on_machines, show_sheet, tell
from petmood.cli.folders import Work
from petmood.data.curate import CurateSettings
from petmood.lock import owned


def curate(
    work: Work,
    *,
    settings: Annotated[CurateSettings, Parameter(name="*")] = CurateSettings(),  # noqa: B008 - frozen
    sheet: Sheet = True,
    jobs: Jobs = 1,
    cluster: Cluster = "",
    force: Force = False,
    json: Json = False,
) -> None:
    """Choose the frames of each clip that are used (column `keep` of frames.parquet).

    Parameters
    ----------
    work
        A work folder that `petmood index` made.
    """
    from petmood.data.curate import curate as run

    with owned(work, "petmood curate"):
        with on_machines(cluster):
            summary = run(work, settings, jobs=jobs, force=force)
        tell(summary, json=json)
        if sheet and not summary.skipped:
            show_sheet(work, json=json)
