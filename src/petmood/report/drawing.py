"""The charts of the report: which numbers of a page go into which picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from markupsafe import Markup

from petmood import charts
from petmood.labels import Language, display
from petmood.metrics import Evaluation, Sureness
from petmood.report.page import Page
from petmood.report.texts import text

Word = Callable[[str], str]


def draw(page: Page, language: Language) -> dict[str, Markup]:
    """Name → inline SVG; those that have nothing to show are left out."""
    word = partial(text, language=language)
    found = {
        **_imbalance(page, word, language),
        **_curves(page, word),
        **_reliability(page.evaluation, word),
        **_risk(page.evaluation, word),
    }
    # Made by matplotlib, which escapes the words in it.
    return {name: Markup(svg) for name, svg in found.items()}  # noqa: S704


def _imbalance(page: Page, word: Word, language: Language) -> dict[str, str]:
    rows = [
        charts.ClassBar(display(one.name, language), {word("clips"): one.clips, word("frames"): one.frames})
        for one in page.data.classes
    ]
    return {"imbalance": charts.class_bars(word("imbalance_chart"), rows, axis=word("log_axis"))} if rows else {}


def _curves(page: Page, word: Word) -> dict[str, str]:
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


def _reliability(judged: Evaluation, word: Word) -> dict[str, str]:
    """Clips and frames, each before and after temperature scaling."""
    drawn = {}
    for unit, found in _clips_first(judged):
        lines = {
            word(side): [(one.confidence, one.accuracy, one.count) for one in calibration.bins]
            for side, calibration in (("before", found.before), ("after", found.after))
        }
        drawn[f"reliability_{unit}"] = charts.reliability(
            word(f"reliability_{unit}"),
            lines,
            axes_labels=(word("said"), word("was_right")),
            ideal_label=word("ideal"),
        )
    return drawn


def _risk(judged: Evaluation, word: Word) -> dict[str, str]:
    lines = {
        word(unit): (found.selective.coverage, found.selective.risk)
        for unit, found in _clips_first(judged)
        if found.selective.coverage
    }
    if not lines:
        return {}
    labels = (word("share_answered"), word("share_wrong"))
    return {"risk": charts.risk_coverage(word("risk_chart"), lines, axes_labels=labels)}


def _clips_first(judged: Evaluation) -> list[tuple[str, Sureness]]:
    return [(unit, judged.sureness[unit]) for unit in ("clips", "frames") if unit in judged.sureness]
