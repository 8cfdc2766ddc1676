"""Judge a run on another labelled source, and tell how much worse (or better) it is there.

The source goes through the same index, curation and packing as the run's own data, into RUN/elsewhere/NAME/work, whose
stages are skipped when nothing has changed. The results stand beside it: predictions.parquet and, last, metrics.json.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from petmood import places
from petmood.bundle import BundleInfo, read_info
from petmood.crops import CropStore
from petmood.data.clean import merged_emotion, parse_merges
from petmood.data.copies import BETWEEN, Thumbnails, find_copies
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import PackSettings, pack
from petmood.errors import RunError, UserError
from petmood.evaluate import evaluate, predictions
from petmood.judging import Answered, judged, training_clips
from petmood.labels import EMOTIONS, EMOTIONS_KO, classes_of
from petmood.metrics import Caution, Evaluation, Speed
from petmood.metrics.transfer import Elsewhere, changes
from petmood.parallel import progress
from petmood.predict import Predictor
from petmood.recipes.evaluation import ElsewhereSettings, EvaluateSettings
from petmood.runfolder import check_name
from petmood.settings import build, to_plain
from petmood.sources import Source, open_source
from petmood.sources.words import LEFT_OUT, read_words, unknown_words
from petmood.workspace import Workspace, drop, read_json, read_table, versions, write_json, write_table

#: Sides of the search for pictures that the model knows.
_OWN, _THERE = 0, 1
#: Unknown words that an error names.
_SHOWN = 20


def elsewhere(
    run: Path,
    other: ElsewhereSettings,
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008 - frozen
    *,
    jobs: int = 0,
    quiet: bool = False,
) -> Elsewhere:
    """Judge ``run`` on the source that ``other`` names and compare with its own clips, which are judged if need be.

    Raises:
        UserError: no such run or source, words whose meaning nobody told, or nothing of it that the model knows.
        RunError: not one frame or picture of the source is good.
    """
    run = run.absolute()
    info = read_info(run)
    asked = _asked(run, other)  # what is wrong with the source is told before hours are spent
    own = _own(run, settings, quiet=quiet)
    own_work = Workspace.of_run(run)
    left_out = _prepare(asked, own_work, info, jobs=jobs, quiet=quiet)
    found = _judged(asked, own_work, run, settings, quiet=quiet)
    result = _result(asked, own, found, left_out)
    drop(asked.folder / "metrics.json")
    write_table(predictions(found.answered, info.classes), asked.folder / "predictions.parquet")
    write_json(asked.folder / "metrics.json", result.to_dict())
    return result


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A source, and where what is found about it goes."""

    source: str
    kind: str
    folder: Path
    words: Mapping[str, str]
    index: IndexSettings
    settings: ElsewhereSettings

    @property
    def work(self) -> Path:
        return self.folder / "work"


@dataclasses.dataclass(frozen=True)
class _Own:
    """The run's own clips as they were judged."""

    evaluation: Evaluation
    answered: Answered


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    """The source's clips whose emotion the model knows, as they were judged."""

    answered: Answered
    evaluation: Evaluation
    unknown: Mapping[str, int]
    """Emotion that the model does not know → clips."""
    seen: int
    """Clips left out because the model has seen them."""


def _own(run: Path, settings: EvaluateSettings, *, quiet: bool) -> _Own:
    """What `evaluate` left of the split that is asked for, else what it finds now."""
    evaluation = _left(run, settings) or evaluate(run, settings, quiet=quiet)
    table = read_table(run / "predictions.parquet")
    return _Own(evaluation, _answered(table, table, evaluation.classes))


def _left(run: Path, settings: EvaluateSettings) -> Evaluation | None:
    if not ((run / "metrics.json").is_file() and (run / "predictions.parquet").is_file()):
        return None
    try:
        found = Evaluation.from_dict(read_json(run / "metrics.json"))
    except ValueError:
        return None  # an older petmood's
    return found if settings.split in ("auto", found.split) and found.certainty else None


