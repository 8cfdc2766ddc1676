"""Species and the six emotions: their names in Korean and English, and the one order that numbers them.

Class numbers come from here and nowhere else. A data set that lacks some emotions (or merges them) uses the remaining
ones in this same order; the fingerprint of that list is stored with the data and with every model, and compared.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

Species = Literal["dog", "cat"]
Language = Literal["ko", "en"]

SPECIES: tuple[Species, ...] = ("dog", "cat")
SPECIES_KO: Mapping[str, str] = {"dog": "개", "cat": "고양이"}

#: The one order. Position in this tuple (restricted to a data set's classes) is the class number.
EMOTIONS: tuple[str, ...] = ("happy", "calm", "anxious", "angry", "fear", "aggressive")

EMOTIONS_KO: Mapping[str, str] = {
    "happy": "행복/즐거움",
    "calm": "편안/안정",
    "anxious": "불안/슬픔",
    "angry": "화남/불쾌",
    "fear": "공포",
    "aggressive": "공격성",
}

#: Other words for the six, as found in AI Hub's files and in public folder-per-class data sets.
_ALIASES: Mapping[str, str] = {
    "행복": "happy",
    "즐거움": "happy",
    "happiness": "happy",
    "편안": "calm",
    "안정": "calm",
    "relaxed": "calm",
    "neutral": "calm",
    "불안": "anxious",
    "슬픔": "anxious",
    "anxiety": "anxious",
    "sad": "anxious",
    "sadness": "anxious",
    "화남": "angry",
    "불쾌": "angry",
    "anger": "angry",
    "fearful": "fear",
    "scared": "fear",
    "공격": "aggressive",
    "aggression": "aggressive",
}


def normalise(text: str) -> str:
    """Text as it is compared everywhere: NFC, without surrounding white space (file names may come as NFD)."""
    return unicodedata.normalize("NFC", text).strip()


_BY_WORD: Mapping[str, str] = {
    **{name: name for name in EMOTIONS},
    **{korean: name for name, korean in EMOTIONS_KO.items()},
    **_ALIASES,
}


def emotion_of(text: str) -> str | None:
    """The emotion (one of ``EMOTIONS``) that a word in Korean or English means, or None if it means none of them.

    >>> emotion_of(" 공포 "), emotion_of("Relaxed"), emotion_of("hungry")
    ('fear', 'calm', None)
    """
    return _BY_WORD.get(normalise(text).lower())


def species_of(text: str) -> Species | None:
    """Dog or cat for a word in Korean or English, any case; None for anything else."""
    word = normalise(text).lower()
    if word in {"dog", "dogs", "개", "강아지"}:
        return "dog"
    if word in {"cat", "cats", "고양이"}:
        return "cat"
    return None


def display(emotion: str, language: Language) -> str:
    """Name of an emotion for people, in the language asked for."""
    return EMOTIONS_KO.get(emotion, emotion) if language == "ko" else emotion


def classes_of(present: Iterable[str]) -> tuple[str, ...]:
    """The emotions that occur, in the one fixed order; class number = position in the result.

    Raises:
        ValueError: if a word is none of the six emotions.
    """
    found = set(present)
    unknown = found.difference(EMOTIONS)
    if unknown:
        raise ValueError(f"not emotions: {sorted(unknown)}; allowed are {list(EMOTIONS)}")
    return tuple(name for name in EMOTIONS if name in found)


def fingerprint(classes: Iterable[str]) -> str:
    """Twelve hex digits that two class lists share only if they hold the same names in the same order."""
    return hashlib.sha256("\n".join(classes).encode()).hexdigest()[:12]
