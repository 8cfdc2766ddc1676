"""`petmood predict model.onnx` where only numpy, Pillow and onnxruntime are installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import PIL
import pytest
from PIL import Image

import petmood

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(noise).resize((400, 300)).save(folder / f"{number} 개.jpg")
    return folder


@pytest.fixture(scope="module")
def three_packages(tmp_path_factory):
    """A folder from which only petmood and the three packages can be imported, with the libraries that they load."""
    folder = tmp_path_factory.mktemp("packages")
    for package in (np, PIL, onnxruntime, petmood):
        place = Path(package.__file__).parent
        (folder / place.name).symlink_to(place)
        for libraries in place.parent.glob(f"{place.name.lower().replace('pil', 'pillow')}.libs"):
            (folder / libraries.name).symlink_to(libraries)
    return folder


@pytest.fixture
def light(three_packages):
    """Runs petmood without everything else."""

    def call(*words, language="C.UTF-8"):
        environment = {
            "PYTHONPATH": str(three_packages),
            "LANG": language,
            "PYTHONUTF8": "1",
            "PATH": os.environ["PATH"],
        }
        command = [sys.executable, "-S", "-m", "petmood", *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, encoding="utf-8")

    return call


def test_nothing_else_can_be_imported_there(three_packages):
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import polars"],
        env={"PYTHONPATH": str(three_packages)},
        capture_output=True,
        check=False,
    )
    assert b"No module named 'polars'" in done.stderr


def test_photos_are_answered(light, model_file, photos):
    done = light("predict", model_file, photos, "--top", 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0].rpartition("/")[2] for line in lines] == ["0 개.jpg", "1 개.jpg", "2 개.jpg"]
    assert all(line.count(" 0.") == 2 for line in lines)
    assert "the whole of each picture is taken for the animal" in done.stderr


def test_answers_are_those_of_the_full_way(light, model_file, photos, run):
    words = ("predict", model_file, photos, "--box", "5,5,390,290", "--json")
    done = light(*words)
    assert (done.returncode, done.stderr) == (0, "")
    code, out, _ = run(*words)
    assert code == 0
    for given, expected in zip(done.stdout.splitlines(), out.splitlines(), strict=True):
        small, full = json.loads(given), json.loads(expected)
        assert (small["source"], small["emotion"], small["box"]) == (full["source"], full["emotion"], full["box"])
        for name, share in full["probabilities"].items():
            assert small["probabilities"][name] == pytest.approx(share, abs=0.01)


def test_korean_is_spoken_where_the_system_speaks_it(light, model_file, photos):
    done = light("predict", model_file, photos, "--whole", language="ko_KR.UTF-8")
    assert "행복/즐거움" in done.stdout
    assert done.stderr == ""
    assert "행복" not in light("predict", model_file, photos, "--lang", "en").stdout


def test_a_photo_of_no_use_is_a_line_with_a_reason(light, model_file, photos, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    done = light("predict", model_file, photos / "0 개.jpg", tmp_path / "bad.jpg", "--whole")
    assert done.returncode == 1
    assert "- unreadable_image" in done.stdout.splitlines()[1]
    assert "1 of 2 pictures could not be used" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("predict", "none.onnx", "x.jpg"), "exported file none.onnx does not exist"),
        (("predict", "MODEL", "x.jpg", "--box", "1,2,3"), "box '1,2,3' is not usable"),
        (("predict", "MODEL", "EMPTY"), "holds no pictures"),
        (("predict", "MODEL"), "the following arguments are required: PHOTO"),
        (("predict", "runs/mine", "x.jpg"), "only exported files can be used here"),
        (("train", "work"), "only exported files can be used here"),
        ((), "only exported files can be used here"),
    ],
)
def test_what_cannot_be_done_is_said(light, model_file, tmp_path, words, told):
    named = {"MODEL": str(model_file), "EMPTY": str(tmp_path)}
    done = light(*(named.get(word, word) for word in words))
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_real_environment_with_three_packages(model_file, photos, tmp_path):
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed")
    python = tmp_path / "venv" / "bin" / "python"
    for words in (
        ["venv", "-q", "--python", sys.executable, tmp_path / "venv"],
        ["pip", "install", "-q", "--python", python, "--no-deps", ROOT, "onnxruntime", "pillow", "numpy"],
    ):
        done = subprocess.run([uv, *words], capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip(f"no packages can be had here: {done.stderr[:200]}")
    petmood = python.with_name("petmood")
    done = subprocess.run(
        [petmood, "predict", model_file, photos, "--whole"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
