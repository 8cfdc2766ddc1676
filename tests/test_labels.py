from __future__ import annotations

import unicodedata

import pytest

from petmood.labels import (
    EMOTIONS,
    EMOTIONS_KO,
    classes_of,
    display,
    emotion_of,
    fingerprint,
    normalise,
    species_of,
)


def test_the_six_emotions_have_one_order():
    assert EMOTIONS == ("happy", "calm", "anxious", "angry", "fear", "aggressive")


def test_every_emotion_has_a_korean_name():
    assert tuple(EMOTIONS_KO) == EMOTIONS


@pytest.mark.parametrize(("name", "korean"), EMOTIONS_KO.items())
def test_korean_and_english_names_mean_the_same_emotion(name, korean):
    assert emotion_of(korean) == emotion_of(name) == emotion_of(name.upper()) == name


def test_names_are_compared_composed_and_stripped():
    assert emotion_of(" " + unicodedata.normalize("NFD", "화남/불쾌") + "\n") == "angry"
    assert normalise(unicodedata.normalize("NFD", " 공포 ")) == "공포"


@pytest.mark.parametrize("word", ["", "hungry", "행복/안정", "0", "none"])
def test_other_words_mean_no_emotion(word):
    assert emotion_of(word) is None


@pytest.mark.parametrize(("word", "species"), [("DOG", "dog"), ("고양이", "cat"), (" Cats ", "cat"), ("rabbit", None)])
def test_species_are_known_in_both_languages(word, species):
    assert species_of(word) == species


def test_display_speaks_the_language_asked_for():
    assert display("fear", "ko") == "공포"
    assert display("fear", "en") == "fear"


def test_class_numbers_do_not_depend_on_the_order_of_appearance():
    assert classes_of(["fear", "happy", "fear"]) == classes_of(["happy", "fear"]) == ("happy", "fear")


def test_classes_of_names_what_is_no_emotion():
    with pytest.raises(ValueError, match="not emotions: \\['hungry'\\]; allowed are"):
        classes_of(["happy", "hungry"])


def test_fingerprint_tells_other_classes_and_other_orders_apart():
    assert fingerprint(EMOTIONS) == fingerprint(list(EMOTIONS))
    assert len({fingerprint(EMOTIONS), fingerprint(EMOTIONS[::-1]), fingerprint(EMOTIONS[:5]), fingerprint(())}) == 4
