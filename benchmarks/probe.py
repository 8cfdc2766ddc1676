"""How good the probe is, and how fast: out of fold on a prepared work folder, and its solver against others.

    python benchmarks/probe.py WORK --model tf_efficientnet_lite0 --pretrained offline [--folds 5] [--seeds 1]
    python benchmarks/probe.py --solver [--rows 60000] [--repeats 5]

Judged are all kept crops of the work folder, each by a classifier that has not seen its group (near-copies share one).
The probe chooses its strength anew within each fold, from the clips that it is fitted to. The solvers' seconds are for
one pass: loss and gradient over all rows, with whatever else the solver does for a step.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from sklearn._loss import HalfMultinomialLoss
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._linear_loss import LinearModelLoss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from measuring import machine
from petmood.features import crop_features
from petmood.loading import data_classes
from petmood.metrics import clip_means, macro_f1
from petmood.probe.fitting import Corrections, Frames, fit_head
from petmood.probe.solver import Problem, fit
from petmood.recipes.features import FeatureSettings
from petmood.workspace import Workspace
from training import row

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
FEATURES, CLASSES = 1280, 6


@dataclasses.dataclass(frozen=True)
class Data:
    """All kept crops of a work folder."""

    features: Floats
    labels: Ints
    clips: list[str]
    groups: list[str]
    classes: int
    seconds: float
    """For the features; next to nothing if they were there."""


Judge = Callable[[Data, Ints, Ints, int], Floats]


def read(work: Path, settings: FeatureSettings) -> Data:
    """Features, labels, clips and groups of all kept crops."""
    workspace = Workspace.open(work)
    start = time.perf_counter()
    features = crop_features(workspace, settings)
    seconds = time.perf_counter() - start
    frames = workspace.read_frames().filter("keep")
    numbers = {name: number for number, name in enumerate(data_classes(workspace))}
    labels = np.array([numbers[name] for name in frames["emotion"]], np.int64)
    clips, groups = frames["clip"].to_list(), frames["group"].to_list()
    return Data(features.of(frames["frame_id"]), labels, clips, groups, len(numbers), seconds)


def plain(data: Data, fitted: Ints, judged: Ints, seed: int) -> Floats:
    """Probabilities by scikit-learn's logistic regression as it comes, on scaled features."""
    scaler = StandardScaler().fit(data.features[fitted])
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(data.features[fitted]), data.labels[fitted])
    probabilities = np.zeros((len(judged), data.classes), np.float32)
    probabilities[:, model.classes_] = model.predict_proba(scaler.transform(data.features[judged]))
    return probabilities


def ours(data: Data, fitted: Ints, judged: Ints, seed: int) -> Floats:
    """Probabilities by the probe."""
    names = [data.clips[row] for row in fitted]
    _, first, clips = np.unique(names, return_index=True, return_inverse=True)
    groups = [data.groups[fitted[row]] for row in first]
    frames = Frames(
        features=torch.from_numpy(data.features[fitted]),
        clips=clips,
        labels=data.labels[fitted][first],
        groups=groups,
    )
    corrections = Corrections(loss="balanced_softmax", class_weights="none")
    found = fit_head(frames, data.classes, corrections, folds=5, seed=seed)
    logits = torch.from_numpy(found.head.logits(data.features[judged]))
    return np.asarray(logits.softmax(dim=1).numpy())


def quality(data: Data, folds: int, seeds: int) -> None:
    """Macro-F1 by clip, mean and deviation over the folds."""
    print(row("classifier", "macro-F1 of clips", "deviation over folds", "seconds a fold"))
    print(row("---", "---:", "---:", "---:"))
    contestants: dict[str, Judge] = {"logistic regression, C = 1": plain, "probe": ours}
    scores: dict[str, list[float]] = {name: [] for name in contestants}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for seed in range(seeds):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for fitted, judged in splitter.split(data.labels, data.labels, data.groups):
            for name, judge in contestants.items():
                start = time.perf_counter()
                probabilities = judge(data, fitted, judged, seed)
                seconds[name].append(time.perf_counter() - start)
                clips = clip_means([data.clips[row] for row in judged], probabilities, data.labels[judged])
                scores[name].append(macro_f1(clips.labels, clips.probabilities.argmax(axis=1), data.classes))
    for name, found in scores.items():
        cells = (
            f"{statistics.mean(found):.3f}",
            f"{statistics.stdev(found):.3f}",
            f"{statistics.mean(seconds[name]):.1f}",
        )
        print(row(name, *cells))


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """Rows whose classes overlap, as those of real features do."""

    features: torch.Tensor
    labels: torch.Tensor
    strength: float


