"""Which correction for rare emotions helps: every method on the same made-up clips for the same number of steps.

    python benchmarks/imbalance.py --largest 300 --smallest 3 --seeds 3 --steps 300

Training clips of the six emotions fall off geometrically from ``--largest`` to ``--smallest``; every test emotion has
the same number of clips, so that balanced accuracy is plain accuracy there. Each clip is an animal of its own. Judged
are the last weights, by clip. The step rate is that of whole training steps with either loss on one batch, alternating.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import polars as pl

from measuring import WORK, machine
from petmood.metrics import balanced_accuracy, macro_f1
from training import (
    BATCH,
    COMMON,
    Judged,
    last_answers,
    made_up,
    row,
    spread,
    train_and_judge,
    with_frames,
    with_interval,
)

PLAIN = {"loss": "cross_entropy", "class_weights": "none", "sampling": "natural", "label_smoothing": 0.0}
METHODS: dict[str, dict[str, object]] = {
    "cross entropy": {},
    "class weights balanced (the notes)": {"class_weights": "balanced"},
    "class weights sqrt": {"class_weights": "sqrt"},
    "class weights effective": {"class_weights": "effective"},
    "sampling sqrt": {"sampling": "sqrt"},
    "sampling balanced": {"sampling": "balanced"},
    "focal": {"loss": "focal"},
    "balanced softmax": {"loss": "balanced_softmax"},
    "balanced softmax + label smoothing 0.1 (default)": {"loss": "balanced_softmax", "label_smoothing": 0.1},
    "balanced softmax + sampling sqrt": {"loss": "balanced_softmax", "sampling": "sqrt"},
}
EMOTIONS = ("calm", "happy", "aggressive", "angry", "anxious", "fear")
NOTES = "class weights balanced (the notes)"
#: Steps of the head's retraining, as a share of the first training's.
HEAD_SHARE = 0.25


def long_tail(largest: int, smallest: int, tested: int, frames: int) -> tuple[Path, dict[str, int]]:
    """A workspace with so many training clips of each emotion, and ``tested`` clips of each on both other sides."""
    from petmood.data.curate import CurateSettings, curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.data.screen import ScreenSettings, screen
    from petmood.data.split import SplitSettings, split
    from petmood.workspace import Workspace

    counts = np.geomspace(largest, smallest, len(EMOTIONS)).round().astype(int)
    wanted = dict(zip(EMOTIONS, counts.tolist(), strict=True))
    # Some to spare: the made-up set draws its shares at random.
    needed = {name: number + round(1.3 * tested) + 12 for name, number in wanted.items()}
    total = sum(needed.values())
    source = made_up(
        WORK / f"long-tail-{largest}-{smallest}-{tested}-{frames}",
        clips=total,
        frames=frames,
        clips_per_animal=1,
        share=tuple(f"{name}={number / total:.6f}" for name, number in needed.items()),
        cut_short=False,
        seed=3,
    )
    base = WORK / f"{source.name}-workspace"
    index(source, base, quiet=True)
    curate(base, CurateSettings(per_clip=frames, method="all"))
    pack(base, quiet=True)
    screen(base, ScreenSettings(near_copies="off"))
    split(base, SplitSettings(val=0.1, test=0.1))
    frames_table = Workspace.open(base).read_frames()
    return with_frames(base, WORK / f"{source.name}-sides", _sides(frames_table, wanted, tested)), wanted


def _sides(frames: pl.DataFrame, wanted: dict[str, int], tested: int) -> pl.DataFrame:
    """Sides by clip: of each emotion first the test clips, five for validation, then those for training."""
    clips = frames.filter("keep").group_by("clip", maintain_order=True).agg(pl.col("emotion").first())
    sides: dict[str, str] = {}
    for emotion, number in wanted.items():
        names = clips.filter(pl.col("emotion") == emotion)["clip"].to_list()
        if len(names) < number + tested + 5:
            raise SystemExit(f"only {len(names)} clips of {emotion}: raise the spare share in long_tail()")
        sides |= dict.fromkeys(names[:tested], "test") | dict.fromkeys(names[tested : tested + 5], "val")
        sides |= dict.fromkeys(names[tested + 5 : tested + 5 + number], "train")
    side = pl.col("clip").replace_strict(list(sides), list(sides.values()), default=None)
    return frames.with_columns(split=side, keep=pl.col("keep") & side.is_not_null(), weight=pl.lit(1.0, pl.Float32))


def adjusted(work: Path, counts: dict[str, int], first: Judged) -> Judged:
    """The plain training's answers after logit adjustment from the training clips' shares to equal ones."""
    from petmood.loading import data_classes
    from petmood.workspace import Workspace

    workspace = Workspace.open(work)
    shares = np.array([counts[name] for name in data_classes(workspace)], float)
    answers = last_answers(workspace, work / "runs" / "first", shares=shares / shares.sum())
    return Judged(*answers, first.steps, first.seconds)


def retrained_head(work: Path, seed: int, steps: int, first: Judged) -> Judged:
    """cRT: the plain training's backbone, a new head with balanced sampling."""
    changed = {**PLAIN, "sampling": "balanced", "frames_per_clip": 2, "freeze": "backbone", "new_head": True}
    run = work / "runs" / "first"
    head = train_and_judge(work, "head", round(steps * HEAD_SHARE), seed=seed, init=str(run), **changed)
    return Judged(head.labels, head.probabilities, head.groups, head.steps + first.steps, head.seconds + first.seconds)


