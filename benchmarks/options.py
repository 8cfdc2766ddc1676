"""What each option of training does, alone: clip macro-F1 on the same made-up clips, and the time of a step.

    python benchmarks/options.py
    python benchmarks/options.py --options ema,mixup --seeds 5 --steps 300
    python benchmarks/options.py --no-scores

Two baselines: a small network from nothing, and the network of a short first training with a new head, for options that
only make sense on a network that knows something. Everything but the option is the same, the number of steps too.
Judged are the last weights, by clip, on animals of the test side. Trainings run two at a time with one thread each, so
that their times mean nothing; times come from steps of EfficientNet-B0 on random pictures, one kind after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from measuring import WORK, machine
from petmood.metrics import macro_f1
from training import Judged, made_up, row, spread, train_and_judge, with_interval

Changed = Mapping[str, object]

FROM_NOTHING: dict[str, Changed] = {
    "baseline": {},
    "ema": {"ema": 0.95},
    "dropout": {"dropout": 0.3},
    "drop-path": {"drop_path": 0.1},
    "rand-augment": {"rand_augment": 9},
    "random-erasing": {"random_erasing": 0.25},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "mixup-and-cutmix": {"mixup": 0.2, "cutmix": 1.0},
    "no-smoothing": {"label_smoothing": 0.0},
    "no-cropping": {"min_scale": 1.0},
    "clip-gradient": {"clip_gradient": 1.0},
    # As many steps, of twice as many pictures each.
    "accumulate": {"accumulate": 2},
    "small-size": {"small_size": 64},
    "constant": {"schedule": "constant"},
    "plateau": {"schedule": "plateau"},
    "no-warm-up": {"warmup_epochs": 0.0},
}
FROM_A_RUN: dict[str, Changed] = {
    "fine-tuned": {},
    "fine-tuned-slowly": {"learning_rate": 8e-4},
    "layer-decay": {"layer_decay": 0.6},
    "freeze-norms": {"freeze_norms": True},
    "freeze-stem": {"freeze": "stem"},
    "freeze-all-but-last-block": {"freeze": "all-but-last-block"},
    "freeze-backbone": {"freeze": "backbone"},
}
#: Steps of the first training, as a share of the others'.
FIRST_SHARE = 0.5
PROCESSES = 2
SIZE, PICTURES = 224, 16


def workspace(clips: int, frames: int) -> Path:
    """Made-up clips, divided by animal."""
    from petmood.data.curate import CurateSettings, curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.data.screen import ScreenSettings, screen
    from petmood.data.split import SplitSettings, split

    source = made_up(WORK / f"options-{clips}-{frames}", clips=clips, frames=frames, clips_per_animal=2, seed=5)
    work = WORK / f"{source.name}-workspace"
    index(source, work, quiet=True)
    curate(work, CurateSettings(per_clip=frames, method="all"))
    pack(work, quiet=True)
    screen(work, ScreenSettings(near_copies="off"))
    split(work, SplitSettings(val=0.1, test=0.4))
    return work


def trained(work: Path, name: str, seed: int, steps: int, changed: Changed) -> Judged:
    """One training in a process of its own, with one thread."""
    import torch

    torch.set_num_threads(1)
    share = int(str(changed.get("accumulate", 1)))
    return train_and_judge(work, f"{name}-{seed}", steps * share, seed=seed, threads=1, **changed)


def scores(work: Path, chosen: set[str], seeds: int, steps: int) -> dict[str, list[Judged]]:
    """All chosen options and their baselines, by name, a training for each seed."""
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        first = pool.submit(trained, work, "first", 99, max(1, round(steps * FIRST_SHARE)), {})
        jobs = {
            (name, seed): pool.submit(trained, work, name, seed, steps, changed)
            for name, changed in FROM_NOTHING.items()
            if name in chosen
            for seed in range(seeds)
        }
        first.result()
        start = {"init": str(work / "runs" / "first-99"), "new_head": True}
        jobs |= {
            (name, seed): pool.submit(trained, work, name, seed, steps, {**start, **changed})
            for name, changed in FROM_A_RUN.items()
            if name in chosen
            for seed in range(seeds)
        }
        found: dict[str, list[Judged]] = {}
        for (name, seed), job in jobs.items():
            found.setdefault(name, []).append(job.result())
            print(f"{name}, seed {seed}: {_macro_f1(found[name][-1]):.3f}", file=sys.stderr, flush=True)
    return found


def _macro_f1(judged: Judged) -> float:
    return macro_f1(judged.labels, judged.probabilities.argmax(axis=1), judged.probabilities.shape[1])


def print_scores(found: Mapping[str, list[Judged]]) -> None:
    """A table for each baseline: score and difference, with 95 % intervals over the animals of the test side."""
    for options in (FROM_NOTHING, FROM_A_RUN):
        baseline = found[next(iter(options))]
        print(row("option", "set", "macro-F1 of clips (95 %)", "seeds ±", "points over the baseline (95 %)", "steps"))
        print("|---|---|---|---:|---|---:|")
        for name in options:
            if name not in found:
                continue
            mean, low, high = with_interval(found[name], macro_f1)
            more, less, most = with_interval(found[name], macro_f1, baseline)
            points = "" if found[name] is baseline else f"{100 * more:+.1f} ({100 * less:+.1f} to {100 * most:+.1f})"
            changed = " ".join(f"{key}={value}" for key, value in options[name].items())
            score = f"{mean:.3f} ({low:.3f} to {high:.3f})"
            steps = found[name][0].steps // int(str(options[name].get("accumulate", 1)))
            print(row(name, changed, score, f"{spread(found[name], macro_f1):.3f}", points, str(steps)))
        print()


@dataclasses.dataclass(frozen=True)
class Kind:
    """One way to make a step."""

    freeze: str = "none"
    size: int = SIZE
    channels_last: bool = True
    compile: bool = False
    batches: int = 1
    """Added up before the optimizer's step."""

    def stepper(self) -> Callable[[], None]:
        """What makes one step."""
        import torch

        from petmood.losses import EmotionLoss
        from petmood.model import EmotionNet
        from petmood.recipes import TrainSettings
        from petmood.train.optimise import build_optimizer, compile_net
        from petmood.weights import create_backbone

        torch.manual_seed(0)
        net = EmotionNet(create_backbone("efficientnet_b0"), classes=6, freeze=self.freeze)  # type: ignore[arg-type]
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        net = net.to(memory_format=order)
        optimizer = build_optimizer(net, TrainSettings())
        if self.compile:
            compile_net(net, "cpu")
        images = torch.randn(PICTURES, 3, self.size, self.size).contiguous(memory_format=order)
        labels, ones, loss = torch.randint(6, (PICTURES,)), torch.ones(PICTURES), EmotionLoss()

        def step() -> None:
            optimizer.zero_grad()
            for _ in range(self.batches):
                (loss(net(images), labels, ones) / self.batches).backward()
            optimizer.step()

        return step


