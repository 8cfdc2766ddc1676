"""The graph from prepared squares to probabilities, with all that a user of the file must know in its metadata."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import nn

import petmood
from petmood.bundle import Bundle, BundleInfo
from petmood.labels import display
from petmood.runtime.description import ATTENTION, FORMAT, INPUT, KEY, PROBABILITIES
from petmood.settings import to_plain


class _FromSquares(nn.Module):
    """Squares, uint8 N × size × size × 3 in RGB, to probabilities N × classes and, if the model has it, attention N."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, bundle: Bundle, temperature: float) -> None:
        super().__init__()
        self.net = bundle.net
        mean, std = (torch.tensor(values) for values in (bundle.info.preprocessing.mean, bundle.info.preprocessing.std))
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))
        self.temperature = temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        normalised = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        logits, attention = self.net.answers(normalised)
        probabilities = (logits / self.temperature).softmax(dim=1)
        return probabilities if attention is None else (probabilities, attention)


def write_graph(bundle: Bundle, path: Path) -> None:
    """Write the model as ONNX with a batch of any size."""
    info = bundle.info
    size = info.preprocessing.image_size
    module = _FromSquares(bundle, temperature_of(info)).eval()
    squares = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    outputs = [PROBABILITIES] if bundle.net.attention is None else [PROBABILITIES, ATTENTION]
    with _quiet():
        program = torch.onnx.export(
            module,
            (squares,),
            dynamo=True,
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
            input_names=[INPUT],
            output_names=outputs,
            verbose=False,
        )
    assert program is not None, "dynamo gives a program"
    program.save(path)
    describe(path, info)


def describe(path: Path, info: BundleInfo) -> None:
    """Write into a graph's metadata what it answers, and what its input must look like."""
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, metadata(info))
    onnx.save(graph, path)


def metadata(info: BundleInfo) -> dict[str, str]:
    """Key → text; ``petmood`` is JSON with everything, the others are for people."""
    certainty = to_plain(info.certainty) if info.certainty else None
    everything = {
        "format": FORMAT,
        "petmood": petmood.__version__,
        "model": info.model,
        "classes": list(info.classes),
        "korean": [display(name, "ko") for name in info.classes],
        "preprocessing": to_plain(info.preprocessing),
        "geometry": to_plain(info.geometry),
        "pool": info.pool,
        "certainty": certainty,
    }
    return {
        KEY: json.dumps(everything, ensure_ascii=False),
        "labels": ",".join(info.classes),
        "version": petmood.__version__,
        "temperature": f"{temperature_of(info):.6g}",
        "threshold": f"{info.certainty.frames.threshold:.6g}" if info.certainty else "",
    }


def temperature_of(info: BundleInfo) -> float:
    """By which the logits of single pictures are divided; 1 if none was fitted."""
    return info.certainty.frames.temperature if info.certainty else 1.0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks, which speak of torch's inside."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
