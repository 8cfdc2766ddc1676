"""From a raw folder to the first scored model: petmood's three commands beside the notes' path, on the same clips.

    python benchmarks/time_to_model.py --clips 400 --frames 35 --size 1280x720

ours     `petmood prepare`, `petmood train --recipe probe` and `petmood evaluate`: the real commands, each a process of
         its own, imports and all
theirs   the notes' path rebuilt, one process, imports and all: scan (json.load and os.path.exists for each frame),
         decode check of every frame, one epoch over all training frames (tf.data decodes the whole picture, crops,
         resizes; torch makes the step: Adam 5e-6, batches of 64, weights by inverse frequency, rows in the order of the
         folders), then the scores of the test clips

Both start from the same first weights (EfficientNet-Lite0, extra `offline`), take the same clips for training and for
the test, judge the same test frames and are held to the same cores. Theirs is spared the notes' mistakes in scaling and
class numbers. One pass each: an epoch over all frames takes long enough. It first says how long it will take.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from index import notes as notes_scan
from measuring import WORK, machine, run_once, tell, timed

MODEL, SIDE, BATCH, RATE = "tf_efficientnet_lite0", 224, 64, 5e-6


class Row(NamedTuple):
    """A frame as the notes' table has it, with what is known about its clip."""

    path: str
    box: tuple[int, int, int, int]
    """y, x, height, width."""
    clip: str
    label: int
    split: str


def petmood(*words: str) -> float:
    """Seconds of a real command; it is shown with its output."""
    print(f"$ petmood {' '.join(words)}", flush=True)
    start = time.perf_counter()
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-m", "petmood", *words, "--quiet"], check=True, env=environment)
    return time.perf_counter() - start


def ours(source: Path, work: Path) -> dict[str, float]:
    shutil.rmtree(work, ignore_errors=True)
    run = work / "runs" / "probe"
    return {
        "prepare": petmood("prepare", str(source), str(work)),
        "train": petmood("train", str(work), "--recipe", "probe", "--model", MODEL, "--pretrained", "offline"),
        "evaluate": petmood("evaluate", str(run)),
    }


def notes_rows(work: Path) -> list[Row]:
    """The notes' table (benchmarks/index.py) in its order, with the clip and side of each row from the work folder."""
    from petmood.loading import data_classes
    from petmood.workspace import Workspace

    workspace = Workspace.open(work)
    frames = workspace.read_frames()
    sides = dict(frames.drop_nulls("split").select("clip", "split").unique().iter_rows())
    numbers = {name: number for number, name in enumerate(data_classes(workspace))}
    known = {path: (clip, numbers[emotion]) for path, clip, emotion in frames.select("path", "clip", "emotion").rows()}
    table = pl.read_csv(WORK / "notes.csv").select("image_path", "bbox").rows()
    rows = []
    for path, box in table:
        if path in known and known[path][0] in sides:
            clip, label = known[path]
            y, x, height, width = map(int, box.split(","))
            rows.append(Row(path, (y, x, height, width), clip, label, sides[clip]))
    return rows


def test_rows(work: Path) -> list[Row]:
    """The frames on which `petmood evaluate` judges."""
    from petmood.loading import data_classes
    from petmood.workspace import Workspace

    workspace = Workspace.open(work)
    numbers = {name: number for number, name in enumerate(data_classes(workspace))}
    frames = workspace.read_frames().filter(pl.col("keep") & (pl.col("split") == "test"))
    columns = frames.select("path", "y", "x", "height", "width", "clip", "emotion").rows()
    return [Row(p, (y, x, h, w), clip, numbers[emotion], "test") for p, y, x, h, w, clip, emotion in columns]


