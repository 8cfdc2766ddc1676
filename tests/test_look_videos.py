"""Videos: animals kept apart, answers smoothed over time, and what all frames say together."""

import numpy as np
import pytest

from fixtures.sight import CAT, CERTAINTY, DOG, Blocks, Colours, picture
from petmood.geometry import Box
from petmood.look import Looker
from petmood.metrics import clip_means
from petmood.pictures import BadPictureError
from petmood.probabilities import tempered

GREEN = (0, 250, 0)


def block(left, colour, top=40):
    return Box(left, top, 80, 100), colour


def shares(prediction):
    return np.array(list(prediction.probabilities.values()))


def looker(**engine):
    return Looker(Colours(**engine), Blocks(), threads=2)


def test_two_animals_are_kept_apart_though_the_surer_one_changes():
    """The right one is larger in every second frame, so that it comes first there."""
    frames = []
    for number in range(12):
        right = Box(200 - 2 * number, 40, 90 if number % 2 else 70, 100)
        frames.append((200 * number, picture(block(10 + 3 * number, DOG), (right, CAT))))
    answer = looker().video(frames, source="v")
    assert [(one.track, one.species, one.emotion, one.frames) for one in answer.tracks] == [
        (1, "dog", "happy", 12),
        (2, "cat", "angry", 12),
    ]
    by_track = {1: "happy", 2: "angry"}
    assert len(answer.frames) == 24
    assert all(one.emotion == by_track[one.track] for one in answer.frames)
    assert [one.time_ms for one in answer.frames][::2] == [time for time, _ in frames]


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_the_clips_answer_is_the_runs_pooling_with_the_clips_temperature(pool):
    colours = [(250, 60, 0), (120, 200, 30), (60, 10, 240), (200, 200, 10)]
    frames = [(200 * n, picture(block(30, colour))) for n, colour in enumerate(colours)]
    (clip,) = looker(certainty=CERTAINTY, pool=pool).video(frames, source="v").tracks
    raw = np.array(colours, np.float32) + 20
    raw /= raw.sum(axis=1, keepdims=True)
    attention = (np.array(colours, np.float32)[:, 1] + 20) / 40 if pool == "attention" else None
    pooled = clip_means(["v"] * 4, raw, np.zeros(4, int), attention).probabilities
    expected = tempered(pooled, CERTAINTY.clips.temperature)[0]
    np.testing.assert_allclose(shares(clip), expected, atol=1e-3)
    held = [name for name, share in zip(("happy", "calm", "angry"), expected, strict=True) if share >= 0.2]
    assert sorted(clip.answers) == sorted(held)
    assert (clip.frames, clip.time_ms, clip.box) == (4, 0, Box(30, 40, 80, 100))


def test_after_the_time_constant_63_percent_of_a_change_are_seen():
    frames = [(100 * n, picture(block(30, DOG if n < 5 else GREEN))) for n in range(30)]
    plain = looker().video(frames, source="v", smoothing_ms=0).frames
    smooth = looker().video(frames, source="v", smoothing_ms=1000).frames
    assert smooth[4].probabilities == pytest.approx(plain[4].probabilities)
    before, after = plain[4].probabilities["calm"], plain[5].probabilities["calm"]
    gone = [(one.probabilities["calm"] - before) / (after - before) for one in smooth]
    assert gone[14] == pytest.approx(1 - np.exp(-1), abs=1e-3)  # a second after frame 4
    assert gone == sorted(gone)
    assert plain[5].emotion == "calm"
    assert smooth[5].emotion == "happy"


def test_smoothing_does_not_depend_on_the_number_of_frames():
    def at(every):
        frames = [(time, picture(block(30, DOG if time < 500 else GREEN))) for time in range(0, 2001, every)]
        return {one.time_ms: one.probabilities["calm"] for one in looker().video(frames, source="v").frames}

    few, many = at(250), at(50)
    # The change is seen up to one frame later where there are few.
    assert few[2000] == pytest.approx(many[2000], abs=0.06)


def test_frames_without_an_animal_are_said_and_do_not_count():
    frames = [(200 * n, picture() if n in {0, 3} else picture(block(30, DOG))) for n in range(6)]
    answer = looker().video(frames, source="v")
    assert [one.reason for one in answer.frames] == ["no_animal", "", "", "no_animal", "", ""]
    assert [one.time_ms for one in answer.frames] == [0, 200, 400, 600, 800, 1000]
    (track,) = answer.tracks
    assert (track.frames, track.time_ms) == (4, 200)


def test_a_video_without_animals_or_frames_has_one_answer_with_the_reason():
    (nothing,) = looker().video([(0, picture()), (200, picture())], source="v").tracks
    assert (nothing.source, nothing.emotion, nothing.reason) == ("v", None, "no_animal")
    (empty,) = looker().video([], source="v").tracks
    assert empty.reason == "unreadable_video"
    (outside,) = looker().video([(0, picture())], source="v", box=Box(999, 999, 3, 3)).tracks
    assert outside.reason == "box_outside_image"


def test_a_video_that_breaks_off_answers_with_what_there_was():
    def frames():
        yield from ((200 * n, picture(block(30, DOG))) for n in range(5))
        raise BadPictureError("unreadable_video", "too many damaged parts")

    answer = looker().video(frames(), source="v")
    (track,) = answer.tracks
    assert (track.emotion, track.frames, len(answer.frames)) == ("happy", 5, 5)
    assert track.detail == "the video broke off: too many damaged parts"

    def nothing():
        raise BadPictureError("unreadable_video", "no video")
        yield

    (failed,) = looker().video(nothing(), source="v").tracks
    assert (failed.reason, failed.detail) == ("unreadable_video", "no video")


def test_what_shows_for_a_moment_only_is_no_animal_of_its_own():
    frames = [(200 * n, picture(block(10, DOG), *([block(200, CAT)] if n in {4, 5} else []))) for n in range(10)]
    answer = looker().video(frames, source="v")
    assert [one.species for one in answer.tracks] == ["dog"]
    short = looker().video(frames[4:6], source="v")  # unless all there is is a moment
    assert [one.species for one in short.tracks] == ["dog", "cat"]


def test_whole_frames_are_one_animal():
    frames = [(200 * n, picture(block(10 + 60 * n, DOG))) for n in range(4)]
    answer = Looker(Colours(), None, whole=True).video(frames, source="v")
    (track,) = answer.tracks
    assert (track.frames, track.box, track.species, track.detected) == (4, None, "", None)


def test_many_frames_are_asked_about_in_parts_and_a_camera_says_the_same():
    frames = [(200 * n, picture(block(10 + n, DOG), block(200, (0, 5 * n, 250)))) for n in range(40)]
    engine = Colours(certainty=CERTAINTY)
    answer = Looker(engine, Blocks()).video(frames, source="v")
    assert engine.asked == [32, 32, 16]
    watch = looker(certainty=CERTAINTY).watch("v")
    seen = [one for time_ms, pixels in frames for one in watch.see(time_ms, pixels)]
    assert tuple(seen) == answer.frames
    assert watch.tracks() == answer.tracks
