"""`petmood curate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Force, Json, Sheet, show_sheet, tell
from petmood.data.curate import CurateSettings


def curate(
    work: Path,
    *,
    settings: Annotated[CurateSettings, Parameter(name="*")] = CurateSettings(),  # noqa: B008 - frozen
    sheet: Sheet = True,
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

    summary = run(work, settings, force=force)
    tell(summary, json=json)
    if sheet and not summary.skipped:
        show_sheet(work, json=json)
