"""`petmood split`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Force, Json, tell
from petmood.cli.folders import Work
from petmood.data.split import SplitSettings
from petmood.lock import owned


def split(
    work: Work,
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

    with owned(work, "petmood split"):
        tell(run(work, settings, force=force), json=json)
