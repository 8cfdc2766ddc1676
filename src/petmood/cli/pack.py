"""`petmood pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Force, Jobs, Json, Quiet, tell
from petmood.data.pack import PackSettings


def pack(
    work: Path,
    *,
    settings: Annotated[PackSettings, Parameter(name="*")] = PackSettings(),  # noqa: B008 - frozen
    jobs: Jobs = 0,
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

    tell(run(work, settings, jobs=jobs, quiet=quiet, force=force), json=json)
