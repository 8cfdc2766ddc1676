"""From a name or a file to a detector that is ready."""

from __future__ import annotations

import os
from pathlib import Path

from petmood.detect.animal import Detector
from petmood.detect.cache import cache_folder, kept
from petmood.detect.table import WEIGHTS, named
from petmood.detect.yolox import Yolox
from petmood.errors import UserError

#: Names the detector where no option does: a file, or a name of the table.
ENVIRONMENT = "PETMOOD_DETECTOR"
_SUFFIXES = (".onnx", ".pth", ".pt", ".safetensors")


def open_detector(where: str = "", *, threads: int = 0) -> Detector:
    """A detector that finds cats and dogs.

    Args:
        where: a file of weights (.onnx of YOLOX; .pth, .pt or .safetensors of torchvision), a name of `table`,
            ``torchvision``; empty takes what the environment names, else the first of the table that was fetched.
        threads: of each question; 0 leaves it to the library.

    Raises:
        UserError: no weights are there (the hint names the command that fetches them), or they cannot be used.
    """
    path = find_weights(where)
    if path.suffix == ".onnx":
        return Yolox(path, threads=threads)
    # torch takes seconds to load, and the other detector runs without it.
    from petmood.detect.coco import TorchvisionDetector  # noqa: PLC0415

    return TorchvisionDetector(path, threads=threads)


def find_weights(where: str = "") -> Path:
    """The file of weights that `open_detector` opens.

    Raises:
        UserError: there is none.
    """
    if where:
        return _named_by(where, "")
    if given := os.environ.get(ENVIRONMENT, ""):
        return _named_by(given, f" (named by {ENVIRONMENT})")
    found = next((path for row in WEIGHTS if (path := kept(row))), None)
    if found is None:
        first = WEIGHTS[0]
        raise UserError(
            f"no weights of a detector are kept in {cache_folder()}; one is needed to find the animal in a picture.",
            hint=f"run `petmood detector fetch` ({first.size / 1e6:.1f} MB, {first.licence}), or name a file with "
            f"{ENVIRONMENT}=FILE",
        )
    return found


def _named_by(where: str, note: str) -> Path:
    row = named(where)
    if row:
        found = kept(row)
        if found:
            return found
        text = f"the weights of {row.name}{note} are not kept in {cache_folder()}."
        raise UserError(text, hint=f"run `petmood detector fetch {row.name}` ({row.size / 1e6:.0f} MB, {row.licence})")
    path = Path(where).expanduser()
    names = ", ".join(other.name for other in WEIGHTS)
    if not path.is_file():
        raise UserError(
            f"detector {where!r}{note} is no file; allowed are a file of weights, torchvision, {names}.",
            hint="run `petmood detector list`, or fetch one with `petmood detector fetch`",
        )
    if path.suffix not in _SUFFIXES:
        raise UserError(
            f"detector {path}{note} is a {path.suffix or 'nameless'} file; allowed are {', '.join(_SUFFIXES)}.",
            hint="run `petmood detector list`",
        )
    return path
