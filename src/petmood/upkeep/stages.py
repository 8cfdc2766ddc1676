"""What became of each data stage: done, stale and why, unfinished and how far, or damaged."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from petmood.data.curate import CURATE_RULES, CurateSettings, curate_made_from
from petmood.data.index import IndexSettings
from petmood.data.pack import PACK_RULES, UNFINISHED, PackSettings, pack_made_from
from petmood.data.screen import SCREEN_RULES, ScreenSettings, screen_made_from
from petmood.data.split import SPLIT_RULES, SplitSettings, split_made_from
from petmood.errors import PetmoodError
from petmood.settings import build
from petmood.upkeep.lacking import lacking
from petmood.upkeep.records import Pieces, StageStatus, State
from petmood.upkeep.sizes import entries, size_of
from petmood.upkeep.source import NO_SETTINGS, Look
from petmood.workspace import ORDER, Stage, Workspace, read_json, versions

KINDS: Mapping[Stage, type[Any]] = {
    "index": IndexSettings,
    "curate": CurateSettings,
    "pack": PackSettings,
    "screen": ScreenSettings,
    "split": SplitSettings,
}
RULES: Mapping[Stage, int] = {
    "curate": CURATE_RULES,
    "pack": PACK_RULES,
    "screen": SCREEN_RULES,
    "split": SPLIT_RULES,
}
_BEFORE: Mapping[Stage, Stage] = {later: earlier for earlier, later in itertools.pairwise(ORDER)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mark:
    """What a stage left, as far as it can be read."""

    content: Mapping[str, Any]
    """Empty if there is none, or it is damaged."""
    when: datetime.datetime | None
    problem: str = ""
    """Why it cannot be used."""

    @property
    def made_from(self) -> str:
        """What the stage was made from; empty if that is not known."""
        return str(self.content.get("made_from", ""))

    @property
    def settings(self) -> dict[str, Any]:
        """Those that belong to the stage alone."""
        kept: dict[str, Any] = self.content.get("settings", {})
        return {name: value for name, value in kept.items() if name not in NO_SETTINGS}

    @property
    def counts(self) -> Mapping[str, Any]:
        """What it counted."""
        counts: Mapping[str, Any] = self.content.get("counts", {})
        return counts


Marks = Mapping[Stage, Mark]


def read_marks(workspace: Workspace) -> Marks:
    """The mark of each stage; what is damaged is told in it, never raised."""
    return {stage: _read_mark(workspace.root / f"{stage}.json") for stage in ORDER}


def _read_mark(path: Path) -> Mark:
    try:
        when = datetime.datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    except OSError:
        return Mark(content={}, when=None)
    try:
        content = read_json(path)
    except (PetmoodError, OSError) as error:
        said = error.message if isinstance(error, PetmoodError) else f"{path} cannot be read: {error.strerror}"
        return Mark(content={}, when=when, problem=" ".join(said.split()).rstrip("."))
    kinds = {"made_from": str, "settings": dict, "counts": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
    if wrong:
        return Mark(content={}, when=when, problem=f"{path} is damaged: it has no {wrong[0]}")
    return Mark(content=content, when=when)


def judge_stages(workspace: Workspace, marks: Marks, look: Look) -> tuple[StageStatus, ...]:
    """All stages in their order; a stage before which another must run again is stale."""
    found: list[StageStatus] = []
    again: Stage | None = None
    for stage in ORDER:
        status = _judged(workspace, stage, marks, look, again)
        again = again or (None if status.state == "done" else stage)
        found.append(status)
    return tuple(found)


def _judged(workspace: Workspace, stage: Stage, marks: Marks, look: Look, again: Stage | None) -> StageStatus:
    mark = marks[stage]
    pieces = _pieces(workspace, stage, marks, look)
    state, why = _state(workspace, stage, marks, look, again)
    if state == "missing" and pieces:
        state = "unfinished"
    notes = _notes(workspace, stage, mark, pieces) if state != "missing" else ()
    return StageStatus(
        stage=stage,
        state=state,
        why=tuple(clause for clause in (why, *notes) if clause),
        when=mark.when,
        told=_told(stage, mark.counts),
        pieces=pieces,
        size=size_of(*_files(workspace, stage)),
    )


def _state(workspace: Workspace, stage: Stage, marks: Marks, look: Look, again: Stage | None) -> tuple[State, str]:
    """What a stage is, and why it is not done."""
    mark = marks[stage]
    if mark.problem:
        return "damaged", mark.problem
    if not mark.content:
        return "missing", ""
    gone = lacking(workspace, stage, mark.counts)
    if gone:
        return "damaged", gone
    if again:
        return "stale", f"`{again}` comes before it and must run again"
    why = look.why if stage == "index" else _outdated(workspace, stage, marks)
    return ("stale", why) if why else ("done", "")


def _outdated(workspace: Workspace, stage: Stage, marks: Marks) -> str:
    """Why a stage after the index would run again, as a clause; empty if it would not."""
    mark, before = marks[stage], marks[_BEFORE[stage]].made_from
    try:
        settings = build(KINDS[stage], mark.settings, where=f"{stage}.json")
    except PetmoodError as error:
        return f"its settings are not those of this petmood: {error.message.rstrip('.')}"
    for key in _feature_keys(workspace, stage, mark):
        expects = _expecting(stage, before, key)
        if mark.made_from == expects(settings, RULES[stage]):
            return ""
        if mark.made_from == expects(mark.settings, RULES[stage]):
            return "petmood has gained settings since"
        if any(mark.made_from == expects(it, n) for it in (settings, mark.settings) for n in range(RULES[stage])):
            return "it was made by older rules of petmood"
    if getattr(settings, "near_copies", "") == "features":
        return ""  # its features are not kept; only computing them again could tell
    return f"it was made from another `{_BEFORE[stage]}` than the one that is here now"


def _feature_keys(workspace: Workspace, stage: Stage, mark: Mark) -> list[str]:
    """Keys of the features that a screening may have used; the mark does not keep which."""
    if stage != "screen" or mark.settings.get("near_copies") != "features":
        return [""]
    return [path.stem for path in entries(workspace.features) if path.suffix == ".json"]


def _expecting(stage: Stage, before: str, key: str) -> Callable[[Any, int], str]:
    """What a stage counts as made from, by its settings and the number of its rules."""

    def expected(settings: Any, rules: int) -> str:  # noqa: ANN401 - of the stage's own kind, or as its mark has them
        if stage == "curate":
            return curate_made_from(before, settings, rules=rules)
        if stage == "pack":
            return pack_made_from(before, settings, rules=rules)
        if stage == "screen":
            return screen_made_from(before, settings, key, rules=rules)
        return split_made_from(before, settings, rules=rules)

    return expected


def unfinished_folders(workspace: Workspace, stage: Stage) -> list[Path]:
    """Folders with the pieces of a stage that was stopped; only two stages keep some."""
    if stage not in ("index", "pack"):
        return []
    return [path for path in entries(workspace.root) if path.name.startswith(f".{stage}-") and path.is_dir()]


def key_of(folder: Path) -> str:
    """What the pieces in a folder of a stopped stage are made from; clips that are carried over have a part of it."""
    return folder.name.split("-")[1]


def expected_key(stage: Stage, marks: Marks, look: Look) -> str:
    """What the stage would count as made from if it ran now with the settings of its mark, or else the usual ones.

    Empty if that cannot be told, or the stage keeps no pieces.
    """
    if stage == "index":
        return look.expected
    if stage != "pack" or not marks["curate"].made_from:
        return ""
    try:
        settings = build(PackSettings, marks["pack"].settings, where="pack.json")
    except PetmoodError:
        return ""
    return pack_made_from(marks["curate"].made_from, settings)


def _pieces(workspace: Workspace, stage: Stage, marks: Marks, look: Look) -> Pieces | None:
    """How far a stopped run of a stage came, of the newest if there are several."""
    folders = unfinished_folders(workspace, stage)
    if not folders:
        return None
    newest = max(folders, key=_changed)
    # Where rows of an earlier index are carried over, only the rest is read: how many pieces that is, is not known.
    carried = newest.name != f".{stage}-{key_of(newest)}"
    of = None if carried else look.tasks if stage == "index" else _parts(newest)
    done = sum(path.suffix == ".rejects" for path in entries(newest))
    expected = expected_key(stage, marks, look)
    fits = key_of(newest) == expected if expected else None
    return Pieces(done=done, of=of, folder=newest.name, fits=fits)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _parts(building: Path) -> int | None:
    """How many parts a stopped packing was to make, as it has left word."""
    try:
        return int((building / UNFINISHED).read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _notes(workspace: Workspace, stage: Stage, mark: Mark, pieces: Pieces | None) -> tuple[str, ...]:
    """What else is worth knowing."""
    notes = []
    if pieces and mark.content:
        notes.append(f"begun again and stopped ({told_pieces(pieces)} in {pieces.folder})")
    changed = _other_versions(mark)
    if changed and mark.content:
        notes.append(f"made with {changed}; that alone does not make it stale")
    return tuple(notes)


def _other_versions(mark: Mark) -> str:
    """Libraries that had another version then, with both."""
    before = mark.content.get("versions", {})
    now = versions()
    if not isinstance(before, dict):
        return ""
    return ", ".join(
        f"{name} {before[name]} (now {now[name]})" for name in now if name in before and before[name] != now[name]
    )


def told_pieces(pieces: Pieces) -> str:
    """How far a stopped stage came, in words."""
    return f"{pieces.done:,} of {pieces.of:,} pieces" if pieces.of else f"{pieces.done:,} pieces"


def _told(stage: Stage, counts: Mapping[str, Any]) -> str:
    """What came of a stage, in a few words; nothing where the counts are not those of this petmood."""
    words: Mapping[Stage, Callable[[], str]] = {
        "index": lambda: (
            f"{counts['kept']:,} frames of {counts['clips']:,} clips, {sum(counts['refused'].values()):,} refused"
        ),
        "curate": lambda: f"{counts['chosen']:,} of {counts['frames']:,} frames chosen",
        "pack": lambda: f"{counts['crops']:,} crops, {sum(counts['refused'].values()):,} refused",
        "screen": lambda: f"{counts['kept']:,} of {counts['crops']:,} crops kept",
        "split": lambda: _sides(counts),
    }
    try:
        return words[stage]()
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _sides(counts: Mapping[str, Any]) -> str:
    leak = counts["leak"]
    leaking = sum(leak[kind] for kind in ("clips", "groups", "frames"))
    sides = " / ".join(f"{counts['clips'][side]:,}" for side in ("train", "val", "test"))
    return f"{sides} clips" + (f", {leaking:,} leaks" if leaking else "")


def _files(workspace: Workspace, stage: Stage) -> list[Path]:
    """The files and folders that belong to a stage."""
    own: Mapping[Stage, tuple[Path, ...]] = {
        "index": (
            workspace.frames,
            workspace.frames_csv,
            workspace.poses,
            workspace.rejects,
            workspace.stamps,
            workspace.classes_picture,
        ),
        "curate": (),
        "pack": (workspace.crops,),
        "screen": (),
        "split": (workspace.leaks,),
    }
    return [workspace.root / f"{stage}.json", *own[stage], *unfinished_folders(workspace, stage)]
