"""`petmood predict`."""

from __future__ import annotations

import dataclasses
import json as json_module
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from petmood.cli.common import Json
from petmood.errors import RunError, UserError
from petmood.labels import Language, display
from petmood.records import Box, Prediction

#: Files of a folder that are taken for pictures.
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def predict(
    run: Path,
    photos: Annotated[list[Path], Parameter(help="Picture files, or folders of them.")],
    *,
    box: Annotated[str, Parameter(help="Where the animal is, in pixels: x,y,width,height; else the whole photo.")] = "",
    lang: Annotated[Language | None, Parameter(help="Of the emotions' names; by the system if left out.")] = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    json: Json = False,
) -> None:
    """The emotion in photos, and the probability of each emotion.

    Parameters
    ----------
    run
        Run folder of `petmood train`: WORK/runs/NAME.
    """
    area = parse_box(box)
    paths = list(expand(photos))
    from petmood.predict import Predictor

    predictor = Predictor.load(run, device=device)
    language = lang or system_language(os.environ)
    failed = 0
    width = max(width_of(str(path)) for path in paths)
    if not json:
        print(header(predictor.classes, width, language))
    for prediction in predictor.photos(paths, box=area):
        failed += prediction.emotion is None
        as_json = json_module.dumps(dataclasses.asdict(prediction), ensure_ascii=False)
        print(as_json if json else line(prediction, width, language))
    sys.stdout.flush()
    if failed:
        raise RunError(f"{failed} of {len(paths)} pictures could not be used; the output says why.")


def parse_box(text: str) -> Box | None:
    """A box from ``x,y,width,height``; None from nothing.

    Raises:
        UserError: not four whole numbers, or no area.
    """
    if not text:
        return None
    parts = text.split(",")
    numbers = [int(part) for part in parts if part.strip().lstrip("-").isdigit()]
    if len(parts) != 4 or len(numbers) != 4 or numbers[2] <= 0 or numbers[3] <= 0:
        raise UserError(
            f"box {text!r} is not usable; allowed is x,y,width,height in pixels, with a width and a height above 0."
        )
    return Box(*numbers)


def expand(photos: Sequence[Path]) -> Iterator[Path]:
    """The files themselves, and in place of a folder the pictures in it and below, by name.

    Raises:
        UserError: a folder without pictures.
    """
    for path in photos:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES)
        if not inside:
            raise UserError(f"folder {path} holds no pictures; looked for {', '.join(sorted(PICTURES))}.")
        yield from inside


def system_language(environment: Mapping[str, str]) -> Language:
    """Korean if the system speaks it, else English."""
    spoken = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "ko" if spoken.startswith("ko") else "en"


def width_of(text: str) -> int:
    """Columns that a text takes in a terminal: Korean letters take two."""
    composed = unicodedata.normalize("NFC", text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in composed)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _widths(classes: Sequence[str], language: Language) -> list[int]:
    return [max(5, width_of(display(name, language))) for name in classes]


def header(classes: Sequence[str], width: int, language: Language) -> str:
    """First line of the table."""
    names = [display(name, language) for name in classes]
    columns = [_padded(name, size) for name, size in zip(names, _widths(classes, language), strict=True)]
    first = _padded("photo", width), _padded("emotion", max(_emotion_width(classes, language), 7))
    return "  ".join([*first, *columns]).rstrip()


def line(prediction: Prediction, width: int, language: Language) -> str:
    """One line of the table: photo, emotion and probabilities, or the reason why there are none."""
    source = _padded(prediction.source, width)
    if prediction.emotion is None:
        return f"{source}  - {prediction.reason}: {prediction.detail}"
    classes = list(prediction.probabilities)
    shares = [
        _padded(f"{prediction.probabilities[name]:.3f}", size)
        for name, size in zip(classes, _widths(classes, language), strict=True)
    ]
    emotion = _padded(display(prediction.emotion, language), max(_emotion_width(classes, language), 7))
    return "  ".join([source, emotion, *shares]).rstrip()


def _emotion_width(classes: Sequence[str], language: Language) -> int:
    return max(width_of(display(name, language)) for name in classes)
