"""`petmood prepare`: all data stages in a row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Force, Jobs, Json, Quiet, tell
from petmood.data.curate import CurateSettings
from petmood.data.index import IndexSettings
from petmood.data.pack import PackSettings
from petmood.data.split import SplitSettings


def prepare(
    source: Path,
    work: Path,
    *,
    index: Annotated[IndexSettings, Parameter(name="*", group="index")] = IndexSettings(),  # noqa: B008 - frozen
    curate: Annotated[CurateSettings, Parameter(name="*", group="curate")] = CurateSettings(),  # noqa: B008
    pack: Annotated[PackSettings, Parameter(name="*", group="pack")] = PackSettings(),  # noqa: B008
    split: Annotated[SplitSettings, Parameter(name="*", group="split")] = SplitSettings(),  # noqa: B008
    jobs: Jobs = 0,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Turn SOURCE into crops with a split: index, curate, pack, split. Stages that are up to date are skipped.

    Parameters
    ----------
    source
        An AI Hub folder (label files and pictures, in any of its layouts), class folders (happy/*.jpg), or a CSV.
    work
        The work folder; made if it is not there.
    """
    from petmood.data.curate import curate as run_curate
    from petmood.data.index import index as run_index
    from petmood.data.pack import pack as run_pack
    from petmood.data.split import split as run_split

    tell(run_index(source, work, index, jobs=jobs, quiet=quiet, force=force), json=json)
    tell(run_curate(work, curate, force=force), json=json)
    tell(run_pack(work, pack, jobs=jobs, quiet=quiet, force=force), json=json)
    tell(run_split(work, split, force=force), json=json)
