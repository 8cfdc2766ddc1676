"""The one way from pictures to answers: evaluation, the command line and all that comes later use ``Predictor``."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from petmood import media
from petmood.bundle import Bundle, BundleInfo, load_bundle
from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.inference import folded, on_cores
from petmood.loading import CropBatches
from petmood.media import BadPictureError, Pixels
from petmood.metrics import tempered
from petmood.parallel import cores
from petmood.records import Box, Prediction

Probabilities = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

#: Photos that are held in memory at once.
_PHOTOS_AT_ONCE = 32


class FrameAnswers(NamedTuple):
    """What a model says of frames; ``metrics.clip_means`` makes the answers of clips from both."""

    probabilities: Probabilities
    """(frames, classes): each frame for itself."""
    attention: Scores | None
    """(frames,): how much a clip's answer looks at each frame, before a softmax over the clip's frames; None if all
    count the same."""


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

    def photos(self, paths: Iterable[str | Path], *, box: Box | None = None, threads: int = 0) -> Iterator[Prediction]:
        """One prediction for each path, in order; a picture that cannot be used becomes one with a reason.

        Args:
            paths: of picture files.
            box: where the animal is in each of them, in pixels; None takes the whole photo.
            threads: that decode; 0 means all cores.
        """
        remaining = iter(paths)
        with ThreadPoolExecutor(cores(threads)) as pool, self._answering() as answering:
            while chunk := list(itertools.islice(remaining, _PHOTOS_AT_ONCE)):
                prepared = list(pool.map(lambda path: self._prepared(Path(path), box), chunk))
                yield from self._predictions([str(path) for path in chunk], prepared, answering)

    def _prepared(self, path: Path, box: Box | None) -> Pixels | BadPictureError:
        """The square that the network sees, or why there is none."""
        try:
            crop = media.cut(path.read_bytes(), box, self.info.geometry)
        except BadPictureError as error:
            return error
        except FileNotFoundError:
            return BadPictureError("no_image", "the file does not exist")
        except OSError as error:
            word = "it is a folder" if error.errno == errno.EISDIR else (error.strerror or str(error))
            return BadPictureError("unreadable_image", word)
        return self.info.preprocessing.prepare(crop.pixels)

    def _predictions(
        self, sources: Sequence[str], prepared: Sequence[Pixels | BadPictureError], answering: _Answering
    ) -> Iterator[Prediction]:
        good = [item for item in prepared if not isinstance(item, BadPictureError)]
        rows: Iterator[npt.NDArray[np.float32]] = iter(())
        if good:
            pixels = torch.from_numpy(np.stack(good)).permute(0, 3, 1, 2)
            rows = itertools.chain.from_iterable(answers.probabilities for answers in answering(pixels))
        for source, item in zip(sources, prepared, strict=True):
            if isinstance(item, BadPictureError):
                yield Prediction(source=source, emotion=None, probabilities={}, reason=item.reason, detail=item.detail)
                continue
            shares = next(rows)
            # The likeliest class, whatever its probability: rounding alone may keep all of them below 1.
            emotion = self.classes[int(shares.argmax())]
            by_name = {name: float(share) for name, share in zip(self.classes, shares, strict=True)}
            yield Prediction(source=source, emotion=emotion, probabilities=by_name)

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
