"""`petmood predict model.onnx PHOTO…` where nothing but onnxruntime, Pillow and numpy is installed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from petmood.errors import PetmoodError, UserError
from petmood.geometry import parse_box
from petmood.labels import Language, display
from petmood.records import Prediction
from petmood.runtime.model import OnnxModel

#: Files of a folder that are taken for pictures.
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_WORDS: Mapping[Language, tuple[str, str]] = {"en": (" or ", "not sure"), "ko": (" 또는 ", "확실하지 않음")}
_WHOLE = "the whole of each picture is taken for the animal; --box x,y,width,height says where it is (--whole: I know)."


def run(words: Sequence[str]) -> int:
    """Answer for the photos on a command line (without ``predict``); returns its exit code, 0, 1 or 2."""
    try:
        return _run(_parser().parse_args(words))
    except PetmoodError as error:
        _tell(str(error))
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has gone (`petmood … | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        _tell("stopped.")
        return 130


def _run(given: argparse.Namespace) -> int:
    box = parse_box(given.box)
    model = OnnxModel(given.model)
    photos = [photo for name in given.photos for photo in _expanded(Path(name))]
    if box is None and not given.whole:
        _tell(_WHOLE)
    language: Language = given.lang or _spoken(os.environ)
    width = max(_width(str(photo)) for photo in photos)
    failed = 0
    for prediction in model.predict_all(photos, box):
        failed += prediction.emotion is None
        record = json.dumps(dataclasses.asdict(prediction), ensure_ascii=False)
        _print(record if given.json else line(prediction, width, language, given.top))
    if failed:
        _tell(f"{failed} of {len(photos)} pictures could not be used; the output says why.")
    return 1 if failed else 0


def line(prediction: Prediction, width: int, language: Language, top: int) -> str:
    """One line of the table: photo, answer, and the likeliest emotions with their probabilities."""
    photo = prediction.source + " " * (width - _width(prediction.source))
    if prediction.emotion is None:
        return f"{photo}  - {prediction.reason}: {prediction.detail}"
    likely = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:top]
    shares = "  ".join(f"{display(name, language)} {share:.3f}" for name, share in likely)
    return (
        f"{photo}  {_answer(prediction, language)}  ({shares})"
        if likely
        else f"{photo}  {_answer(prediction, language)}"
    )


def _answer(prediction: Prediction, language: Language) -> str:
    """One emotion or two where the set of answers holds no more; else that it is not sure."""
    either, unsure = _WORDS[language]
    names = [display(name, language) for name in prediction.answers] or [display(prediction.emotion or "", language)]
    return either.join(names) if len(names) <= 2 else unsure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="petmood predict", description="The emotion in photos, by a file of `petmood export`."
    )
    parser.add_argument("model", metavar="model.onnx", help="the exported file")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="picture files, or folders of them")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--box", default="", metavar="x,y,width,height", help="where the animal is, in pixels")
    where.add_argument("--whole", action="store_true", help="the animal fills the picture")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--lang", choices=["en", "ko"], help="of the emotions' names; by the system if left out")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="likeliest emotions to show (default: 3)")
    return parser


def _expanded(path: Path) -> list[Path]:
    """The file itself, or the pictures in a folder and below, by name.

    Raises:
        UserError: a folder without pictures.
    """
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PICTURES)
    if not inside:
        raise UserError(f"folder {path} holds no pictures; looked for {', '.join(sorted(_PICTURES))}.")
    return inside


def _spoken(environment: Mapping[str, str]) -> Language:
    """Korean if the system speaks it, else English."""
    spoken = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "ko" if spoken.startswith("ko") else "en"


def _width(text: str) -> int:
    """Columns that a text takes in a terminal: Korean letters take two."""
    composed = unicodedata.normalize("NFC", text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in composed)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stderr.write(f"petmood: {text}\n")
