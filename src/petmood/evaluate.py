"""Judge a run: its answers for the clips of one split, on frames and on clips, beside the majority answer.

Reads WORK/runs/NAME and its workspace; writes runs/NAME/predictions.parquet and, last, runs/NAME/metrics.json. What
tells how far the model's probabilities hold is fitted on the validation clips and goes into the model's own bundle.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl

import petmood
from petmood.bundle import BundleInfo, check_same_classes, data_fingerprints, keep_certainty, read_info
from petmood.judging import Answered, certainty_of, fitted_on, judged, training_clips
from petmood.loading import data_classes, load_samples
from petmood.metrics import Caution, Evaluation, Speed
from petmood.parallel import progress
from petmood.predict import Predictor
from petmood.recipes.evaluation import EvaluateSettings
from petmood.records import Certainty
from petmood.settings import to_plain
from petmood.workspace import Workspace, drop, write_json, write_table

Split = Literal["train", "val", "test"]


def evaluate(run: Path, settings: EvaluateSettings = EvaluateSettings(), *, quiet: bool = False) -> Evaluation:  # noqa: B008
    """Judge ``run`` on one split of its workspace and write what was found into its folder.

    Raises:
        UserError: no model in ``run``, not in a workspace, no frames in the split, or the workspace's classes are not
            the model's.
    """
    run = run.absolute()
    info = read_info(run)
    workspace = Workspace.of_run(run)
    classes = data_classes(workspace)
    check_same_classes(info, classes, where=f"work folder {workspace.root}")
    split = _chosen_split(workspace, settings)
    training = training_clips(workspace.read_frames(), classes)
    judge_of = _Judge(Predictor.load(run, device=settings.device), workspace, settings, quiet=quiet)
    answered, speed = judge_of.answered(split)
    certainty = _certainty(run, info, judge_of, answered if split == "val" else None)
    result = Evaluation(
        split=split,
        **judged(answered, classes, training, certainty=certainty, own_validation=split == "val"),
        pool="mean" if answered.attention is None else "attention",
        split_by=_split_counts(workspace).get("by", "group"),
        cautions=tuple(_cautions(workspace, info, split)),
        settings=to_plain(settings),
        versions=_versions(),
        speed=speed,
    )
    # Numbers must never stand beside another evaluation's predictions: they go first and come last.
    drop(run / "metrics.json", run / "heatmaps.parquet")
    write_table(predictions(answered, classes), run / "predictions.parquet")
    write_json(run / "metrics.json", result.to_dict())
    return result


@dataclasses.dataclass(frozen=True)
class _Judge:
    """Sends the frames of a split through the one inference path."""

    predictor: Predictor
    workspace: Workspace
    settings: EvaluateSettings
    quiet: bool

    def answered(self, split: Split) -> tuple[Answered, Speed]:
        """What the run says of the frames of a split, and how long it took.

        Raises:
            UserError: there are none.
        """
        samples = load_samples(self.workspace, split)
        started = time.perf_counter()
        with progress(f"evaluate {split}", len(samples), "frames", quiet=self.quiet) as advance:
            given = self.predictor.crops(
                samples.store, batch_size=self.settings.batch_size, threads=self.settings.threads, advance=advance
            )
        speed = Speed(images=len(samples), seconds=time.perf_counter() - started, device=self.predictor.device.type)
        found = Answered(
            frames=samples.frames,
            labels=samples.labels,
            probabilities=given.probabilities,
            attention=given.attention,
        )
        return found, speed


def _certainty(run: Path, info: BundleInfo, judge_of: _Judge, validation: Answered | None) -> Certainty | None:
    """How the run's probabilities are to be read, from its folder or fitted now; None without validation clips."""
    frames = judge_of.workspace.read_frames().filter(pl.col("keep") & (pl.col("split") == "val"))
    if frames.is_empty():
        return None
    if info.certainty and info.certainty.fitted_on == fitted_on(frames, info.check):
        return info.certainty
    if validation is None:
        validation, _ = judge_of.answered("val")
    found = certainty_of(validation, info.check)
    keep_certainty(run, found)
    return found


def _chosen_split(workspace: Workspace, settings: EvaluateSettings) -> Split:
    if settings.split != "auto":
        return settings.split
    workspace.require("split")
    has_test = workspace.read_frames().select((pl.col("keep") & (pl.col("split") == "test")).any()).item()
    return "test" if has_test else "val"


def _split_counts(workspace: Workspace) -> dict[str, Any]:
    counts: dict[str, Any] = workspace.mark("split").get("counts", {})
    return counts


def _cautions(workspace: Workspace, info: BundleInfo, split: Split) -> Iterator[Caution]:
    """What a reader must know first, the worst first."""
    counts = _split_counts(workspace)
    leak = counts.get("leak", {})
    if any(leak.get(kind) for kind in ("clips", "groups", "frames")):
        yield Caution(kind="leak", clips=leak["clips"], groups=leak["groups"], frames=leak.get("frames", 0))
    now = data_fingerprints(workspace)
    changed = [stage for stage, made_from in now.items() if info.data.get(stage) != made_from]
    if changed:
        yield Caution(kind="data_changed", detail=", ".join(changed))
    if info.init and not info.init.same_data:
        yield Caution(kind="started_elsewhere", detail=info.init.run)
    if split != "test":
        yield Caution(kind="chosen_on", detail=split)
    if counts.get("by") == "official":
        yield Caution(kind="official_split")
    if dict(info.shares) != dict(info.trained_shares):
        told = (f"{name} {100 * share:.3g} %" for name, share in info.shares.items())
        yield Caution(kind="adjusted", detail=", ".join(told))


def predictions(answered: Answered, classes: tuple[str, ...]) -> pl.DataFrame:
    """One row a frame: what it is, what the model says, with which probabilities (``p_<class>``).

    Column ``attention`` is there only for a model that weighs the frames of a clip.
    """
    probabilities = answered.probabilities
    predicted = pl.Series("predicted", [classes[number] for number in probabilities.argmax(axis=1)], pl.String)
    columns = [pl.Series(f"p_{name}", probabilities[:, i], pl.Float32) for i, name in enumerate(classes)]
    if answered.attention is not None:
        columns.append(pl.Series("attention", answered.attention, pl.Float32))
    about = answered.frames.select("frame_id", "clip", "group", "species", "emotion")
    return about.with_columns(predicted, *columns, answered.frames["split"])


def _versions() -> dict[str, str]:
    names = ("torch", "timm", "scikit-learn", "numpy")
    return {"petmood": petmood.__version__, **{name: importlib.metadata.version(name) for name in names}}
