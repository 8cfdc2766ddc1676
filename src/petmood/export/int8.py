"""A graph that calculates in 8 bits, with ranges chosen by real crops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from petmood.runtime.description import INPUT

_BATCH = 16
#: Share of the convolutions, from the first on, that stay in full precision.
_FULL = 0.25


class _Crops(CalibrationDataReader):
    """Prepared squares, a batch at a time."""

    def __init__(self, squares: npt.NDArray[np.uint8]) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = iter(
            squares[i : i + _BATCH] for i in range(0, len(squares), _BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantise(full: Path, path: Path, squares: npt.NDArray[np.uint8]) -> None:
    """Write a graph whose convolutions calculate in 8 bits, but for the first ones and the head.

    What the first convolutions lose goes through all that follow, and they hold few of the weights; the head's norm
    stretches small features. Convolutions are quantised together with the activation behind them: ranges are then those
    of what passes on, not of what is cut off.

    Args:
        full: the graph in full precision.
        path: of the new file.
        squares: that its ranges are chosen by, uint8 n × size × size × 3.
    """
    prepared = path.with_suffix(".prepared.onnx")
    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # it advises to do what has just been done
    try:
        quant_pre_process(full, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Crops(squares),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Clip", "Relu"],
            nodes_to_exclude=_first_convolutions(prepared),
            per_channel=True,
            # 7 bits for weights: without VNNI, sums of products of full 8 bits overflow.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        quiet.setLevel(level)
        prepared.unlink(missing_ok=True)


def _first_convolutions(path: Path) -> list[str]:
    """Names of those that stay in full precision; a graph's nodes stand in the order of calculation."""
    names = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    return names[: round(len(names) * _FULL)]
