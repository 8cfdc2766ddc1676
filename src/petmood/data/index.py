"""Stage 1: read every label of a source, keep the good frames, refuse the others with a reason."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic.dataclasses import dataclass

from petmood import places
from petmood.charts import ClassBar, class_bars
from petmood.data.carried import Carried, carried_over
from petmood.data.clean import BoxRule, LabelSource, SpeciesChoice, parse_merges
from petmood.data.reading import Reading, read_piece
from petmood.data.tables import ROW_GROUP
from petmood.data.verdicts import read_verdicts, verdict_counts
from petmood.detect import find_weights, open_detector
from petmood.detect.cache import sha256_of
from petmood.errors import RunError, UserError
from petmood.labels import EMOTIONS_KO, classes_of
from petmood.parallel import followed, progress, run_tasks
from petmood.records import REASONS, StageSummary
from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
from petmood.settings import SETTINGS, fingerprint, to_plain
from petmood.sources import Source, open_source
from petmood.sources.rows import NO_POINT, POINTS, Task
from petmood.workspace import Workspace, reading, replacing

#: Part of what an index is made from: raise it when the rules change, so that old ones count as outdated.
INDEX_RULES = 2


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class IndexSettings:
    """What counts as a good frame."""

    label: LabelSource = "inspect"
    """Whose emotion counts: the inspector's, the owner's, or only where both agree."""
    box: BoxRule = "drop"
    """A box that leaves the picture: drop the frame (the notes' rule) or clip the box at the edge."""
    species: SpeciesChoice = "both"
    """Keep dogs, cats or both."""
    merge: tuple[str, ...] = ()
    """Treat one emotion (or any other word) as another: WORD=EMOTION, for example 공포=불안/슬픔. May be repeated."""
    pictures: Literal["later", "now"] = "later"
    """Check the picture files later, when the chosen ones are packed, or all of them now (reads every file)."""
    detect: bool = False
    """Find the animal in photos without a box, as prediction does (needs `petmood detector fetch`); refuse a photo in
    which there is none. Else such photos are used whole."""
    verdicts: str = ""
    """A CSV with your verdicts on clips: columns clip and verdict, which is keep, drop or the emotion that it shows."""


def index(
    source: Path | str,
    work: Path,
    settings: IndexSettings = IndexSettings(),  # noqa: B008 - frozen
    *,
    words: Mapping[str, str] | None = None,
    jobs: int = 0,
    quiet: bool = False,
    force: bool = False,
) -> StageSummary:
    """Read ``source`` into the workspace ``work``: tables of good and refused frames, counts, a picture.

    A killed run goes on where it was: each task's rows are kept until the end. Clips that have not changed since an
    earlier index keep their rows (`carried`); ``force`` reads everything again.
    ``words`` say what the source's own words mean (``sources.words.read_words``).

    Raises:
        UserError: the source or the work folder cannot be used, or an option does not fit the source.
        RunError: not one frame is good.
    """
    merges = parse_merges(settings.merge)
    verdicts = read_verdicts(Path(settings.verdicts), merges) if settings.verdicts else {}
    opened = open_source(source, named=list(merges), words=words)
    for remark in opened.remarks:
        print(f"warning: {remark}", file=sys.stderr)  # noqa: T201
    if settings.label != "inspect" and not opened.has_owner_labels:
        hint = "leave out --label; there is only one label"
        raise UserError(f"label {settings.label!r} needs owner labels, which {source} has not.", hint=hint)
    weights = _weights(opened, source) if settings.detect else None
    workspace = Workspace.create(work)
    looked = {"detector": {"file": weights.name, "sha256": sha256_of(weights)}} if weights else {}
    made_from = index_made_from(opened.fingerprint, places.absolute(source), settings, verdicts, looked)
    if not force and workspace.is_current("index", made_from):
        for left in workspace.root.glob(".index-*"):  # a run that was killed after its mark leaves them
            shutil.rmtree(left)
        return StageSummary(stage="index", skipped=True, counts=workspace.mark("index")["counts"])
    # What is inside a picture changes no stamp, so where all pictures are to be looked at, they are.
    judged = fingerprint(INDEX_RULES, places.absolute(source), {**to_plain(settings), "verdicts": ""})
    afresh = force or settings.pictures == "now"
    carried = carried_over(workspace, opened.tasks, verdicts, judged=judged, force=afresh)
    pieces = workspace.root / f".index-{made_from}{carried.key}"
    for other in workspace.root.glob(".index-*"):
        if force or other != pieces:
            shutil.rmtree(other)
    pieces.mkdir(exist_ok=True)
    tasks = carried.rest(opened.tasks)
    _read_all(pieces, tasks, opened.unit, settings, merges, verdicts, weights, jobs=jobs, quiet=quiet)
    counts = _write(workspace, pieces, carried, verdicts)
    carried.remember(workspace, made_from)
    _write_picture(workspace, counts)
    workspace.finish(
        "index",
        made_from=made_from,
        settings={"source": places.absolute(source), "kind": opened.kind, **to_plain(settings), **looked},
        counts=counts,
    )
    shutil.rmtree(pieces)
    lines = (*carried.lines(), *_lines(counts))
    return StageSummary(stage="index", skipped=False, counts=counts, lines=lines)


def index_made_from(
    source: str,
    place: str,
    settings: IndexSettings | Mapping[str, Any],
    verdicts: Mapping[str, str],
    looked: Mapping[str, Any],
    *,
    rules: int = INDEX_RULES,
) -> str:
    """What an index counts as made from.

    Args:
        source: the source's own fingerprint.
        place: where the source lies.
        settings: also as a mark has kept them.
        verdicts: clip → verdict; what the table says counts, not where it lies.
        looked: which detector was asked, as the mark has it; empty if none was.
        rules: those of `clean`, by number.
    """
    plain = settings if isinstance(settings, Mapping) else to_plain(settings)
    parts = (source, place, {**plain, "verdicts": ""}, sorted(verdicts.items()))
    return fingerprint("index", rules, *parts, *([looked] if looked else []))


def _weights(source: Source, path: Path | str) -> Path:
    """The detector's weights.

    Raises:
        UserError: there are none, they are no detector, or every label of the source has a box.
    """
    if source.kind == "aihub":
        raise UserError(
            f"detect is for photos without a box; every label of {path} has one.", hint="leave out --detect"
        )
    weights = find_weights()
    open_detector(str(weights))  # what is wrong with it is told before the work begins
    return weights


def _read_all(
    pieces: Path,
    tasks: Sequence[Task],
    unit: str,
    settings: IndexSettings,
    merges: Mapping[str, str],
    verdicts: Mapping[str, str],
    weights: Path | None,
    *,
    jobs: int,
    quiet: bool,
) -> None:
    """Judge every task's rows into a folder of pieces; pieces that an earlier, killed run left are not made again."""
    work = [
        Reading(
            task=task,
            label=settings.label,
            box=settings.box,
            species=settings.species,
            merges=merges,
            verdicts=verdicts,
            check_pictures=settings.pictures == "now",
            detector=str(weights or ""),
            frames=pieces / f"{number:06d}.frames",
            rejects=pieces / f"{number:06d}.rejects",
        )
        for number, task in enumerate(tasks)
    ]
    missing = [item for item in work if not item.rejects.exists()]
    total = sum(task.size for task in tasks)
    with progress("index", total, unit, quiet=quiet) as advance:
        advance(total - sum(item.task.size for item in missing))
        for _ in followed(run_tasks(read_piece, missing, jobs=jobs), advance, int):
            pass


def _write(workspace: Workspace, pieces: Path, carried: Carried, verdicts: Mapping[str, str]) -> dict[str, Any]:
    """Join the pieces and what is carried over into the workspace's tables; returns the counts.

    Raises:
        UserError: an earlier table that rows are carried over from is damaged.
        RunError: not one frame is good; the workspace stays as it was.
    """
    frames = carried.frames(workspace, _joined(pieces, "frames", {**FRAME_SCHEMA, "points": POINTS}))
    rejects = carried.rejects(workspace, _joined(pieces, "rejects", REJECT_SCHEMA))
    with reading(workspace.frames, workspace.rejects, workspace.poses):
        counts = _count(frames, rejects)
        if verdicts:
            counts["verdicts"] = verdict_counts(verdicts, frames, rejects)
    if not counts["kept"]:
        told = _examples(rejects)
        shutil.rmtree(pieces)
        raise RunError(
            f"index kept none of {counts['found']:,} rows; refused: {told}.",
            hint="the reasons tell what to change; `petmood index --help` lists the choices",
        )
    workspace.begin("index")
    _write_tables(workspace, frames, rejects, posed=counts["posed"] > 0)
    return counts


def _write_tables(workspace: Workspace, frames: pl.LazyFrame, rejects: pl.LazyFrame, *, posed: bool) -> None:
    """The tables, the notes' CSV, and the keypoints row by row; no file where there are none.

    None takes its place before all are written: rows may come from the earlier ones.
    """
    bbox = pl.concat_str("y", "x", "height", "width", separator=",")
    korean = pl.col("emotion").replace_strict(list(EMOTIONS_KO), list(EMOTIONS_KO.values()))
    with ExitStack() as all_written:
        refused, csv, good = (
            all_written.enter_context(replacing(path))
            for path in (workspace.rejects, workspace.frames_csv, workspace.frames)
        )
        rejects.sink_parquet(refused, row_group_size=ROW_GROUP)
        frames.select(*FRAME_SCHEMA).sink_parquet(good, row_group_size=ROW_GROUP)
        frames.select(pl.col("path").alias("image_path"), bbox.alias("bbox"), korean.alias("labels")).sink_csv(csv)
        if posed:
            poses = all_written.enter_context(replacing(workspace.poses))
            frames.select("points").sink_parquet(poses, row_group_size=ROW_GROUP)
    if not posed:
        workspace.poses.unlink(missing_ok=True)


def _joined(pieces: Path, kind: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """All pieces of one kind, in the order of the tasks. Listed by hand: a glob would trip over brackets in a path."""
    found = sorted(path for path in pieces.iterdir() if path.suffix == f".{kind}")
    return pl.scan_parquet(found, glob=False) if found else pl.LazyFrame(schema=dict(schema))


def _examples(rejects: pl.LazyFrame) -> str:
    """Each reason with its count and one example."""
    first = rejects.group_by("reason").agg(pl.len(), pl.col("path", "detail").first()).collect()
    found = {reason: f"{reason} {number:,} (such as {path}: {detail})" for reason, number, path, detail in first.rows()}
    return "; ".join(found[reason] for reason in REASONS if reason in found) or "nothing was found"


def _count(frames: pl.LazyFrame, rejects: pl.LazyFrame) -> dict[str, Any]:
    refused = dict(rejects.group_by("reason").len().collect().iter_rows())
    table = frames.group_by("species", "emotion").agg(frames=pl.len(), clips=pl.col("clip").n_unique()).collect()
    by_emotion = table.group_by("emotion").agg(pl.col("frames").sum(), pl.col("clips").sum())
    classes = classes_of(by_emotion["emotion"])
    totals = {name: (number, clips) for name, number, clips in by_emotion.iter_rows()}
    numbers = [number for number, _ in totals.values()]
    kept = sum(numbers)
    # A label that lists more pictures than its folder holds is common (aihub.md §3.2), so it is told, not refused.
    short = rejects.filter(pl.col("reason") == "no_image").select(pl.col("clip").n_unique(), pl.len()).collect()
    return {
        "found": kept + sum(refused.values()),
        "kept": kept,
        "clips": sum(clips for _, clips in totals.values()),
        "groups": frames.select(pl.col("group").n_unique()).collect().item(),
        "posed": frames.select((pl.col("points").arr.max() > NO_POINT).sum()).collect().item(),
        "refused": {reason: refused[reason] for reason in REASONS if reason in refused},
        "fewer_images": {"clips": short.item(0, 0), "frames": short.item(0, 1)},
        "classes": list(classes),
        "emotions": {name: {"frames": totals[name][0], "clips": totals[name][1]} for name in classes},
        "species": {
            species or "unknown": {
                name: {"frames": number, "clips": clips}
                for name in classes
                for found, number, clips in rows.select("emotion", "frames", "clips").iter_rows()
                if found == name
            }
            for (species,), rows in sorted(table.group_by("species"), key=lambda item: str(item[0]))
        },
        "imbalance": round(max(numbers) / min(numbers), 2) if numbers else None,
    }


def _write_picture(workspace: Workspace, counts: Mapping[str, Any]) -> None:
    """The bar picture of the classes that the notes begin with."""
    bars = [
        ClassBar(label=f"{EMOTIONS_KO[name]} ({name})", counts={"clips": values["clips"], "frames": values["frames"]})
        for name, values in counts["emotions"].items()
    ]
    with replacing(workspace.classes_picture) as temporary:
        temporary.write_text(class_bars("Frames and clips per emotion", bars), encoding="utf-8")


def _lines(counts: Mapping[str, Any]) -> Iterator[str]:
    """The summary for people."""
    refused = sum(counts["refused"].values())
    kept = f"kept {counts['kept']:,} frames of {counts['clips']:,} clips"
    yield f"found {counts['found']:,} · {kept} · refused {refused:,}"
    for reason, number in counts["refused"].items():
        yield f"  {reason:<18} {number:>9,}  {REASONS[reason]}"
    short = counts["fewer_images"]
    if short["frames"]:
        yield f"{short['clips']:,} clips have fewer pictures than annotations ({short['frames']:,} are not there)"
    if "verdicts" in counts:
        yield _verdict_line(counts["verdicts"])
    species = list(counts["species"])
    yield f"{'emotion':<24}" + "".join(f"{name + ' clips':>16}{name + ' frames':>16}" for name in species)
    for name in counts["classes"]:
        cells = [counts["species"][kind].get(name, {"clips": 0, "frames": 0}) for kind in species]
        numbers = "".join(f"{cell['clips']:>16,}{cell['frames']:>16,}" for cell in cells)
        yield f"{name + ' ' + EMOTIONS_KO[name]:<20}" + numbers
    if counts["imbalance"] is not None:
        yield f"imbalance: the largest class has {counts['imbalance']:g} times the frames of the smallest"


def _verdict_line(counts: Mapping[str, Any]) -> str:
    line = f"verdicts: {counts['emotion']:,} clips have your emotion, {counts['dropped']:,} are dropped"
    if counts["unknown"]:
        line += f"; {counts['unknown']:,} speak of clips that are not there (such as {counts['unknown_such_as'][0]})"
    return line
