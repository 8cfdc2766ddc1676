"""`petmood evaluate`: judge a run and write its report."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Json, Quiet
from petmood.labels import Language
from petmood.recipes.evaluation import EvaluateSettings


def evaluate(
    run: Path,
    *,
    settings: Annotated[EvaluateSettings, Parameter(name="*")] = EvaluateSettings(),  # noqa: B008 - frozen
    lang: Annotated[Language, Parameter(help="Language of the report and of what is printed.")] = "en",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge RUN on clips it has not seen, beside always giving the majority answer; write metrics.json and report.html.

    Parameters
    ----------
    run
        A run folder that `petmood train` made: WORK/runs/NAME.
    """
    from petmood.evaluate import evaluate as judge
    from petmood.report.render import write_report
    from petmood.report.texts import summary_lines

    evaluation = judge(run, settings, quiet=quiet)
    report = write_report(run, lang)
    if json:
        print(json_module.dumps(evaluation.to_dict(), ensure_ascii=False, indent=2))
        return
    for line in summary_lines(evaluation, lang):
        print(line)
    print(f"report: {report}")