def _answered(frames: pl.DataFrame, given: pl.DataFrame, classes: Sequence[str]) -> Answered:
    """Frames with the answers that a table in the form of predictions.parquet gives them, row by row."""
    numbers = {name: number for number, name in enumerate(classes)}
    return Answered(
        frames=frames,
        labels=np.array([numbers[name] for name in frames["emotion"]], np.int64),
        probabilities=given.select(f"p_{name}" for name in classes).to_numpy(),
        attention=given["attention"].to_numpy() if "attention" in given.columns else None,
    )


def _asked(run: Path, other: ElsewhereSettings) -> _Asked:
    """What is asked for, checked.

    Raises:
        UserError: the source or the map cannot be used, or the name is not usable or taken.
    """
    source = other.source
    words = read_words(Path(other.map)) if other.map else {}
    opened = open_source(source, words=words)
    name = other.name or re.sub(r"[^\w.-]+", "-", Path(places.absolute(source)).stem).strip(".-") or "source"
    check_name(name, what="source")
    folder = run / "elsewhere" / name
    mark = folder / "work" / "index.json"
    before = read_json(mark)["settings"].get("source") if mark.is_file() else None
    if before not in (None, places.absolute(source)):
        hint = "give this one another --name"
        raise UserError(f"folder {folder} holds what was found of another source, {before}.", hint=hint)
    index_settings = _index_settings(Workspace.of_run(run), other, opened)
    return _Asked(source, opened.kind, folder, words, index_settings, other)


def _index_settings(own: Workspace, other: ElsewhereSettings, opened: Source) -> IndexSettings:
    """Those of the run's own index, but for what is asked for; a source with one label has no choice of it."""
    kept = own.require("index")["settings"]
    settings = {name: kept[name] for name in ("label", "box", "species", "merge") if name in kept}
    if opened.kind != "aihub":  # a model that has seen crops of animals is asked about such
        settings["detect"] = kept.get("detect", False)
    if other.label != "same":
        settings["label"] = other.label
    elif not opened.has_owner_labels:
        settings["label"] = "inspect"
    if other.species != "same":
        settings["species"] = other.species
    return build(IndexSettings, settings, where=str(own.root / "index.json"))


def _prepare(asked: _Asked, own: Workspace, info: BundleInfo, *, jobs: int, quiet: bool) -> dict[str, int]:
    """Make the source a workspace of crops cut as the model knows them; returns the words that the map left out.

    Raises:
        UserError: words that mean none of the six emotions and are not left out.
    """
    asked.folder.mkdir(parents=True, exist_ok=True)
    try:
        index(asked.source, asked.work, asked.index, words=asked.words, jobs=jobs, quiet=quiet)
    except RunError as error:
        # Its message names the refusals; the words alone tell what to write into a map.
        told = re.findall(r"unknown_emotion [\d,]+", error.message)
        _refuse_unknown(asked, _words_of(asked) if told else {})
        raise
    workspace = Workspace.open(asked.work)
    refused = workspace.read_rejects().filter(pl.col("reason") == "unknown_emotion")
    left_out, unknown = unknown_words(refused["detail"])
    _refuse_unknown(asked, unknown)
    curate(asked.work, build(CurateSettings, own.mark("curate")["settings"], where=str(own.root / "curate.json")))
    pack(asked.work, PackSettings(**to_plain(info.geometry)), jobs=jobs, quiet=quiet)
    return left_out


def _words_of(asked: _Asked) -> dict[str, int]:
    """Words of a source that mean nothing to us, most frequent first, by reading all of it."""
    text = "owner_text" if asked.index.label == "owner" else "emotion_text"
    found: Counter[str] = Counter()
    for task in open_source(asked.source, words=asked.words).tasks:
        found.update(task.read()[text].drop_nulls())
    merges = parse_merges(asked.index.merge)
    unknown = (item for item in found.most_common() if merged_emotion(item[0], merges) is None)
    return {word: number for word, number in unknown if not word.startswith(LEFT_OUT)}


