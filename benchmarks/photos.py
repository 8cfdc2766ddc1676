"""The same two questions on real photos: a head on the frozen features of a pretrained backbone.

    python benchmarks/photos.py curation FOLDER     # in AI Hub layout: how few frames of a clip are enough
    python benchmarks/photos.py imbalance FOLDER    # class folders: which correction helps at 100 : 1

``curation``: five folds by group, ``--seeds`` times; every head is fitted for the same number of steps on the chosen
frames of the other folds and judged on all frames of the clips held out. ``imbalance``: ``--seeds`` draws of training
photos that fall off geometrically, the classes changing places, judged on as many photos of each class as the rarest
has left.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.model_selection import StratifiedGroupKFold

from imbalance import METHODS, NOTES, PLAIN, print_table
from measuring import WORK, machine
from petmood.losses import EmotionLoss, class_weights
from petmood.metrics import clip_means, macro_f1
from petmood.model import EmotionNet
from petmood.sampling import ClipSampler
from training import Judged, row, spread, with_interval

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
BATCH = 64


def featured(source: Path, name: str) -> tuple[pl.DataFrame, Floats, tuple[str, ...]]:
    """Frames of a source (all that can be packed), their features, and the classes."""
    from petmood.data.curate import CurateSettings, curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.features import crop_features
    from petmood.loading import data_classes
    from petmood.recipes.features import FeatureSettings
    from petmood.workspace import Workspace

    work = WORK / f"photos-{name}"
    index(source, work, quiet=True)
    curate(work, CurateSettings(method="all", min_box=0))
    pack(work, quiet=True)
    workspace = Workspace.open(work)
    found = crop_features(workspace, FeatureSettings(model="tf_efficientnet_lite0", pretrained="offline"), quiet=True)
    frames = workspace.read_frames().filter("keep")
    return frames, np.asarray(found.of(frames["frame_id"]), np.float32), data_classes(workspace)


def fitted(
    x: Floats, labels: Ints, clips: Sequence[str], classes: int, *, steps: int, seed: int, **changed: object
) -> EmotionNet:
    """Petmood's head (batch norm and a linear layer) on features, with the corrections asked for."""
    chosen = {**PLAIN, "frames_per_clip": 0, **changed}
    sampler = ClipSampler(
        clips,
        labels,
        frames_per_clip=int(str(chosen["frames_per_clip"])),
        sampling=str(chosen["sampling"]),
        seed=seed,  # type: ignore[arg-type]
    )
    shares = sampler.class_shares(classes, np.ones(len(labels), np.float32))
    weights = class_weights(str(chosen["class_weights"]), shares, clips=len(set(clips)))  # type: ignore[arg-type]
    loss = EmotionLoss(
        label_smoothing=float(str(chosen["label_smoothing"])),
        shares=shares * weights if chosen["loss"] == "balanced_softmax" else None,
        class_weights=weights if chosen["class_weights"] != "none" else None,
        focal_gamma=2.0 if chosen["loss"] == "focal" else 0.0,
    )
    torch.manual_seed(seed)
    backbone = torch.nn.Identity()
    backbone.num_features = x.shape[1]  # type: ignore[assignment]
    net = EmotionNet(backbone, classes=classes)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    pictures, answers = torch.from_numpy(x), torch.from_numpy(labels)
    done, epoch = 0, 0
    while done < steps:
        rows = torch.from_numpy(sampler.rows(epoch))
        for start in range(0, len(rows) - 1, BATCH):
            batch = rows[start : start + BATCH]
            if done == steps or len(batch) < 2:
                break
            optimizer.zero_grad()
            loss(net(pictures[batch]), answers[batch], torch.ones(len(batch))).backward()
            optimizer.step()
            schedule.step()
            done += 1
        epoch += 1
    return net.eval()


def answers(net: EmotionNet, x: Floats) -> npt.NDArray[np.float64]:
    """Probabilities, frames × classes."""
    with torch.inference_mode():
        return net(torch.from_numpy(x)).softmax(1).numpy().astype(np.float64)


