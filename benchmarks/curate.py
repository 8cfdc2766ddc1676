"""How long `petmood curate` takes, and how much memory, on tables of the real size.

    python benchmarks/curate.py --clips 61000

Made-up tables of as many clips, no pictures: two thirds are dogs' clips cut short in string order (14 frames of 94 are
there, the others are refused rows), one third are cats' clips of 115 frames, so that 61,000 clips have 2.9 million
frames and 3.3 million refused rows. Each method runs in a fresh process, medians of the times without imports; the
whole command is timed: reading the tables, choosing, writing both back.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from measuring import WORK, in_turn, machine, median_seconds, peak_mb, tell, timed

METHODS = ("pose", "time", "random", "all")
PART = 5000
LABELS = "/data/반려동물 구분을 위한 동물 영상/Training/원천데이터"


def clip_rows(number: int, generator: np.random.Generator) -> pl.DataFrame:
    """One clip's rows as the index has them, those without a picture marked."""
    dog = number % 3 > 0
    count = 94 if dog else 115
    numbers = np.arange(count) * 6
    species = "dog" if dog else "cat"
    clip = f"{species}-walkrun-{number:06d}"
    names = [f"frame_{n}_timestamp_{200 * i}" for i, n in enumerate(numbers.tolist())]
    first = set(sorted(names)[:14]) if dog else set(names)
    sway = np.cumsum(generator.normal(0, 3, (count, 32)), axis=0)
    box = (np.array([600, 300, 500, 400]) + sway[:, :4]).round().clip(1, 1000)
    points = (np.array([850, 500] * 15) + sway[:, 2:]).round()
    emotion = EMOTIONS[min(5, int(generator.exponential(1.0)))]
    return pl.DataFrame(
        {
            "frame_id": [f"{clip}/{name}" for name in names],
            "path": [f"{LABELS}/{species.upper()}/WALKRUN/{clip}/{name}.jpg" for name in names],
            "clip": clip,
            "group": f"20210105/{species}/코리안 숏헤어/FEMALE/{number % 17}/Y/1/실내",
            "species": species,
            "emotion": emotion,
            "owner_emotion": emotion,
            "action": "walkrun",
            "situation": "휴식시간, 자신만의 공간에 들어갔을 때(캔넬, 소파 침대 밑 등)",
            "timestamp_ms": np.arange(count) * 200,
            **{name: box[:, column] for column, name in enumerate(("x", "y", "width", "height"))},
            "image_width": 1920,
            "image_height": 1080,
            "official_split": "train",
            "points": pl.Series(points.astype(np.int16), dtype=pl.Array(pl.Int16, 30)),
            "there": [name in first for name in names],
        }
    )


EMOTIONS = ("calm", "happy", "aggressive", "angry", "anxious", "fear")


def make(clips: int) -> Path:
    """A work folder as `petmood index` leaves it."""
    from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
    from petmood.workspace import Workspace

    root = WORK / f"curate-{clips}"
    if root.exists():
        return root
    making = WORK / f"curate-{clips}-making"
    shutil.rmtree(making, ignore_errors=True)
    workspace = Workspace.create(making)
    generator = np.random.default_rng(0)
    parts = making / "parts"
    parts.mkdir()
    for start in range(0, clips, PART):
        rows = pl.concat([clip_rows(number, generator) for number in range(start, min(start + PART, clips))])
        frames = rows.filter("there").with_columns(
            source_group="group", split=pl.lit(None, pl.String), keep=pl.lit(value=True), weight=pl.lit(1.0, pl.Float32)
        )
        refused = rows.filter(~pl.col("there")).with_columns(
            reason=pl.lit("no_image"), detail=pl.lit("not in the clip's folder"), stage=pl.lit("index")
        )
        frames.select(pl.col(name).cast(kind) for name, kind in FRAME_SCHEMA.items()).write_parquet(
            parts / f"frames-{start:06d}.parquet"
        )
        frames.select("points").write_parquet(parts / f"poses-{start:06d}.parquet")
        refused.select(*REJECT_SCHEMA).write_parquet(parts / f"rejects-{start:06d}.parquet")
    for name in ("frames", "poses", "rejects"):
        pl.scan_parquet(sorted(parts.glob(f"{name}-*"))).sink_parquet(making / f"{name}.parquet")
    shutil.rmtree(parts)
    workspace.finish("index", made_from="made up", settings={}, counts={})
    making.rename(root)
    return root


def one(method: str, work: Path) -> None:
    from petmood.data.curate import CurateSettings, curate

    settings = CurateSettings(method=method)  # type: ignore[arg-type]
    seconds, summary = timed(lambda: curate(work, settings, force=True))
    tell(seconds, summary.counts)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[6000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "WORK"))
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]))
        return
    WORK.mkdir(exist_ok=True)
    print(machine())
    print("| clips | frames | method | chosen | s | frames/s | peak MB |\n|---:|---:|---|---:|---:|---:|---:|")
    for clips in arguments.clips:
        work = str(make(clips))
        runs = in_turn(__file__, {method: [work] for method in arguments.methods}, repeats=arguments.repeats)
        for method in arguments.methods:
            seconds, counts = median_seconds(runs[method]), runs[method][0].result
            frames, chosen = counts["frames"], counts["chosen"]  # type: ignore[index]
            print(
                f"| {clips:,} | {frames:,} | {method} | {chosen:,} | {seconds:.1f} | {frames / seconds:,.0f} "
                f"| {peak_mb(runs[method]):,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
