"""The command that makes sense now for a work folder, and what it would do."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from petmood.errors import PetmoodError
from petmood.lock import Owner
from petmood.settings import build, to_plain
from petmood.upkeep.records import Following, Pieces, RunStatus, SourceStatus, StageStatus
from petmood.upkeep.stages import KINDS, Marks, told_pieces
from petmood.workspace import ORDER, Stage

#: Whoever asks for another source by hand is told its place in words.
_SOURCE = "SOURCE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """All that the next command follows from."""

    root: Path
    marks: Marks
    source: SourceStatus | None
    stages: Sequence[StageStatus]
    runs: Sequence[RunStatus]
    holders: Sequence[Owner]


def following(known: Known) -> Following:
    """The next command: what runs is waited for, then the data, then the runs."""
    if known.holders:
        told = "; ".join(owner.told for owner in known.holders)
        return Following(command="", does=(f"wait for {told}", "what is told here may change until then"))
    return _mending(known) or _preparing(known) or _of_runs(known)


def option_words(kind: type[Any], kept: Mapping[str, Any]) -> list[str]:
    """The words of a command line that give a stage the settings of its mark; none where they are the usual ones."""
    try:
        settings = build(kind, kept, where="mark")
    except PetmoodError:
        return []
    usual, plain = to_plain(kind()), to_plain(settings)
    return [word for name, value in plain.items() if value != usual[name] for word in _words(name, value)]


def _words(name: str, value: object) -> Iterator[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{option}" if value else f"--no-{option}"
    elif isinstance(value, list | tuple):
        for each in value:
            yield from (f"--{option}", str(each))
    else:
        yield from (f"--{option}", str(value))


def _mending(known: Known) -> Following | None:
    """What to do about damage, which no stage finds by itself."""
    damaged = next((stage for stage in known.stages if stage.state == "damaged"), None)
    if damaged is None:
        return None
    if known.marks[damaged.stage].problem:
        why = f"removes {damaged.stage}.json, which is damaged, so that `petmood prepare` makes that stage again"
        return Following(command=shlex.join(["petmood", "clean", str(known.root)]), does=(why,))
    options = option_words(KINDS[damaged.stage], known.marks[damaged.stage].settings)
    source = [_place(known)] if damaged.stage == "index" else []
    words = ["petmood", damaged.stage, *source, str(known.root), *options, "--force"]
    does = (f"makes the results of `{damaged.stage}` again ({damaged.why[0]})", "`petmood prepare` then goes on")
    return Following(command=shlex.join(words), does=does)


def _preparing(known: Known) -> Following | None:
    """The data stages, if one of them is not done."""
    again = [stage for stage in known.stages if stage.state != "done"]
    if not again:
        return None
    first = again[0].stage
    if known.source and known.source.state == "gone" and known.marks["index"].content:
        return _without_source(known, first)
    words = [word for stage in ORDER for word in option_words(KINDS[stage], known.marks[stage].settings)]
    skipped = [stage.stage for stage in known.stages if stage.state == "done"]
    does = [f"runs {', '.join(stage.stage for stage in again)}" + (f"; skips {', '.join(skipped)}" if skipped else "")]
    does += _how_much(known, [stage.stage for stage in again])
    does += [_left(stage.stage, stage.pieces) for stage in again if stage.pieces]
    return Following(
        command=shlex.join(["petmood", "prepare", _place(known), str(known.root), *words]), does=tuple(does)
    )


def _left(stage: Stage, pieces: Pieces) -> str:
    """What becomes of the pieces that a stopped stage left."""
    if pieces.fits is False:
        return f"drops {told_pieces(pieces)} of `{stage}` with other settings ({pieces.folder}); give those to go on"
    return f"goes on where `{stage}` was stopped: {told_pieces(pieces)} {'are' if pieces.done != 1 else 'is'} there"


def _place(known: Known) -> str:
    """Where the source is; a word where that is not known."""
    return known.source.place if known.source and known.source.place else _SOURCE


def _without_source(known: Known, first: Stage) -> Following:
    """What still can be done when the source is not there."""
    gone = known.source.detail if known.source else ""
    if first in ("screen", "split", "curate"):
        words = ["petmood", first, str(known.root), *option_words(KINDS[first], known.marks[first].settings)]
        return Following(command=shlex.join(words), does=(f"runs {first}, which needs no source ({gone})",))
    does = (f"`{first}` must run, and its source cannot be used: {gone}", "bring it back to where it was")
    return Following(command="", does=does)


def _how_much(known: Known, again: Sequence[Stage]) -> Iterator[str]:
    """How much there is to do, roughly."""
    if "index" in again:
        found = known.marks["index"].counts.get("found")
        yield f"reads about {found:,} frames' labels" if isinstance(found, int) else "reads all labels"
    if "pack" not in again:
        return
    chosen = known.marks["curate"].counts.get("chosen")
    before = known.marks["pack"].counts.get("crops")
    if not isinstance(chosen, int):
        yield "decodes the pictures that are chosen then"
        return
    taken = "; crops of unchanged pictures are taken over" if before or _has_crops(known) else ""
    yield f"decodes up to {chosen:,} pictures{taken}"


def _has_crops(known: Known) -> bool:
    return (known.root / "crops" / "crops.parquet").is_file()


def _of_runs(known: Known) -> Following:
    """What to do when the data is prepared."""
    root, runs = str(known.root), known.runs
    stopped = next((run for run in runs if run.state in ("stopped", "begun")), None)
    if stopped:
        return _resuming(root, stopped)
    fitting = [run for run in runs if run.has_model and not run.other_data]
    if not fitting:
        told = "no run was trained on the data as it is now" if runs else "there is no run yet"
        return Following(command=shlex.join(["petmood", "train", root]), does=(f"trains a classifier: {told}",))
    unjudged = next((run for run in fitting if run.judged is None or any("scores" in it for it in run.stale)), None)
    if unjudged:
        command = shlex.join(["petmood", "evaluate", str(known.root / "runs" / unjudged.name)])
        why = unjudged.stale[0] if unjudged.judged and unjudged.stale else "it was not judged yet"
        return Following(command=command, does=(f"judges run {unjudged.name} on clips it has not seen: {why}",))
    best = max(fitting, key=lambda run: run.judged.macro_f1 if run.judged else 0.0)
    command = shlex.join(["petmood", "predict", str(known.root / "runs" / best.name)]) + " PHOTO"
    return Following(command=command, does=("everything is up to date; answers for your photos and videos",))


def _resuming(root: str, run: RunStatus) -> Following:
    command = shlex.join(["petmood", "train", root, "--name", run.name, "--resume"])
    if run.state == "begun":
        return Following(command=command, does=(f"begins run {run.name} again by its own settings: no checkpoint yet",))
    left = f"{run.epochs:,} of at most {run.most_epochs:,} epochs are done"
    return Following(command=command, does=(f"goes on with run {run.name}: {left}",))
