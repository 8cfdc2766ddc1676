"""`petmood split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Force, Json, tell
from petmood.data.split import SplitSettings


def split(
    work: Path,
    *,
    settings: Annotated[SplitSettings, Parameter(name="*")] = SplitSettings(),  # noqa: B008 - frozen
    force: Force = False,
    json: Json = False,
) -> None:
    """Divide the clips into training, validation and test, by group, and audit the result.

    Parameters
    ----------
    work
        A work folder that `petmood index` made.
    """
    from petmood.data.split import split as run

    tell(run(work, settings, force=force), json=json)
