"""What is known about a work folder: plain values for people, for scripts, and for freeing space."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Literal

from petmood.lock import Owner
from petmood.runs import JudgedScores
from petmood.workspace import Stage

State = Literal["done", "stale", "damaged", "unfinished", "missing"]
SourceState = Literal["same", "changed", "gone", "unknown"]
RunState = Literal["finished", "stopped", "begun", "damaged"]
#: Option of `petmood clean` that removes something; the empty one removes what nobody can miss.
Option = Literal["", "--all-features", "--checkpoints", "--unfinished", "--crops", "--run"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pieces:
    """How far a stage came that was stopped."""

    done: int
    of: int | None
    """None if that cannot be told."""
    folder: str
    """Its name in the work folder."""
    fits: bool | None
    """Whether the stage, run with the settings that are known, goes on from there; None if that cannot be told."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageStatus:
    """One data stage."""

    stage: Stage
    state: State
    """stale: `petmood prepare` would run it again; unfinished: it was stopped and goes on where it was."""
    why: tuple[str, ...] = ()
    """Why it is not done, as clauses; also what is worth knowing about one that is."""
    when: datetime.datetime | None = None
    """When it was completed; local time."""
    told: str = ""
    """What came of it, in a few words."""
    pieces: Pieces | None = None
    size: int = 0
    """Bytes of its files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """Whether the source is as it was when it was read."""

    place: str
    state: SourceState
    detail: str = ""
    seconds: float = 0.0
    """For which it was looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One run folder."""

    name: str
    state: RunState
    """stopped: there is a checkpoint to go on from; begun: there is none yet."""
    problem: str = ""
    """What is damaged."""
    when: datetime.datetime
    method: str = ""
    epochs: int = 0
    """Epochs done."""
    most_epochs: int = 0
    has_model: bool = False
    other_data: bool = False
    """Whether it was trained on other data, or another split, than the work folder has now."""
    judged: JudgedScores | None = None
    stale: tuple[str, ...] = ()
    """What in it does not fit its model any more, or its model the data, as clauses."""
    exported: tuple[str, ...] = ()
    """Names of its exported files."""
    elsewhere: tuple[str, ...] = ()
    """Names of other sources that it was judged on."""
    size: int = 0
    """Bytes."""
    checkpoints: int = 0
    """Bytes of them that are checkpoints."""
    resume_needs_checkpoints: bool = True
    """False if training came to its end and its best epoch is the model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesStatus:
    """Features of the crops by one network."""

    key: str
    model: str
    rows: int
    """Crops that they are of."""
    known: int
    """Crops whose features are computed."""
    current: bool | None
    """Whether they are of the crops as they are; None if that cannot be told, because there are none."""
    size: int
    problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchStatus:
    """One search of `petmood tune`."""

    name: str
    told: str
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreign:
    """Something that petmood does not know, and leaves alone."""

    name: str
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Freeable:
    """Something that can be removed."""

    what: str
    again: str
    """What it costs to have it again; empty if nobody will want it."""
    paths: tuple[Path, ...]
    size: int
    """Bytes."""
    option: Option = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Following:
    """The command that makes sense now."""

    command: str
    """Empty if there is nothing to do."""
    does: tuple[str, ...]
    """What it would do, or why there is no command, as sentences without their full stop."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkStatus:
    """A work folder, or one of its runs alone."""

    root: str
    problems: tuple[str, ...] = ()
    """What is wrong with the folder itself."""
    holders: tuple[Owner, ...] = ()
    """Who writes into it now."""
    source: SourceStatus | None = None
    stages: tuple[StageStatus, ...] = ()
    runs: tuple[RunStatus, ...] = ()
    features: tuple[FeaturesStatus, ...] = ()
    searches: tuple[SearchStatus, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    size: int = 0
    """Bytes of everything."""
    following: Following | None = None
    freeable: tuple[Freeable, ...] = ()
