"""`petmood predict`."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_module
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from petmood.cli.answer_table import AnswerTable, system_language
from petmood.cli.common import Cluster, Json, on_machines
from petmood.cli.folders import Run
from petmood.errors import RunError, UserError
from petmood.geometry import parse_box
from petmood.inputs import Input, find_inputs
from petmood.labels import Language
from petmood.recipes.predict import PredictSettings, milliseconds
from petmood.records import Prediction

if TYPE_CHECKING:
    from petmood.answering import Answer, Artist
    from petmood.look import Looker

Tell = Callable[[Prediction], None]


def predict(
    run: Run,
    inputs: Annotated[
        list[str] | None, Parameter(help="Photos, videos, folders, patterns, lists, label files.")
    ] = None,
    *,
    settings: Annotated[PredictSettings, Parameter(name="*")] = PredictSettings(),  # noqa: B008 - frozen
    csv: Annotated[Path | None, Parameter(help="Write all answers with all probabilities into this file.")] = None,
    draw: Annotated[
        Path | None, Parameter(help="Draw the answers into copies of the photos and videos, in this folder.")
    ] = None,
    lang: Annotated[Language | None, Parameter(help="Of the emotions' names; by the system if left out.")] = None,
    cluster: Cluster = "",
    json: Json = False,
) -> None:
    """The emotion of each dog and cat in photos and videos, how likely each emotion is, and how sure that is.

    Parameters
    ----------
    run
        Run folder of `petmood train` (WORK/runs/NAME), or a file of `petmood export`.
    """
    found = find_inputs(inputs or [], box=parse_box(settings.box), urls=settings.urls)
    if not found and settings.webcam is None:
        raise UserError("there is nothing to look at.", hint="give photos, videos or folders, or --webcam 0")
    if cluster and settings.webcam is not None:
        raise UserError("cluster and webcam are both given; a camera is looked at here.", hint="leave one of them out")
    from petmood.answering import Artist, all_boxed, open_looker

    looker = open_looker(run, settings, boxed=settings.webcam is None and all_boxed(found))
    language = lang or system_language(os.environ)
    artist = Artist(draw, language, every_ms=milliseconds(settings.every)) if draw else None
    failed = 0
    with _telling(looker.engine.classes, found, language, csv=csv, json=json) as tell:
        if settings.webcam is not None:
            _watch(looker, settings, tell, artist)
        for answer in _answers(looker, run, settings, found, cluster, keep=draw is not None):
            failed += answer.failed
            for prediction in (*(answer.frames if settings.frames else ()), *answer.predictions):
                tell(prediction)
            if artist:
                artist.draw(answer)
    sys.stdout.flush()
    if failed:
        raise RunError(f"{failed} of {len(found)} inputs have no answer; the output says why.")


def _answers(
    looker: Looker, run: Path, settings: PredictSettings, found: Sequence[Input], cluster: str, *, keep: bool
) -> Iterator[Answer]:
    """One answer an input, in order; by a cluster if one is given."""
    from petmood.answering import answer_all, answer_spread, seen_places

    if not cluster:
        every_ms, smoothing_ms = milliseconds(settings.every), milliseconds(settings.smooth)
        yield from answer_all(looker, found, every_ms=every_ms, smoothing_ms=smoothing_ms)
        return
    with on_machines(cluster, sees=seen_places(run, found)):
        yield from answer_spread(run, settings, found, keep=keep)


@contextlib.contextmanager
def _telling(
    classes: Sequence[str], found: Sequence[Input], language: Language, *, csv: Path | None, json: bool
) -> Iterator[Tell]:
    """Prints each answer, and writes it into the table if there is one."""
    from petmood.answering import csv_table

    table = AnswerTable(classes, [one.source for one in found], language)
    if not json:
        print(table.header())
    with csv_table(csv, classes) if csv else contextlib.nullcontext() as add:

        def tell(prediction: Prediction) -> None:
            as_json = json_module.dumps(dataclasses.asdict(prediction), ensure_ascii=False) if json else ""
            print(as_json or table.line(prediction))
            if add:
                add(prediction)

        yield tell


def _watch(looker: Looker, settings: PredictSettings, tell: Tell, artist: Artist | None) -> None:
    """Tell what a camera shows until it is stopped, then what all its frames say together."""
    from petmood.answering import watch_camera

    assert settings.webcam is not None
    together: tuple[Prediction, ...] = ()
    frames = watch_camera(
        looker,
        settings.webcam,
        every_ms=milliseconds(settings.every),
        smoothing_ms=milliseconds(settings.smooth),
        seconds=settings.seconds,
    )
    record = artist.recording(f"webcam-{settings.webcam}") if artist else contextlib.nullcontext()
    with record as recording, contextlib.suppress(KeyboardInterrupt):
        for frame in frames:
            for prediction in frame.predictions:
                tell(prediction)
            sys.stdout.flush()
            if recording:
                recording.add(frame.time_ms, frame.pixels, frame.predictions)
            together = frame.together
    for prediction in together:
        tell(prediction)