def _refuse_unknown(asked: _Asked, unknown: Mapping[str, int]) -> None:
    if not unknown:
        return
    shown = ", ".join(f"{word!r} {number:,}" for word, number in list(unknown.items())[:_SHOWN])
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    raise UserError(
        f"source {asked.source} has words that mean none of the six emotions: {shown}{more} (pictures); known are "
        f"{', '.join(EMOTIONS)} and {', '.join(EMOTIONS_KO.values())}.",
        hint="give a table of words with --map: YAML (`joy: happy`) or CSV (`joy,happy`), one a line; - leaves it out",
    )


def _judged(asked: _Asked, own: Workspace, run: Path, settings: EvaluateSettings, *, quiet: bool) -> _Found:
    """The clips of a source that are of the model's classes, sent through the one inference path.

    Raises:
        UserError: there are none.
    """
    predictor = Predictor.load(run, device=settings.device)
    info, classes = read_info(run), predictor.classes
    work = Workspace.open(asked.work)
    kept = work.read_frames().filter("keep")
    frames, unknown = _known(asked, kept, classes)
    seen = seen_frames(own, work, frames)
    left = frames.filter(~pl.col("clip").is_in(seen["clip"].implode())) if asked.settings.drop_seen else frames
    if left.is_empty():
        raise UserError(
            f"source {asked.source} has no clip that the model has not seen; all {frames['clip'].n_unique():,} are "
            "among its training or validation clips.",
            hint="leave out --drop-seen to judge on them all the same",
        )
    answered, speed = _answers(predictor, work, left, settings, quiet=quiet)
    training = training_clips(own.read_frames(), classes)
    evaluation = Evaluation(
        split="elsewhere",
        split_by="none",
        **judged(answered, classes, training, certainty=info.certainty),
        pool="mean" if answered.attention is None else "attention",
        cautions=tuple(_cautions(pl.DataFrame() if asked.settings.drop_seen else seen, info)),
        settings=to_plain(settings),
        versions={**versions(), **{name: importlib.metadata.version(name) for name in ("torch", "timm")}},
        speed=speed,
    )
    dropped = seen["clip"].n_unique() if asked.settings.drop_seen else 0
    return _Found(answered=answered, evaluation=evaluation, unknown=unknown, seen=dropped)