KINDS: dict[str, Kind] = {
    "baseline": Kind(),
    "freeze stem": Kind(freeze="stem"),
    "freeze all-but-last-block": Kind(freeze="all-but-last-block"),
    "freeze backbone": Kind(freeze="backbone"),
    "small-size 160": Kind(size=160),
    "no channels-last": Kind(channels_last=False),
    "accumulate 2 (time a batch)": Kind(batches=2),
    "compile": Kind(compile=True),
}


def times(repeats: int) -> Iterator[tuple[str, float, float]]:
    """Name, seconds of a batch and the first call's seconds of each kind; the kinds take turns, medians."""
    steppers = {name: kind.stepper() for name, kind in KINDS.items()}
    first: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in steppers}
    for number in range(repeats + 1):
        for name, step in steppers.items():
            start = time.perf_counter()
            step()
            passed = (time.perf_counter() - start) / KINDS[name].batches
            if number:
                seconds[name].append(passed)
            else:
                first[name] = passed
    for name in steppers:
        yield name, statistics.median(seconds[name]), first[name]


def print_times(repeats: int) -> None:
    """Pictures per second and the ratio of times against the baseline."""
    import torch

    measured = list(times(repeats))
    base = measured[0][1]
    print(row("step of EfficientNet-B0", "pictures/s", "time / baseline", "first step, s"))
    print("|---|---:|---:|---:|")
    for name, seconds, first in measured:
        print(row(name, f"{PICTURES / seconds:.1f}", f"{seconds / base:.2f}", f"{first:.1f}"))
    print(f"\n{SIZE} px, batches of {PICTURES}, {torch.get_num_threads()} threads, median of {repeats}\n")


def main() -> None:
    """Measure and print Markdown tables."""
    known = [*FROM_NOTHING, *FROM_A_RUN]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", default="", help=f"of {', '.join(known)}; all if left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--frames", type=int, default=6, help="of a clip")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each kind that are timed; 0 times none")
    parser.add_argument("--no-scores", action="store_true", help="times alone")
    given = parser.parse_args()
    wanted = [name.strip() for name in given.options.split(",") if name.strip()]
    if unknown := set(wanted) - set(known):
        parser.error(f"unknown are {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    chosen = set(wanted or known) | {"baseline", "fine-tuned"}
    if not given.no_scores:
        # Threads of several processes on as many cores would only wait for each other.
        os.environ["OMP_NUM_THREADS"] = "1"
        started = time.perf_counter()
        print_scores(scores(workspace(given.clips, given.frames), chosen, given.seeds, given.steps))
        print(f"{given.seeds} seeds, {given.clips} made-up clips; {time.perf_counter() - started:.0f} s in all\n")
        del os.environ["OMP_NUM_THREADS"]
    if given.repeats:
        print_times(given.repeats)
    print(machine())


if __name__ == "__main__":
    main()
