"""Where the animals are in a picture: detectors in one table, each a file of weights and the same answer.

`yolox`  YOLOX (Ge et al. 2021, arXiv 2107.08430) in ONNX, by onnxruntime alone; Apache-2.0; any size of its family
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from petmood.errors import UserError
from petmood.media import Pixels
from petmood.records import Box

Floats = npt.NDArray[np.float32]

#: Classes of COCO that count, by their number of 80.
_COCO = {15: "cat", 16: "dog"}
#: Two boxes of one class that share more than this (intersection over union) are one animal.
_SAME_ANIMAL = 0.45
#: YOLOX looks at a picture in cells of these sizes.
_STRIDES = (8, 16, 32)
#: What its training filled the rest of the square with.
_GREY = 114


@dataclasses.dataclass(frozen=True)
class Animal:
    """One cat or dog in a picture."""

    box: Box
    """Pixels of the upright picture, within its edges."""
    species: str
    """cat or dog."""
    score: float
    """How sure the detector is, 0 to 1."""


class Yolox:
    """A YOLOX network in ONNX that was trained on COCO."""

    def __init__(self, weights: Path) -> None:
        """Open a file of weights.

        Raises:
            UserError: onnxruntime is not installed, or the file is none of YOLOX's.
        """
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
        except ImportError:
            raise UserError(
                "detection needs onnxruntime, which is not installed.", hint="pip install 'petmood[export]'"
            ) from None
        if not weights.is_file():
            raise UserError(f"detector weights {weights} do not exist.", hint=_WHERE)
        try:
            self._session: Any = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
            (given,) = self._session.get_inputs()
            _, channels, self.height, self.width = given.shape
            self._input = given.name
            cells = sum((self.height // stride) * (self.width // stride) for stride in _STRIDES)
            fits = channels == 3 and self._session.get_outputs()[0].shape[1:] == [cells, 85]
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds for a broken file
            text = " ".join(str(error).split())[:160]
            raise UserError(f"detector weights {weights} cannot be read: {text}.", hint=_WHERE) from None
        if not fits:
            raise UserError(f"detector weights {weights} are not those of a YOLOX for COCO.", hint=_WHERE)

    def animals(self, pixels: Pixels, *, least: float = 0.3) -> list[Animal]:
        """Cats and dogs in a picture, the surest first.

        Args:
            pixels: RGB, uint8, height × width × 3, upright.
            least: score that an animal needs, 0 to 1.
        """
        height, width = pixels.shape[:2]
        scale = min(self.height / height, self.width / width)
        (raw,) = self._session.run(None, {self._input: self._square(pixels, scale)})
        corners, scores = _decoded(raw[0], self.height, self.width)
        found: list[Animal] = []
        for number, species in _COCO.items():
            sure = np.flatnonzero(scores[:, number] >= least)
            kept = _distinct(corners[sure], scores[sure, number])
            for row in sure[kept]:
                box = _within(corners[row] / scale, width, height)
                if box:
                    found.append(Animal(box, species, float(scores[row, number])))
        return sorted(found, key=lambda animal: -animal.score)

    def _square(self, pixels: Pixels, scale: float) -> Floats:
        """The picture in the top left of the network's square, BGR 0 to 255, 1 × 3 × height × width."""
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        square = np.full((self.height, self.width, 3), _GREY, np.uint8)
        square[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)


_WHERE = "take yolox_nano.onnx (3.6 MB, Apache-2.0) from https://github.com/Megvii-BaseDetection/YOLOX/releases"


def _decoded(raw: Floats, height: int, width: int) -> tuple[Floats, Floats]:
    """Corners (n, 4: left, top, right, bottom, in pixels of the square) and scores (n, 80) of every cell's guess."""
    places, sizes = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        places.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((rows.size, 1), stride))
    place, size = np.concatenate(places), np.concatenate(sizes)
    middle = (raw[:, :2] + place) * size
    extent = np.exp(np.minimum(raw[:, 2:4], 20)) * size
    corners = np.concatenate([middle - extent / 2, middle + extent / 2], axis=1)
    return corners.astype(np.float32), raw[:, 4:5] * raw[:, 5:]


def _distinct(corners: Floats, scores: Floats) -> list[int]:
    """Rows that are left when of boxes of the same animal only the surest stays."""
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    left = list(np.argsort(-scores, kind="stable"))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(int(best))
        others = np.array(left, np.int64)
        low = np.maximum(corners[others, :2], corners[best, :2])
        high = np.minimum(corners[others, 2:], corners[best, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        overlap = shared / (areas[others] + areas[best] - shared)
        left = others[overlap <= _SAME_ANIMAL].tolist()
    return kept


def _within(corners: Floats, width: int, height: int) -> Box | None:
    """The box cut at the picture's edges; None if nothing is left."""
    left, top = max(0, round(float(corners[0]))), max(0, round(float(corners[1])))
    right, bottom = min(width, round(float(corners[2]))), min(height, round(float(corners[3])))
    return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None
