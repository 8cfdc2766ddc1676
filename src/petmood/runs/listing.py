"""The runs of a work folder as their files describe them; a damaged file is told, never an error."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from petmood.errors import PetmoodError
from petmood.metrics import Evaluation
from petmood.recipes import TrainSettings
from petmood.settings import load_yaml, to_plain
from petmood.workspace import Stage, Workspace, read_json

State = Literal["finished", "unfinished", "damaged"]
Sort = Literal["time", "name", "validation", "macro-f1", "balanced-accuracy", "accuracy"]

#: What can be wrong with a file that somebody changed.
_DAMAGE = (PetmoodError, OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedScores:
    """What `petmood evaluate` found about a run, on clips; scores are 0 to 1, higher is better."""

    split: str
    clips: int
    macro_f1: float
    balanced_accuracy: float
    accuracy: float
    majority: str
    """The answer of the baseline."""
    majority_macro_f1: float
    majority_balanced_accuracy: float
    majority_accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder."""

    name: str
    state: State
    """unfinished: it was stopped, or is still training."""
    problem: str = ""
    """What is damaged."""
    when: datetime.datetime
    """When its weights were last written (or its other files, if it has none); local time."""
    recipe: str = ""
    method: str = ""
    epochs: int = 0
    """Epochs done."""
    most_epochs: int = 0
    """Epochs asked for."""
    kept_epoch: int | None = None
    """The epoch whose weights are the model, from 1."""
    best_epoch: int | None = None
    """The epoch that training would keep by its curve, from 1."""
    validation: float | None = None
    """Macro-F1 of clips on the validation side in that epoch, which was chosen by such a score."""
    judged: JudgedScores | None = None
    other_data: bool = False
    """Whether it was trained on other data, or another split, than the work folder has now."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All settings of training; those that the run does not name have their default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunTable:
    """The runs of a work folder, in the order asked for."""

    runs: tuple[Run, ...]
    differing: tuple[str, ...]
    """Settings that are not the same in all of them."""


def list_runs(workspace: Workspace, *, sort: Sort = "time") -> RunTable:
    """All runs of a work folder: by time (oldest first), name, or score (best first, those without one last)."""
    now: dict[str, str] = {stage: str(workspace.mark(stage).get("made_from", "")) for stage in DATA}
    folders = sorted(path for path in workspace.runs.iterdir() if path.is_dir()) if workspace.runs.is_dir() else []
    runs = sorted((read_run(path, now) for path in folders), key=_ORDER[sort])
    return RunTable(runs=tuple(runs), differing=_differing([run.settings for run in runs if run.settings]))


#: Stages whose results a run is trained on.
DATA: tuple[Stage, ...] = ("index", "pack", "split")


def _by_score(score: Callable[[Run], float | None]) -> Callable[[Run], Any]:
    def key(run: Run) -> tuple[bool, float, str]:
        value = score(run)
        return (value is None, -(value or 0.0), run.name)

    return key


def _judged(name: str) -> Callable[[Run], float | None]:
    return lambda run: float(getattr(run.judged, name)) if run.judged else None


_ORDER: Mapping[Sort, Callable[[Run], Any]] = {
    "time": lambda run: (run.when, run.name),
    "name": operator.attrgetter("name"),
    "validation": _by_score(lambda run: run.validation),
    "macro-f1": _by_score(_judged("macro_f1")),
    "balanced-accuracy": _by_score(_judged("balanced_accuracy")),
    "accuracy": _by_score(_judged("accuracy")),
}


def _differing(settings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the settings that have more than one value, in the order in which they are declared."""
    names = dict.fromkeys(name for each in settings for name in each)
    return tuple(name for name in names if any(each.get(name) != settings[0].get(name) for each in settings))


def read_run(folder: Path, now: Mapping[str, str]) -> Run:
    """What a run folder says of itself; ``now`` is what the stages in ``DATA`` were made from, as they are now."""
    try:
        return _read(folder, now)
    except _DAMAGE as error:
        return Run(name=folder.name, state="damaged", problem=_problem(error), when=_when(folder))


