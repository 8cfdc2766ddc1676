"""A model that several threads share: photos, videos and batches take turns, a batch at a time."""

from __future__ import annotations

import threading

from petmood.engine import Engine, FrameAnswers
from petmood.geometry import CropGeometry
from petmood.pictures import Pixels
from petmood.records import Certainty, Pool


class InTurns:
    """An engine that is asked by one thread at a time; each question has all cores for itself."""

    def __init__(self, engine: Engine) -> None:
        """Share ``engine``."""
        self._engine, self._lock = engine, threading.Lock()

    @property
    def classes(self) -> tuple[str, ...]:
        """English names of the emotions, by class number."""
        return self._engine.classes

    @property
    def geometry(self) -> CropGeometry:
        """How animals are cut out of a picture for it."""
        return self._engine.geometry

    @property
    def certainty(self) -> Certainty | None:
        """How its probabilities are to be read."""
        return self._engine.certainty

    @property
    def pool(self) -> Pool:
        """How the frames of a clip become its answer."""
        return self._engine.pool

    def prepare(self, pixels: Pixels) -> Pixels:
        """The square that the network sees of a crop's pixels."""
        return self._engine.prepare(pixels)

    def ask(self, squares: Pixels) -> FrameAnswers:
        """Answers for prepared squares, in their order."""
        with self._lock:
            return self._engine.ask(squares)
