"""Whether a source is still what an index was made from: one walk over it, which opens no label and no picture."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petmood.data.clean import parse_merges
from petmood.data.index import INDEX_RULES, IndexSettings, index_made_from
from petmood.data.verdicts import read_verdicts
from petmood.errors import PetmoodError
from petmood.settings import build
from petmood.sources import Source, open_source
from petmood.upkeep.records import SourceStatus

#: What the index's mark says besides its settings.
NO_SETTINGS = ("source", "kind", "detector")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at the source of an index found."""

    status: SourceStatus
    expected: str = ""
    """What an index would count as made from now; empty if that cannot be told."""
    why: str = ""
    """Why the index would be made again, as a clause; empty if it would not."""
    tasks: int | None = None
    """Parts that the source is read in."""


def look_at_source(mark: Mapping[str, Any], *, seconds: float, words_unknown: bool = False) -> Look:
    """What the source of an index is now, as far as ``seconds`` suffice; 0 does not look.

    Args:
        mark: of the index.
        seconds: to wait for an answer.
        words_unknown: the index was made with a table of words, which the mark does not keep.
    """
    place = str(mark.get("settings", {}).get("source", ""))
    if not place:
        return Look(status=SourceStatus(place="", state="unknown", detail="it is not recorded"))
    if not seconds or words_unknown:
        why = "its table of words is not recorded" if words_unknown else "it was not looked at"
        return Look(status=SourceStatus(place=place, state="unknown", detail=why))
    started = time.monotonic()
    found: list[Look] = []
    # A disk that hangs, or far too many files, must not hold up whoever asks: a daemon may be left behind.
    thread = threading.Thread(target=lambda: found.append(_look(mark, place)), daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        detail = f"looking through it takes more than {seconds:g} s (--source-seconds)"
        return Look(status=SourceStatus(place=place, state="unknown", detail=detail, seconds=seconds))
    took = round(time.monotonic() - started, 2)
    return dataclasses.replace(found[0], status=dataclasses.replace(found[0].status, seconds=took))


def _look(mark: Mapping[str, Any], place: str) -> Look:
    try:
        return _compared(mark, place)
    except PetmoodError as error:
        return Look(status=SourceStatus(place=place, state="gone", detail=error.message.rstrip(".")))
    except Exception as error:  # noqa: BLE001 - in a thread nobody would hear of it, and a status is never a traceback
        detail = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        return Look(status=SourceStatus(place=place, state="unknown", detail=detail))


def _compared(mark: Mapping[str, Any], place: str) -> Look:
    """The source beside the mark.

    Raises:
        PetmoodError: the source, or the table of verdicts, cannot be used any more.
    """
    kept = dict(mark["settings"])
    looked = {"detector": kept["detector"]} if kept.get("detector") else {}
    raw = {name: value for name, value in kept.items() if name not in NO_SETTINGS}
    settings = build(IndexSettings, raw, where="index.json")
    merges = parse_merges(settings.merge)
    verdicts = read_verdicts(Path(settings.verdicts), merges) if settings.verdicts else {}
    source = open_source(place, named=list(merges))
    expected = index_made_from(source.fingerprint, place, settings, verdicts, looked)
    before = mark["made_from"]
    if before == expected:
        status = SourceStatus(place=place, state="same")
        return Look(status=status, expected=expected, tasks=len(source.tasks))
    for why, values, rules in _ways(raw, settings):
        if before == index_made_from(source.fingerprint, place, values, verdicts, looked, rules=rules):
            return Look(
                status=SourceStatus(place=place, state="same"), expected=expected, why=why, tasks=len(source.tasks)
            )
    return _changed(source, place, expected, settings)


def _ways(raw: Mapping[str, Any], settings: IndexSettings) -> list[tuple[str, IndexSettings | Mapping[str, Any], int]]:
    """Ways in which an earlier petmood would have made it, each with what is then to be said."""
    older = [("it was made by older rules of petmood", settings, rules) for rules in range(INDEX_RULES)]
    missing = ("petmood has gained settings since", raw, INDEX_RULES)
    both = [("it was made by older rules of petmood", raw, rules) for rules in range(INDEX_RULES)]
    return [missing, *older, *both]


def _changed(source: Source, place: str, expected: str, settings: IndexSettings) -> Look:
    what = "the source has changed" + (" (or the table of verdicts)" if settings.verdicts else "")
    size = sum(task.size for task in source.tasks)
    status = SourceStatus(place=place, state="changed", detail=f"now {size:,} {source.unit}")
    return Look(status=status, expected=expected, why=what, tasks=len(source.tasks))
