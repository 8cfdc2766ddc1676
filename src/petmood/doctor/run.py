"""A run as the checks see it: its model, what training wrote down, and some answers for clips that judge it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.bundle import INFO_FILE, BundleInfo, load_bundle
from petmood.errors import UserError
from petmood.loading import Samples, load_samples
from petmood.predict import Predictor
from petmood.recipes import TrainSettings
from petmood.runfolder import CONFIG, read_config
from petmood.sampling import Numbers
from petmood.train.epochs import read_metrics
from petmood.workspace import Workspace, read_json, read_table

#: Validation pictures that the model is asked about.
_PICTURES, _BRIEF_PICTURES = 300, 48


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model says of some pictures; arrays are row by row."""

    labels: Numbers
    probabilities: npt.NDArray[np.float32]
    """(n, classes)."""
    clips: tuple[str, ...]
    source: str
    """Where they come from, in words."""

    @property
    def predicted(self) -> Numbers:
        """The likeliest class numbers."""
        return self.probabilities.argmax(axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder; what it holds is read when it is first asked for."""

    folder: Path
    brief: bool = False

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The work folder that it lies in.

        Raises:
            UserError: it lies in none.
        """
        return Workspace.of_run(self.folder)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """Its model, on the processor.

        Raises:
            UserError: there is none, or it is damaged.
        """
        return Predictor(load_bundle(self.folder), device="cpu")

    @property
    def info(self) -> BundleInfo:
        """What its model says of itself.

        Raises:
            UserError: as ``predictor``.
        """
        return self.predictor.info

    @functools.cached_property
    def settings(self) -> TrainSettings:
        """Those that it was trained with.

        Raises:
            UserError: they are missing or damaged.
        """
        return read_config(self.folder)[0]

    @functools.cached_property
    def epochs(self) -> list[dict[str, float]]:
        """Rows of metrics.csv; none for a probe, which has no epochs."""
        return read_metrics(self.folder / "metrics.csv")

    @functools.cached_property
    def metrics(self) -> Mapping[str, Any]:
        """What `petmood evaluate` found; empty before it was run."""
        path = self.folder / "metrics.json"
        return read_json(path) if path.is_file() else {}

    @functools.cached_property
    def predictions(self) -> pl.DataFrame | None:
        """What `petmood evaluate` was answered; None before it was run."""
        path = self.folder / "predictions.parquet"
        return read_table(path) if path.is_file() else None

    @functools.cached_property
    def validation(self) -> Samples:
        """Some pictures of the validation split as training judged it: of as many clips as possible.

        Raises:
            UserError: there is no work folder, or no validation split.
        """
        settings = self.settings
        samples = load_samples(self.workspace, "val", limit=settings.limit, seed=settings.seed)
        most = _BRIEF_PICTURES if self.brief else _PICTURES
        return samples if len(samples) <= most else load_samples(self.workspace, "val", limit=most, seed=settings.seed)

    @functools.cached_property
    def answers(self) -> Answers:
        """What the model says of ``validation``, by the way that evaluation and prediction take.

        Raises:
            UserError: as ``validation`` and ``predictor``.
        """
        samples = self.validation
        return Answers(
            labels=samples.labels,
            probabilities=self.predictor.crops(samples.store).probabilities,
            clips=tuple(samples.clips),
            source=f"{len(samples)} validation pictures",
        )

    @functools.cached_property
    def judged(self) -> Answers:
        """The answers of the evaluation, or ``answers`` before it was run.

        Raises:
            UserError: as ``answers``; or predictions.parquet is of other classes than the model.
        """
        found = self.predictions
        if found is None:
            return self.answers
        numbers = {name: number for number, name in enumerate(self.info.classes)}
        columns = [f"p_{name}" for name in self.info.classes]
        if not set(columns) <= set(found.columns) or not set(found["emotion"]) <= set(numbers):
            raise UserError("predictions.parquet is of other classes than the model.", hint="run `petmood evaluate`")
        return Answers(
            labels=np.array([numbers[name] for name in found["emotion"]], np.int64),
            probabilities=found.select(columns).to_numpy(),
            clips=tuple(found["clip"]),
            source=f"{len(found):,} evaluated pictures",
        )


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / CONFIG).is_file() or (folder / INFO_FILE).is_file()
