"""From page data to one HTML file: words, numbers as text, charts and pictures, all inside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jinja2
from markupsafe import Markup

from petmood.bootstrap import FEW_GROUPS
from petmood.labels import Language, display
from petmood.metrics.records import FEW_GROUPS_OF_A_CLASS
from petmood.records import REASONS
from petmood.report.card import card
from petmood.report.doubt_texts import credit_line
from petmood.report.drawing import draw
from petmood.report.findings import findings
from petmood.report.page import Page, read_page
from petmood.report.pages import page_environment, style
from petmood.report.pictures import data_uri
from petmood.report.texts import REASONS_KO, caution_line, decimal, percent, text, verdict_line
from petmood.workspace import replacing

#: Sections in the order of the page: name of the anchor, and of the heading with ``_head``.
SECTIONS = (
    *("data", "imbalance", "split", "training"),
    *("numbers", "classes", "species", "shortcuts", "confusion", "calibration", "certainty"),
    *("mistakes", "doubts", "examples", "speed", "settings", "card"),
)
#: Finding → the section that tells more.
DETAILS = {"majority": "numbers", "shortcuts": "shortcuts", "classes": "classes", "leaks": "split"} | {
    "sure": "calibration"
}


def write_report(run: Path, language: Language = "en") -> Path:
    """Write ``report.html`` into the folder of an evaluated run and return its path.

    Raises:
        UserError: the run was not evaluated, or is not in a workspace.
    """
    html = render(read_page(run), language)
    path = run / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def render(page: Page, language: Language) -> str:
    """The report as HTML that loads nothing and runs nothing."""
    found = findings(page.evaluation, page.advantage, language)
    return (
        environment(language)
        .get_template("report.html.j2")
        .render(
            page=page,
            judged=page.evaluation,
            verdict=verdict_line(page.evaluation, language),
            findings=found,
            # What beats the majority by an interval that holds 0 may be luck: the first line must not look like more.
            shaky=page.evaluation.verdict == "beats" and found[0].mark != "good",
            units=[unit for unit in ("clips", "frames") if unit in page.evaluation.sureness],
            cautions=[(caution.kind, caution_line(caution, language)) for caution in page.evaluation.cautions],
            card=card(page, language),
            credit=credit_line(page.doubts.summary, language) if page.doubts else "",
            charts=draw(page, language),
            sections=SECTIONS,
            details=DETAILS,
            # The stylesheets are ours; nothing of the data comes into them.
            css=Markup(style("report.css", "galleries.css")),  # noqa: S704
        )
    )


def environment(language: Language) -> jinja2.Environment:
    """Templates with the filters and words of the report in one language."""
    made = page_environment()
    made.filters.update(
        percent=percent,
        decimal=decimal,
        emotion=partial(display, language=language),
        reason=partial(_reason, language=language),
        data_uri=data_uri,
        plain=_plain,
        code=_code,
    )
    made.globals.update(
        language=language, t=partial(text, language=language), least=FEW_GROUPS_OF_A_CLASS, few_groups=FEW_GROUPS
    )
    return made


def _reason(reason: str, language: Language) -> str:
    return (REASONS_KO if language == "ko" else REASONS).get(reason, reason)


def _plain(value: object) -> str:
    """A setting as it would stand in YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _code(words: str) -> Markup:
    """A text whose parts between backticks are code."""
    parts = words.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))
