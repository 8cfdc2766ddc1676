"""`petmood serve`: a web page and an HTTP service."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from petmood.cli.folders import Run
from petmood.errors import UserError
from petmood.recipes.serve import ServeSettings

if TYPE_CHECKING:
    from petmood.detect import Detector
    from petmood.serve.service import Served

_LIBRARIES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}


def serve(
    model: Run,
    *,
    detector: Annotated[
        str,
        Parameter(help="Weights that find the animal: a file, torchvision, or what `petmood detector` has fetched."),
    ] = "",
    whole: Annotated[bool, Parameter(help="Look for no animal: the whole picture counts.", negative=())] = False,
    settings: Annotated[ServeSettings, Parameter(name="*")] = ServeSettings(),  # noqa: B008 - frozen
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Parameter(help="Where a run computes; an ONNX file does on the processor.")
    ] = "auto",
) -> None:
    """Answer on a web page and over HTTP, until Ctrl-C: drop a photo, or POST it to /v1/predict.

    Parameters
    ----------
    model
        A run folder that `petmood train` made, or a file of `petmood export`.
    """
    missing = [name for module, name in _LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise UserError(
            f"serve needs {', '.join(missing)}, which is not installed.", hint="pip install 'petmood[serve]'"
        )
    from petmood.detect import open_detector
    from petmood.serve.app import create_app
    from petmood.serve.guard import read_keys
    from petmood.serve.running import listening, on_this_machine, server_of, url_of

    keys = read_keys(Path(settings.api_key_file)) if settings.api_key_file else ()
    private = on_this_machine(settings.host)
    finds = None if whole else open_detector(detector, threads=1)  # each request has a thread
    shown = settings.examples == "on" or (settings.examples == "auto" and private)
    served = _served(model, finds, device=device, examples=shown)
    opened = listening(settings)
    if not private and not keys:
        print(
            f"petmood: {settings.host} is open to other machines and no key is asked for.\nhint: give --api-key-file",
            file=sys.stderr,
        )
    server = server_of(create_app(served, settings, keys=keys))
    print(f"{url_of(opened)}  (Ctrl-C ends it)", flush=True)
    server.run(sockets=[opened])


def _served(
    model: Path, detector: Detector | None, *, device: Literal["auto", "cpu", "cuda"], examples: bool
) -> Served:
    from petmood.look import Looker
    from petmood.parallel import cores
    from petmood.serve.examples import examples_of
    from petmood.serve.service import Served
    from petmood.serve.turns import InTurns

    if model.suffix == ".onnx":
        from petmood.runtime import OnnxModel

        # Threads that share a picture wait for each other, the more so beside those that read and decode requests.
        engine = OnnxModel(model, threads=1, spinning=False)
        looker = Looker(engine, detector, whole=detector is None)
        name, finds = engine.described.model, detector is not None
        return Served(network=name, engine=engine, looker=looker, finds=finds, workers=cores())
    from petmood.predict import Predictor
    from petmood.serve.heat import heat_maps_of

    predictor = Predictor.load(model, device=device)
    shared = InTurns(predictor)
    return Served(
        network=predictor.info.model,
        engine=shared,
        looker=Looker(shared, detector, whole=detector is None),
        finds=detector is not None,
        heat_maps=heat_maps_of(model, device=device),
        examples=examples_of(model) if examples else (),
    )
