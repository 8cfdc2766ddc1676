"""`petmood adjust`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Json, tell
from petmood.cli.folders import Run
from petmood.records import StageSummary
from petmood.workspace import owned_run


def adjust(
    run: Run,
    *,
    target: Annotated[
        str,
        Parameter(
            help="uniform; training (as the clips it was trained on); trained (undo: as it came out of training); or "
            "EMOTION=SHARE,… for each emotion, in Korean or English."
        ),
    ],
    json: Json = False,
) -> None:
    """Tell a run how often each emotion will be met, without training again; the answers change accordingly.

    Parameters
    ----------
    run
        Run folder of `petmood train`: WORK/runs/NAME.
    """
    from petmood.adjust import adjust as work

    with owned_run(run, "petmood adjust"):
        done = work(run, target)
    counts = {"before": dict(done.before), "after": dict(done.after), "removed": list(done.removed)}
    tell(StageSummary(stage="adjust", skipped=not done.changed, counts=counts, lines=done.lines), json=json)
