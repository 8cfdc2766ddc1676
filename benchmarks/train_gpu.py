"""What a GPU reaches: petmood's training step beside timm's and beside the memory's limit, alone and fed by the loader.

    python benchmarks/train_gpu.py            # on a machine with a CUDA GPU, some 15 minutes
    python benchmarks/train_gpu.py --toy      # on a processor: shows that it works; its figures mean nothing

In one process, alternating, medians; each measurement begins after some steps that do not count.
    copy            GB/s read and written by a copy within the device's memory
    timm step       timm's network, mixed precision, channels-last, eager, on one batch of random numbers, AdamW
    our step        `petmood train`'s step (uint8 batch → loss → optimizer) on one batch, again and again
    … compiled      the same with --compile
    fed             the same, fed by the loader from packed crops (also compiled)
    timm inference  timm's network without classifier, mixed precision, channels-last, on one batch of random numbers
    features        `petmood.features.crop_features`: from packed crops to the file
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import time
from collections.abc import Callable

import lightning
import polars as pl
import timm
import torch

from measuring import WORK, machine
from petmood.data.curate import curate
from petmood.data.index import index
from petmood.data.pack import pack
from petmood.data.screen import screen
from petmood.data.split import split
from petmood.features import crop_features
from petmood.recipes import TrainSettings
from petmood.recipes.features import FeatureSettings
from petmood.synth import SynthSettings, synth
from petmood.train.loop import Loop
from petmood.train.plan import plan_training
from petmood.workspace import Workspace, read_table, write_table

#: Bytes that a training step of efficientnet_b0 at 224 pixels must read and write for a picture, in mixed precision.
STEP_BYTES = 212e6
#: Training frames of AI Hub's set.
FRAMES = 2_130_000


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured."""

    model: str
    size: int
    batch: int
    clips: int
    copies: int
    """Of each crop, so that there is enough to feed."""
    warm: int
    steps: int
    repeats: int


FULL = Scale("efficientnet_b0", 224, 256, clips=240, copies=40, warm=10, steps=40, repeats=5)
TOY = Scale("test_efficientnet", 64, 8, clips=40, copies=1, warm=1, steps=2, repeats=1)


