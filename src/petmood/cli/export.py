"""`petmood export`: a run as one file that runs without petmood."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from petmood.cli.folders import Run
from petmood.errors import UserError
from petmood.recipes.export import ExportSettings
from petmood.workspace import owned_run


def export(
    run: Run,
    *,
    out: Annotated[Path | None, Parameter(help="File to write; model.onnx in RUN if left out.")] = None,
    settings: Annotated[ExportSettings, Parameter(name="*")] = ExportSettings(),  # noqa: B008 - frozen
) -> None:
    """Write RUN as one ONNX file, from uint8 RGB squares to probabilities, and check it on real crops.

    Parameters
    ----------
    run
        A run folder that `petmood train` made: WORK/runs/NAME.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"export needs {', '.join(missing)}, which is not installed.", hint="pip install 'petmood[export]'"
        )
    from petmood.export import export as write

    with owned_run(run, "petmood export") if out is None else nullcontext():
        for line in write(run, out, settings).lines:
            print(line)
