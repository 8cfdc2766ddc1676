"""The folder of a run before and beside its model: its name, its config.yaml, and the run that it starts from.

Training and probe keep the same rules, so that a run can be listed, compared and started from whatever made it.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml

import petmood
from petmood.bundle import BundleInfo, RunOrigin, data_fingerprints, read_info, weights_digest
from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.settings import build, load_yaml, to_plain
from petmood.workspace import Workspace, is_litter, replacing

CONFIG = "config.yaml"


def check_name(name: str, *, what: str) -> None:
    """Make sure that a name can be that of a folder.

    Raises:
        UserError: it has other letters than those that are safe everywhere.
    """
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UserError(f"{what} name {name!r} is not usable; allowed are letters, digits and . _ -")


def run_folder(folder: Path, name: str, *, resume: bool, shared: bool = False) -> Path:
    """The folder of a run; it is not made.

    Args:
        folder: of all runs.
        name: of the run.
        resume: the run must have been begun; else it must not.
        shared: another process may have begun the same run just now.

    Raises:
        UserError: the name is not usable, or the run exists (with ``resume``: does not exist).
    """
    check_name(name, what="run")
    run = folder / name
    if resume and not (run / CONFIG).is_file():
        found = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        raise UserError(f"run {name!r} does not exist in {folder}; found are {', '.join(found) or 'none'}.")
    if _is_taken(run) and not resume and not shared:
        hint = "go on with it by --resume, or give another --name"
        raise UserError(f"run {name!r} exists already in {folder}.", hint=hint)
    return run


def _is_taken(run: Path) -> bool:
    """Whether a name is in use; a folder whose making was killed holds nothing yet, and is free."""
    return run.exists() and (not run.is_dir() or any(not is_litter(path) for path in run.iterdir()))


def write_config(run: Path, settings: TrainSettings, recipe: str, origin: RunOrigin | None) -> None:
    """Make the run folder and its config.yaml: from here on the run exists and can be resumed."""
    run.mkdir(parents=True, exist_ok=True)
    content = {"petmood": petmood.__version__, "recipe": recipe, "settings": to_plain(settings)}
    if origin:
        content["init"] = to_plain(origin)
    with replacing(run / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def read_config(run: Path) -> tuple[TrainSettings, str]:
    """Settings and recipe name that a run was started with (its config.yaml).

    Raises:
        UserError: the file is missing or damaged.
    """
    path = run / CONFIG
    content = load_yaml(path)
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise UserError(f"{path} is damaged: it has no settings.", hint="start a new run under another name")
    return build(TrainSettings, settings, where=str(path)), str(content.get("recipe", ""))


def read_origin(run: Path) -> RunOrigin | None:
    """The run that a run was begun from (its config.yaml), if any."""
    path = run / CONFIG
    content = load_yaml(path).get("init") if path.is_file() else None
    return build(RunOrigin, content, where=str(path)) if isinstance(content, dict) else None


def origin_of(folder: Path, workspace: Workspace) -> RunOrigin:
    """What a run that starts from the model in ``folder`` keeps of it.

    Raises:
        UserError: no model there.
    """
    info = read_info(folder)
    return RunOrigin(run=str(folder), weights=weights_digest(folder), same_data=_same_data(info, workspace))


def origin_notes(origin: RunOrigin | None) -> list[str]:
    """What the user should know about the run that another one starts from."""
    if origin is None or origin.same_data:
        return []
    return [f"{origin.run} was trained on other data or another split: it may have seen clips that judge this training"]


def resolve_init(settings: TrainSettings) -> TrainSettings:
    """Settings as they are with ``init``: network, size and fit are those of that run.

    Raises:
        UserError: ``new_head`` without a run; no model in it; a network, size or fit is asked for that is not its own.
    """
    if not settings.init:
        if settings.new_head:
            raise UserError(
                "new-head is asked for, but no run to take the backbone from; --init '' names none.",
                hint="give the run folder: --init WORK/runs/NAME",
            )
        return settings
    folder = Path(settings.init).absolute()
    info = read_info(folder)
    theirs: dict[str, Any] = {
        "model": info.model,
        "image_size": info.preprocessing.image_size,
        "fit": info.preprocessing.fit,
    }
    defaults = TrainSettings()
    for name, value in theirs.items():
        mine = getattr(settings, name)
        if mine not in (getattr(defaults, name), value):
            option = name.replace("_", "-")
            raise UserError(
                f"{option} {mine!r} is not that of the run to start from; {folder} has {value!r}.",
                hint=f"leave out --{option} (and any recipe that sets it), or --init",
            )
    return dataclasses.replace(settings, init=str(folder), **theirs)


def _same_data(info: BundleInfo, workspace: Workspace) -> bool:
    """Whether a run (and the one it started from) was trained on this data with this split."""
    inherited = info.init is None or info.init.same_data
    return inherited and dict(info.data) == data_fingerprints(workspace)
