"""Judge a run: its answers for the clips of one split, on frames and on clips, beside the majority answer.

Reads WORK/runs/NAME and its workspace; writes runs/NAME/predictions.parquet and, last, runs/NAME/metrics.json.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

import petmood
from petmood.bundle import BundleInfo, check_same_classes, data_fingerprints, read_info
from petmood.errors import UserError
from petmood.loading import Samples, data_classes, load_samples
from petmood.metrics import (
    Caution,
    Evaluation,
    Judgement,
    SpeciesJudgement,
    clip_means,
    judge,
    majority,
    verdict,
)
from petmood.parallel import progress
from petmood.predict import FrameAnswers, Predictor
from petmood.recipes.evaluation import EvaluateSettings
from petmood.settings import to_plain
from petmood.workspace import Workspace, write_json, write_table

Split = Literal["train", "val", "test"]


def evaluate(run: Path, settings: EvaluateSettings = EvaluateSettings(), *, quiet: bool = False) -> Evaluation:  # noqa: B008
    """Judge ``run`` on one split of its workspace and write what was found into its folder.

    Raises:
        UserError: no model in ``run``, not in a workspace, no frames in the split, or the workspace's classes are not
            the model's.
    """
    run = run.absolute()
    info = read_info(run)
    workspace = _workspace_of(run)
    classes = data_classes(workspace)
    check_same_classes(info, classes, where=f"work folder {workspace.root}")
    split = _chosen_split(workspace, settings)
    samples = load_samples(workspace, split)
    answers = _predict(run, settings, samples, quiet=quiet)
    training = _training_clips(workspace)
    evaluation = _judged(samples, answers, classes, training, split=split)
    evaluation.update(
        pool="mean" if answers.attention is None else "attention",
        split_by=_split_counts(workspace).get("by", "group"),
        cautions=tuple(_cautions(workspace, info, split)),
        settings=to_plain(settings),
        versions=_versions(),
    )
    result = Evaluation(**evaluation)
    # Numbers must never stand beside another evaluation's predictions: they go first and come last.
    (run / "metrics.json").unlink(missing_ok=True)
    write_table(_table(samples, answers, classes), run / "predictions.parquet")
    write_json(run / "metrics.json", result.to_dict())
    return result


def _workspace_of(run: Path) -> Workspace:
    try:
        return Workspace.open(run.parent.parent)
    except UserError as error:
        raise UserError(
            f"run folder {run} is not in a work folder: {error.message}",
            hint="evaluation needs the pictures: give WORK/runs/NAME, where `petmood train` left it",
        ) from None


def _chosen_split(workspace: Workspace, settings: EvaluateSettings) -> Split:
    if settings.split != "auto":
        return settings.split
    workspace.require("split")
    has_test = workspace.read_frames().select((pl.col("keep") & (pl.col("split") == "test")).any()).item()
    return "test" if has_test else "val"


def _predict(run: Path, settings: EvaluateSettings, samples: Samples, *, quiet: bool) -> FrameAnswers:
    """What the run says of the frames, through the one inference path."""
    predictor = Predictor.load(run, device=settings.device)
    with progress("evaluate", len(samples), "frames", quiet=quiet) as advance:
        return predictor.crops(samples.store, batch_size=settings.batch_size, threads=settings.threads, advance=advance)


def _training_clips(workspace: Workspace) -> dict[str, int]:
    """Clips of each class in the training split, in the order of the classes."""
    frames = workspace.read_frames().filter(pl.col("keep") & (pl.col("split") == "train"))
    counts = dict(frames.group_by("emotion").agg(pl.col("clip").n_unique()).iter_rows())
    return {name: counts.get(name, 0) for name in data_classes(workspace)}


def _judged(
    samples: Samples,
    answers: FrameAnswers,
    classes: tuple[str, ...],
    training: Mapping[str, int],
    *,
    split: Split,
) -> dict[str, Any]:
    """The fields of an `Evaluation` that come from the answers."""
    labels_of_clips = np.repeat(np.arange(len(classes)), list(training.values()))
    if not labels_of_clips.size:
        raise UserError(
            "the work folder has no training clips, so the majority answer is unknown.",
            hint="split it again: `petmood split WORK`",
        )
    answer = majority(labels_of_clips, len(classes))
    whole = np.ones(len(samples), bool)
    frames, clips = _both(samples, answers, whole, classes, answer)
    species = samples.frames["species"].fill_null("unknown").to_numpy()
    per_species = []
    for name in sorted(set(species)):
        judged = _both(samples, answers, species == name, classes, answer)
        per_species.append(SpeciesJudgement(species=str(name), frames=judged[0], clips=judged[1]))
    return {
        "split": split,
        "classes": classes,
        "verdict": verdict(clips),
        "frames": frames,
        "clips": clips,
        "species": tuple(per_species),
        "training_clips": dict(training),
    }


def _both(
    samples: Samples,
    answers: FrameAnswers,
    rows: np.ndarray[Any, np.dtype[np.bool_]],
    classes: tuple[str, ...],
    answer: int,
) -> tuple[Judgement, Judgement]:
    """Judgement of the frames in ``rows`` (bool, one a frame) and of the clips that they make up."""
    names = [clip for clip, wanted in zip(samples.clips, rows, strict=True) if wanted]
    probabilities, labels = answers.probabilities[rows], samples.labels[rows]
    attention = None if answers.attention is None else answers.attention[rows]
    clips = clip_means(names, probabilities, labels, attention)
    frames = judge(labels, probabilities.argmax(axis=1), classes, answer)
    return frames, judge(clips.labels, clips.probabilities.argmax(axis=1), classes, answer)


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


def _table(samples: Samples, answers: FrameAnswers, classes: tuple[str, ...]) -> pl.DataFrame:
    """One row a frame: what it is, what the model says, with which probabilities (``p_<class>``).

    Column ``attention`` is there only for a model that weighs the frames of a clip.
    """
    probabilities = answers.probabilities
    predicted = pl.Series("predicted", [classes[number] for number in probabilities.argmax(axis=1)], pl.String)
    columns = [pl.Series(f"p_{name}", probabilities[:, i], pl.Float32) for i, name in enumerate(classes)]
    if answers.attention is not None:
        columns.append(pl.Series("attention", answers.attention, pl.Float32))
    known = samples.frames.select("frame_id", "clip", "group", "species", "emotion")
    return known.with_columns(predicted, *columns, samples.frames["split"])


def _versions() -> dict[str, str]:
    names = ("torch", "timm", "scikit-learn", "numpy")
    return {"petmood": petmood.__version__, **{name: importlib.metadata.version(name) for name in names}}
