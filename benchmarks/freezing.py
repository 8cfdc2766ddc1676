"""Why the notes' runs with a frozen backbone failed, and what the ways of freezing come to on the same pictures.

    petmood prepare FOLDER WORK
    python benchmarks/freezing.py WORK --picture docs/images/freezing.png

Four frozen contestants: inputs scaled once or twice, learning rate 5e-6 (the notes') or 1e-3. A network that scales by
itself was given pixels that had been divided by 255 before; petmood refuses that, so that it is rebuilt here. As
nothing in the backbone changes, its features are computed once for each scaling, without random changes of the
pictures, and the head (batch norm and a linear layer, as in the notes) is trained on them: epochs cost a fraction of a
second.

The others are trained by petmood as a user would: the probe, the last stage, all but the stem, all layers, and all
layers from the probe on. Scores are of the validation clips, by epoch. The best epoch of each is chosen on these same
clips, which flatters all of them alike, but for the probe, which has no epochs.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from measuring import WORK, machine
from petmood.loading import CropBatches, Samples, data_classes, load_samples
from petmood.losses import validation_scores
from petmood.metrics import macro_f1
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.probe import probe
from petmood.recipes import TrainSettings
from petmood.train import train
from petmood.train.epochs import read_metrics
from petmood.weights import create_backbone
from petmood.workspace import Workspace
from training import row

#: Those of the notes, and of new layers everywhere else.
RATES = (5e-6, 1e-3)
#: Contestant → its settings; all others are those of the recipe `default`, on all chosen frames.
TRAINED: dict[str, dict[str, object]] = {
    "last stage and head": {"freeze": "all-but-last-block"},
    "all but the stem": {"freeze": "stem"},
    "all layers": {"freeze": "none"},
}
#: After the probe, small steps: smaller still for the early layers, and its batch norms as they are.
AFTER_PROBE: dict[str, object] = {"freeze": "none", "freeze_norms": True, "layer_decay": 0.75}
#: It has no epochs, and is drawn as a level.
PROBE = "probe"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclasses.dataclass(frozen=True)
class Curve:
    """One contestant, by epoch."""

    name: str
    losses: list[float]
    scores: list[float]
    """Macro-F1 of the validation clips."""
    seconds: float
    note: str = ""

    @property
    def line(self) -> str:
        """Its line of the table."""
        best = int(np.argmax(self.scores))
        first, last = f"{self.scores[0]:.3f}", f"{self.scores[-1]:.3f}"
        cells = (str(len(self.scores)), first, last, f"{self.scores[best]:.3f} ({best + 1})", f"{self.losses[-1]:.3f}")
        return row(self.name, *cells, f"{self.seconds:.0f}{self.note}")


def normalised(preprocessing: Preprocessing, pixels: torch.Tensor, *, twice: bool) -> torch.Tensor:
    """What the network is given; ``twice`` divides by 255 before a network that does so itself, as the notes did."""
    if not twice:
        return preprocessing.normalise(pixels)
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    return (pixels.float() / 255 / 255 - mean) / std


def features_of(
    backbone: torch.nn.Module, preprocessing: Preprocessing, samples: Samples, *, twice: bool
) -> torch.Tensor:
    """Features (frames, features) of the backbone as it is."""
    batches = CropBatches(samples.store, preprocessing, batch_size=64)
    with torch.inference_mode():
        parts = [backbone(normalised(preprocessing, batch.pixels, twice=twice)) for batch in batches]
    return torch.cat(parts).clone()


def frozen(
    name: str,
    learn: tuple[torch.Tensor, Samples],
    judge: tuple[torch.Tensor, Samples],
    classes: int,
    *,
    rate: float,
    epochs: int,
) -> Curve:
    """A head that is trained on features by the notes' way: Adam, cross entropy, batches of 64."""
    torch.manual_seed(0)
    backbone = torch.nn.Identity()
    backbone.num_features = learn[0].shape[1]  # type: ignore[assignment]
    net = EmotionNet(backbone, classes=classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    labels = torch.from_numpy(learn[1].labels)
    losses, scores = [], []
    start = time.perf_counter()
    for _ in range(epochs):
        net.train()
        for batch in torch.randperm(len(labels)).split(64):
            if len(batch) > 1:  # batch norm needs two
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(learn[0][batch]), labels[batch]).backward()
                optimizer.step()
        net.eval()
        with torch.inference_mode():
            found = validation_scores(net(judge[0]), judge[1].labels, judge[1].clips)
        losses.append(found["val_loss"])
        scores.append(found["val_clip_macro_f1"])
    return Curve(name, losses, scores, time.perf_counter() - start)


