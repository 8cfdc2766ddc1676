"""An exported file that answers, by onnxruntime alone: the same answers as the run that it was made from."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from petmood.engine import FrameAnswers
from petmood.errors import UserError
from petmood.geometry import Box, CropGeometry
from petmood.pictures import BadPictureError, Pixels
from petmood.probabilities import answer_sets, tempered
from petmood.records import Certainty, Pool, Prediction
from petmood.runtime.description import ATTENTION, FORMAT, INPUT, KEY, PROBABILITIES, Description, describe, format_of
from petmood.runtime.preparing import cut, prepare

Floats = npt.NDArray[np.float32]
#: A picture file, its bytes, or RGB pixels (uint8, height × width × 3).
Picture = str | Path | bytes | Pixels

#: Squares that are sent through the network at once.
_BATCH = 16
_AGAIN = "make it again with `petmood export RUN`"


class OnnxModel:
    """A file of `petmood export`, ready for use (an `engine.Engine`); it may be used from several threads at once."""

    def __init__(self, path: str | Path, *, threads: int = 0, spinning: bool = True) -> None:
        """Open a file.

        Args:
            path: of the file.
            threads: that calculate; 0 means as many as the machine has cores.
            spinning: they keep their cores busy for a while after each question, in wait for the next one; it takes
                the cores from whatever else runs, such as a server that reads its requests.

        Raises:
            UserError: onnxruntime is not installed; there is no such file; it is damaged, not petmood's, or newer than
                this petmood.
        """
        self.path = Path(path)
        self._session = _session(self.path, threads, spinning=spinning)
        self.described = _description(self._session, self.path)

    @property
    def classes(self) -> tuple[str, ...]:
        """English names of the emotions, by class number."""
        return self.described.classes

    @property
    def geometry(self) -> CropGeometry:
        """How animals are cut out of a picture for it."""
        return self.described.geometry

    @property
    def certainty(self) -> Certainty | None:
        """How its probabilities are to be read; None if that was never fitted."""
        return self.described.certainty

    @property
    def pool(self) -> Pool:
        """How the frames of a clip become its answer."""
        return self.described.pool

    def prepare(self, pixels: Pixels) -> Pixels:
        """The square that the network sees, uint8, size × size × 3, of a crop's RGB pixels (uint8).

        Raises:
            TypeError: pixels that are not uint8, hence may be scaled already.
        """
        return prepare(pixels, self.described)

    def ask(self, squares: Pixels) -> FrameAnswers:
        """Answers for prepared squares, uint8, n × size × size × 3, in their order; n may be 0.

        The file gives probabilities after the temperature; these are those before it, as every engine gives them.
        """
        believed, attention = self.believed(squares)
        temperature = self.described.temperature
        raw = believed if temperature == 1 else tempered(believed, 1 / temperature).astype(np.float32)
        return FrameAnswers(raw, attention)

    def believed(self, squares: Pixels) -> tuple[Floats, Floats | None]:
        """Probabilities (n, classes) as they are to be believed, and attention (n,) if the model has it."""
        if not len(squares):
            nothing = np.empty((0, len(self.classes)), np.float32)
            return nothing, np.empty(0, np.float32) if self.pool == "attention" else None
        names = [PROBABILITIES] if self.pool == "mean" else [PROBABILITIES, ATTENTION]
        parts = [
            self._session.run(names, {INPUT: np.ascontiguousarray(squares[start : start + _BATCH])})
            for start in range(0, len(squares), _BATCH)
        ]
        outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return outputs[0], outputs[1] if len(outputs) > 1 else None

    def predict(self, picture: Picture, box: Box | None = None) -> Prediction:
        """The answer for one picture; one that cannot be used gets a reason instead of an emotion.

        Args:
            picture: a file, its bytes, or RGB pixels (uint8, height × width × 3).
            box: where the animal is, in pixels of the upright picture; None takes the whole picture.
        """
        return next(self.predict_all([picture], box))

    def predict_all(self, pictures: Iterable[Picture], box: Box | None = None) -> Iterator[Prediction]:
        """One answer for each picture, in their order; pictures are decoded by all cores and asked about in batches.

        Args:
            pictures: as in `predict`.
            box: where the animal is in each of them.
        """
        remaining = iter(pictures)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while chunk := list(itertools.islice(remaining, _BATCH)):
                yield from self._answers(chunk, list(pool.map(lambda item: self._square(item, box), chunk)), box)

    def _square(self, picture: Picture, box: Box | None) -> Pixels | BadPictureError:
        """The square that the network sees, or why there is none."""
        try:
            content = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture
            return self.prepare(cut(content, box, self.geometry))
        except BadPictureError as error:
            return error
        except FileNotFoundError:
            return BadPictureError("no_image", "the file does not exist")
        except OSError as error:
            return BadPictureError("unreadable_image", error.strerror or str(error))

    def _answers(
        self, pictures: list[Picture], squares: list[Pixels | BadPictureError], box: Box | None
    ) -> Iterator[Prediction]:
        good = [square for square in squares if not isinstance(square, BadPictureError)]
        rows = iter(self.believed(np.stack(good))[0] if good else ())
        for picture, square in zip(pictures, squares, strict=True):
            source = str(picture) if isinstance(picture, str | Path) else ""
            if isinstance(square, BadPictureError):
                reason, detail = square.reason, square.detail
                yield Prediction(source=source, emotion=None, probabilities={}, box=box, reason=reason, detail=detail)
                continue
            yield self._answer(source, next(rows), box)

    def _answer(self, source: str, shares: Floats, box: Box | None) -> Prediction:
        order = np.argsort(-shares, kind="stable")
        answers: tuple[str, ...] = ()
        if self.certainty:
            chosen = answer_sets(shares[None], self.certainty.frames.threshold)[0]
            answers = tuple(self.classes[number] for number in order if chosen[number])
        by_name = {name: float(share) for name, share in zip(self.classes, shares, strict=True)}
        return Prediction(
            source=source, emotion=self.classes[order[0]], probabilities=by_name, box=box, answers=answers
        )


def _session(path: Path, threads: int, *, spinning: bool) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """A session on the processor.

    Raises:
        UserError: as ``OnnxModel``.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError(
            "an exported file needs onnxruntime, which is not installed.", hint="pip install 'petmood[runtime]'"
        ) from None
    if not path.is_file():
        raise UserError(f"exported file {path} does not exist.", hint="`petmood export RUN` makes one")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.log_severity_level = 3  # errors come as exceptions; warnings speak of the graph's inside
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds for a broken file
        text = " ".join(str(error).split())[:160]
        raise UserError(f"exported file {path} is damaged, or is no ONNX: {text}.", hint=_AGAIN) from None


