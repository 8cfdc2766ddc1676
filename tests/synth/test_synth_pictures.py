from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg

from petmood.labels import EMOTIONS
from petmood.synth.body import Gait, draw_animal
from petmood.synth.looks import look_of
from petmood.synth.paint import Camera, extent, paint
from petmood.synth.pose import Motion


def _thumbnail(path) -> np.ndarray:
    picture = simplejpeg.decode_jpeg(path.read_bytes(), colorspace="GRAY")[..., 0]
    return cv2.resize(picture, (24, 24), interpolation=cv2.INTER_AREA).astype(float)


def test_frames_of_a_clip_are_nearly_alike_and_clips_are_not(damaged):
    within, between = [], []
    previous = None
    for clip in damaged.sound_clips():
        paths = sorted(damaged.folders[clip].iterdir(), key=lambda path: int(path.name.split("_")[1]))
        first, second = _thumbnail(paths[0]), _thumbnail(paths[1])
        within.append(np.abs(first - second).mean())
        if previous is not None:
            between.append(np.abs(first - previous).mean())
        previous = first
    assert np.median(within) > 0
    assert np.quantile(within, 0.9) < np.quantile(between, 0.1)


def test_boxes_hold_the_animal_and_keypoints_lie_in_them(damaged):
    for clip in damaged.sound_clips():
        document = damaged.document(clip)
        width, height = document["metadata"]["width"], document["metadata"]["height"]
        for entry in document["annotations"]:
            box = entry["bounding_box"]
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
            assert 0 <= box["y"] < box["y"] + box["height"] <= height
            for point in filter(None, entry["keypoints"].values()):
                assert box["x"] <= point["x"] < box["x"] + box["width"]
                assert box["y"] <= point["y"] < box["y"] + box["height"]


def test_most_keypoints_are_given(damaged):
    odd = damaged.truth["irregular"]
    clip = next(c for c in damaged.sound_clips() if c not in {*odd["null_keypoints"], *odd["absent_keypoints"]})
    points = damaged.document(clip)["annotations"][0]["keypoints"]
    assert list(points) == [str(code) for code in range(1, 16)]
    assert sum(point is not None for point in points.values()) >= 12


@pytest.mark.parametrize("species", ["dog", "cat"])
@pytest.mark.parametrize("emotion", EMOTIONS)
def test_the_painted_animal_fills_its_extent(species, emotion):
    rng = np.random.default_rng(5)
    look = look_of(species, rng)
    figure = draw_animal(look, Motion(emotion, rng).at(0.0), Gait())
    camera = Camera(120.0, (300.0, 300.0), False, 0.0)
    left, top, right, bottom = extent(figure, camera)
    sprite = paint(figure, camera, look.edge)
    # Whiskers are painted but not part of the extent.
    rows, columns = np.nonzero(sprite.cover > 250)
    assert rows.min() + sprite.top == pytest.approx(top, abs=4)
    assert rows.max() + sprite.top == pytest.approx(bottom, abs=4)
    assert columns.min() + sprite.left == pytest.approx(left, abs=6)
    assert columns.max() + sprite.left >= right - 6


def _mean_cue(emotion: str, name: str) -> float:
    return float(np.mean([getattr(Motion(emotion, np.random.default_rng(seed)).at(1.0), name) for seed in range(60)]))


def test_cues_say_what_an_ethologist_would():
    assert (
        _mean_cue("happy", "tail")
        > _mean_cue("calm", "tail")
        > _mean_cue("anxious", "tail")
        > _mean_cue("fear", "tail")
    )
    assert _mean_cue("fear", "crouch") > _mean_cue("anxious", "crouch") > _mean_cue("calm", "crouch")
    assert _mean_cue("aggressive", "mouth") > _mean_cue("happy", "mouth") > _mean_cue("calm", "mouth")
    assert _mean_cue("angry", "ears") < 0 < _mean_cue("aggressive", "ears")


def test_no_single_cue_tells_the_emotion():
    overlaps = [Motion("happy", np.random.default_rng(seed)).at(1.0).tail for seed in range(200)]
    others = [Motion("calm", np.random.default_rng(seed)).at(1.0).tail for seed in range(200)]
    assert min(overlaps) < max(others)
