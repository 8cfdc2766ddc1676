"""`petmood detector`: the weights that find animals in pictures: which there are, fetching them, trying them."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Force, Json, Quiet
from petmood.errors import RunError, UserError

if TYPE_CHECKING:
    from petmood.detect import Animal, Detector

#: An app of its own, because it has commands of its own.
detector = cyclopts.App(
    name="detector", help="Find the animal in a picture: weights that there are, fetching them, trying them on photos."
)


@detector.command(name="list")
def list_detectors(*, json: Json = False) -> None:
    """List the detectors whose weights petmood can fetch, and where they are kept."""
    from petmood.detect.cache import cache_folder, kept
    from petmood.detect.opening import ENVIRONMENT
    from petmood.detect.table import WEIGHTS

    if json:
        rows = [{**dataclasses.asdict(row), "kept": str(kept(row) or "")} for row in WEIGHTS]
        print(json_module.dumps(rows, indent=2))
        return
    runs_by = {"yolox": "onnxruntime", "torchvision": "torch"}
    print(f"{'name':<26}{'MB':>6}  {'mAP':>5}  {'runs by':<13}{'licence':<14}kept")
    for row in WEIGHTS:
        place = "yes" if kept(row) else "-"
        line = f"{row.name:<26}{row.size / 1e6:>6.1f}  {row.precision:>5.1f}  {runs_by[row.kind]:<13}{row.licence:<14}"
        print(line + place)
    print(f"mAP: on COCO's validation pictures, as published. Kept in {cache_folder()}.")
    print(f"Any other file of these networks: --detector FILE, or {ENVIRONMENT}=FILE.")


@detector.command
def fetch(
    name: Annotated[str, Parameter(help="Of `petmood detector list`.")] = "yolox-nano",
    *,
    force: Annotated[Force, Parameter(help="Fetch it again although it is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch weights from their publisher into the cache folder; size and SHA-256 are checked."""
    from petmood.detect.cache import fetch as run
    from petmood.detect.table import WEIGHTS, named

    row = named(name)
    if row is None:
        known = ", ".join(weights.name for weights in WEIGHTS)
        raise UserError(f"detector {name!r} is not known; known are {known}.", hint="see `petmood detector list`")
    print(f"{row.name} ({row.licence}): {run(row, quiet=quiet, force=force)}")


@detector.command(name="try")
def try_on(
    photos: Annotated[list[Path], Parameter(help="Picture files.")],
    *,
    detector: Annotated[str, Parameter(help="A file of weights, or a name of `petmood detector list`.")] = "",
    least: Annotated[float, Parameter(help="Score that an animal needs, 0 to 1.")] = 0.3,
    json: Json = False,
) -> None:
    """Say where cats and dogs are in photos: species, score, and the box that `petmood predict --box` takes."""
    from petmood.detect import open_detector

    opened = open_detector(detector)
    width = max(len(str(path)) for path in photos)
    failed = 0
    for path in photos:
        found, problem = _seen(path, opened, least)
        failed += bool(problem)
        if json:
            animals = [dataclasses.asdict(animal) for animal in found]
            print(json_module.dumps({"source": str(path), "animals": animals, "problem": problem}, ensure_ascii=False))
            continue
        for animal in found:
            box = ",".join(str(value) for value in dataclasses.astuple(animal.box))
            print(f"{path!s:<{width}}  {animal.species}  {animal.score:.2f}  {box}")
        if not found:
            print(f"{path!s:<{width}}  {'- ' + problem if problem else 'no cat or dog'}")
    sys.stdout.flush()
    if failed:
        raise RunError(f"{failed} of {len(photos)} pictures could not be used; the output says why.")


def _seen(path: Path, detector: Detector, least: float) -> tuple[list[Animal], str]:
    """Animals in a picture file, or what is wrong with it."""
    from petmood.detect import animals_in
    from petmood.pictures import BadPictureError

    try:
        return animals_in(path.read_bytes(), detector, least=least), ""
    except BadPictureError as error:
        return [], error.detail
    except OSError as error:
        return [], error.strerror or str(error)
