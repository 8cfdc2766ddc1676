"""`petmood evaluate`: judge a run and write its report, or judge it on another source."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Jobs, Json, Quiet
from petmood.cli.folders import Run
from petmood.errors import UserError
from petmood.labels import Language
from petmood.recipes.evaluation import ElsewhereSettings, EvaluateSettings
from petmood.workspace import owned_run


def evaluate(
    run: Run,
    *,
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),  # noqa: B008 - frozen
    other: Annotated[ElsewhereSettings, Parameter(name="*", group="Another source")] = ElsewhereSettings(),  # noqa: B008
    lang: Annotated[Language, Parameter(help="Language of the report and of what is printed.")] = "en",
    jobs: Jobs = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge RUN on clips it has not seen, beside always giving the majority answer; write metrics.json and report.html.

    With --source it is judged on another data set too, in RUN/elsewhere/NAME, and the change is told.

    Parameters
    ----------
    run
        A run folder that `petmood train` made: WORK/runs/NAME.
    """
    if not other.source and other != ElsewhereSettings():
        raise UserError(
            "map, drop-seen, name, label or species is given, but no source that it is about.",
            hint="name it: --source PATH",
        )
    with owned_run(run, "petmood evaluate"):
        if other.source:
            _elsewhere(run, other, settings, lang, jobs=jobs, json=json, quiet=quiet)
        else:
            _own(run, settings, lang, json=json, quiet=quiet)


def _own(run: Path, settings: EvaluateSettings, lang: Language, *, json: bool, quiet: bool) -> None:
    from petmood.evaluate import evaluate as judge
    from petmood.explain import explain_run
    from petmood.report.render import write_report
    from petmood.report.texts import summary_lines

    evaluation = judge(run, settings, quiet=quiet)
    if settings.heat_maps:
        explain_run(run, device=settings.device)
    else:
        (run / "heatmaps.parquet").unlink(missing_ok=True)
    report = write_report(run, lang)
    if json:
        print(json_module.dumps(evaluation.to_dict(), ensure_ascii=False, indent=2))
        return
    for line in summary_lines(evaluation, lang):
        print(line)
    print(f"report: {report}")


def _elsewhere(
    run: Path,
    other: ElsewhereSettings,
    settings: EvaluateSettings,
    lang: Language,
    *,
    jobs: int,
    json: bool,
    quiet: bool,
) -> None:
    from petmood.elsewhere import elsewhere
    from petmood.report.elsewhere_texts import elsewhere_lines

    found = elsewhere(run, other, settings, jobs=jobs, quiet=quiet)
    if json:
        print(json_module.dumps(found.to_dict(), ensure_ascii=False, indent=2))
        return
    for line in elsewhere_lines(found, lang):
        print(line)
    print(f"results: {run / 'elsewhere' / found.name}")
