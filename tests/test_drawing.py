"""Drawn answers: box, words in both languages, bars; and a video's timeline."""

import io
import itertools
from importlib import resources

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image, ImageColor

from petmood.drawing import EMOTION_COLOURS, FONT, UNSURE, drawn, font
from petmood.geometry import Box
from petmood.labels import EMOTIONS
from petmood.records import Prediction
from petmood.timeline import timeline
from petmood.wording import animal, letters, said, said_fully

BOX = Box(200, 250, 300, 200)


def answer(emotion="calm", *, answers=(), box=BOX, share=0.7, **others):
    rest = (1 - share) / 5
    shares = {name: share if name == emotion else rest for name in EMOTIONS}
    return Prediction(source="x", emotion=emotion, probabilities=shares, answers=answers, box=box, **others)


NOTHING = Prediction(source="x", emotion=None, probabilities={}, reason="no_animal", detail="…")


def grey(width=900, height=700):
    return np.full((height, width, 3), 128, np.uint8)


def count(pixels, colour):
    return int((pixels == ImageColor.getrgb(colour)).all(axis=-1).sum())


def test_answers_are_said_as_sure_as_they_are():
    assert said(answer("calm"), "en") == "calm"
    assert said(answer("calm", answers=("calm", "happy")), "en") == "calm or happy"
    unsure = answer("calm", answers=("calm", "happy", "fear"))
    assert said(unsure, "en") == "not sure"
    assert said_fully(unsure, "en") == "not sure (most likely calm)"
    assert said(answer("calm", answers=("calm", "happy")), "ko") == "편안/안정 또는 행복/즐거움"
    assert said_fully(unsure, "ko") == "확실하지 않음 (가장 가까운 것: 편안/안정)"
    assert said(NOTHING, "en") == "no dog or cat found"
    assert (animal("dog", 2, "ko"), animal("cat", None, "en"), animal("", 1, "en")) == ("개 2", "cat", "animal 1")


def test_the_packaged_font_has_every_letter_and_is_small():
    with resources.as_file(resources.files("petmood") / "fonts" / FONT) as path:
        assert path.stat().st_size < 60_000
        assert (path.parent / "OFL.txt").read_text(encoding="utf-8").count("SIL OPEN FONT LICENSE") == 1
        known = TTFont(path).getBestCmap()
    assert not [letter for letter in letters() if ord(letter) not in known]
    # A letter that is missing is drawn as an empty box, all of them alike.
    masks = {bytes(font(30).getmask(letter)) for letter in "편안행복불화공"}
    assert len(masks) == 7


def test_the_box_has_the_emotions_colour_and_grey_where_it_is_not_sure():
    pixels = drawn(grey(), [answer("calm", share=0.9)], "en")
    assert pixels.shape == (700, 900, 3)
    for row, column in ((BOX.y + 1, 350), (350, BOX.x + 1), (BOX.y + BOX.height - 2, 350)):
        assert tuple(pixels[row, column]) == ImageColor.getrgb(EMOTION_COLOURS["calm"])
    assert tuple(pixels[350, 350]) == (128, 128, 128)  # the animal itself is left as it is
    unsure = drawn(grey(), [answer("calm", answers=("calm", "happy", "fear"))], "en")
    assert tuple(unsure[BOX.y + 1, 350]) == ImageColor.getrgb(UNSURE)


def test_a_bar_is_as_long_as_the_emotion_is_likely():
    half, full = (count(drawn(grey(), [answer("fear", share=s, box=None)], "en"), EMOTION_COLOURS["fear"])
                  for s in (0.45, 0.9))  # fmt: skip
    assert full == pytest.approx(2 * half, rel=0.1)


def test_the_words_are_drawn_in_the_language_asked_for():
    english, korean = (drawn(grey(), [answer()], language) for language in ("en", "ko"))
    assert (english != korean).any()
    assert (english.min(axis=2) > 240).sum() > 50
    assert (korean.min(axis=2) > 240).sum() > 50


def test_small_pictures_are_enlarged_so_that_it_can_be_read():
    pixels = drawn(grey(200, 120), [answer(box=Box(10, 10, 50, 60))], "en")
    assert pixels.shape == (480, 800, 3)
    line = pixels[:, 100]  # inside the box of four times the size
    assert (line == ImageColor.getrgb(EMOTION_COLOURS["calm"])).all(axis=1).any()


def test_no_animal_is_told_in_the_picture():
    pixels = drawn(grey(), [NOTHING], "ko")
    changed = np.argwhere((pixels != 128).any(axis=2))
    assert changed.size
    assert changed.max(axis=0)[0] < 100  # in a corner


@pytest.mark.parametrize("box", [Box(0, 0, 900, 700), Box(880, 690, 20, 10), Box(0, 0, 5, 5), Box(400, 0, 100, 700)])
def test_what_is_written_stays_within_the_picture_for_any_box(box):
    pixels = drawn(grey(), [answer(box=box, species="dog", track=3)], "ko")
    # White letters of a panel that is cut off would be fewer.
    whole = drawn(grey(), [answer(box=BOX, species="dog", track=3)], "ko")
    assert (pixels.min(axis=2) > 240).sum() == pytest.approx((whole.min(axis=2) > 240).sum(), rel=0.1)


def test_nothing_of_the_animal_is_hidden_where_there_is_room():
    boxes = [Box(300, 300, 200, 200), Box(10, 10, 300, 600), Box(590, 10, 300, 600)]
    for box in boxes:
        pixels = drawn(grey(), [answer(box=box)], "en")
        inner = pixels[box.y + 10 : box.y + box.height - 10, box.x + 10 : box.x + box.width - 10]
        assert (inner == 128).all()


def picture_of(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def seen(times, emotion, track=1):
    return [answer(emotion, share=0.95, track=track, time_ms=time) for time in times]


def test_a_timeline_shows_moods_changes_and_gaps():
    frames = [*seen(range(0, 2000, 200), "calm"), *seen(range(5000, 8000, 200), "fear")]
    missing = [Prediction(source="x", emotion=None, probabilities={}, reason="no_animal", time_ms=t)
               for t in range(2000, 5000, 200)]  # fmt: skip
    ordered = sorted([*frames, *missing], key=lambda one: one.time_ms)
    pixels = picture_of(timeline(ordered, [answer("calm", track=1, frames=25)], "en"))
    row = pixels[pixels.shape[0] // 2 - 60]
    runs = [tuple(map(int, colour)) for colour, _ in itertools.groupby(map(tuple, row))]
    order = [runs.index(ImageColor.getrgb(EMOTION_COLOURS[name])) for name in ("calm", "fear")]
    assert order == sorted(order)
    assert (255, 255, 255) in runs[order[0] : order[1]]  # the gap


def test_each_animal_has_a_band_of_its_own():
    both = [*seen(range(0, 2000, 200), "calm", 1), *seen(range(0, 2000, 200), "angry", 2)]
    tracks = [answer("calm", track=1, frames=10, species="dog"), answer("angry", track=2, frames=10, species="cat")]
    two, one = (picture_of(timeline(both, tracks[:n], "ko")) for n in (2, 1))
    assert two.shape[0] > one.shape[0] + 150
    assert count(two, EMOTION_COLOURS["angry"]) > 10 * count(one, EMOTION_COLOURS["angry"])


def test_a_video_without_an_animal_has_a_timeline_that_says_so():
    pixels = picture_of(timeline([NOTHING], [NOTHING], "ko"))
    assert (pixels.max(axis=2) < 100).any()