def _problem(error: BaseException) -> str:
    """One line about what is wrong with a file."""
    text = error.message if isinstance(error, PetmoodError) else str(error)
    if isinstance(error, KeyError):
        text = f"{text} is missing in one of its files"
    return " ".join(text.split())[:200].rstrip(".")


def _read(folder: Path, now: Mapping[str, str]) -> Run:
    config = _config(folder)
    bundle = read_json(folder / "bundle.json") if (folder / "bundle.json").is_file() else {}
    if not config and not bundle:
        raise FileNotFoundError(f"{folder} holds neither config.yaml nor bundle.json")
    if bundle and not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} has no model.safetensors")
    settings = {**to_plain(TrainSettings()), **dict((bundle or config)["settings"])}
    curve = _curve(folder / "metrics.csv")
    best = _best(curve, str(settings["checkpoint_on"]))
    validation = bundle["scores"].get("val_clip_macro_f1") if bundle else best.get("val_clip_macro_f1")
    data = bundle.get("data", {})
    return Run(
        name=folder.name,
        state="finished" if bundle and _complete(settings, curve) else "unfinished",
        when=_when(folder),
        recipe=str(config.get("recipe", "")),
        method=str(settings["method"]),
        epochs=len(curve),
        most_epochs=int(settings["epochs"]),
        kept_epoch=int(bundle["epoch"]) if bundle else (int(best["epoch"]) if best else None),
        best_epoch=int(best["epoch"]) if best else None,
        validation=None if validation is None else float(validation),
        judged=_evaluated(folder / "metrics.json"),
        other_data=bool(data) and any(data.get(stage) != now[stage] for stage in now),
        settings=settings,
    )


def _config(folder: Path) -> dict[str, Any]:
    """What config.yaml says; nothing if there is none, as in a model that was copied by hand."""
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    content = load_yaml(path)
    return {**content, "settings": dict(content["settings"])}


def _curve(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics.csv, one an epoch; empty cells are left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    if any("epoch" not in row for row in rows):
        raise ValueError(f"{path} has a row without its epoch")
    return rows


def _best(curve: Sequence[dict[str, float]], score: str) -> dict[str, float]:
    """The epoch that an unfinished training would keep; nothing before the first one."""
    scored = [row for row in curve if score in row]
    sign = -1 if score == "val_loss" else 1
    return max(scored, key=lambda row: sign * row[score], default={})


def _complete(settings: Mapping[str, Any], curve: Sequence[Mapping[str, float]]) -> bool:
    """Whether a training with a model came to its end: all epochs, or none better for as long as its patience."""
    if settings["method"] == "probe" or not curve or len(curve) >= int(settings["epochs"]):
        return True
    sign = -1 if settings["stop_on"] == "val_loss" else 1
    values = [sign * row.get(str(settings["stop_on"]), float("-inf")) for row in curve]
    return len(values) - 1 - values.index(max(values)) >= int(settings["patience"])


def _evaluated(path: Path) -> JudgedScores | None:
    if not path.is_file():
        return None
    try:
        evaluation = Evaluation.from_dict(read_json(path))
    except ValueError:
        raise ValueError(f"{path} is damaged, or of another version of petmood; judge the run again") from None
    clips = evaluation.clips
    return JudgedScores(
        split=evaluation.split,
        clips=clips.count,
        macro_f1=clips.macro_f1,
        balanced_accuracy=clips.balanced_accuracy,
        accuracy=clips.accuracy,
        majority=clips.baseline.answer,
        majority_macro_f1=clips.baseline.macro_f1,
        # One answer finds all of one class and nothing of the others.
        majority_balanced_accuracy=_found_of(evaluation) / sum(one.support > 0 for one in clips.classes),
        majority_accuracy=clips.baseline.accuracy,
    )


def _found_of(evaluation: Evaluation) -> int:
    """1 if the majority answer's class occurs among the clips that judge, else 0."""
    named = {one.name: one.support for one in evaluation.clips.classes}
    return int(named.get(evaluation.clips.baseline.answer, 0) > 0)


def _when(folder: Path) -> datetime.datetime:
    names = ("model.safetensors", "metrics.csv", "config.yaml")
    found = next((folder / name for name in names if (folder / name).is_file()), folder)
    return datetime.datetime.fromtimestamp(found.stat().st_mtime).astimezone()
