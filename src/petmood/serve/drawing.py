"""Heat as a picture that can be laid over a photo."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

#: From nothing to most: transparent dark blue over red to yellow; opacity, red, green, blue at equal steps.
_STOPS = np.array([[0, 20, 20, 120], [110, 130, 20, 140], [170, 230, 60, 60], [200, 255, 220, 40]], np.float32)
_LONGER_SIDE = 256


def heat_png(heat: Mapping[str, Any]) -> bytes:
    """A transparent PNG of ``answers.Heat`` (plain values), in the proportions of its box, 256 pixels long."""
    rows = np.asarray(heat["heat"], np.float32)
    at = np.linspace(0, 255, len(_STOPS))
    alpha, red, green, blue = (np.interp(rows, at, _STOPS[:, number]) for number in range(4))
    small = Image.fromarray(np.stack([red, green, blue, alpha], axis=-1).round().astype(np.uint8), "RGBA")
    scale = _LONGER_SIDE / max(heat["box"]["width"], heat["box"]["height"])
    size = tuple(max(1, round(heat["box"][name] * scale)) for name in ("width", "height"))
    file = io.BytesIO()
    small.resize((size[0], size[1]), Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()
