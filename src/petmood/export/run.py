"""One export, from a run's folder to a file that was seen to answer as the run does."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from petmood.bundle import load_bundle
from petmood.crops import CropStore
from petmood.errors import RunError
from petmood.export.graph import describe, write_graph
from petmood.export.int8 import quantise
from petmood.loading import Samples, load_samples
from petmood.metrics import clip_means, macro_f1
from petmood.predict import Predictor
from petmood.preprocess import Preprocessing
from petmood.recipes.export import ExportSettings
from petmood.runtime.description import INPUT
from petmood.workspace import Workspace, replacing

Floats = npt.NDArray[np.float32]

#: Largest difference of a probability between file and model.
TOLERANCE = 1e-4
#: Points of macro-F1 (0 to 1) that 8 bits may cost.
_LOSS = 0.01
#: Crops at once, and crops that are asked about one by one, too.
_BATCH, _ALONE = 32, 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how it was checked."""

    path: Path
    size: int
    """Bytes of the file."""
    crops: int
    """Crops on which the file was compared with the model."""
    difference: float
    """Largest difference of a probability on them, in full precision."""
    macro_f1: tuple[float, float] | None = None
    """Of the validation clips in full precision and in 8 bits; None without 8 bits."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        checked = (
            f"checked on {self.crops:,} crops, in batches and one by one: same answers, probabilities differ by "
            f"{self.difference:.1g} at most"
        )
        rows = [checked]
        if self.macro_f1:
            before, after = self.macro_f1
            rows.append(f"8 bits: macro-F1 of the validation clips {before:.3f} before, {after:.3f} after")
        return (*rows, f"{self.path}: {self.size / 1e6:.1f} MB")


def export(run: Path, path: Path | None = None, settings: ExportSettings = ExportSettings()) -> Exported:  # noqa: B008
    """Write a run as one file; a file that does not answer as the run is not left behind.

    Args:
        run: run folder in its work folder, whose crops the file is checked on.
        path: of the file; ``model.onnx`` (``model-int8.onnx``) in the run's folder if left out.
        settings: see ``ExportSettings``.

    Raises:
        UserError: no model, or no work folder with crops around it.
        RunError: the file answers differently, or 8 bits cost too much.
    """
    run = run.absolute()
    path = path or run / ("model-int8.onnx" if settings.int8 else "model.onnx")
    bundle = load_bundle(run)
    workspace = Workspace.of_run(run)
    validation = load_samples(workspace, "val")
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "model.onnx"
        write_graph(bundle, full)
        crops = _first(validation.store, settings.check)
        difference = _compare(run, full, crops)
        scores = None
        made = full
        if settings.int8:
            made = Path(folder) / "int8.onnx"
            train = load_samples(workspace, "train", limit=settings.calibrate)
            quantise(full, made, _squares(train.store, bundle.info.preprocessing))
            describe(made, bundle.info)
            scores = _cost(full, made, validation, bundle.info.preprocessing)
        with replacing(path) as temporary:
            temporary.write_bytes(made.read_bytes())
    return Exported(path=path, size=path.stat().st_size, crops=len(crops), difference=difference, macro_f1=scores)


def _first(store: CropStore, count: int) -> CropStore:
    """Crops evenly spread over a store."""
    rows = np.unique(np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(np.int64))
    return CropStore(store.folder, store.table[rows.tolist()])


def _squares(store: CropStore, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """What the network sees of each crop: uint8, n × size × size × 3."""
    return np.stack([preprocessing.prepare(store.pixels(row)) for row in range(len(store))])


def answers(path: Path, squares: npt.NDArray[np.uint8], *, batch: int = _BATCH) -> list[Floats]:
    """The outputs of a file for prepared squares, uint8 n × size × size × 3: probabilities, then attention if any."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {INPUT: squares[i : i + batch]}) for i in range(0, len(squares), batch)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _compare(run: Path, path: Path, crops: CropStore) -> float:
    """Largest difference of a probability between file and model.

    Raises:
        RunError: it is too large, or an answer differs.
    """
    predictor = Predictor.load(run, device="cpu")
    squares = _squares(crops, predictor.info.preprocessing)
    given, alone = answers(path, squares)[0], answers(path, squares[:_ALONE], batch=1)[0]
    expected = predictor.believed(predictor.crops(crops).probabilities)
    difference = float(max(np.abs(given - expected).max(), np.abs(alone - expected[:_ALONE]).max()))
    other = int((given.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if not difference < TOLERANCE or other:
        raise RunError(
            f"the exported file answers {other:,} of {len(crops):,} crops differently, with probabilities that differ "
            f"by up to {difference:.3g}; allowed is {TOLERANCE:g}. It was not kept.",
            hint="another version of torch or onnx may export this network rightly",
        )
    return difference


def _cost(full: Path, small: Path, validation: Samples, preprocessing: Preprocessing) -> tuple[float, float]:
    """Macro-F1 of the validation clips before and after.

    Raises:
        RunError: it falls by more than a point.
    """
    squares = _squares(validation.store, preprocessing)
    before, after = (_macro_f1(answers(path, squares), validation) for path in (full, small))
    if before - after > _LOSS:
        raise RunError(
            f"8 bits lower the macro-F1 of the {len(set(validation.clips)):,} validation clips from {before:.3f} to "
            f"{after:.3f}; allowed is a fall by {_LOSS:g}. The file was not kept.",
            hint="export without --int8; where clips are few, one or two of them can be a point",
        )
    return before, after


def _macro_f1(given: list[Floats], validation: Samples) -> float:
    attention = given[1] if len(given) > 1 else None
    clips = clip_means(validation.clips, given[0], validation.labels, attention)
    return macro_f1(clips.labels, clips.probabilities.argmax(axis=1), given[0].shape[1])
