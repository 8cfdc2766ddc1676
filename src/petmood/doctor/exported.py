"""Whether a file that was exported from a run still answers as the run does."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from petmood.doctor.records import Check
from petmood.doctor.run import Run
from petmood.errors import UserError
from petmood.runtime import OnnxModel

#: Largest difference of a probability; `petmood export` allows a tenth, on the machine that it runs on.
_ALLOWED = 1e-3
_AGAIN = "the run was evaluated, adjusted or trained again since: make the file again with `petmood export`"


def check_same_export(run: Run) -> Check:
    """Whether the run's model.onnx gives the run's answers for validation crops."""
    path = run.folder / "model.onnx"
    if not path.is_file() or find_spec("onnxruntime") is None:
        why = "onnxruntime is not installed" if path.is_file() else "the run was not exported"
        return Check(name="same-export", verdict="skipped", evidence=why)
    expected = run.predictor.believed(run.answers.probabilities)
    try:
        model = OnnxModel(path)
    except UserError as error:
        return _failed(error.message, error.hint)
    if model.classes != run.info.classes:
        return _failed(f"{path.name} answers {', '.join(model.classes)}; the run {', '.join(run.info.classes)}", _AGAIN)
    return _judged(path, model, run, expected)


def _judged(path: Path, model: OnnxModel, run: Run, expected: npt.NDArray[np.float32]) -> Check:
    store = run.validation.store
    given, _ = model.believed(
        np.stack([run.info.preprocessing.prepare(store.pixels(row)) for row in range(len(store))])
    )
    difference = float(np.abs(given - expected).max())
    other = int((given.argmax(axis=1) != expected.argmax(axis=1)).sum())
    told = f"{path.name} and the run differ by {difference:.2g} at most in a probability of {len(given)} crops"
    if model.certainty != run.info.certainty:
        return _failed(f"{told}; temperature and threshold are not those of the run", _AGAIN)
    # Written so that a difference that is no number fails too.
    if not difference <= _ALLOWED:
        return _failed(f"{told}, and {other} answers are others; allowed is {_ALLOWED:g}", _AGAIN)
    return Check(name="same-export", verdict="ok", evidence=told, numbers={"difference": difference})


def _failed(evidence: str, remedy: str) -> Check:
    return Check(name="same-export", verdict="fail", evidence=f"{evidence.rstrip('.')}.", remedy=remedy)