def step_rates(work: Path, repeats: int = 7, steps: int = 60) -> dict[str, float]:
    """Median steps per second of whole training steps with either loss, alternating, on one batch."""
    import torch

    from petmood.loading import load_samples
    from petmood.losses import EmotionLoss
    from petmood.model import EmotionNet
    from petmood.weights import create_backbone
    from petmood.workspace import Workspace

    labels = load_samples(Workspace.open(work), "train").labels
    shares = np.bincount(labels, minlength=6) / len(labels)
    weights = (1 / (6 * shares)).astype(np.float32)
    losses = {
        NOTES: EmotionLoss(class_weights=weights),
        "balanced softmax": EmotionLoss(shares=shares),
    }
    torch.manual_seed(0)
    size = int(str(COMMON["image_size"]))
    net = EmotionNet(create_backbone(str(COMMON["model"]), pretrained="none", image_size=size), classes=6)
    optimizer = torch.optim.AdamW(net.parameters())
    images, answers, ones = torch.randn(BATCH, 3, size, size), torch.randint(6, (BATCH,)), torch.ones(BATCH)
    rates: dict[str, list[float]] = {name: [] for name in losses}
    for number in range(repeats + 1):
        for name, loss in losses.items():
            start = time.perf_counter()
            for _ in range(steps):
                optimizer.zero_grad()
                loss(net(images), answers, ones).backward()
                optimizer.step()
            if number:
                rates[name].append(steps / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=300)
    parser.add_argument("--smallest", type=int, default=3)
    parser.add_argument("--tested", type=int, default=30, help="test clips of each emotion")
    parser.add_argument("--frames", type=int, default=6, help="of a clip")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    work, counts = long_tail(options.largest, options.smallest, options.tested, options.frames)
    runs: dict[str, list[Judged]] = {}
    for seed in range(options.seeds):
        for number, (name, changed) in enumerate(METHODS.items()):
            run_name = "first" if number == 0 else "other"
            judged = train_and_judge(
                work, run_name, options.steps, seed=seed, **{**PLAIN, "frames_per_clip": 2, **changed}
            )
            runs.setdefault(name, []).append(judged)
            if number == 0:
                after = adjusted(work, counts, judged)
                runs.setdefault("cross entropy, adjusted to equal shares", []).append(after)
                head = retrained_head(work, seed, options.steps, judged)
                runs.setdefault("cross entropy, head retrained (cRT)", []).append(head)
            print(
                f"seed {seed}: {name}: {np.mean(judged.labels == judged.probabilities.argmax(axis=1)):.3f}", flush=True
            )
    print_table(runs)
    rates = step_rates(work)
    print(f"\nstep rate, balanced softmax / class weights: {rates['balanced softmax'] / rates[NOTES]:.3f}")
    print(f"training clips: {counts}\n{machine()}")


def print_table(runs: dict[str, list[Judged]]) -> None:
    print(row("method", "balanced accuracy (95 %)", "seeds ±", "points over class weights (95 %)", "macro-F1 (95 %)"))
    print("|---|---|---:|---|---|")
    for name, judged in runs.items():
        mean, low, high = with_interval(judged, balanced_accuracy)
        more, less, most = with_interval(judged, balanced_accuracy, runs[NOTES])
        f1, f1_low, f1_high = with_interval(judged, macro_f1)
        points = "" if name == NOTES else f"{100 * more:+.1f} ({100 * less:+.1f} to {100 * most:+.1f})"
        score = (f"{mean:.3f} ({low:.3f} to {high:.3f})", f"{spread(judged, balanced_accuracy):.3f}")
        print(row(name, *score, points, f"{f1:.3f} ({f1_low:.3f} to {f1_high:.3f})"))


if __name__ == "__main__":
    main()
