"""How few frames are enough: ways of choosing frames, each trained for the same number of steps, judged by clip.

    python benchmarks/curation.py --clips 480 --frames 32 --seeds 3 --steps 283

Made-up clips, split by animal; the test clips show the same eight frames to every contestant. ``decoded`` are the
frames that must be decoded before training, ``pack`` the time that this takes. Afterwards the lie: one model, trained
on a random part of the *frames* of some animals, is judged on the other frames of the same clips (as published 98 %
were) and on animals that it has never seen.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from measuring import WORK, machine
from petmood.metrics import accuracy, macro_f1
from training import BATCH, Judged, last_answers, made_up, row, spread, train_and_judge, with_frames, with_interval

#: Frames of each test and validation clip, whatever the contestant.
TEST_FRAMES, VAL_FRAMES = 8, 1
REFERENCE = "all frames"


def prepared(clips: int, frames: int) -> Path:
    """A workspace with all frames packed and split by animal."""
    from petmood.data.curate import CurateSettings, curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.data.screen import ScreenSettings, screen
    from petmood.data.split import SplitSettings, split

    source = made_up(
        WORK / f"curation-{clips}-{frames}", clips=clips, frames=frames, shares="balanced", cut_short=False, seed=5
    )
    work = WORK / f"{source.name}-workspace"
    index(source, work, quiet=True)
    curate(work, CurateSettings(method="all"))
    pack(work, quiet=True)
    screen(work, ScreenSettings(near_copies="off"))
    split(work, SplitSettings(val=0.1, test=0.3))
    return work


def chosen(base: Path, scratch: Path, **settings: object) -> pl.DataFrame:
    """Frames with ``keep`` and ``weight`` as `petmood curate` writes them with these settings."""
    from petmood.data.curate import CurateSettings, curate
    from petmood.workspace import Workspace

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name in ("petmood.json", "index.json", "frames.parquet", "poses.parquet", "rejects.parquet"):
        if (base / name).exists():
            shutil.copy(base / name, scratch / name)
    curate(scratch, CurateSettings(**settings))  # type: ignore[arg-type]
    return Workspace.open(scratch).read_frames()


def random_of_each_clip(frames: pl.DataFrame, count: int, seed: int) -> pl.Series:
    """``count`` frames of each clip, at random: a contestant that `petmood curate` does not offer."""
    turn = np.random.default_rng(seed).permutation(len(frames))
    ranked = frames.select("clip").with_columns(turn=pl.Series(turn))
    return ranked.select((pl.col("turn").rank().over("clip") <= count).alias("keep"))["keep"]


def without_copies(base: Path, frames: pl.DataFrame) -> pl.DataFrame:
    """The same choice without what `petmood screen` drops as near-copies within a clip."""
    from petmood.data.copies import repeats
    from petmood.data.screen import ScreenSettings
    from petmood.data.weighting import even_weights
    from petmood.workspace import read_table

    hashes = read_table(base / "crops" / "crops.parquet").select("frame_id", "hash")
    shots = frames.with_row_index("row").filter("keep").join(hashes, on="frame_id").sort("clip", "timestamp_ms")
    numbers = shots["clip"].rank("dense").cast(pl.Int64).to_numpy()
    dropped = shots["row"].to_numpy()[repeats(shots["hash"].to_numpy(), numbers, ScreenSettings().within) >= 0]
    keep = frames["keep"] & ~pl.Series(np.isin(np.arange(len(frames)), dropped))
    return frames.with_columns(keep=keep, weight=even_weights(frames["clip"], keep))


def contestants(base: Path, frames_a_clip: int) -> dict[str, tuple[Callable[[int], pl.DataFrame], int]]:
    """Name → how the frames are chosen for a seed, and the frames of a clip that an epoch shows (0: all chosen)."""
    from petmood.workspace import Workspace

    table = Workspace.open(base).read_frames()
    scratch = base.with_name(f"{base.name}-scratch")

    def by(**settings: object) -> Callable[[int], pl.DataFrame]:
        return lambda seed: chosen(
            base, scratch, **settings, **({"draw_seed": seed} if settings.get("method") == "random" else {})
        )

    def at_random(count: int) -> Callable[[int], pl.DataFrame]:
        return lambda seed: table.with_columns(
            keep=random_of_each_clip(table, count, seed), weight=pl.lit(1.0, pl.Float32)
        )

    few = {f"1/{part}": round(frames_a_clip / part) for part in (4, 8, 16)}
    all_of_them: dict[str, tuple[Callable[[int], pl.DataFrame], int]] = {
        REFERENCE: (by(method="all"), 0),
        "random half (the notes)": (by(method="random", share=0.5), 0),
    }
    for part, count in few.items():
        all_of_them |= {
            f"{count} of a clip ({part}), random": (at_random(count), 0),
            f"{count} of a clip ({part}), evenly spaced": (by(method="time", per_clip=count), 0),
            f"{count} of a clip ({part}), by pose": (by(method="pose", per_clip=count), 0),
        }
    eight = few["1/4"]
    pose = by(method="pose", per_clip=eight)
    all_of_them[f"{eight} of a clip by pose, near-copies dropped"] = (lambda seed: without_copies(base, pose(seed)), 0)
    all_of_them[f"clip sampler: 2 an epoch of {eight} by pose"] = (by(method="pose", per_clip=eight), 2)
    all_of_them["clip sampler: 2 an epoch of all frames"] = (by(method="all"), 2)
    return all_of_them


def for_training(base: Path, choice: pl.DataFrame) -> pl.DataFrame:
    """The choice on the training side; the same evenly spaced frames for every contestant on the others."""
    from petmood.workspace import Workspace

    table = Workspace.open(base).read_frames()
    number = pl.int_range(pl.len()).over("clip")
    size = pl.len().over("clip")
    judged = pl.when(pl.col("split") == "test").then(TEST_FRAMES).otherwise(VAL_FRAMES)
    # Frame i of n is one of m evenly spaced ones where i·m/n steps up.
    spaced = ((number + 1) * judged // size) > (number * judged // size)
    mine = pl.Series("mine", choice["keep"])
    table = table.with_columns(mine, weight=choice["weight"])
    keep = pl.when(pl.col("split") == "train").then("mine").otherwise(spaced)
    return table.with_columns(keep=pl.col("keep") & keep).drop("mine")


def pack_seconds(base: Path, frames: pl.DataFrame) -> float:
    """Time in which `petmood pack` decodes the chosen training frames."""
    from petmood.data.pack import pack
    from petmood.workspace import Workspace, write_table

    work = base.with_name(f"{base.name}-packing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in ("petmood.json", "index.json", "curate.json", "rejects.parquet"):
        shutil.copy(base / name, work / name)
    write_table(frames.filter(pl.col("split") == "train"), Workspace(work).frames)
    start = time.perf_counter()
    pack(work, quiet=True)
    seconds = time.perf_counter() - start
    shutil.rmtree(work)
    return seconds


def the_lie(base: Path, steps: int, seeds: int) -> None:
    """Print what one model scores on other frames of its own clips, and on animals that it has not seen."""
    from petmood.workspace import Workspace

    work = base.with_name(f"{base.name}-lie")
    seen: list[Judged] = []
    unseen: list[Judged] = []
    for seed in range(seeds):
        table = for_training(base, chosen(base, work.with_name(f"{work.name}-scratch"), method="all"))
        rng = np.random.default_rng(seed)
        side = pl.Series("side", rng.choice(["train", "frames"], size=len(table), p=[0.7, 0.3]))
        known = table.with_columns(side).with_columns(
            split=pl.when((pl.col("split") == "train") & (pl.col("side") == "frames"))
            .then(pl.lit("other"))
            .otherwise("split")
        )
        unseen.append(
            train_and_judge(with_frames(base, work, known.drop("side")), "lie", steps, seed=seed, frames_per_clip=0)
        )
        run = work / "runs" / "lie"
        swapped = known.with_columns(split=pl.col("split").replace({"test": "held", "other": "test"}))
        workspace = Workspace.open(with_frames(base, work.with_name(f"{work.name}-frames"), swapped.drop("side")))
        seen.append(Judged(*last_answers(workspace, run), unseen[-1].steps, unseen[-1].seconds))
    print("\n| one model, judged on | clip accuracy (95 %) | clip macro-F1 (95 %) |\n|---|---|---|")
    for name, runs in (
        ("other frames of the clips it learnt from (a split by frame)", seen),
        ("clips of animals it has not seen (a split by group)", unseen),
    ):
        cells = [
            f"{mean:.3f} ({low:.3f} to {high:.3f})"
            for mean, low, high in (with_interval(runs, _accuracy), with_interval(runs, macro_f1))
        ]
        print(row(name, *cells))


def _accuracy(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    return accuracy(labels, predicted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=480)
    parser.add_argument("--frames", type=int, default=32, help="of a clip")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=283)
    parser.add_argument("--only", choices=["choice", "lie"], default=None)
    options = parser.parse_args()
    base = prepared(options.clips, options.frames)
    if options.only != "lie":
        _compare(base, options)
    if options.only != "choice":
        the_lie(base, options.steps, options.seeds)
    print(machine())


def _compare(base: Path, options: argparse.Namespace) -> None:
    runs: dict[str, list[Judged]] = {}
    decoded: dict[str, int] = {}
    packing: dict[str, float] = {}
    for seed in range(options.seeds):
        for name, (choose, an_epoch) in contestants(base, options.frames).items():
            frames = for_training(base, choose(seed))
            if seed == 0:
                decoded[name] = int((frames["keep"] & (frames["split"] == "train")).sum())
                packing[name] = pack_seconds(base, frames)
            work = with_frames(base, base.with_name(f"{base.name}-arm"), frames)
            judged = train_and_judge(work, "arm", options.steps, seed=seed, frames_per_clip=an_epoch)
            runs.setdefault(name, []).append(judged)
            score = macro_f1(judged.labels, judged.probabilities.argmax(axis=1), judged.probabilities.shape[1])
            print(f"seed {seed}: {name}: {score:.3f}, {judged.steps} steps, {judged.seconds:.0f} s", flush=True)
    heads = ("frames", "decoded", "share", "pack s", "steps", "training s", "macro-F1 (95 %)", "seeds ±")
    print(row(*heads, "of all frames (difference, 95 %)"))
    print("|---|---:|---:|---:|---:|---:|---|---:|---|")
    whole = with_interval(runs[REFERENCE], macro_f1)[0]
    for name, judged in runs.items():
        mean, low, high = with_interval(judged, macro_f1)
        _, less, more = with_interval(judged, macro_f1, runs[REFERENCE])
        share, seconds = decoded[name] / decoded[REFERENCE], np.mean([run.seconds for run in judged])
        cells = (f"{decoded[name]:,}", f"{share:.3f}", f"{packing[name]:.1f}", f"{judged[0].steps}", f"{seconds:.0f}")
        score = (f"{mean:.3f} ({low:.3f} to {high:.3f})", f"{spread(judged, macro_f1):.3f}")
        print(row(name, *cells, *score, f"{mean / whole:.3f} ({less:+.3f} to {more:+.3f})"))
    print(
        f"\nbatch {BATCH}; test clips {len(runs[REFERENCE][0].labels)} of {len(set(runs[REFERENCE][0].groups))} groups"
    )


if __name__ == "__main__":
    main()