def curation(options: argparse.Namespace) -> None:
    """Print how the score falls with the number of frames of a clip."""
    frames, x, classes = featured(options.folder, "curation")
    labels = frames["emotion"].replace_strict(list(classes), range(len(classes))).to_numpy().astype(np.int64)
    clips, groups = frames["clip"].to_list(), frames["group"].to_list()
    number = frames.select((pl.int_range(pl.len()).over("clip"), pl.len().over("clip").alias("of")))
    position, size = number[:, 0].to_numpy(), number["of"].to_numpy()

    def spaced(count: int, seed: int) -> npt.NDArray[np.bool_]:
        return (position + 1) * count // size > position * count // size if count else position == position

    def at_random(count: int, seed: int) -> npt.NDArray[np.bool_]:
        turn = pl.Series(np.random.default_rng(seed).permutation(len(frames)))
        return (frames.select(pl.lit(turn).rank().over("clip"))[:, 0] <= count).to_numpy()

    ways = {
        "all frames": lambda seed: spaced(0, seed),
        "random half (the notes)": lambda seed: np.random.default_rng(seed).random(len(frames)) < 0.5,
        **{f"{count} of a clip, evenly spaced": (lambda seed, c=count: spaced(c, seed)) for count in (4, 2, 1)},
        **{f"{count} of a clip, random": (lambda seed, c=count: at_random(c, seed)) for count in (4, 2, 1)},
    }
    print(f"{len(frames):,} frames, {len(set(clips))} clips, {len(set(groups))} groups, {options.steps} steps\n")
    print(row("frames", "share", "clip macro-F1 (95 %)", "seeds ±", "against all frames (95 %)"))
    print("|---|---:|---|---:|---|")
    runs: dict[str, list[Judged]] = {}
    for name, way in ways.items():
        for seed in range(options.seeds):
            runs.setdefault(name, []).append(
                _folds(x, labels, clips, groups, way(seed), len(classes), options.steps, seed)
            )
        mean, low, high = with_interval(runs[name], macro_f1)
        more, less, most = with_interval(runs[name], macro_f1, runs["all frames"])
        deviation = f"{spread(runs[name], macro_f1):.3f}"
        cells = (f"{way(0).mean():.2f}", f"{mean:.3f} ({low:.3f} to {high:.3f})", deviation)
        print(row(name, *cells, f"{more:+.3f} ({less:+.3f} to {most:+.3f})"), flush=True)


def _folds(
    x: Floats,
    labels: Ints,
    clips: list[str],
    groups: list[str],
    keep: npt.NDArray[np.bool_],
    classes: int,
    steps: int,
    seed: int,
) -> Judged:
    """Out-of-fold answers for all clips, by heads that learnt from the kept frames of the other groups."""
    probabilities = np.zeros((len(labels), classes))
    names = np.asarray(clips)
    for learn, held in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(x, labels, groups):
        mine = learn[keep[learn]]
        head = fitted(
            x[mine], labels[mine], names[mine].tolist(), classes, steps=steps, seed=seed, loss="balanced_softmax"
        )
        probabilities[held] = answers(head, x[held])
    by_clip = clip_means(clips, probabilities, labels)
    group_of = dict(zip(clips, groups, strict=True))
    return Judged(
        by_clip.labels,
        np.asarray(by_clip.probabilities, np.float64),
        [group_of[clip] for clip in by_clip.clips],
        steps,
        0.0,
    )


def imbalance(options: argparse.Namespace) -> None:
    """Print what each correction for rare classes scores."""
    frames, x, classes = featured(options.folder, "imbalance")
    labels = frames["emotion"].replace_strict(list(classes), range(len(classes))).to_numpy().astype(np.int64)
    counts = np.geomspace(options.largest, options.smallest, len(classes)).round().astype(int)
    runs: dict[str, list[Judged]] = {}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        members = [rng.permutation(np.flatnonzero(labels == number)) for number in range(len(classes))]
        order = rng.permutation(len(classes))
        learn = np.concatenate([members[number][:count] for number, count in zip(order, counts, strict=True)])
        tested = min(len(rows) for rows in members) - options.largest
        held = np.concatenate([rows[-tested:] for rows in members])
        shares = np.bincount(labels[learn], minlength=len(classes)) / len(learn)
        names = [str(number) for number in learn]
        for number, (name, changed) in enumerate(METHODS.items()):
            head = fitted(x[learn], labels[learn], names, len(classes), steps=options.steps, seed=seed, **changed)
            found = answers(head, x[held])
            groups = [str(photo) for photo in range(len(held))]
            runs.setdefault(name, []).append(Judged(labels[held], found, groups, options.steps, 0.0))
            if number == 0:
                even = found / shares
                after = Judged(labels[held], even / even.sum(1, keepdims=True), groups, options.steps, 0.0)
                runs.setdefault("cross entropy, adjusted to equal shares", []).append(after)
    print_table(runs)
    print(f"\n{len(runs[NOTES][0].labels)} test photos; training photos {counts.tolist()}, {options.steps} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=["curation", "imbalance"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--largest", type=int, default=200, help="training photos of the commonest class")
    parser.add_argument("--smallest", type=int, default=2)
    options = parser.parse_args()
    {"curation": curation, "imbalance": imbalance}[options.question](options)
    print(machine())


if __name__ == "__main__":
    main()
