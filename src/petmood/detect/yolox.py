"""YOLOX (Ge et al. 2021, arXiv 2107.08430) in ONNX: by onnxruntime alone, any size of its family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from petmood.detect.animal import LEAST, Animal, distinct, within
from petmood.errors import UserError
from petmood.pictures import Pixels

Floats = npt.NDArray[np.float32]

#: Classes of COCO that count, by their number of 80.
_COCO = {15: "cat", 16: "dog"}
#: YOLOX looks at a picture in cells of these sizes.
_STRIDES = (8, 16, 32)
#: What its training filled the rest of the square with.
_GREY = 114
_HINT = "fetch weights with `petmood detector fetch`, or give an ONNX file of YOLOX's releases"


class Yolox:
    """A YOLOX network in ONNX that was trained on COCO."""

    def __init__(self, weights: Path, *, threads: int = 0) -> None:
        """Open a file of weights.

        Args:
            weights: an ONNX file as YOLOX exports it, one picture a batch, boxes not decoded.
            threads: of onnxruntime for one picture; 0 takes all cores.

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
            raise UserError(f"detector weights {weights} do not exist.", hint=_HINT)
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            self._session: Any = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
            (given,) = self._session.get_inputs()
            _, channels, self.height, self.width = given.shape
            self._input = given.name
            cells = sum((self.height // stride) * (self.width // stride) for stride in _STRIDES)
            fits = channels == 3 and self._session.get_outputs()[0].shape[1:] == [cells, 85]
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds for a broken file
            text = " ".join(str(error).split())[:160]
            raise UserError(f"detector weights {weights} cannot be read: {text}.", hint=_HINT) from None
        if not fits:
            raise UserError(f"detector weights {weights} are not those of a YOLOX for COCO.", hint=_HINT)

    def animals(self, pixels: Pixels, *, least: float = LEAST) -> list[Animal]:
        """Cats and dogs in a picture (see ``Detector``)."""
        height, width = pixels.shape[:2]
        scale = min(self.height / height, self.width / width)
        (raw,) = self._session.run(None, {self._input: self._square(pixels, scale)})
        corners, scores = _decoded(raw[0], self.height, self.width)
        found: list[Animal] = []
        for number, species in _COCO.items():
            for row in np.flatnonzero(scores[:, number] >= least):
                box = within(*(corners[row] / scale).tolist(), width=width, height=height)
                if box:
                    found.append(Animal(box, species, float(scores[row, number])))
        return distinct(found)

    def _square(self, pixels: Pixels, scale: float) -> Floats:
        """The picture in the top left of the network's square, BGR 0 to 255, 1 × 3 × height × width."""
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        square = np.full((self.height, self.width, 3), _GREY, np.uint8)
        square[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)


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