def batches(rows: Sequence[Row]) -> Iterator[tuple[Any, Any]]:
    """The notes' loader: pictures 0 to 1, N × SIDE × SIDE × 3, and class numbers, N; decoded whole, in order."""
    import tensorflow as tf

    def load(path: tf.Tensor, box: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        crop = tf.image.crop_to_bounding_box(picture, box[0], box[1], box[2], box[3])
        return tf.image.resize(tf.cast(crop, tf.float32) / 255.0, (SIDE, SIDE)), label

    columns = ([row.path for row in rows], [row.box for row in rows], [row.label for row in rows])
    data = tf.data.Dataset.from_tensor_slices(columns).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    for pixels, labels in data.batch(BATCH).prefetch(2):
        yield pixels.numpy(), labels.numpy()


def decode_check(rows: Sequence[Row]) -> int:
    """The notes' check of every frame, in one thread."""
    import tensorflow as tf

    for row in rows:
        picture = tf.io.decode_jpeg(tf.io.read_file(row.path), channels=3)
        tf.image.crop_to_bounding_box(picture, *row.box)
    return len(rows)


class Notes:
    """The notes' network, from the same first weights as ours, and its step."""

    def __init__(self, labels: Sequence[int], classes: int) -> None:
        import timm
        import torch

        from petmood.model import EmotionNet
        from petmood.weights import create_backbone

        torch.manual_seed(0)
        backbone = create_backbone(MODEL, pretrained="offline")
        described = timm.data.resolve_model_data_config(backbone)
        self.mean, self.std = (torch.tensor(described[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        self.net = EmotionNet(backbone, classes=classes)
        counts = np.bincount(labels, minlength=classes)
        weights = counts.sum() / (classes * np.maximum(counts, 1))
        self.loss = torch.nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float32))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE)

    def images(self, pixels: Any) -> Any:  # noqa: ANN401 - torch is imported where it is used
        """The network's input, as its first weights expect it."""
        import torch

        return (torch.from_numpy(pixels).permute(0, 3, 1, 2) - self.mean) / self.std

    def train(self, rows: Sequence[Row]) -> None:
        """One epoch in the order of the rows."""
        import torch

        self.net.train()
        for pixels, labels in batches(rows):
            if len(labels) < 2:  # batch norm cannot train on one picture
                continue
            self.optimizer.zero_grad()
            loss = self.loss(self.net(self.images(pixels)), torch.from_numpy(labels).long())
            loss.backward()
            self.optimizer.step()

    def answers(self, rows: Sequence[Row]) -> dict[str, int]:
        """The answer for each clip, by petmood's rule: the mean of its frames' probabilities."""
        import torch

        from petmood.metrics import clip_means

        self.net.eval()
        with torch.inference_mode():
            parts = [self.net(self.images(pixels)).softmax(dim=1).numpy() for pixels, _ in batches(rows)]
        means = clip_means([row.clip for row in rows], np.concatenate(parts), np.array([row.label for row in rows]))
        return dict(zip(means.clips, means.probabilities.argmax(axis=1).tolist(), strict=True))


def classes_of(work: Path) -> int:
    from petmood.loading import data_classes
    from petmood.workspace import Workspace

    return len(data_classes(Workspace.open(work)))


def theirs(source: Path, work: Path) -> dict[str, Any]:
    """Seconds of each stage, and the answers."""
    seconds: dict[str, float] = {}
    seconds["scan"], _ = timed(notes_scan, source)
    rows = notes_rows(work)  # what stands in for the notes' own split is in no stage
    train = [row for row in rows if row.split == "train"]
    # Before TensorFlow is imported: the other way round the two copies of LLVM, its and torch's, end the process.
    notes = Notes([row.label for row in train], classes_of(work))
    seconds["decode check"], _ = timed(decode_check, rows)
    seconds["epoch"], _ = timed(notes.train, train)
    seconds["score"], answers = timed(notes.answers, test_rows(work))
    return {"seconds": seconds, "answers": answers, "frames": len(train)}


def estimate(source: Path, work: Path) -> dict[str, float]:
    """Seconds a frame of the decode check and of the epoch, on a few frames."""
    notes_scan(source)
    rows = notes_rows(work)
    some = [row for row in rows if row.split == "train"][: 2 * BATCH]
    notes = Notes([row.label for row in rows], classes_of(work))
    notes.train(some[:BATCH])  # the first step builds what later ones use
    check, _ = timed(decode_check, some)
    epoch, _ = timed(notes.train, some)
    frames = {"check": len(rows), "epoch": sum(row.split == "train" for row in rows)}
    return {"check": check / len(some) * frames["check"], "epoch": epoch / len(some) * frames["epoch"]}


def our_answers(work: Path) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
    """Answer, truth and group of each test clip."""
    from petmood.loading import data_classes
    from petmood.metrics import clip_means
    from petmood.workspace import Workspace, read_table

    classes = data_classes(Workspace.open(work))
    frames = read_table(work / "runs" / "probe" / "predictions.parquet")
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for name in frames["emotion"]])
    means = clip_means(frames["clip"].to_list(), frames.select(f"p_{name}" for name in classes).to_numpy(), labels)
    answers = dict(zip(means.clips, means.probabilities.argmax(axis=1).tolist(), strict=True))
    truth = dict(zip(means.clips, means.labels.tolist(), strict=True))
    return answers, truth, dict(frames.select("clip", "group").iter_rows())