def _description(session: Any, path: Path) -> Description:  # noqa: ANN401
    """What the file says of itself, and whether its graph is of that kind.

    Raises:
        UserError: as ``OnnxModel``.
    """
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise UserError(
            f"file {path} is ONNX, but was not written by petmood: its metadata lack {KEY!r}.",
            hint="`petmood export RUN` writes files that say what they answer",
        )
    try:
        found = format_of(text)
        if found == FORMAT:
            described = describe(text)
            _check_ends(session, described)
            return described
    except (ValueError, KeyError) as error:
        problem = " ".join(str(error).split())[:160]
        raise UserError(
            f"exported file {path} is damaged: its metadata are of no use ({problem}).", hint=_AGAIN
        ) from None
    raise UserError(
        f"exported file {path} has format {found}; this petmood reads format {FORMAT}.",
        hint="install the petmood that wrote it, or " + _AGAIN,
    )


def _check_ends(session: Any, described: Description) -> None:  # noqa: ANN401
    """Whether a graph takes and gives what its description says.

    Raises:
        ValueError: it does not.
    """
    size = described.image_size
    given = {end.name: (end.type, list(end.shape[1:])) for end in session.get_inputs()}
    if given != {INPUT: ("tensor(uint8)", [size, size, 3])}:
        raise ValueError(f"the graph takes {given}, not squares of {size}")
    shapes = {end.name: list(end.shape[1:]) for end in session.get_outputs()}
    wanted = {PROBABILITIES: [len(described.classes)], **({ATTENTION: []} if described.pool == "attention" else {})}
    if shapes != wanted:
        raise ValueError(f"the graph gives {shapes}, not {wanted}")
