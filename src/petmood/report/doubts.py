"""The list of doubtful labels for people: one offline HTML file with pictures, and a few lines for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.labels import Language, display
from petmood.report.doubt_texts import (
    credit_line,
    fact_lines,
    flagged_line,
    head_line,
    row_lines,
    word,
)
from petmood.report.pages import page_environment, style
from petmood.report.pictures import Thumbnail, data_uri, encoded, shrunk
from petmood.report.texts import percent
from petmood.workspace import Workspace, read_json, read_table, replacing

#: Pixels of a picture's longer side.
_THUMBNAIL = 144
#: Clips that are named in the terminal.
_NAMED = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One clip whose label is in doubt."""

    clip: str
    species: str | None
    emotion: str
    owner_emotion: str | None
    suggested: str
    score: float
    flagged: bool
    frames: int
    probabilities: Mapping[str, float]
    """Emotion → 0 to 1."""
    pictures: tuple[Thumbnail, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoubtPage:
    """Everything that the page shows, before words and looks."""

    name: str
    summary: Mapping[str, Any]
    """What doubts.json says."""
    cases: tuple[Case, ...]


def read_doubts(folder: Path, top: int) -> DoubtPage:
    """The page data of a work folder or run that was audited: its ``top`` most doubtful clips without a verdict.

    Raises:
        UserError: it was not audited, or a file is damaged.
    """
    folder = folder.absolute()
    summary = _summary(folder)
    rows = _open_cases(folder).head(top)
    workspace = Workspace.open(folder.parent.parent if summary["kind"] == "run" else folder)
    pictures = _pictures(workspace, rows)
    cases = tuple(_case(row, summary["classes"], pictures.get(row["clip"], ())) for row in rows.iter_rows(named=True))
    return DoubtPage(name=folder.name, summary=summary, cases=cases)


def write_doubts_page(folder: Path, language: Language = "en", *, top: int = 100) -> Path:
    """Write doubts.html into an audited folder and return its path.

    Raises:
        UserError: the folder was not audited.
    """
    html = render(read_doubts(folder, top), language)
    path = folder / "doubts.html"
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def render(page: DoubtPage, language: Language) -> str:
    """The page as HTML that loads nothing and runs nothing."""
    environment = page_environment()
    environment.filters.update(percent=percent, emotion=partial(display, language=language), data_uri=data_uri)
    return environment.get_template("doubts.html.j2").render(
        page=page,
        summary=page.summary,
        language=language,
        t=partial(word, language=language),
        head=head_line(page.summary, language),
        credit=credit_line(page.summary, language),
        facts=[flagged_line(page.summary, language), *fact_lines(page.summary, language)],
        csv="WORK/doubts.csv" if page.summary["kind"] == "work" else f"WORK/runs/{page.name}/doubts.csv",
        emotions=", ".join(display(name, language) for name in page.summary["classes"]),
        # The stylesheets are ours; nothing of the data comes into them.
        css=Markup(style("report.css", "doubts.css")),  # noqa: S704
    )


def doubt_lines(folder: Path, language: Language) -> Iterator[str]:
    """Lines for the terminal: how far to believe it, what was found, the most doubtful clips, what to do next.

    Raises:
        UserError: the folder was not audited.
    """
    summary = _summary(folder)
    rows = most_doubtful(folder)
    yield head_line(summary, language)
    yield credit_line(summary, language)
    yield from fact_lines(summary, language)
    yield flagged_line(summary, language)
    if rows:
        yield f"{word('most_doubtful', language)}:"
        yield from (f"  {line}" for line in row_lines(rows, language))
    work = folder.absolute().parent.parent if summary["kind"] == "run" else folder
    yield word("csv_line", language, path=folder / "doubts.csv", work=work)


def most_doubtful(folder: Path, count: int = _NAMED) -> list[dict[str, Any]]:
    """The first clips of an audited folder that have no verdict: columns of doubts.csv as plain values."""
    return _open_cases(folder).head(count).drop("pictures").to_dicts()


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "doubts.json"
    if not path.is_file():
        raise UserError(f"{folder} was not audited.", hint=f"run `petmood audit {folder}`")
    return read_json(path)


def _open_cases(folder: Path) -> pl.DataFrame:
    return read_table(folder / "doubts.parquet").filter(pl.col("verdict") == "")


def _case(row: Mapping[str, Any], classes: Sequence[str], pictures: tuple[Thumbnail, ...]) -> Case:
    names = ("clip", "species", "emotion", "owner_emotion", "suggested", "score", "flagged", "frames")
    return Case(
        **{name: row[name] for name in names},
        probabilities={name: row[f"p_{name}"] for name in classes},
        pictures=pictures,
    )


def _pictures(workspace: Workspace, rows: pl.DataFrame) -> dict[str, tuple[Thumbnail, ...]]:
    """Clip → its small pictures; those whose crop is gone are left out."""
    wanted = rows.select("clip", frame_id="pictures").explode("frame_id")
    crops = read_table(workspace.crops / "crops.parquet")
    found = wanted.join(crops, on="frame_id", how="inner", maintain_order="left")
    store = CropStore(workspace.crops, found)
    pictures: dict[str, tuple[Thumbnail, ...]] = {}
    for row, clip in enumerate(found["clip"]):
        pictures[clip] = (*pictures.get(clip, ()), encoded(shrunk(store.pixels(row), _THUMBNAIL)))
    return pictures