def frozen_contestants(workspace: Workspace, options: argparse.Namespace) -> list[Curve]:
    """Both scalings with both rates."""
    classes = len(data_classes(workspace))
    backbone = create_backbone(options.model, pretrained=options.pretrained, image_size=options.image_size).eval()
    config = timm.data.resolve_model_data_config(backbone)
    preprocessing = Preprocessing.of_backbone(config, image_size=options.image_size, fit="pad")
    sides = [load_samples(workspace, "train", limit=options.limit), load_samples(workspace, "val", limit=options.limit)]
    curves = []
    for twice in (True, False):
        start = time.perf_counter()
        learn, judge = ((features_of(backbone, preprocessing, side, twice=twice), side) for side in sides)
        seconds = time.perf_counter() - start
        spread = float(learn[0].std(dim=0).mean() / learn[0].abs().mean())
        times = "twice" if twice else "once"
        print(f"scaled {times}: deviation of the features / their size {spread:.4f}", file=sys.stderr)
        for rate in RATES:
            name = f"frozen, scaled {times}, {rate:g}"
            curve = frozen(name, learn, judge, classes, rate=rate, epochs=options.frozen_epochs)
            curves.append(dataclasses.replace(curve, note=f" + {seconds:.0f}"))
            print(curves[-1].line, flush=True)
    return curves


def trained_contestants(workspace: Workspace, options: argparse.Namespace, folder: Path) -> list[Curve]:
    """The probe, and petmood's trainings."""
    common = {
        "model": options.model,
        "pretrained": options.pretrained,
        "image_size": options.image_size,
        "limit": options.limit,
    }
    start = time.perf_counter()
    probed = probe(workspace, "probe", TrainSettings(method="probe", **common), quiet=True, folder=folder)  # type: ignore[arg-type]
    scores, seconds = probed.scores, time.perf_counter() - start
    curves = [Curve(PROBE, [scores["val_loss"]], [scores["val_clip_macro_f1"]], seconds)]
    print(curves[-1].line, flush=True)
    ways = {name: {**common, **changed, "learning_rate": options.rate} for name, changed in TRAINED.items()}
    after = {**common, **AFTER_PROBE, "learning_rate": options.small_rate, "init": str(probed.run)}
    ways["all layers after the probe"] = {name: value for name, value in after.items() if name != "pretrained"}
    for number, (name, changed) in enumerate(ways.items()):
        settings = TrainSettings(
            **{"epochs": options.epochs, "patience": options.epochs, "frames_per_clip": 0, "batch_size": 32, **changed}  # type: ignore[arg-type]
        )
        summary = train(workspace, f"run-{number}", settings, quiet=True, folder=folder)
        rows = read_metrics(summary.run / "metrics.csv")
        losses, clips = ([one[column] for one in rows] for column in ("val_loss", "val_clip_macro_f1"))
        curves.append(Curve(name, losses, clips, summary.seconds))
        print(curves[-1].line, flush=True)
    return curves


def commonest(workspace: Workspace, limit: int) -> float:
    """Macro-F1 of always answering the commonest class of the validation clips."""
    labels = load_samples(workspace, "val", limit=limit).labels
    answer: npt.NDArray[np.int64] = np.full(len(labels), np.bincount(labels).argmax())
    return macro_f1(labels, answer, len(data_classes(workspace)))


def draw(path: Path, groups: Sequence[Sequence[Curve]], chance: float) -> None:
    """Macro-F1 above, loss below; frozen contestants left, petmood's trainings right."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row")
    titles = ("Head on a frozen backbone", "petmood's ways")
    for column, (title, curves) in enumerate(zip(titles, groups, strict=True)):
        _panel(axes[0][column], curves, "scores", chance)
        _panel(axes[1][column], curves, "losses", None)
        axes[0][column].set_title(title, fontsize=11)
        axes[1][column].legend(
            *axes[0][column].get_legend_handles_labels(),
            fontsize=8,
            ncol=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
        )
        axes[1][column].set_xlabel("epoch")
    axes[0][0].set_ylabel("macro-F1 of validation clips")
    axes[1][0].set_ylabel("validation loss")
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _panel(axes: Axes, curves: Sequence[Curve], field: str, chance: float | None) -> None:
    epochs = max(len(curve.scores) for curve in curves)
    for curve, colour in zip(curves, COLOURS, strict=False):
        values = getattr(curve, field)
        if curve.name == PROBE:
            axes.plot([1, epochs], values * 2, "--", color=colour, lw=1.6, label=curve.name)
        else:
            axes.plot(range(1, len(values) + 1), values, color=colour, marker=".", lw=1.6, label=curve.name)
    if chance is not None:
        axes.axhline(chance, color="0.5", lw=1, ls=":", label="always the commonest")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a prepared work folder")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--pretrained", default="offline")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8, help="of the trainings")
    parser.add_argument("--frozen-epochs", type=int, default=30, help="of the heads on cached features")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the trainings")
    parser.add_argument("--small-rate", type=float, default=1e-4, help="learning rate after the probe")
    parser.add_argument("--limit", type=int, default=0, help="pictures of each split, at most")
    parser.add_argument("--picture", type=Path, help="PNG of the curves")
    options = parser.parse_args()
    workspace = Workspace.open(options.work)
    folder = WORK / "freezing"
    shutil.rmtree(folder, ignore_errors=True)
    chance = commonest(workspace, options.limit)
    print(row("contestant", "epochs", "first epoch", "last epoch", "best (epoch)", "last loss", "seconds (+ features)"))
    print("|---|---:|---:|---:|---:|---:|---:|")
    groups = (frozen_contestants(workspace, options), trained_contestants(workspace, options, folder))
    print(f"\nAlways the commonest class: {chance:.3f}. Macro-F1 of validation clips. {machine()}")
    if options.picture:
        draw(options.picture, groups, chance)


if __name__ == "__main__":
    main()