def made_up(rows: int) -> MadeUp:
    """Standardised features and labels drawn from a linear model."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, FEATURES, generator=generator)
    logits = features @ torch.randn(FEATURES, CLASSES, generator=generator) / FEATURES**0.5
    return MadeUp(features, torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0], rows / 100)


def solve_ours(data: MadeUp) -> tuple[float, int]:
    """Loss by the probe's solver, and passes."""
    problem = Problem.of(data.features, data.labels.numpy(), np.ones(len(data.labels)), CLASSES)
    found = fit(problem, data.strength)
    return found.loss, found.passes


def solve_sklearn(data: MadeUp) -> tuple[float, int]:
    """Loss by scikit-learn's objective under scipy's L-BFGS, as LogisticRegression runs them, and passes."""
    loss = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=CLASSES), fit_intercept=True)
    features, labels = data.features.numpy(), data.labels.numpy().astype(np.float32)
    first = np.zeros((CLASSES, FEATURES + 1), order="F").ravel(order="F")

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        coef = flat.reshape((CLASSES, -1), order="F").astype(np.float32, order="F")
        value, slope = loss.loss_gradient(
            coef, features, labels, l2_reg_strength=data.strength / len(labels), n_threads=2
        )
        return float(value), slope.ravel(order="F").astype(np.float64)

    found = minimize(
        objective, first, jac=True, method="L-BFGS-B", options={"maxiter": 400, "ftol": 1e-7, "gtol": 1e-6}
    )
    return float(found.fun), int(found.nfev)


def solve_torch(data: MadeUp) -> tuple[float, int]:
    """Loss by torch.optim.LBFGS with a plain linear layer, and passes."""
    layer = torch.nn.Linear(FEATURES, CLASSES)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    steps = torch.optim.LBFGS(layer.parameters(), max_iter=30, history_size=10, line_search_fn="strong_wolfe")
    passes = 0

    def closure() -> torch.Tensor:
        nonlocal passes
        passes += 1
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(data.features), data.labels)
        loss = loss + data.strength / 2 / len(data.labels) * layer.weight.square().sum()
        loss.backward()
        return loss

    steps.step(closure)
    loss = float(closure().detach())
    return loss, passes


def speed(rows: int, repeats: int) -> None:
    """Milliseconds a pass of each solver, in turn, and the share of the memory's read rate."""
    data = made_up(rows)
    solvers = {"petmood": solve_ours, "scikit-learn lbfgs": solve_sklearn, "torch.optim.LBFGS": solve_torch}
    times: dict[str, list[float]] = {name: [] for name in ("read", *solvers)}
    losses: dict[str, float] = {}
    for number in range(repeats + 1):
        start = time.perf_counter()
        data.features.sum()
        reading = time.perf_counter() - start
        if number:  # the first round warms
            times["read"].append(reading)
        for name, solve in solvers.items():
            start = time.perf_counter()
            losses[name], passes = solve(data)
            if number:
                times[name].append((time.perf_counter() - start) / passes)
    read_once = statistics.median(times["read"])
    print(row("solver", "ms a pass", "ratio to petmood", "loss", "share of the read rate (rows read once)"))
    print(row("---", "---:", "---:", "---:", "---:"))
    mine = statistics.median(times["petmood"])
    for name in solvers:
        taken = statistics.median(times[name])
        print(
            row(name, f"{1000 * taken:.1f}", f"{taken / mine:.2f}", f"{losses[name]:.5f}", f"{read_once / taken:.2f}")
        )


def main() -> None:
    """Measure what is asked for and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--model", default="efficientnet_b0")
    parser.add_argument("--pretrained", default="hub")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--solver", action="store_true")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(machine())
    if given.work:
        data = read(given.work, FeatureSettings(model=given.model, pretrained=given.pretrained))
        print(f"{len(data.labels):,} crops, {data.features.shape[1]:,} features, {data.seconds:.1f} s\n")
        quality(data, given.folds, given.seeds)
    if given.solver:
        speed(given.rows, given.repeats)


if __name__ == "__main__":
    main()
