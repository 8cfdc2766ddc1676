"""`petmood demo`: the whole way on made-up clips."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Jobs, Quiet, tell
from petmood.errors import UserError
from petmood.lock import owned


def demo(
    out: Path = Path("petmood-demo"),
    *,
    clips: Annotated[int, Parameter(help="Made-up clips.")] = 240,
    seed: int = 0,
    force: Annotated[bool, Parameter(help="Replace an earlier demo in OUT.", negative=())] = False,
    jobs: Jobs = 0,
    quiet: Quiet = False,
) -> None:
    """Made-up clips through every stage to a report: synth, prepare, train, evaluate. Needs no data and no network.

    Parameters
    ----------
    out
        Folder for the made-up data and the work folder.
    """
    started = time.monotonic()
    _make_room(out, force=force)
    from petmood.data.curate import curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.data.screen import screen
    from petmood.data.split import split
    from petmood.evaluate import evaluate
    from petmood.explain import explain_run
    from petmood.recipes import recipe_settings
    from petmood.report.render import write_report
    from petmood.report.texts import summary_lines
    from petmood.synth import SynthSettings, synth
    from petmood.train import train
    from petmood.workspace import Workspace

    source, work = out / "clips", out / "work"
    synth(source, SynthSettings(clips=clips, frames=16, seed=seed, shares="balanced", faults=0.02), jobs=jobs)
    with owned(work, "petmood demo", new=True):
        tell(index(source, work, jobs=jobs, quiet=quiet), json=False)
        tell(curate(work), json=False)
        tell(pack(work, jobs=jobs, quiet=quiet), json=False)
        tell(screen(work), json=False)
        tell(split(work), json=False)
        run = train(Workspace.open(work), "demo", recipe_settings("demo"), quiet=quiet).run
        evaluation = evaluate(run, quiet=quiet)
        explain_run(run)
        report = write_report(run)
    for line in summary_lines(evaluation, "en"):
        print(line)
    scores = evaluation.clips
    print(f"macro-F1 of clips: model {scores.macro_f1:.3f}, always the majority {scores.baseline.macro_f1:.3f}")
    print(f"{time.monotonic() - started:.0f} s in all; report: {report}")


def _make_room(out: Path, *, force: bool) -> None:
    """Make sure that ``out`` is free; an earlier demo is removed only when asked, anything else never."""
    mark = out / "demo.mark"
    if out.exists() and any(out.iterdir()):
        if not (force and mark.exists()):
            hint = "give another folder" + (", or --force to replace the earlier demo" if mark.exists() else "")
            raise UserError(f"folder {out} is not empty.", hint=hint)
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text("made by `petmood demo`; `petmood demo --force` may replace this folder\n", encoding="utf-8")