def compare(work: Path, other: dict[str, int]) -> None:
    """Balanced accuracy of both on the test clips, with 95 % intervals over groups, and the difference."""
    from petmood.bootstrap import drawn_counts, group_counts, interval, score_of

    answers, truth, groups = our_answers(work)
    clips = sorted(truth)
    if set(clips) != set(other):
        raise SystemExit("the two were not judged on the same clips")
    labels, names = np.array([truth[clip] for clip in clips]), [groups[clip] for clip in clips]
    given = [np.array([each[clip] for clip in clips]) for each in (answers, other)]
    classes = classes_of(work)
    counts = np.stack([group_counts(labels, answer, names, classes) for answer in given])
    whole = score_of(counts.sum(axis=1), "balanced_accuracy")
    if len(set(names)) < 2:
        raise SystemExit(f"balanced accuracy: ours {whole[0]:.3f}, theirs {whole[1]:.3f}; one group has no interval")
    drawn = score_of(drawn_counts(counts), "balanced_accuracy")
    print(f"\nbalanced accuracy on {len(clips)} test clips of {len(set(names))} groups (95 % interval)")
    for name, score, draws in zip(("ours", "theirs"), whole, drawn, strict=True):
        found = interval(float(score), draws)
        print(f"| {name} | {found.estimate:.3f} | {found.low:.3f} to {found.high:.3f} |")
    found = interval(float(whole[0] - whole[1]), drawn[0] - drawn[1])
    print(f"| difference | {found.estimate:+.3f} | {found.low:+.3f} to {found.high:+.3f} |")


def one(contestant: str, source: Path, work: Path) -> None:
    tell(*timed({"theirs": theirs, "estimate": estimate}[contestant], source, work))


def whole(source: Path, work: Path) -> None:
    print("\nours", flush=True)
    mine = ours(source, work)
    arguments = [str(source), str(work)]
    guess: Any = run_once(__file__, "estimate", arguments).result
    print(f"\ntheirs: about {guess['check']:,.0f} s of decode check and {guess['epoch']:,.0f} s of epoch", flush=True)
    start = time.perf_counter()
    measured: Any = run_once(__file__, "theirs", arguments).result
    total = time.perf_counter() - start
    print("\n| path | s | stages |\n|---|---:|---|")
    for name, seconds, stages in (("ours", sum(mine.values()), mine), ("theirs", total, measured["seconds"])):
        parts = ", ".join(f"{stage} {value:.1f} s" for stage, value in stages.items())
        print(f"| {name} | {seconds:.1f} | {parts} |")
    print(f"ours is {total / sum(mine.values()):.1f} × as fast; their epoch showed {measured['frames']:,} frames")
    compare(work, measured["answers"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--frames", type=int, default=35)
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT of the pictures")
    parser.add_argument("--cores", type=int, default=2, help="that both are held to")
    parser.add_argument("--one", nargs=3, metavar=("CONTESTANT", "SOURCE", "WORK"))
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]), Path(arguments.one[2]))
        return
    from training import made_up

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])  # all that is started inherits it
    print(f"{machine()}; held to {arguments.cores} cores", flush=True)
    frames = arguments.clips * arguments.frames
    print(f"{frames:,} frames; on 2 cores drawing them and both paths take about {frames / 14_000 * 60:,.0f} minutes")
    name = f"time-{arguments.clips}-{arguments.frames}-{arguments.size}"
    source = made_up(
        WORK / name, clips=arguments.clips, frames=arguments.frames, size=arguments.size, cut_short=False, seed=3
    )
    whole(source, WORK / f"{name}-work")


if __name__ == "__main__":
    main()
