"""Answers as a CSV table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from petmood.records import Prediction
from petmood.workspace import replacing

#: Columns before the probabilities, one of each class.
COLUMNS = (
    "source", "emotion", "answers", "time_ms", "track", "frames",
    "species", "detected", "x", "y", "width", "height", "reason", "detail",
)  # fmt: skip


class Rows(Protocol):
    """Takes rows of a table."""

    def __call__(self, prediction: Prediction) -> None:
        """Append a row."""


@contextmanager
def csv_table(path: Path, classes: Sequence[str]) -> Iterator[Rows]:
    """Writes rows into a CSV file (UTF-8), which appears under its name when all are written.

    ``answers`` holds the set of answers, joined by ``;``. ``frames`` is above 0 for what an animal's frames say
    together.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *classes])

        def add(prediction: Prediction) -> None:
            writer.writerow(_row(prediction, classes))

        yield add


def _row(one: Prediction, classes: Sequence[str]) -> list[object]:
    box = (one.box.x, one.box.y, one.box.width, one.box.height) if one.box else ("",) * 4
    detected = "" if one.detected is None else f"{one.detected:.4f}"
    known = ["" if value is None else value for value in (one.time_ms, one.track)]
    shares = [f"{one.probabilities[name]:.6f}" if one.probabilities else "" for name in classes]
    first = [one.source, one.emotion or "", ";".join(one.answers), *known, one.frames]
    return [*first, one.species, detected, *box, one.reason, one.detail, *shares]
