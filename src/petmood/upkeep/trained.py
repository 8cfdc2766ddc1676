"""What became of each run: trained, stopped and resumable, judged; and what in it does not fit any more.

What a run was trained on, and what it was judged by, is compared by content. Files that say nothing of each other are
compared by their times, and only where these lie so far apart that a copied folder is not taken for a stale one.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petmood.errors import PetmoodError
from petmood.runs import DATA, Run, read_run
from petmood.upkeep.records import RunState, RunStatus
from petmood.upkeep.sizes import entries, size_of
from petmood.upkeep.stages import Marks
from petmood.workspace import Workspace, read_json

CHECKPOINTS = "checkpoints"
PREVIOUS = "previous.ckpt"
#: Files of a training, of which each would be enough to go on from.
RESUMABLE = ("last.ckpt", PREVIOUS, "best.ckpt")

#: Seconds by which one file must be older than another to count as made before it.
_APART = 60.0


def read_runs(workspace: Workspace, marks: Marks) -> tuple[RunStatus, ...]:
    """All runs of a work folder, by name."""
    folders = [path for path in entries(workspace.runs) if path.is_dir() and not path.name.startswith(".")]
    return tuple(run_status(path, marks) for path in folders)


def run_status(folder: Path, marks: Marks) -> RunStatus:
    """What became of one run; ``marks`` are those of its work folder, maybe without content."""
    found = read_run(folder, {stage: marks[stage].made_from for stage in DATA})
    bundle = _bundle(folder)
    resumable = any((folder / CHECKPOINTS / name).is_file() for name in RESUMABLE)
    state: RunState = found.state if found.state != "unfinished" else "stopped" if resumable else "begun"
    return RunStatus(
        name=folder.name,
        state=state,
        problem=found.problem,
        when=found.when,
        method=found.method,
        epochs=found.epochs,
        most_epochs=found.most_epochs,
        has_model=(folder / "bundle.json").is_file() and (folder / "model.safetensors").is_file(),
        other_data=bool(_other_data(bundle, marks)),
        judged=found.judged,
        stale=tuple(_stale(folder, found, bundle, marks)),
        exported=tuple(path.name for path in entries(folder) if path.suffix == ".onnx"),
        elsewhere=tuple(path.name for path in entries(folder / "elsewhere") if path.is_dir()),
        size=size_of(folder),
        checkpoints=size_of(folder / CHECKPOINTS),
        resume_needs_checkpoints=not _is_over(found, bundle),
    )


def _bundle(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "bundle.json")
    except (PetmoodError, OSError):
        return {}


def _is_over(run: Run, bundle: Mapping[str, Any]) -> bool:
    """Whether nothing is left to do for `train --resume`: trained to the end, and the best epoch is the model."""
    return run.state == "finished" and bool(bundle) and run.best_epoch in (None, run.kept_epoch)


def _stale(folder: Path, run: Run, bundle: Mapping[str, Any], marks: Marks) -> list[str]:
    """What does not fit any more, as clauses."""
    if run.state == "damaged":
        return [clause for clause in (_other_data(bundle, marks),) if clause]
    return [
        clause
        for clause in (
            _other_data(bundle, marks),
            _not_the_best(folder, run),
            _other_scores(folder, bundle),
            _older(folder, "predictions.parquet", "metrics.json", "the predictions are older than the scores"),
            _older(folder, "report.html", "metrics.json", "the report is older than the scores"),
            *(_other_export(path, bundle) for path in entries(folder) if path.suffix == ".onnx"),
        )
        if clause
    ]


def _other_data(bundle: Mapping[str, Any], marks: Marks) -> str:
    data = bundle.get("data")
    if not isinstance(data, dict) or not data:
        return ""
    known = [stage for stage in DATA if marks[stage].made_from]
    changed = [stage for stage in known if data.get(stage) != marks[stage].made_from]
    return f"trained on other data than is here now ({', '.join(changed)} changed)" if changed else ""


def _not_the_best(folder: Path, run: Run) -> str:
    """A training that was killed after its last epoch leaves the model of an earlier one."""
    best = folder / CHECKPOINTS / "best.ckpt"
    if run.state != "finished" or run.best_epoch in (None, run.kept_epoch) or not _is_older(folder, best):
        return ""
    return f"the model is of epoch {run.kept_epoch}, the best is {run.best_epoch}: go on with --resume"


def _is_older(folder: Path, than: Path) -> bool:
    model, other = _changed(folder / "bundle.json"), _changed(than)
    return bool(model and other) and model < other


def _other_scores(folder: Path, bundle: Mapping[str, Any]) -> str:
    """Whether metrics.json speaks of another model than the one that is there."""
    path = folder / "metrics.json"
    if not bundle or not path.is_file():
        return ""
    if not (folder / "predictions.parquet").is_file():
        return "the scores have lost their predictions.parquet"
    judged = _certainty(_read(path))
    if judged != _certainty(bundle):
        return "the scores are of the model as it was before"
    return _older(folder, "metrics.json", "model.safetensors", "the scores are older than the model")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return read_json(path)
    except (PetmoodError, OSError):
        return {}


def _certainty(content: Mapping[str, Any]) -> str:
    """By which validation answers of which model a file's temperatures were fitted; empty if by none."""
    found = content.get("certainty")
    return str(found.get("fitted_on", "")) if isinstance(found, dict) else ""


def _other_export(path: Path, bundle: Mapping[str, Any]) -> str:
    """Whether an exported file was made before the run was last judged, adjusted or trained."""
    fitted, advice = _certainty(bundle), "export it again, or ask `petmood doctor`"
    try:
        told = fitted.encode() in path.read_bytes() if fitted else True
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    if not told:
        return f"{path.name} was made before the run was last judged, adjusted or trained: {advice}"
    return _older(path.parent, path.name, "bundle.json", f"{path.name} is older than the model: {advice}", bundle)


def _older(folder: Path, name: str, than: str, clause: str, bundle: Mapping[str, Any] | None = None) -> str:
    """A clause if one file is clearly older than another; with a ``bundle`` only if that was never judged."""
    if bundle is not None and _certainty(bundle):
        return ""
    one, other = _changed(folder / name), _changed(folder / than)
    return clause if one and other and other - one > _APART else ""


def _changed(path: Path) -> float:
    """When a file was last written, in seconds; 0 if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def told_when(when: datetime.datetime) -> str:
    """Date and time for people, to the minute."""
    return f"{when:%Y-%m-%d %H:%M}"
