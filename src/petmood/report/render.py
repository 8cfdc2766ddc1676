"""From page data to one HTML file: words, numbers as text, charts and pictures, all inside it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path

from markupsafe import Markup

from petmood import charts
from petmood.labels import Language, display
from petmood.records import REASONS
from petmood.report.page import Page, read_page
from petmood.report.pages import page_environment, style
from petmood.report.texts import REASONS_KO, caution_line, decimal, percent, text, verdict_line
from petmood.workspace import replacing


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
    environment = page_environment()
    environment.filters.update(
        percent=percent,
        decimal=decimal,
        emotion=partial(display, language=language),
        reason=partial(_reason, language=language),
        data_uri=_data_uri,
        plain=_plain,
    )
    return environment.get_template("report.html.j2").render(
        page=page,
        judged=page.evaluation,
        language=language,
        t=partial(text, language=language),
        verdict=verdict_line(page.evaluation, language),
        cautions=[(caution.kind, caution_line(caution, language)) for caution in page.evaluation.cautions],
        charts=_charts(page, language),
        # The stylesheet is ours; nothing of the data comes into it.
        css=Markup(style("report.css")),  # noqa: S704
    )


def _charts(page: Page, language: Language) -> dict[str, Markup]:
    """Name → inline SVG; those that have nothing to show are left out."""
    word = partial(text, language=language)
    judged = page.evaluation
    names = [display(name, language) for name in judged.classes]
    found = {
        "confusion": charts.confusion(
            word("confusion_clips"), names, judged.clips.confusion, truth=word("truth"), answer=word("answer")
        ),
        "f1": charts.score_bars(word("f1_chart"), _f1_bars(page, language)),
    }
    if page.data.classes:
        rows = [
            charts.ClassBar(display(one.name, language), {word("clips"): one.clips, word("frames"): one.frames})
            for one in page.data.classes
        ]
        found["imbalance"] = charts.class_bars(word("imbalance_chart"), rows, axis=word("log_axis"))
    found |= _curves(page, word)
    # Made by matplotlib, which escapes the words in it.
    return {name: Markup(svg) for name, svg in found.items()}  # noqa: S704


def _f1_bars(page: Page, language: Language) -> list[charts.ClassBar]:
    clips, frames = page.evaluation.clips.classes, page.evaluation.frames.classes
    words = text("clips", language), text("frames", language)
    return [
        charts.ClassBar(display(one.name, language), {words[0]: one.f1, words[1]: other.f1})
        for one, other in zip(clips, frames, strict=True)
    ]


def _curves(page: Page, word: Callable[[str], str]) -> dict[str, str]:
    """Loss and scores over the epochs."""
    if page.curves is None:
        return {}
    wanted = {
        "loss": {"train_loss": word("train"), "val_loss": word("val")},
        "scores": {"val_accuracy": word("val_accuracy"), "val_clip_macro_f1": word("val_clip_macro_f1")},
    }
    drawn = {}
    for name, columns in wanted.items():
        lines = {label: page.curves.columns[key] for key, label in columns.items() if key in page.curves.columns}
        if lines:
            drawn[name] = charts.curves(
                word(name),
                page.curves.epochs,
                lines,
                axis=word("epoch"),
                mark=page.curves.kept or None,
                mark_label=word("kept_epoch"),
            )
    return drawn


def _reason(reason: str, language: Language) -> str:
    return (REASONS_KO if language == "ko" else REASONS).get(reason, reason)


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _plain(value: object) -> str:
    """A setting as it would stand in YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
