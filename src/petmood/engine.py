"""What answers: a model that takes prepared squares, whether torch or onnxruntime computes it.

It imports nothing that is not always installed, so that an exported file's reader can be one, too.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from petmood.geometry import CropGeometry
from petmood.pictures import Pixels
from petmood.records import Certainty, Pool

Probabilities = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


class FrameAnswers(NamedTuple):
    """What a model says of frames; ``metrics.clip_means`` makes the answers of clips from both."""

    probabilities: Probabilities
    """(frames, classes), before any temperature: each frame for itself."""
    attention: Scores | None
    """(frames,): how much a clip's answer looks at each frame, before a softmax over the clip's frames; None if all
    count the same."""


class Engine(Protocol):
    """A trained model with its own preprocessing; answers are the same one by one and in batches."""

    @property
    def classes(self) -> tuple[str, ...]:
        """English names of the emotions, by class number."""

    @property
    def geometry(self) -> CropGeometry:
        """How animals are cut out of a picture for it."""

    @property
    def certainty(self) -> Certainty | None:
        """How its probabilities are to be read; None if that was never fitted."""

    @property
    def pool(self) -> Pool:
        """How the frames of a clip become its answer."""

    def prepare(self, pixels: Pixels) -> Pixels:
        """The square that the network sees, uint8, size × size × 3, of a crop's RGB pixels (uint8)."""

    def ask(self, squares: Pixels) -> FrameAnswers:
        """Answers for prepared squares, uint8, n × size × size × 3, in their order; n may be 0."""
