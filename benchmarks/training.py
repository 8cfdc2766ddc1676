"""What the benchmarks of learning share: small trainings on made-up clips, judged by their last weights on fixed clips.

Contestants differ in what they are shown or in the loss, never in the number of steps, the network, its first weights
or the pictures that judge. The last weights are judged, not the best epoch's: a contestant with many short epochs would
have more draws in that lottery.
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.bootstrap import SCORES, drawn_counts, group_counts, interval, score_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: The demo's network and step, at which it learns the made-up clips from nothing in a minute on two cores.
BATCH = 32
COMMON = {
    "model": "test_resnet",
    "image_size": 96,
    "pretrained": "none",
    "batch_size": BATCH,
    "learning_rate": 8e-3,
    "precision": "32",
}


@dataclasses.dataclass(frozen=True)
class Judged:
    """One training, judged on the clips of the test side."""

    labels: Ints
    """Class number of each test clip."""
    probabilities: Floats
    """Test clips × classes: mean of the clip's frames."""
    groups: list[str]
    """Group of each test clip."""
    steps: int
    seconds: float
    """Of the training, its validation included."""


def made_up(source: Path, **settings: object) -> Path:
    """A made-up source, drawn unless it is there already."""
    from petmood.synth import SynthSettings, synth

    if not source.exists():
        synth(source, SynthSettings(**settings), jobs=0)  # type: ignore[arg-type]
    return source


def with_frames(base: Path, work: Path, frames: pl.DataFrame) -> Path:
    """A work folder that shares the crops and marks of ``base`` but has another table of frames."""
    from petmood.workspace import Workspace, write_table

    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for path in base.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, work / path.name)
    (work / "crops").symlink_to(base / "crops")
    write_table(frames, Workspace(work).frames)
    return work


def train_and_judge(work: Path, name: str, steps: int, *, seed: int, **changed: object) -> Judged:
    """Train for about ``steps`` steps and judge the last weights on all kept frames of the test side."""
    from petmood.recipes import TrainSettings
    from petmood.train import train
    from petmood.workspace import Workspace

    workspace = Workspace.open(work)
    frames = workspace.read_frames().filter(pl.col("keep") & (pl.col("split") == "train"))
    shown = shown_an_epoch(frames, int(str(changed.get("frames_per_clip", 2))))
    epochs = max(1, round(steps / (shown / BATCH)))
    settings = TrainSettings(
        **{**COMMON, "epochs": epochs, "patience": epochs, "warmup_epochs": epochs / 10, "seed": seed, **changed}  # type: ignore[arg-type]
    )
    shutil.rmtree(workspace.runs / name, ignore_errors=True)
    start = time.perf_counter()
    summary = train(workspace, name, settings, quiet=True)
    seconds = time.perf_counter() - start
    labels, probabilities, groups = last_answers(workspace, summary.run)
    return Judged(labels, probabilities, groups, epochs * -(-shown // BATCH), seconds)


def shown_an_epoch(frames: pl.DataFrame, frames_per_clip: int) -> int:
    """Pictures of one epoch with natural sampling."""
    if frames_per_clip == 0:
        return len(frames)
    return int(frames.group_by("clip").len()["len"].clip(upper_bound=frames_per_clip).sum())


def last_answers(
    workspace: object, run: Path, split: str = "test", shares: Floats | None = None
) -> tuple[Ints, Floats, list[str]]:
    """Labels, mean probabilities and groups of the clips of one side, by the last checkpoint's weights.

    With ``shares`` (of the classes in training) every frame's answer is first adjusted to equal shares.
    """
    import torch

    from petmood.bundle import load_bundle
    from petmood.loading import load_samples
    from petmood.metrics import clip_means
    from petmood.predict import Predictor

    bundle = load_bundle(run)
    weights = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    bundle.net.load_state_dict({n.removeprefix("net."): w for n, w in weights.items() if n.startswith("net.")})
    samples = load_samples(workspace, split)  # type: ignore[arg-type]
    probabilities = Predictor(bundle, device="cpu").crops(samples.store).probabilities
    if shares is not None:
        probabilities = probabilities / shares
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    clips = clip_means(samples.clips, probabilities, samples.labels)
    group_of = dict(samples.frames.select("clip", "group").iter_rows())
    return clips.labels, np.asarray(clips.probabilities, np.float64), [group_of[clip] for clip in clips.clips]


Score = Callable[[Ints, Ints, int], float]


def with_interval(runs: Sequence[Judged], score: Score, against: Sequence[Judged] = ()) -> tuple[float, float, float]:
    """Mean score over the seeds with its 95 % interval, or its difference to other runs' with the same test clips.

    The interval is that of drawing other groups of test clips (10,000 bootstrap samples, the same ones for every run);
    the seeds are averaged within each, so that it holds the luck of the clips, not that of the seed.
    """
    mean, drawn = _drawn(runs, score, runs[0].groups)
    if against:
        other, others = _drawn(against, score, runs[0].groups)
        mean, drawn = mean - other, drawn - others
    found = interval(mean, drawn)
    return found.estimate, found.low, found.high


def _drawn(runs: Sequence[Judged], score: Score, groups: Sequence[str]) -> tuple[float, Floats]:
    """Mean score of some runs, and the same mean in each draw."""
    counts = np.stack(
        [group_counts(run.labels, _answers(run), groups, run.probabilities.shape[1]) for run in runs],
    )
    name = score.__name__.removeprefix("_")
    assert name in SCORES, f"{name} cannot be computed from confusion counts"
    whole = np.arange(len(runs[0].labels))
    return statistics.mean(_score(run, score, whole) for run in runs), score_of(drawn_counts(counts), name).mean(axis=0)


def _answers(run: Judged) -> Ints:
    return run.probabilities.argmax(axis=1)


def _score(run: Judged, score: Score, rows: Ints) -> float:
    return score(run.labels[rows], _answers(run)[rows], run.probabilities.shape[1])


def spread(runs: Sequence[Judged], score: Score) -> float:
    """Standard deviation of a score over the seeds."""
    scores = [_score(run, score, np.arange(len(run.labels))) for run in runs]
    return statistics.stdev(scores) if len(scores) > 1 else float("nan")


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
