"""Answers as people read them, in Korean and English: on a terminal, in drawn pictures, on timelines."""

from __future__ import annotations

from collections.abc import Mapping

from petmood.labels import EMOTIONS_KO, SPECIES_KO, Language, display
from petmood.records import Prediction

_OR: Mapping[Language, str] = {"en": " or ", "ko": " 또는 "}
_NOT_SURE: Mapping[Language, str] = {"en": "not sure", "ko": "확실하지 않음"}
_MOST_LIKELY: Mapping[Language, str] = {"en": "most likely", "ko": "가장 가까운 것:"}
_ANIMAL: Mapping[Language, str] = {"en": "animal", "ko": "동물"}
_SECONDS: Mapping[Language, str] = {"en": "seconds", "ko": "초"}
_NO_ANIMAL: Mapping[Language, str] = {"en": "no dog or cat found", "ko": "개나 고양이를 찾지 못함"}


def said(prediction: Prediction, language: Language) -> str:
    """The answer in words: one emotion, “calm or happy”, or that it is not sure; the reason if there is none.

    Where it was never fitted when to be sure, the likeliest emotion alone.
    """
    if prediction.emotion is None:
        return _NO_ANIMAL[language] if prediction.reason == "no_animal" else prediction.reason
    if len(prediction.answers) > 2:
        return _NOT_SURE[language]
    return _OR[language].join(display(name, language) for name in prediction.answers or (prediction.emotion,))


def said_fully(prediction: Prediction, language: Language) -> str:
    """As `said`, with the likeliest emotion where the answer is not sure."""
    words = said(prediction, language)
    if prediction.emotion is None or len(prediction.answers) <= 2:
        return words
    return f"{words} ({_MOST_LIKELY[language]} {display(prediction.emotion, language)})"


def animal(species: str, number: int | None, language: Language) -> str:
    """What an animal is called: “dog”, “cat 2”, “animal” if its species is not known."""
    name = (SPECIES_KO.get(species, "") if language == "ko" else species) or _ANIMAL[language]
    return name if number is None else f"{name} {number}"


def seconds(language: Language) -> str:
    """Label of an axis of time."""
    return _SECONDS[language]


def letters() -> str:
    """Every letter that drawn text may need, each once: what the packaged font must hold."""
    tables = (_OR, _NOT_SURE, _MOST_LIKELY, _ANIMAL, _SECONDS, _NO_ANIMAL, EMOTIONS_KO, SPECIES_KO)
    ascii_ = "".join(map(chr, range(32, 127)))
    return "".join(sorted({letter for table in tables for text in table.values() for letter in text} | set(ascii_)))
