"""The addresses below /v1: the same answers as the model itself, in words and numbers, and refusals in one form."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from fixtures import photos
from petmood import media
from petmood.geometry import Box
from petmood.probabilities import tempered
from petmood.serve.service import Served

PHOTO = photos.jpeg()


def sent(client, path, data=PHOTO, **query):
    return client.post(path, params=query, files={"file": ("photo.jpg", data)})


def refusal(response):
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"reason", "message"}
    return response.status_code, response.json()["error"]["reason"]


def expected(predictor, data, box):
    """What the model believes of a part of a photo."""
    square = predictor.prepare(media.cut(data, box, predictor.geometry).pixels)
    raw = predictor.ask(square[None]).probabilities
    (shares,) = tempered(raw, predictor.certainty.frames.temperature)
    return dict(zip(predictor.classes, shares, strict=True))


def test_a_photo_gets_the_answer_of_the_model_for_the_animal_that_was_found(client, predictor):
    answer = sent(client, "/v1/predict").json()
    assert (answer["width"], answer["height"], answer["reason"]) == (160, 120, "")
    (animal,) = answer["animals"]
    assert animal["species"] == "dog"
    assert animal["detected"] == pytest.approx(0.9, abs=0.01)
    box = Box(**animal["box"])
    shares = expected(predictor, PHOTO, box)
    assert animal["probabilities"] == pytest.approx(shares, abs=1e-4)
    assert animal["emotion"] == max(shares, key=shares.get)


def test_a_box_and_the_whole_picture_need_no_detector(client, predictor):
    boxed = sent(client, "/v1/predict", box="30,20,100,80").json()["animals"]
    assert boxed[0]["probabilities"] == pytest.approx(expected(predictor, PHOTO, Box(30, 20, 100, 80)), abs=1e-4)
    assert boxed[0]["box"] == {"x": 30, "y": 20, "width": 100, "height": 80}
    assert boxed[0]["detected"] is None
    whole = sent(client, "/v1/predict", whole=True).json()["animals"]
    assert whole[0]["probabilities"] == pytest.approx(expected(predictor, PHOTO, None), abs=1e-4)
    assert whole[0]["box"] is None


def test_no_animal_is_said_and_not_guessed(client):
    answer = sent(client, "/v1/predict", photos.jpeg(blue=False)).json()
    assert (answer["animals"], answer["reason"], answer["text"]) == ([], "no_animal", "No dog or cat was found.")
    assert refusal(sent(client, "/v1/explain", photos.jpeg(blue=False))) == (422, "no_animal")


def test_a_body_without_a_form_is_the_file(client):
    assert client.post("/v1/predict", content=PHOTO).json() == sent(client, "/v1/predict").json()


def test_a_wrong_suffix_does_not_matter(client):
    named = client.post("/v1/predict", files={"file": ("song.mp3", photos.saved(photos.scene(), "PNG"), "audio/mpeg")})
    assert named.status_code == 200


def test_words_come_in_korean_too(client):
    english, korean = (sent(client, "/v1/predict", lang=lang).json()["animals"][0] for lang in ("en", "ko"))
    assert english["probabilities"] == korean["probabilities"]
    assert english["text"].isascii()
    assert any("가" <= letter <= "힣" for letter in korean["text"])
    assert sent(client, "/v1/predict", b"", lang="ko").json()["error"]["message"] == "빈 파일입니다."


def test_a_batch_has_one_result_a_file_in_order(client):
    files = [PHOTO, b"no photo", photos.jpeg(blue=False), photos.jpeg(200, 100)]
    results = client.post("/v1/predict/batch", files=[("files", data) for data in files]).json()["results"]
    assert [one["error"] and one["error"]["reason"] for one in results] == [None, "unreadable_image", None, None]
    assert [one["picture"] and one["picture"]["width"] for one in results] == [160, None, 160, 200]
    assert results[0]["picture"] == sent(client, "/v1/predict").json()


def test_too_many_files_or_none_are_refused(serving):
    client = serving(batch=3)
    many = client.post("/v1/predict/batch", files=[("files", PHOTO)] * 4)
    assert refusal(many) == (422, "too_many_files")
    assert refusal(client.post("/v1/predict", files=[("file", PHOTO)] * 2)) == (422, "too_many_files")
    assert refusal(client.post("/v1/predict", content=b"")) == (422, "no_file")
    fields = client.post("/v1/predict", data={"file": "text"}, files={})
    assert fields.status_code in {415, 422}
    broken = client.post("/v1/predict", content=b"xx", headers={"content-type": "multipart/form-data; boundary=a"})
    assert refusal(broken) == (400, "bad_form")


def test_heat_covers_what_the_network_saw(client, served):
    heat = sent(client, "/v1/explain", emotion="angry").json()
    assert heat["emotion"] == "angry"
    (animal,) = sent(client, "/v1/predict").json()["animals"]
    assert heat["box"]["width"] > animal["box"]["width"]
    rows = np.array(heat["heat"])
    assert max(rows.shape) == 64
    assert rows.shape[1] / rows.shape[0] == pytest.approx(heat["box"]["width"] / heat["box"]["height"], rel=0.05)
    assert 0 <= rows.min() <= rows.max() <= 255
    boxed = sent(client, "/v1/explain", emotion="angry", box=",".join(map(str, animal["box"].values()))).json()
    assert np.abs(np.array(boxed["heat"]) - rows).mean() < 8  # another way of decoding the same pixels


def test_heat_comes_as_a_transparent_picture_too(client):
    response = sent(client, "/v1/explain", whole=True, format="png")
    assert response.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.mode, picture.size) == ("RGBA", (256, 192))


def test_emotions_that_the_model_does_not_know_are_refused(client):
    assert refusal(sent(client, "/v1/explain", emotion="fear")) == (422, "unknown_emotion")


def test_a_model_without_heat_maps_says_so(serving, served):
    plain = Served(network="x", engine=served.engine, looker=served.looker, finds=True)
    client = serving(model=plain)
    assert refusal(sent(client, "/v1/explain")) == (404, "no_heat_maps")
    assert client.get("/v1/model").json()["heat_maps"] is False
    assert client.get("/v1/model").json()["examples"] == 0


def test_the_model_says_what_it_is(client):
    card = client.get("/v1/model").json()
    assert card["classes"] == ["happy", "calm", "angry"]
    assert card["korean"] == ["행복/즐거움", "편안/안정", "화남/불쾌"]
    assert card["certainty"]["level"] == 0.9
    assert (card["detector"], card["heat_maps"], card["examples"]) == (True, True, 3)


def test_examples_are_unseen_crops_of_different_emotions(client, run_folder):
    found = [client.get(f"/v1/examples/{number}") for number in range(3)]
    assert {one.headers["content-type"] for one in found} == {"image/jpeg"}
    assert len({one.content for one in found}) == 3
    assert refusal(client.get("/v1/examples/3")) == (404, "not_found")


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "0,0,0,5", "1.5,0,5,5", "0,0,5,-5"])
def test_a_box_that_is_none_is_refused(client, box):
    assert refusal(sent(client, "/v1/predict", box=box)) == (422, "bad_box")


def test_other_mistakes_have_the_same_form(client):
    assert refusal(sent(client, "/v1/predict", lang="fr")) == (422, "bad_request")
    assert refusal(client.get("/nothing")) == (404, "not_found")
    wrong = client.get("/v1/predict")
    assert refusal(wrong) == (405, "wrong_method")
    assert wrong.headers["allow"] == "POST"


def test_the_description_names_every_address_and_loads_nothing(client):
    description = client.get("/openapi.json").json()
    page = client.get("/docs").text
    for path in description["paths"]:
        assert path in page
    assert "Picture" in description["components"]["schemas"]
    assert "http://" not in page.replace("http://HOST:PORT", "")
    assert "https://" not in page
    assert "<script" not in page


def test_numbers_for_prometheus(serving):
    client = serving()
    sent(client, "/v1/predict")
    sent(client, "/v1/predict", b"x")
    client.get("/v1/examples/1")
    client.get("/made/up/address")
    text = client.get("/metrics").text
    assert 'petmood_requests_total{path="/v1/predict",status="200"} 1.0' in text
    assert 'petmood_requests_total{path="/v1/examples/{number}",status="200"} 1.0' in text
    assert 'petmood_refused_total{reason="unreadable_image"} 1.0' in text
    assert "petmood_batch_size_sum 1.0" in text
    assert "made/up" not in text
    assert "petmood_requests_inside 0.0" in text


def test_health(client):
    assert json.loads(client.get("/healthz").content) == {"status": "ok"}
