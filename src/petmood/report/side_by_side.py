"""Several runs on one page: their scores beside each other, and what of the differences is more than luck."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from petmood.bootstrap import Interval
from petmood.errors import UserError
from petmood.labels import EMOTIONS, Language
from petmood.metrics import Caution, ClassScores, Evaluation
from petmood.report.page import read_evaluation
from petmood.report.pages import style
from petmood.report.render import environment
from petmood.report.texts import caution_line
from petmood.workspace import read_json, replacing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """What separates a run from the first one, on the same clips; its score less that of the first."""

    macro_f1: Interval | None
    accuracy: Interval | None
    problem: str = ""
    """Why there is no difference to show."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One of the runs."""

    name: str
    model: str
    evaluation: Evaluation
    settings: Mapping[str, Any]
    """Of training."""
    difference: Difference | None
    """To the first run; None for the first itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideBySide:
    """The data of the page."""

    sides: tuple[Side, ...]
    emotions: tuple[str, ...]
    """All that any of the runs knows."""
    differing: tuple[str, ...]
    """Settings of training that are not the same in all runs."""

    def scores_of(self, emotion: str, side: Side) -> ClassScores | None:
        """How a run fares on an emotion, on clips; None if it does not know it."""
        return next((one for one in side.evaluation.clips.classes if one.name == emotion), None)


def read_sides(runs: Sequence[Path], differences: Sequence[Difference]) -> SideBySide:
    """The page data of several evaluated runs.

    Args:
        runs: run folders, at least two; the others are compared with the first.
        differences: of all runs but the first, in order.

    Raises:
        UserError: fewer than two runs, or one that was not evaluated.
    """
    if len(runs) < 2:
        raise UserError(f"{len(runs)} run is too few for a page side by side; give two or more.")
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    sides = tuple(
        _side(run, name, difference) for run, name, difference in zip(runs, names, (None, *differences), strict=True)
    )
    known = {name for side in sides for name in side.evaluation.classes}
    settings = dict.fromkeys(name for side in sides for name in side.settings)
    return SideBySide(
        sides=sides,
        emotions=tuple(name for name in EMOTIONS if name in known),
        differing=tuple(name for name in settings if len({repr(side.settings.get(name, "")) for side in sides}) > 1),
    )


def write_side_by_side(page: SideBySide, out: Path, language: Language = "en") -> Path:
    """Write the page to ``out`` and return it."""
    html = render_sides(page, language)
    with replacing(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out


def render_sides(page: SideBySide, language: Language) -> str:
    """The page as HTML that loads nothing and runs nothing."""
    return (
        environment(language)
        .get_template("comparison.html.j2")
        .render(
            page=page,
            cautions=[(side.name, _cautions(side, language)) for side in page.sides],
            judged_alike=len({(side.evaluation.split, side.evaluation.clips.count) for side in page.sides}) == 1,
            best=_best(page),
            css=Markup(style("report.css", "galleries.css")),  # noqa: S704 - ours; nothing of the data comes into it
        )
    )


def _best(page: SideBySide) -> Mapping[str, float]:
    """The highest value of each score, to be marked."""
    clips = [side.evaluation.clips for side in page.sides]
    return {name: max(getattr(one, name) for one in clips) for name in ("accuracy", "balanced_accuracy", "macro_f1")}


def _cautions(side: Side, language: Language) -> list[str]:
    found: tuple[Caution, ...] = side.evaluation.cautions
    return [caution_line(caution, language) for caution in found]


def _side(run: Path, name: str, difference: Difference | None) -> Side:
    bundle = read_json(run / "bundle.json") if (run / "bundle.json").is_file() else {}
    return Side(
        name=name,
        model=str(bundle.get("model", "")),
        evaluation=read_evaluation(run),
        settings=bundle.get("settings", {}),
        difference=difference,
    )
