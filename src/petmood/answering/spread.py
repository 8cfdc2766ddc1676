"""Inputs to answers by other machines: a part of the inputs a task, each video one of its own."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from petmood import places
from petmood.answering.answers import Answer, answer_all, open_engine
from petmood.detect import open_detector
from petmood.inputs import Film, Input, Photo, Remote
from petmood.look import Looker
from petmood.parallel import cores, run_tasks
from petmood.pictures import BadPictureError
from petmood.recipes.predict import PredictSettings, milliseconds

#: Photos of a task, some seconds of work; and addresses, which are fetched one by one.
_PHOTOS, _ADDRESSES = 128, 16
#: Folders of the inputs that are looked for on each worker; with more, the first.
_FOLDERS = 32


@dataclasses.dataclass(frozen=True)
class Question:
    """Some inputs, and how they are to be looked at; can be sent to another machine that sees them."""

    model: Path
    settings: PredictSettings
    boxed: bool
    """Whether every photo of all questions has a box, so that no detector is needed."""
    inputs: tuple[Input, ...]
    keep: bool
    """Whether answers hold the content of what was fetched, so that it can be drawn into."""


#: The model and detector of the last question, opened once a process.
_opened: list[tuple[tuple[Path, PredictSettings, bool], Looker]] = []
#: Questions that a process is asked at once take turns: each uses all its cores.
_turn = threading.Lock()


def open_looker(model: Path, settings: PredictSettings, *, boxed: bool) -> Looker:
    """Model and, if it is needed, detector: what is missing is told before the model is loaded.

    Args:
        model: a run folder or an exported file.
        settings: of the prediction.
        boxed: whether every picture that is asked about has a box.

    Raises:
        UserError: the detector's weights are missing, or there is no usable model.
    """
    # Each thread of ours asks by itself; a camera's frames come one by one.
    threads = 1 if settings.webcam is None and cores(settings.threads) > 1 else 0
    detector = None if settings.whole or boxed else open_detector(settings.detector, threads=threads)
    return Looker(
        open_engine(model, device=settings.device),
        detector,
        whole=settings.whole,
        least=settings.least,
        batch_size=settings.batch_size,
        threads=settings.threads,
    )


def all_boxed(inputs: Sequence[Input]) -> bool:
    """Whether every input is a photo with a box."""
    return all(isinstance(one, Photo | Remote) and one.box is not None for one in inputs)


def answer_spread(model: Path, settings: PredictSettings, inputs: Sequence[Input], *, keep: bool) -> Iterator[Answer]:
    """One answer an input, in order, as `answer_all` gives them; asked by `parallel.run_tasks`.

    Args:
        model: a run folder or an exported file.
        settings: of the prediction.
        inputs: of `inputs.find_inputs`.
        keep: answers hold the content of what was fetched.
    """
    boxed, model = all_boxed(inputs), model.absolute()
    questions = [Question(model, settings, boxed, part, keep) for part in _parts([*map(_anywhere, inputs)])]
    for answers in run_tasks(answer_question, questions, jobs=1):
        yield from answers


def answer_question(question: Question) -> list[Answer]:
    """One answer an input, in order.

    Raises:
        UserError: as `open_looker`.
    """
    settings = question.settings
    with _turn:
        key = (question.model, settings, question.boxed)
        if not _opened or _opened[0][0] != key:
            _opened[:] = [(key, open_looker(question.model, settings, boxed=question.boxed))]
        every, smooth = milliseconds(settings.every), milliseconds(settings.smooth)
        answers = answer_all(_opened[0][1], question.inputs, every_ms=every, smoothing_ms=smooth)
        return [*answers] if question.keep else [_without_content(answer) for answer in answers]


def seen_places(model: Path, inputs: Sequence[Input]) -> list[str]:
    """What a machine must see to answer: the model, and folders and archives of the inputs."""
    files = (one.file for one in inputs if not isinstance(one, Remote))
    folders = {_place_of(file) for file in files if isinstance(file, Path)}
    return [os.fspath(model.absolute()), *sorted(folders)[:_FOLDERS]]


def _place_of(file: Path) -> str:
    found = places.split(os.fspath(file.absolute()))
    return found[0] if found else os.fspath(file.absolute().parent)


def _anywhere(one: Input) -> Input:
    """The same input whatever folder a process works in."""
    if isinstance(one, Remote) or not isinstance(one.file, Path):
        return one
    return dataclasses.replace(one, file=one.file.absolute())


def _parts(inputs: Sequence[Input]) -> Iterator[tuple[Input, ...]]:
    for kind, group in itertools.groupby(inputs, key=type):
        size = {Photo: _PHOTOS, Remote: _ADDRESSES}.get(kind, 1)
        while part := tuple(itertools.islice(group, size)):
            yield part


def _without_content(answer: Answer) -> Answer:
    given = answer.given
    if isinstance(given.file, Path | BadPictureError):
        return answer
    emptied = Film(given.source, b"") if isinstance(given, Film) else Photo(given.source, b"", given.box)
    return dataclasses.replace(answer, given=emptied)
