"""Answers as a table on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from petmood.labels import Language, display
from petmood.records import Prediction
from petmood.wording import animal, said_fully

#: Columns that the name of an input takes at most; of longer ones the end is shown.
_LONGEST = 48


class AnswerTable:
    """Lines of equal columns: input, animal, answer, and the probability of each emotion."""

    def __init__(self, classes: Sequence[str], sources: Sequence[str], language: Language) -> None:
        """Columns wide enough for these inputs."""
        self._classes = tuple(classes)
        self._language: Language = language
        self._source = min(_LONGEST, max([5, *map(width_of, sources)]))
        names = [display(name, language) for name in classes]
        self._shares = [max(5, width_of(name)) for name in names]
        longest = sorted(map(width_of, names))[-2:]
        unsure = width_of(said_fully(_unsure(classes), language))
        self._answer = max(unsure, sum(longest) + 6)

    def header(self) -> str:
        """First line."""
        names = [display(name, self._language) for name in self._classes]
        shares = [padded(name, size) for name, size in zip(names, self._shares, strict=True)]
        first = [padded("input", self._source), padded("animal", _ANIMAL), padded("answer", self._answer)]
        return "  ".join([*first, *shares]).rstrip()

    def line(self, one: Prediction) -> str:
        """One answer, or the reason why there is none."""
        source = padded(_end_of(one.source), self._source)
        if one.emotion is None:
            return f"{source}  {_time(one)}- {one.reason}: {one.detail}"
        shares = [
            padded(f"{one.probabilities[name]:.3f}", size)
            for name, size in zip(self._classes, self._shares, strict=True)
        ]
        named = animal(one.species, one.track, self._language) if one.species or one.track else "-"
        answer = padded(said_fully(one, self._language), self._answer)
        line = "  ".join([source, padded(f"{_time(one)}{named}", _ANIMAL), answer, *shares]).rstrip()
        return f"{line}  ({one.detail})" if one.detail else line


_ANIMAL = 14


def _time(one: Prediction) -> str:
    """The second of a video's frame; nothing for what a video's frames say together."""
    return f"{one.time_ms / 1000:.1f}s " if one.time_ms is not None and not one.frames else ""


def _unsure(classes: Sequence[str]) -> Prediction:
    """The answer with the longest words."""
    longest = max(classes, key=lambda name: width_of(display(name, "ko")))
    return Prediction(source="", emotion=longest, probabilities={}, answers=(longest,) * 3)


def _end_of(source: str) -> str:
    """The name, or its end if it is too long."""
    if width_of(source) <= _LONGEST:
        return source
    end = source
    while width_of(end) > _LONGEST - 1:
        end = end[1:]
    return f"…{end}"


def width_of(text: str) -> int:
    """Columns that a text takes in a terminal: Korean letters take two."""
    composed = unicodedata.normalize("NFC", text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in composed)


def padded(text: str, width: int) -> str:
    """The text with spaces up to ``width`` columns."""
    return text + " " * (width - width_of(text))


def system_language(environment: Mapping[str, str]) -> Language:
    """Korean if the system speaks it, else English."""
    spoken = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "ko" if spoken.startswith("ko") else "en"
