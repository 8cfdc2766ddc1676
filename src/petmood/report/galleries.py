"""Which clips the report shows, and what was said of each: cells of the confusion matrix, mistakes, examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from petmood.errors import UserError
from petmood.metrics import galleries
from petmood.report.pictures import Pictures, Thumbnail, read_pictures
from petmood.workspace import Workspace

#: Clips of each cell of the confusion matrix: six emotions make at most 216 pictures.
PER_CELL = 6
#: The most confident mistakes.
MISTAKES = 18
#: Right and wrong examples of each emotion.
EXAMPLES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """One clip by one of its frames."""

    picture: Thumbnail
    heat: Thumbnail | None
    """The same with its heat map; None where none was made."""
    clip: str
    species: str
    """dog, cat or unknown."""
    truth: str
    answer: str
    """What the clip's frames say together."""
    confidence: float
    """Probability of the answer as the network gives it, 0 to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """The most confident right and wrong answers for one true emotion."""

    emotion: str
    right: tuple[Shown, ...]
    wrong: tuple[Shown, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Galleries:
    """All pictures of the report but those of doubtful labels."""

    cells: Mapping[tuple[str, str], tuple[Shown, ...]]
    """(truth, answer) → clips, the surest first; cells without a picture are left out."""
    mistakes: tuple[Shown, ...]
    examples: tuple[Examples, ...]

    @property
    def has_heat(self) -> bool:
        """Whether any example has a heat map."""
        return any(one.heat for group in self.examples for one in (*group.right, *group.wrong))


def read_galleries(workspace: Workspace, run: Path, predictions: pl.DataFrame, classes: Sequence[str]) -> Galleries:
    """The galleries of an evaluated run.

    Raises:
        UserError: predictions.parquet does not fit the classes, or a file is missing or damaged.
    """
    try:
        cells = galleries.cells(predictions, classes, PER_CELL)
        mistakes = galleries.confident_mistakes(predictions, MISTAKES)
        examples = galleries.examples(predictions, classes, EXAMPLES)
    except (ValueError, pl.exceptions.PolarsError) as error:
        hint = f"run `petmood evaluate {run}` again"
        raise UserError(f"{run / 'predictions.parquet'} is damaged: {error}.", hint=hint) from None
    wanted = pl.concat([one.select("frame_id") for one in (cells, mistakes, examples)])["frame_id"]
    pictures = read_pictures(workspace, run, wanted, with_heat=examples["frame_id"])
    by_cell: dict[tuple[str, str], tuple[Shown, ...]] = {}
    for one in _shown(cells, pictures, heat=False):
        by_cell[one.truth, one.answer] = (*by_cell.get((one.truth, one.answer), ()), one)
    return Galleries(
        cells=by_cell,
        mistakes=tuple(_shown(mistakes, pictures, heat=False)),
        examples=tuple(_examples(list(_shown(examples, pictures, heat=True)), classes)),
    )


def _examples(shown: Iterable[Shown], classes: Sequence[str]) -> Iterator[Examples]:
    for emotion in classes:
        own = [one for one in shown if one.truth == emotion]
        right = tuple(one for one in own if one.answer == emotion)
        if own:
            yield Examples(emotion=emotion, right=right, wrong=tuple(one for one in own if one.answer != emotion))


def _shown(table: pl.DataFrame, pictures: Pictures, *, heat: bool) -> Iterator[Shown]:
    """The rows whose picture is still there."""
    for row in table.iter_rows(named=True):
        if row["frame_id"] in pictures.plain:
            yield _one(row, pictures, heat=heat)


def _one(row: Mapping[str, Any], pictures: Pictures, *, heat: bool) -> Shown:
    return Shown(
        picture=pictures.plain[row["frame_id"]],
        heat=pictures.heat.get(row["frame_id"]) if heat else None,
        clip=row["clip"],
        species=row["species"] or "unknown",
        truth=row["emotion"],
        answer=row["answer"],
        confidence=row["confidence"],
    )