def _known(asked: _Asked, kept: pl.DataFrame, classes: Sequence[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The frames whose emotion the model knows, and clips of each other emotion.

    Raises:
        UserError: it knows none.
    """
    known = kept["emotion"].is_in(classes)
    others = kept.filter(~known).unique("clip")["emotion"]
    unknown = {name: int((others == name).sum()) for name in classes_of(others)}
    if not known.any():
        raise UserError(
            f"source {asked.source} shows {', '.join(unknown) or 'nothing'}, none of which the model knows; it knows "
            f"{', '.join(classes)}.",
            hint="give a table of words with --map that says what they mean for this model",
        )
    return kept.filter(known), unknown


def _answers(
    predictor: Predictor, work: Workspace, frames: pl.DataFrame, settings: EvaluateSettings, *, quiet: bool
) -> tuple[Answered, Speed]:
    """What the model says of frames, and how long it took."""
    crops = read_table(work.crops / "crops.parquet")
    store = CropStore(work.crops, frames.select("frame_id").join(crops, on="frame_id", maintain_order="left"))
    started = time.perf_counter()
    with progress("evaluate elsewhere", len(store), "frames", quiet=quiet) as advance:
        given = predictor.crops(store, batch_size=settings.batch_size, threads=settings.threads, advance=advance)
    speed = Speed(images=len(store), seconds=time.perf_counter() - started, device=predictor.device.type)
    numbers = {name: number for number, name in enumerate(predictor.classes)}
    labels = np.array([numbers[name] for name in frames["emotion"]], np.int64)
    found = Answered(frames=frames, labels=labels, probabilities=given.probabilities, attention=given.attention)
    return found, speed


def _cautions(seen: pl.DataFrame, info: BundleInfo) -> Iterator[Caution]:
    """What a reader must know first, the worst first; ``seen`` are judged frames that the model knows."""
    if not seen.is_empty():
        yield Caution(kind="seen", clips=seen["clip"].n_unique(), frames=len(seen))
    if info.init and not info.init.same_data:
        yield Caution(kind="started_elsewhere", detail=info.init.run)
    if dict(info.shares) != dict(info.trained_shares):
        told = (f"{name} {100 * share:.3g} %" for name, share in info.shares.items())
        yield Caution(kind="adjusted", detail=", ".join(told))


def seen_frames(own: Workspace, work: Workspace, frames: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``frames`` that a model of ``own`` was trained or chosen on.

    They show nearly the same as a crop of a training or validation clip there, by hash and pixels as `screen` compares;
    or, where both are AI Hub's, are of a clip of the same name.

    Args:
        own: the workspace that the model was trained in.
        work: that of the other source.
        frames: of ``work``, all packed.
    """
    known = own.read_frames().filter(pl.col("split").is_in(["train", "val"]))
    there = _placed(work, frames.select("frame_id"), _THERE)
    table = pl.concat([_placed(own, known.select("frame_id"), _OWN), there])
    side, hashes = table["side"].to_numpy(), table["hash"].to_numpy()
    # Parts are named by their whole paths, so that one store reads those of both.
    thumbnails = Thumbnails(CropStore(Path("/"), table))
    links = find_copies(
        hashes,
        within=own.mark("screen").get("settings", {}).get("between", BETWEEN),
        alike=thumbnails.alike,
        settled=lambda left, right: side[left] == side[right],
        sides=side,
    )
    rows = np.unique(np.concatenate([np.concatenate([link.left, link.right]) for link in links]))
    # Of equal pictures one stands for all: what is true of its hash is true of theirs.
    copied = there.filter(pl.col("hash").is_in(table[rows].filter(pl.col("side") == _THERE)["hash"].implode()))
    named = pl.lit(_is_aihub(own) and _is_aihub(work)) & pl.col("clip").is_in(known["clip"].unique().implode())
    return frames.filter(pl.col("frame_id").is_in(copied["frame_id"].implode()) | named)


def _placed(workspace: Workspace, frames: pl.DataFrame, side: int) -> pl.DataFrame:
    """The crops of some frames (``CROP_SCHEMA``), their parts by whole paths, with their side."""
    crops = read_table(workspace.crops / "crops.parquet").join(frames, on="frame_id", how="semi", maintain_order="left")
    part = pl.lit(f"{workspace.crops.absolute()}/") + pl.col("part")
    return crops.with_columns(part=part, side=pl.lit(side, pl.Int64))


def _is_aihub(workspace: Workspace) -> bool:
    return bool(workspace.mark("index").get("settings", {}).get("kind") == "aihub")


def _result(asked: _Asked, own: _Own, found: _Found, left_out: Mapping[str, int]) -> Elsewhere:
    classes = found.evaluation.classes
    there, here = found.answered.of_clips(), own.answered.of_clips()
    scores, recalls = changes(here, there, classes)
    return Elsewhere(
        name=asked.folder.name,
        source=places.absolute(asked.source),
        kind=asked.kind,
        settings=to_plain(asked.settings),
        own_split=own.evaluation.split,
        scores=scores,
        classes=recalls,
        left_out=left_out,
        unknown=found.unknown,
        seen_left_out=found.seen,
        lacking=tuple(name for number, name in enumerate(classes) if number not in there.labels),
        not_own=tuple(classes[number] for number in np.setdiff1d(there.labels, here.labels)),
        evaluation=found.evaluation,
    )
