"""`petmood predict`: from words on the command line to tables, JSON, CSV, drawn pictures and videos."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from fixtures.detectors import CAT, DOG, guess, plain, write_yolox
from fixtures.workspaces import make_workspace
from petmood import video
from petmood.bundle import keep_certainty
from petmood.cli import run as command
from petmood.cli.answer_table import AnswerTable, system_language, width_of
from petmood.media import encode
from petmood.pictures import decode_any
from petmood.recipes import TrainSettings
from petmood.recipes.predict import milliseconds
from petmood.records import Calibrated, Certainty, Prediction
from petmood.train import train

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("command") / "work", sources=True)


@pytest.fixture(scope="module")
def run(workspace):
    settings = TrainSettings(
        model="test_efficientnet", image_size=48, pretrained="none", epochs=1, batch_size=16, learning_rate=4e-3
    )
    folder = train(workspace, "run", settings, quiet=True).run
    calibrated = Calibrated(temperature=1.5, threshold=0.34, clips=9, groups=9)
    keep_certainty(folder, Certainty(level=0.9, frames=calibrated, clips=calibrated))
    return folder


@pytest.fixture(scope="module")
def photos(workspace):
    return workspace.read_frames()["path"].to_list()[::9]


@pytest.fixture(scope="module")
def film(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    still = decode_any(Path(photos[0]).read_bytes())
    with video.recording(path, every_ms=100) as recorder:
        for number in range(10):
            recorder.add(100 * number, still)
    return str(path)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("PETMOOD_DETECTOR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def predict(run, *words, whole=True):
    return command(["predict", str(run), *map(str, words), *(["--whole"] if whole else []), "--device", "cpu"])


def test_the_table_is_aligned_in_both_languages(run, photos, film, capsys):
    assert predict(run, photos[0], film, photos[1], "--lang", "ko") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["input", "animal", "answer", "행복/즐거움", "편안/안정", "화남/불쾌"]
    first_number = [width_of(line[: re.search(r"\d\.\d{3}", line).start()]) for line in lines]
    assert first_number == [width_of(header[: header.index("행복")])] * 3
    assert "동물 1" in lines[1]


def test_json_lines_are_in_the_order_of_the_inputs_and_failures_are_rows(run, photos, film, capsys, tmp_path):
    missing = tmp_path / "none.jpg"
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    words = [photos[0], missing, film, tmp_path / "broken.mp4", photos[1]]
    assert predict(run, *words, "--json") == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["source"] for row in rows] == [str(word) for word in words]
    assert [row["reason"] for row in rows] == ["", "no_image", "", "unreadable_video", ""]
    assert set(rows[0]["probabilities"]) == {"happy", "calm", "angry"}
    assert rows[0]["emotion"] in rows[0]["answers"]
    assert (rows[2]["track"], rows[2]["frames"]) == (1, 5)  # every 200 ms of 100
    assert "2 of 5 inputs have no answer" in captured.err


def test_the_csv_holds_all_probabilities_and_every_frame_if_asked(run, photos, film, tmp_path, capsys):
    table = tmp_path / "answers.csv"
    assert predict(run, photos[0], film, "--csv", table, "--frames", "--every", "300ms", "--json") == 0
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["time_ms"] for row in rows] == ["", "0", "300", "600", "900", "0"]
    assert [row["frames"] for row in rows] == ["0", "0", "0", "0", "0", "4"]
    for row in rows:
        assert sum(float(row[name]) for name in ("happy", "calm", "angry")) == pytest.approx(1, abs=1e-5)
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_drawn_copies_are_written_for_photos_and_videos(run, photos, film, tmp_path):
    out = tmp_path / "drawn"
    twin = tmp_path / "other" / Path(photos[0]).name
    twin.parent.mkdir()
    twin.write_bytes(Path(photos[0]).read_bytes())
    assert predict(run, photos[0], twin, film, tmp_path / "none.jpg", "--draw", out) == 1
    stem = Path(photos[0]).stem
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted([f"{stem}.jpg", f"{stem}-2.jpg", "film.mp4", "film-timeline.png"])
    with Image.open(out / f"{stem}.jpg") as copy:
        assert min(copy.size) >= 480
    assert [time for time, _ in video.frames(out / "film.mp4", every_ms=0)] == [0, 200, 400, 600, 800]


def test_a_box_needs_no_detector_and_changes_the_answer(run, photos, capsys):
    assert predict(run, photos[0], "--box", "0,0,20,20", "--json", whole=False) == 0
    assert predict(run, photos[0], "--json") == 0
    boxed, whole = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert boxed["box"] == {"x": 0, "y": 0, "width": 20, "height": 20}
    assert whole["box"] is None
    assert boxed["probabilities"] != whole["probabilities"]


def test_the_detector_that_is_named_finds_each_animal(run, tmp_path, capsys):
    weights = write_yolox(tmp_path / "yolox.onnx", guess(9, 8, 8, 20, 30, DOG), guess(14, 40, 8, 20, 30, CAT, 0.6))
    for name, colour in (("blue", (0, 0, 255)), ("black", (0, 0, 0))):
        (tmp_path / f"{name}.jpg").write_bytes(encode(plain(128, 128, colour), 95))
    words = [tmp_path / "blue.jpg", tmp_path / "black.jpg", "--detector", weights, "--json"]
    assert predict(run, *words, whole=False) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(row["source"]).stem, row["species"], row["reason"]) for row in rows] == [
        ("blue", "dog", ""),
        ("blue", "cat", ""),
        ("black", "", "no_animal"),
    ]
    assert rows[0]["box"] == {"x": 16, "y": 16, "width": 40, "height": 60}
    assert predict(run, *words, "--least", "0.8", whole=False) == 1
    assert [json.loads(line)["species"] for line in capsys.readouterr().out.splitlines()] == ["dog", ""]


def test_without_weights_box_and_whole_the_command_that_fetches_them_is_named(run, photos, film, capsys):
    for word in (photos[0], film):
        assert predict(run, word, whole=False) == 2
        captured = capsys.readouterr()
        assert "petmood detector fetch" in captured.err
        assert captured.out == ""


def test_an_exported_file_answers_as_its_run(run, photos, film, capsys):
    assert command(["export", str(run)]) == 0
    capsys.readouterr()
    assert predict(run, *photos, film, "--json") == 0
    assert predict(run / "model.onnx", *photos, film, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ours, exported = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    for one, other in zip(ours, exported, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=0.01)
        assert one["emotion"] == other["emotion"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "there is nothing to look at"),
        (["https://example.org/a.jpg"], "petmood asks the network only if told to"),
        (["a.jpg", "--every", "often"], "time 'often' is not usable"),
        (["a.jpg", "--box", "1,2,3"], "box '1,2,3' is not usable"),
        (["--webcam", "99"], "webcam 99 .* cannot be opened"),
    ],
)
def test_what_cannot_be_started_is_explained(run, words, text, capsys):
    assert predict(run, *words) == 2
    assert re.search(text, capsys.readouterr().err)


def test_long_names_show_their_end():
    table = AnswerTable(("happy", "calm"), ["x" * 80 + "/photo.jpg"], "en")
    one = Prediction(source="x" * 80 + "/photo.jpg", emotion="calm", probabilities={"happy": 0.25, "calm": 0.75})
    line = table.line(one)
    assert line.startswith("…")
    assert "/photo.jpg  " in line
    assert table.header().index("happy") == line.index("0.250")


def test_times_are_read():
    assert [milliseconds(text) for text in ("200ms", "1.5s", "2", "0", " 40 ms")] == [200, 1500, 2000, 0, 40]


def test_the_language_follows_the_system():
    assert system_language({"LANG": "ko_KR.UTF-8"}) == "ko"
    assert system_language({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}) == "en"
    assert system_language({}) == "en"
