"""The detectors whose weights petmood can fetch: names, sizes, licences, where they come from."""

from __future__ import annotations

import dataclasses
from typing import Literal

_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"
_TORCHVISION = "https://download.pytorch.org/models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """One file of weights, trained on COCO."""

    name: str
    """By which it is asked for."""
    kind: Literal["yolox", "torchvision"]
    """Which program runs it: onnxruntime alone, or torch."""
    file: str
    """Name in the cache folder; its suffix tells the kind."""
    size: int
    """Bytes."""
    sha256: str
    """Of the file, in hex digits."""
    licence: str
    """Of code and weights."""
    address: str
    """Where its publisher keeps it."""
    precision: float
    """Mean average precision on COCO's validation pictures (0.50 to 0.95), as published, 0 to 100; higher is better."""


#: The first that lies in the cache folder is used where none is named; the first of all is fetched.
WEIGHTS: tuple[Weights, ...] = (
    Weights(
        name="yolox-nano",
        kind="yolox",
        file="yolox_nano.onnx",
        size=3_659_407,
        sha256="c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        licence="Apache-2.0",
        address=f"{_YOLOX}/yolox_nano.onnx",
        precision=25.8,
    ),
    Weights(
        name="yolox-tiny",
        kind="yolox",
        file="yolox_tiny.onnx",
        size=20_219_662,
        sha256="427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        licence="Apache-2.0",
        address=f"{_YOLOX}/yolox_tiny.onnx",
        precision=32.8,
    ),
    Weights(
        name="yolox-s",
        kind="yolox",
        file="yolox_s.onnx",
        size=35_858_002,
        sha256="c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        licence="Apache-2.0",
        address=f"{_YOLOX}/yolox_s.onnx",
        precision=40.5,
    ),
    Weights(
        name="fasterrcnn-mobilenet-320",
        kind="torchvision",
        file="fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        size=77_844_807,
        sha256="907ea3f91ff92242bc1baea8049276a3e76bca48ce7560bd268cc029f37977b5",
        licence="BSD-3-Clause",
        address=f"{_TORCHVISION}/fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        precision=22.8,
    ),
    Weights(
        name="ssdlite320",
        kind="torchvision",
        file="ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        size=14_069_355,
        sha256="a79551df90c79834bcd3bb3845ef9d966b5449a3a9b2833ae8404778ca5d65d2",
        licence="BSD-3-Clause",
        address=f"{_TORCHVISION}/ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        precision=21.3,
    ),
)


def named(name: str) -> Weights | None:
    """The row of that name; ``torchvision`` is the first of that kind; None if there is none."""
    return next((row for row in WEIGHTS if name in {row.name, row.kind}), None)
