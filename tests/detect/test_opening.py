"""Which detector is opened: that of an option, of the environment, or of the cache folder; what is said without any."""

import shutil
import subprocess
import sys

import pytest

from fixtures.detectors import DOG, guess, plain, write_yolox
from petmood.detect import Yolox, find_weights, open_detector
from petmood.detect.cache import cache_folder
from petmood.detect.table import WEIGHTS, named
from petmood.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PETMOOD_DETECTOR", raising=False)
    folder = tmp_path / "cache" / "petmood" / "detectors"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def weights(tmp_path):
    return write_yolox(tmp_path / "mine.onnx", guess(9, 0, 0, 64, 64, DOG))


def test_without_weights_the_error_names_the_command(cache):
    with pytest.raises(UserError, match="no weights of a detector") as caught:
        open_detector()
    assert str(cache) in caught.value.message
    assert "petmood detector fetch" in caught.value.hint
    assert "PETMOOD_DETECTOR" in caught.value.hint


def test_a_file_is_opened_and_beats_the_environment(weights, monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", "/nowhere.onnx")
    opened = open_detector(str(weights), threads=1)
    assert isinstance(opened, Yolox)
    assert [animal.species for animal in opened.animals(plain(20, 20))] == ["dog"]


def test_the_environment_beats_the_cache(weights, cache, monkeypatch):
    shutil.copy(weights, cache / "yolox_nano.onnx")
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    assert find_weights() == weights


def test_what_the_environment_names_wrongly_is_said_to_come_from_there(monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", "/nowhere.onnx")
    with pytest.raises(UserError, match=r"'/nowhere.onnx' \(named by PETMOOD_DETECTOR\) is no file"):
        open_detector()


def test_of_what_was_fetched_the_first_of_the_table_is_taken(weights, cache):
    for name in ("yolox_s.onnx", "yolox_tiny.onnx"):
        shutil.copy(weights, cache / name)
    assert find_weights() == cache / "yolox_tiny.onnx"
    assert find_weights("yolox-s") == cache / "yolox_s.onnx"


def test_a_name_whose_weights_are_not_there_names_its_own_command():
    with pytest.raises(UserError, match="weights of yolox-tiny are not kept") as caught:
        open_detector("yolox-tiny")
    assert "petmood detector fetch yolox-tiny" in caught.value.hint
    with pytest.raises(UserError, match="weights of fasterrcnn-mobilenet-320") as caught:
        open_detector("torchvision")
    assert "petmood detector fetch fasterrcnn-mobilenet-320" in caught.value.hint


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"1")
    with pytest.raises(UserError, match=r"is a \.bin file; allowed are \.onnx, \.pth"):
        open_detector(str(tmp_path / "weights.bin"))


def test_the_cache_folder_is_below_the_home_unless_the_system_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == tmp_path / ".cache" / "petmood" / "detectors"


def test_the_table_is_whole():
    assert len({row.name for row in WEIGHTS}) == len({row.file for row in WEIGHTS}) == len(WEIGHTS)
    for row in WEIGHTS:
        assert len(row.sha256) == 64
        assert set(row.sha256) <= set("0123456789abcdef")
        assert row.address.startswith("https://")
        assert row.address.endswith(row.file)
        assert row.file.endswith(".onnx" if row.kind == "yolox" else ".pth")
        assert named(row.name) is row
    # torchvision puts the first digits of the hash into the name.
    assert all(row.sha256[:8] in row.file for row in WEIGHTS if row.kind == "torchvision")


def test_the_onnx_detector_needs_no_torch(weights):
    code = (
        "import sys; from petmood.detect import open_detector; open_detector(sys.argv[1]); "
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, weights], check=False).returncode == 0
