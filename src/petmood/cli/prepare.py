"""`petmood prepare`: all data stages in a row."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Cluster, Force, Jobs, Json, Quiet, Sheet, on_machines, reached, show_sheet, tell
from petmood.cli.folders import Work
from petmood.cli.screen import FEATURES, features_for
from petmood.data.curate import CurateSettings
from petmood.data.index import IndexSettings
from petmood.data.pack import PackSettings
from petmood.data.screen import ScreenSettings
from petmood.data.split import SplitSettings
from petmood.lock import owned
from petmood.places import absolute
from petmood.recipes.features import FeatureSettings
from petmood.records import StageSummary


def prepare(
    source: str,
    work: Work,
    *,
    index: Annotated[IndexSettings, Parameter(name="*", group="index")] = IndexSettings(),  # noqa: B008 - frozen
    curate: Annotated[CurateSettings, Parameter(name="*", group="curate")] = CurateSettings(),  # noqa: B008
    pack: Annotated[PackSettings, Parameter(name="*", group="pack")] = PackSettings(),  # noqa: B008
    screen: Annotated[ScreenSettings, Parameter(name="*", group="screen")] = ScreenSettings(),  # noqa: B008
    split: Annotated[SplitSettings, Parameter(name="*", group="split")] = SplitSettings(),  # noqa: B008
    features: Annotated[FeatureSettings, Parameter(name="*", group=FEATURES)] = FeatureSettings(),  # noqa: B008
    sheet: Sheet = True,
    jobs: Jobs = 0,
    cluster: Cluster = "",
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Turn SOURCE into crops with a split: index, curate, pack, screen, split. Stages that are up to date are skipped.

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
    from petmood.data.screen import screen as run_screen
    from petmood.data.split import split as run_split

    changed = False

    def told(summary: StageSummary) -> None:
        nonlocal changed
        changed = changed or not summary.skipped
        tell(summary, json=json)

    work = reached(work, cluster)
    with owned(work, "petmood prepare", new=True), on_machines(cluster, work, sees=[absolute(source)], bring=True):
        told(run_index(source, work, index, jobs=jobs, quiet=quiet, force=force))
        told(run_curate(work, curate, jobs=jobs, force=force))
        told(run_pack(work, pack, jobs=jobs, quiet=quiet, force=force))
        described = features_for(work, screen, features, quiet=quiet)
        told(run_screen(work, screen, features=described, threads=jobs, force=force))
        told(run_split(work, split, force=force))
        if sheet and changed:
            show_sheet(work, json=json)
