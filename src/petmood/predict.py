"""A run's model as torch computes it: what evaluation asks about crops, and the engine behind `look`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from petmood.bundle import Bundle, BundleInfo, load_bundle
from petmood.crops import CropStore
from petmood.engine import FrameAnswers, Probabilities
from petmood.errors import UserError
from petmood.geometry import CropGeometry
from petmood.inference import folded, on_cores
from petmood.loading import CropBatches
from petmood.metrics import tempered
from petmood.pictures import Pixels
from petmood.records import Certainty, Pool

_Answering = Callable[[torch.Tensor], Iterable[FrameAnswers]]


class Predictor:
    """A trained model with its own preprocessing; answers are the same one by one and in batches."""

    def __init__(self, bundle: Bundle, *, device: str = "auto") -> None:
        """Put a model to work on ``auto``, ``cpu`` or ``cuda``.

        Raises:
            UserError: cuda is asked for and there is none.
        """
        available = torch.cuda.is_available()
        if device == "cuda" and not available:
            raise UserError("device cuda is not available; found is cpu.", hint="use --device auto or --device cpu")
        self.device = torch.device("cuda" if available and device != "cpu" else "cpu")
        self.info: BundleInfo = bundle.info
        net = bundle.net.eval()
        size = self.info.preprocessing.image_size
        net.backbone = folded(net.backbone, torch.zeros(1, 3, size, size))
        self.net = net.to(self.device).to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, run: Path, *, device: str = "auto") -> Predictor:
        """The model of a run folder.

        Raises:
            UserError: the folder holds no usable model.
        """
        return cls(load_bundle(run), device=device)

    @property
    def classes(self) -> tuple[str, ...]:
        """English names of the emotions, by class number."""
        return self.info.classes

    @property
    def geometry(self) -> CropGeometry:
        """How animals are cut out of a picture for it."""
        return self.info.geometry

    @property
    def certainty(self) -> Certainty | None:
        """How its probabilities are to be read; None until `petmood evaluate` has fitted it."""
        return self.info.certainty

    @property
    def pool(self) -> Pool:
        """How the frames of a clip become its answer."""
        return self.info.pool

    def prepare(self, pixels: Pixels) -> Pixels:
        """The square that the network sees, uint8, size × size × 3, of a crop's RGB pixels (uint8)."""
        return self.info.preprocessing.prepare(pixels)

    def ask(self, squares: Pixels) -> FrameAnswers:
        """Answers for prepared squares, uint8, n × size × size × 3, in their order; n may be 0."""
        if not len(squares):
            none = np.empty(0, np.float32) if self.pool == "attention" else None
            return FrameAnswers(np.empty((0, len(self.classes)), np.float32), none)
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2)
        with self._answering() as answering:
            parts = list(answering(pixels))
        attention = [one.attention for one in parts if one.attention is not None]
        return FrameAnswers(
            np.concatenate([one.probabilities for one in parts]), np.concatenate(attention) if attention else None
        )

    def crops(
        self,
        store: CropStore,
        *,
        batch_size: int = 64,
        threads: int = 0,
        advance: Callable[[int], None] | None = None,
    ) -> FrameAnswers:
        """What the model says of every crop of a store, in the order of the rows.

        Args:
            store: crops that were cut with the model's geometry.
            batch_size: pictures at once; it does not change the answers.
            threads: that decode; 0 means all cores.
            advance: told the number of pictures after each batch.
        """
        batches = CropBatches(
            store,
            self.info.preprocessing,
            batch_size=batch_size,
            threads=threads,
            pinned=self.device.type == "cuda",
        )
        shares = [np.empty((0, len(self.classes)), np.float32)]
        scores = [np.empty(0, np.float32)]
        with self._answering() as answering:
            for batch in batches:
                for answers in answering(batch.pixels):
                    shares.append(answers.probabilities)
                    if answers.attention is not None:
                        scores.append(answers.attention)
                if advance:
                    advance(len(batch.rows))
        attention = np.concatenate(scores) if self.info.pool == "attention" else None
        return FrameAnswers(np.concatenate(shares), attention)

    def believed(self, probabilities: Probabilities) -> Probabilities:
        """Probabilities of single pictures, (n, classes), after the temperature that `petmood evaluate` has fitted."""
        certainty = self.info.certainty
        return tempered(probabilities, certainty.frames.temperature).astype(np.float32) if certainty else probabilities

    def _answering(self) -> contextlib.AbstractContextManager[_Answering]:
        """A function from prepared squares, uint8 N × 3 × size × size, to their answers, in order, in parts."""
        if self.device.type == "cpu":
            return on_cores(self._frame_answers)
        return contextlib.nullcontext(lambda pixels: [self._frame_answers(pixels)])

    def _frame_answers(self, pixels: torch.Tensor) -> FrameAnswers:
        """Answers for prepared squares, uint8 N × 3 × size × size."""
        with torch.inference_mode():
            images = self.info.preprocessing.normalise(pixels.to(self.device, non_blocking=True))
            answers = self.net.answers(images)
            attention = None if answers.attention is None else answers.attention.float().cpu().numpy()
            return FrameAnswers(answers.logits.float().softmax(dim=1).cpu().numpy(), attention)
