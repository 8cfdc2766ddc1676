"""`petmood sheet`: a page with the kept and dropped frames of some clips."""

from __future__ import annotations

import dataclasses
import json as json_module
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.common import Json
from petmood.cli.folders import Work
from petmood.labels import Language
from petmood.lock import owned
from petmood.recipes.sheet import SheetSettings


def sheet(
    work: Work,
    *,
    settings: Annotated[SheetSettings, Parameter(name="*")] = SheetSettings(),  # noqa: B008 - frozen
    lang: Annotated[Language, Parameter(help="Language of the page.")] = "en",
    json: Json = False,
) -> None:
    """Write WORK/contact-sheet.html: the frames of some clips, kept, not chosen and refused; works after any stage.

    Parameters
    ----------
    work
        A work folder that `petmood index` made.
    """
    from petmood.report.sheet import write_sheet

    with owned(work, "petmood sheet", part="contact-sheet"):
        summary = write_sheet(work, settings, language=lang)
    if json:
        print(json_module.dumps(dataclasses.asdict(summary), ensure_ascii=False, default=str))
    else:
        print(summary.line)
