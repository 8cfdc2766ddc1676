"""From pictures to answers: each animal is found, cut out as in training, asked about, and its answer read."""

import cv2
import numpy as np
import pytest

from fixtures.sight import CAT, CERTAINTY, DOG, Blocks, Colours, picture
from petmood.errors import UserError
from petmood.geometry import Box
from petmood.look import Looker
from petmood.media import cut, encode
from petmood.pictures import BadPictureError
from petmood.probabilities import tempered

LARGE, SMALL = Box(20, 20, 120, 150), Box(200, 60, 80, 70)
BOTH = picture((LARGE, DOG), (SMALL, CAT))


@pytest.fixture
def looker():
    return Looker(Colours(), Blocks(), threads=2)


def png(pixels):
    return cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()


def test_each_animal_has_an_answer_of_its_own_the_surest_first(looker):
    dog, cat = looker.picture(BOTH, source="both")
    assert (dog.box, dog.species, dog.emotion) == (LARGE, "dog", "happy")
    assert (cat.box, cat.species, cat.emotion) == (SMALL, "cat", "angry")
    assert dog.detected > cat.detected > 0.3
    assert {one.source for one in (dog, cat)} == {"both"}
    assert list(dog.probabilities) == ["happy", "calm", "angry"]
    assert sum(dog.probabilities.values()) == pytest.approx(1)
    assert (dog.track, dog.time_ms, dog.frames, dog.answers) == (None, None, 0, ())


def test_no_animal_is_said_and_never_guessed(looker):
    (answer,) = looker.picture(picture(), source="black")
    assert (answer.emotion, answer.reason, answer.probabilities) == (None, "no_animal", {})
    assert "--whole" in answer.detail


def test_whole_takes_the_picture_as_it_is():
    (answer,) = Looker(Colours(), Blocks(), whole=True).picture(BOTH, source="both")
    assert (answer.box, answer.species, answer.detected) == (None, "", None)
    assert answer.emotion


def test_a_box_is_believed_and_the_detector_not_asked(looker):
    (answer,) = looker.picture(BOTH, source="both", box=SMALL)
    assert (answer.box, answer.species, answer.emotion) == (SMALL, "", "angry")
    (outside,) = looker.picture(BOTH, source="both", box=Box(900, 900, 5, 5))
    assert outside.reason == "box_outside_image"


def test_without_detector_and_box_it_is_told_what_to_do():
    with pytest.raises(UserError, match="no detector to find the animal, and no box"):
        Looker(Colours(), None).picture(BOTH, source="both")


def test_the_detectors_least_score_is_kept():
    (only,) = Looker(Colours(), Blocks(), least=0.5).picture(BOTH, source="both")
    assert only.species == "dog"


def test_an_animal_is_cut_out_as_in_training():
    """Margin, cutting at the edge and resizing are those of `media.cut`, which packing uses."""
    generator = np.random.default_rng(0)
    noise = cv2.resize(generator.integers(0, 255, (30, 40, 3), np.uint8), (800, 600))
    seen = []

    class Seeing(Colours):
        def prepare(self, pixels):
            seen.append(pixels)
            return super().prepare(pixels)

    engine, box = Seeing(), Box(10, 50, 500, 420)
    Looker(engine, None).picture(noise, source="noise", box=box)
    np.testing.assert_array_equal(seen[0], cut(png(noise), box, engine.geometry).pixels)


def test_a_picture_in_a_batch_answers_as_alone(looker):
    pictures = [picture((Box(10 + 5 * n, 20, 60 + n, 90), (250 - 10 * n, 10 * n, 0))) for n in range(11)]
    pictures[4] = picture()
    items = [(str(n), pixels, None) for n, pixels in enumerate(pictures)]
    items.insert(7, ("broken", BadPictureError("truncated_image", "cut"), None))
    together = list(Looker(Colours(), Blocks(), batch_size=4, threads=3).pictures(items))
    assert [answers[0].source for answers in together] == [name for name, _, _ in items]
    assert together[7][0].reason == "truncated_image"
    for (name, pixels, _), answers in zip(items, together, strict=True):
        if name != "broken":
            assert answers == looker.picture(pixels, source=name)


def test_the_model_is_asked_in_batches_and_pictures_are_read_as_they_are_needed():
    engine, read = Colours(), []

    def items():
        for number in range(40):
            read.append(number)
            yield str(number), BOTH, None

    answers = Looker(engine, Blocks(), batch_size=8).pictures(items())
    next(answers)
    assert len(read) <= 17  # this batch and the next one
    assert len(list(answers)) == 39
    assert engine.asked == [16] * 5  # two animals a picture


def test_answers_are_believed_ones_with_their_set():
    plain, read = (Looker(Colours(known), Blocks()) for known in (None, CERTAINTY))
    (before, _), (after, _) = (looker.picture(BOTH, source="both") for looker in (plain, read))
    raw = np.array([list(before.probabilities.values())])
    np.testing.assert_allclose(list(after.probabilities.values()), tempered(raw, 2.0)[0], atol=1e-6)
    assert after.answers == ("happy",)
    mixed = picture((LARGE, (120, 170, 140)))
    (unsure,) = read.picture(mixed, source="mixed")
    assert unsure.answers == ("calm", "angry", "happy")  # the likeliest first


def test_files_answer_as_pixels_and_failures_stay_in_their_place(looker, tmp_path):
    (tmp_path / "both.png").write_bytes(png(BOTH))
    (tmp_path / "empty.jpg").write_bytes(b"")
    items = [
        ("a", tmp_path / "both.png", None),
        ("none", tmp_path / "none.jpg", None),
        ("b", png(BOTH), SMALL),
        ("empty", tmp_path / "empty.jpg", None),
        ("folder", tmp_path, None),
        ("told", BadPictureError("no_label", "so"), None),
    ]
    answers = list(looker.files(items))
    assert answers[0] == looker.picture(BOTH, source="a")
    assert answers[2] == looker.picture(BOTH, source="b", box=SMALL)
    reasons = ["", "no_image", "", "empty_image", "unreadable_image", "no_label"]
    assert [one[0].reason for one in answers] == reasons


@pytest.mark.parametrize("size", [(500, 400), (3000, 2000), (6000, 1200)])
def test_a_large_photo_is_searched_in_small_and_cut_out_in_full(looker, size):
    width, height = size
    box = Box(width // 5, height // 4, width // 3, height // 2)
    large = picture((box, DOG), width=width, height=height)
    ((answer,),) = looker.files([("large", encode(large, 95), None)])
    ((boxed,),) = looker.files([("large", encode(large, 95), box)])
    edges = [(one.x, one.y, one.x + one.width, one.y + one.height) for one in (answer.box, box)]
    np.testing.assert_allclose(edges[0], edges[1], atol=max(8, width / 400))
    found, expected = (list(one.probabilities.values()) for one in (answer, boxed))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_damage_in_a_photo_is_a_reason(looker):
    data = encode(picture((Box(100, 100, 2000, 1500), DOG), width=3000, height=2000), 90)
    ((answer,),) = looker.files([("cut", data[: len(data) // 2] + data[-2:], None)])
    assert answer.reason == "truncated_image"
