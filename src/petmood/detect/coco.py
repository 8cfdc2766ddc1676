"""torchvision's detectors that were trained on COCO: by torch, from a file of weights that holds only tensors."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn
from torchvision.models import detection

from petmood.detect.animal import LEAST, Animal, distinct, within
from petmood.errors import UserError
from petmood.pictures import Pixels

#: Classes of COCO that count, by their number of 91 (0 is the background).
_COCO = {17: "cat", 18: "dog"}
_CLASSES = 91
#: Name of a tensor that only that network has → what builds it.
_NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    # Li et al. 2021 (arXiv 2111.11429) describe its recipe; Ren et al. 2015 (arXiv 1506.01497) the network.
    "roi_heads.box_predictor.cls_score.weight": detection.fasterrcnn_mobilenet_v3_large_320_fpn,
    # Howard et al. 2019 (arXiv 1905.02244).
    "head.classification_head.module_list.0.0.0.weight": detection.ssdlite320_mobilenet_v3_large,
}
_HINT = "give the weights of fasterrcnn_mobilenet_v3_large_320_fpn or ssdlite320_mobilenet_v3_large for COCO"


class TorchvisionDetector:
    """A detector of torchvision with the weights of a file."""

    def __init__(self, weights: Path, *, threads: int = 0) -> None:
        """Build the network that the file's tensors are those of. No code in the file is run.

        Args:
            weights: a .pth, .pt or .safetensors file of names and tensors.
            threads: of torch, for the whole process; 0 leaves them as they are.

        Raises:
            UserError: the file is damaged, or its tensors are those of no network that is known here.
        """
        state = _tensors(weights)
        build = next((build for name, build in _NETWORKS.items() if name in state), None)
        if build is None:
            raise UserError(f"detector weights {weights} are of no network that is known here.", hint=_HINT)
        self._network = build(weights=None, weights_backbone=None, num_classes=_CLASSES).eval()
        try:
            self._network.load_state_dict(state)
        except RuntimeError as error:
            text = " ".join(str(error).split())[:200]
            raise UserError(f"detector weights {weights} do not fit: {text}.", hint=_HINT) from None
        if threads:
            torch.set_num_threads(threads)

    def animals(self, pixels: Pixels, *, least: float = LEAST) -> list[Animal]:
        """Cats and dogs in a picture (see ``Detector``)."""
        height, width = pixels.shape[:2]
        picture = torch.from_numpy(np.ascontiguousarray(pixels).copy()).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            (answer,) = self._network([picture])
        found = []
        for edges, label, score in zip(*(answer[name].tolist() for name in ("boxes", "labels", "scores")), strict=True):
            box = within(*edges, width=width, height=height)
            if label in _COCO and score >= least and box:
                found.append(Animal(box, _COCO[label], float(score)))
        return distinct(found)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"detector weights {path} cannot be read: {text}.", hint=_HINT) from None
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UserError(f"detector weights {path} hold {type(loaded).__name__}, not names with tensors.", hint=_HINT)
    return dict(loaded)
