"""`petmood detector`: what there is, fetching, trying on photos."""

import json

import cv2
import pytest

from fixtures.detectors import CAT, DOG, guess, plain, write_yolox
from petmood.detect.table import WEIGHTS


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PETMOOD_DETECTOR", raising=False)
    folder = tmp_path / "cache" / "petmood" / "detectors"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def weights(tmp_path, monkeypatch):
    cells = guess(9, 8, 8, 16, 16, DOG, 0.75), guess(30, 40, 8, 16, 16, CAT, 0.5)
    path = write_yolox(tmp_path / "y.onnx", *cells)
    monkeypatch.setenv("PETMOOD_DETECTOR", str(path))
    return path


def photo(path, width=128, height=128, colour=(0, 0, 255)):
    cv2.imwrite(str(path), plain(width, height, colour)[..., ::-1])
    return path


def test_the_list_says_licence_and_what_is_kept(run, cache):
    code, out, _ = run("detector", "list")
    assert code == 0
    assert all(row.name in out and row.licence in out for row in WEIGHTS)
    assert str(cache) in out
    assert "yes" not in out
    (cache / WEIGHTS[0].file).write_bytes(b"")
    assert "yes" in run("detector", "list")[1]


def test_the_list_as_json_holds_the_hashes(run, cache):
    (cache / WEIGHTS[1].file).write_bytes(b"")
    rows = json.loads(run("detector", "list", "--json")[1])
    assert [row["sha256"] for row in rows] == [row.sha256 for row in WEIGHTS]
    assert [row["kept"] for row in rows][:2] == ["", str(cache / WEIGHTS[1].file)]


def test_what_is_there_is_not_fetched_again(run, cache):
    (cache / WEIGHTS[0].file).write_bytes(b"x")
    code, out, _ = run("detector", "fetch", "-q")
    assert code == 0
    assert out == f"yolox-nano (Apache-2.0): {cache / WEIGHTS[0].file}\n"


def test_without_a_network_a_fetch_fails_in_a_paragraph(run, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    code, _, err = run("detector", "fetch", "-q")
    assert code == 1
    assert "weights of yolox-nano cannot be fetched from https://github.com/Megvii" in err
    assert "hint: check the network" in err


def test_an_unknown_name_is_told_the_known_ones(run):
    code, _, err = run("detector", "fetch", "yolov8")
    assert code == 2
    assert "detector 'yolov8' is not known; known are yolox-nano, yolox-tiny" in err


def test_try_prints_boxes_that_predict_takes(run, weights, tmp_path):
    path = photo(tmp_path / "a.png")
    code, out, _ = run("detector", "try", path)
    assert code == 0
    assert out.splitlines() == [f"{path}  dog  0.75  16,16,32,32", f"{path}  cat  0.50  80,16,32,32"]
    assert run("detector", "try", path, "--least", "0.6")[1].splitlines() == out.splitlines()[:1]


def test_large_photos_have_boxes_in_their_own_pixels(run, weights, tmp_path):
    """They are decoded at a part of their size."""
    path = photo(tmp_path / "large.jpg", 4000, 4000)
    (first, _) = run("detector", "try", path)[1].splitlines()
    assert first.endswith("500,500,1000,1000")


def test_pictures_that_cannot_be_used_are_rows_with_a_reason(run, weights, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    empty = photo(tmp_path / "empty.png", colour=(0, 255, 0))
    code, out, err = run("detector", "try", tmp_path / "none.jpg", tmp_path / "bad.jpg", empty)
    assert code == 1
    first, second, third = out.splitlines()
    assert first.endswith("- No such file or directory")
    assert " - none of the formats" in second
    assert third.endswith("no cat or dog")
    assert "2 of 3 pictures could not be used" in err


def test_try_as_json(run, weights, tmp_path):
    row = json.loads(run("detector", "try", photo(tmp_path / "a.png"), "--json")[1])
    assert row["animals"][0]["box"] == {"x": 16, "y": 16, "width": 32, "height": 32}
    assert row["problem"] == ""


def test_try_without_weights_names_the_command(run, tmp_path):
    code, _, err = run("detector", "try", photo(tmp_path / "a.png"))
    assert code == 2
    assert "petmood detector fetch" in err