class Clock(lightning.Callback):
    """Seconds of the steps after the first ones."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.seen = 0
        self.start = self.seconds = 0.0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:  # noqa: ANN001
        """Start and stop when all that was given to the device is done."""
        self.seen += 1
        if self.seen == self.scale.warm:
            synchronise()
            self.start = time.perf_counter()
        if self.seen == self.scale.warm + self.scale.steps:
            synchronise()
            self.seconds = time.perf_counter() - self.start


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def autocast() -> torch.autocast:
    gpu = device().type == "cuda"
    short = torch.bfloat16 if not gpu or torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.autocast(device().type, dtype=short, enabled=gpu)


def copy_rate(scale: Scale) -> float:
    """GB/s."""
    number = 2**30 if device().type == "cuda" else 2**26
    source, target = torch.ones(2, number, dtype=torch.uint8, device=device())
    for _ in range(scale.warm):
        target.copy_(source)
    synchronise()
    start = time.perf_counter()
    for _ in range(scale.steps):
        target.copy_(source)
    synchronise()
    return 2 * number * scale.steps / (time.perf_counter() - start) / 1e9


def timed_steps(step: Callable[[], object], scale: Scale) -> float:
    """Pictures a second."""
    for _ in range(scale.warm):
        step()
    synchronise()
    start = time.perf_counter()
    for _ in range(scale.steps):
        step()
    synchronise()
    return scale.batch * scale.steps / (time.perf_counter() - start)


def timm_training(scale: Scale) -> Callable[[], float]:
    net = timm.create_model(scale.model, num_classes=6).to(device()).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters())
    images = torch.rand(scale.batch, 3, scale.size, scale.size, device=device()).to(memory_format=torch.channels_last)
    labels = torch.arange(scale.batch, device=device()) % 6

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    return lambda: timed_steps(step, scale)


def timm_inference(scale: Scale) -> Callable[[], float]:
    net = timm.create_model(scale.model, num_classes=0).to(device()).to(memory_format=torch.channels_last).eval()
    images = torch.rand(scale.batch, 3, scale.size, scale.size, device=device()).to(memory_format=torch.channels_last)

    def step() -> None:
        with torch.inference_mode(), autocast():
            net(images)

    return lambda: timed_steps(step, scale)


def ours(workspace: Workspace, scale: Scale, *, compiled: bool, fed: bool) -> Callable[[], float]:
    settings = TrainSettings(
        model=scale.model,
        pretrained="none",
        image_size=scale.size,
        batch_size=scale.batch,
        frames_per_clip=0,
        compile=compiled,
    )
    loop: Loop = plan_training(workspace, WORK / "train-gpu-run", settings).loop

    def rate() -> float:
        clock = Clock(scale)
        loop.try_steps(scale.warm + scale.steps, clock, repeat=not fed)
        return scale.batch * scale.steps / clock.seconds

    return rate


def extraction(workspace: Workspace, scale: Scale) -> Callable[[], float]:
    settings = FeatureSettings(model=scale.model, pretrained="none", image_size=scale.size, batch_size=scale.batch)

    def rate() -> float:
        shutil.rmtree(workspace.features, ignore_errors=True)
        start = time.perf_counter()
        found = crop_features(workspace, settings, quiet=True)
        return len(found.frames) / (time.perf_counter() - start)

    return rate


def make(scale: Scale) -> Workspace:
    """A made-up work folder whose tables name every crop several times: reading and decoding cost the same."""
    source = WORK / f"train-gpu-{scale.clips}"
    if not source.exists():
        clips = SynthSettings(clips=scale.clips, frames=8, size="1280x720", cut_short=False, shares="balanced", seed=1)
        synth(source, clips, jobs=0)
    work = WORK / f"{source.name}-{scale.copies}-workspace"
    if not (work / "split.json").exists():
        shutil.rmtree(work, ignore_errors=True)
        index(source, work, quiet=True)
        curate(work)
        pack(work, quiet=True)
        screen(work)
        split(work)
        workspace = Workspace.open(work)
        for path in (workspace.frames, workspace.crops / "crops.parquet"):
            write_table(_copied(read_table(path), scale.copies), path)
    return Workspace.open(work)


def _copied(table: pl.DataFrame, copies: int) -> pl.DataFrame:
    def named(number: int) -> pl.DataFrame:
        columns = [pl.col(name) + f"#{number}" for name in ("frame_id", "clip") if name in table.columns]
        return table.with_columns(columns) if number else table

    return pl.concat([named(number) for number in range(copies)])


def measure(contestants: dict[str, Callable[[], float]], repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median rate and largest device memory in GB of each, in turn; one round before is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    memory = dict.fromkeys(contestants, 0.0)
    for number in range(repeats + 1):
        for name, function in contestants.items():
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            rate = function()
            if torch.cuda.is_available():
                memory[name] = max(memory[name], (torch.cuda.max_memory_allocated() - held) / 1e9)
            if number:
                rates[name].append(rate)
    return {name: statistics.median(found) for name, found in rates.items()}, memory


def report(rate: dict[str, float], memory: dict[str, float]) -> None:
    print("| what | pictures/s (copy: GB/s) | memory beyond weights, GB |\n|---|---:|---:|")
    for name, value in rate.items():
        print(f"| {name} | {value:,.0f} | {memory[name]:.1f} |")
    best = max(rate["our step"], rate["our step, compiled"])
    fed = max(rate["fed"], rate["fed, compiled"])
    bound = best * STEP_BYTES / 1e9 / rate["copy"]
    print(
        f"\nstep: {rate['our step'] / rate['timm step']:.2f} × timm eager, compiled "
        f"{rate['our step, compiled'] / rate['timm step']:.2f} × (aim 1.20)"
        f"\nshare of the memory bound ({STEP_BYTES / 1e6:.0f} MB a picture): {bound:.2f} (aim 0.40)"
        f"\nfed by the loader: {fed / best:.2f} of the step alone (aim 0.95)"
        f"\nfeatures: {rate['features'] / rate['timm inference']:.2f} × timm inference (aim 1.15)"
        f"\nprojected epoch over {FRAMES:,} frames: {FRAMES / fed / 60:,.1f} minutes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny, on whatever there is; its figures mean nothing")
    arguments = parser.parse_args()
    if not arguments.toy and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA GPU here; --toy only shows that the benchmark works")
    scale = TOY if arguments.toy else FULL
    WORK.mkdir(exist_ok=True)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{where} · {machine()} · torch {torch.__version__}")
    if arguments.toy:
        print("TOY SIZE: shows that the benchmark works; these figures say nothing about any device")
    torch.backends.cudnn.benchmark = True
    workspace = make(scale)
    contestants = {
        "copy": lambda: copy_rate(scale),
        "timm step": timm_training(scale),
        "our step": ours(workspace, scale, compiled=False, fed=False),
        "our step, compiled": ours(workspace, scale, compiled=not arguments.toy, fed=False),
        "fed": ours(workspace, scale, compiled=False, fed=True),
        "fed, compiled": ours(workspace, scale, compiled=not arguments.toy, fed=True),
        "timm inference": timm_inference(scale),
        "features": extraction(workspace, scale),
    }
    report(*measure(contestants, scale.repeats))


if __name__ == "__main__":
    main()
