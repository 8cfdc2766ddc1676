"""An exported file answers as its run does, and one that cannot be used says why in one sentence."""

import io
import json

import numpy as np
import onnx
import pytest
from PIL import Image

from fixtures.exported import CERTAINTY, with_metadata
from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.geometry import Box
from petmood.labels import EMOTIONS
from petmood.media import cut
from petmood.predict import Predictor
from petmood.probabilities import answer_sets
from petmood.runtime import OnnxModel
from petmood.runtime.description import KEY
from petmood.workspace import Workspace


@pytest.fixture(scope="module")
def model(model_file):
    return OnnxModel(model_file, threads=1)


@pytest.fixture(scope="module")
def predictor(exported_run):
    return Predictor.load(exported_run, device="cpu")


@pytest.fixture(scope="module")
def crops(exported_run):
    store = CropStore(Workspace.open(exported_run.parent.parent).crops)
    return [store.pixels(row) for row in range(len(store))]


def said(model_file):
    return json.loads(next(one.value for one in onnx.load(model_file).metadata_props if one.key == KEY))


def test_it_is_an_engine_with_the_answers_of_the_run(model, predictor, crops):
    assert (model.classes, model.geometry, model.pool) == (predictor.classes, predictor.info.geometry, "mean")
    assert model.certainty == CERTAINTY
    squares = np.stack([predictor.info.preprocessing.prepare(pixels) for pixels in crops])
    expected = predictor.ask(squares)
    given = model.ask(squares)
    np.testing.assert_allclose(given.probabilities, expected.probabilities, atol=1e-3)
    assert given.attention is None
    believed, _ = model.believed(squares)
    np.testing.assert_allclose(believed, predictor.believed(expected.probabilities), atol=1e-3)
    assert np.abs(believed - given.probabilities).max() > 0.01  # the temperature is taken out again
    assert model.ask(squares[:0]).probabilities.shape == (0, len(model.classes))


def test_photos_get_the_answers_of_the_run(model, predictor, crops):
    files = []
    for number, pixels in enumerate(crops[::7]):
        file = io.BytesIO()
        Image.fromarray(pixels).resize((400 + 31 * number, 300)).save(file, "JPEG" if number % 2 else "PNG")
        files.append(file.getvalue())
    box = Box(20, 30, 300, 250)
    squares = [predictor.info.preprocessing.prepare(cut(data, box, model.geometry).pixels) for data in files]
    expected = predictor.believed(predictor.ask(np.stack(squares)).probabilities)
    for prediction, shares in zip(model.predict_all(files, box), expected, strict=True):
        np.testing.assert_allclose(list(prediction.probabilities.values()), shares, atol=0.01)
        assert prediction.emotion == model.classes[shares.argmax()]
        held = answer_sets(shares[None], CERTAINTY.frames.threshold)[0]
        assert set(prediction.answers) == {name for name, one in zip(model.classes, held, strict=True) if one}
        assert prediction.answers[0] == prediction.emotion
        assert prediction.box == box


def test_a_file_its_bytes_and_its_pixels_get_one_answer(model, crops, tmp_path):
    path = tmp_path / "dog.png"
    Image.fromarray(crops[0]).save(path)
    answers = [model.predict(picture).probabilities for picture in (path, str(path), path.read_bytes(), crops[0])]
    assert all(answer == answers[0] for answer in answers)
    assert model.predict(path).source == str(path)


def test_every_picture_has_one_answer_in_order(model, crops, tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(crops[0]).save(good)
    pictures = [good, tmp_path / "none.png", b"", b"no picture", tmp_path, crops[1], *[good] * 20]
    found = list(model.predict_all(pictures))
    assert [one.reason for one in found[:6]] == [
        *("", "no_image", "empty_image", "unreadable_image", "unreadable_image", "")
    ]
    assert all(one.emotion in EMOTIONS for one in found[6:])
    assert len(found) == len(pictures)
    assert model.predict(good, Box(5000, 0, 10, 10)).reason == "box_outside_image"


def test_answers_are_the_same_one_by_one_and_in_batches(model, crops):
    together = list(model.predict_all(crops))
    for pixels, answer in zip(crops[:5], together, strict=False):
        alone = model.predict(pixels).probabilities
        np.testing.assert_allclose(list(alone.values()), list(answer.probabilities.values()), atol=1e-6)


def test_without_a_fitted_certainty_there_is_no_set(model_file, crops, tmp_path):
    plain = {**said(model_file), "certainty": None}
    other = OnnxModel(with_metadata(model_file, tmp_path / "m.onnx", petmood=json.dumps(plain)))
    assert other.predict(crops[0]).answers == ()
    squares = np.stack([other.prepare(crops[0])])
    np.testing.assert_array_equal(other.ask(squares).probabilities, other.believed(squares)[0])


def test_a_file_that_is_missing_or_no_onnx(tmp_path, model_file):
    with pytest.raises(UserError, match="exported file .*none.onnx does not exist"):
        OnnxModel(tmp_path / "none.onnx")
    for number, content in enumerate((b"", b"PK no model", model_file.read_bytes()[:5000])):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged, or is no ONNX|was not written by petmood"):
            OnnxModel(path)


def test_a_file_of_somebody_else(model_file, tmp_path):
    with pytest.raises(UserError, match="is ONNX, but was not written by petmood: its metadata lack 'petmood'"):
        OnnxModel(with_metadata(model_file, tmp_path / "m.onnx", petmood=None))


def test_a_newer_file(model_file, tmp_path):
    newer = {**said(model_file), "format": 99, "preprocessing": "told in a new way"}
    with pytest.raises(UserError, match="has format 99; this petmood reads format 1") as error:
        OnnxModel(with_metadata(model_file, tmp_path / "m.onnx", petmood=json.dumps(newer)))
    assert "install the petmood that wrote it" in error.value.hint


SPOILT = {
    "no JSON": lambda good: "{",
    "no object": lambda good: "[1]",
    "no format": lambda good: json.dumps({**good, "format": None}),
    "no classes": lambda good: json.dumps({**good, "classes": []}),
    "other classes": lambda good: json.dumps({**good, "classes": ["happy", "calm"]}),
    "other size": lambda good: json.dumps({**good, "preprocessing": {**good["preprocessing"], "image_size": 32}}),
    "a size in words": lambda good: json.dumps(
        {**good, "preprocessing": {**good["preprocessing"], "image_size": "48"}}
    ),
    "unknown fit": lambda good: json.dumps({**good, "preprocessing": {**good["preprocessing"], "fit": "stretch"}}),
    "mean of 255": lambda good: json.dumps({**good, "preprocessing": {**good["preprocessing"], "mean": [127, 1, 1]}}),
    "no geometry": lambda good: json.dumps({**good, "geometry": None}),
    "no temperature": lambda good: json.dumps(
        {
            **good,
            "certainty": {**good["certainty"], "frames": {"temperature": 0, "threshold": 0, "clips": 1, "groups": 1}},
        }
    ),
    "attention that is not there": lambda good: json.dumps({**good, "pool": "attention"}),
}


@pytest.mark.parametrize("how", SPOILT)
def test_metadata_of_no_use(model_file, tmp_path, how):
    spoilt = with_metadata(model_file, tmp_path / "m.onnx", petmood=SPOILT[how](said(model_file)))
    with pytest.raises(UserError, match="is damaged: its metadata are of no use"):
        OnnxModel(spoilt)
