"""The programs of docs/guide/deploy.md run as they stand there, and answer as petmood does."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from petmood.geometry import Box
from petmood.runtime import OnnxModel

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "deploy.md").read_text(encoding="utf-8")
#: The `dist` folder of npm's onnxruntime-web, if somebody has it.
WEB = os.environ.get("PETMOOD_ORT_WEB", "")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: How far other ways of resizing may lead.
NEAR = 0.05


def program(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "dog.png"
    rows, columns = np.mgrid[0:420, 0:640]
    waves = [127 + 100 * np.sin((rows * (2 + i) + columns * (3 - i)) / 50) for i in range(3)]
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def model(model_file):
    return OnnxModel(model_file, threads=1)


def assert_near(found, expected):
    assert list(found["probabilities"]) == list(expected.probabilities)
    for name, share in expected.probabilities.items():
        assert found["probabilities"][name] == pytest.approx(share, abs=NEAR)
    assert found["answers"][0] == expected.emotion


def test_the_python_program_answers_as_petmood(model, model_file, photo, tmp_path):
    script = tmp_path / "mood.py"
    script.write_text(program("python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script, model_file, photo], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert_near(json.loads(done.stdout), model.predict(photo))


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize("box", [None, (100, 50, 300, 200), (10, 10, 30, 20)])
def test_its_squares_are_nearly_those_of_petmood(model, photo, fit, box):
    import dataclasses

    from petmood.runtime.preparing import cut, prepare

    own = {}
    exec(compile(program("python"), "deploy.md", "exec"), {**own, "__name__": "guide"}, own)
    seen = dataclasses.replace(model.described, fit=fit)
    whole = Image.open(photo).convert("RGB")
    # The program's functions call each other through their module's names.
    animal = exec_call(own, "crop", whole, box or (0, 0, *whole.size), seen.geometry.margin, seen.geometry.shorter_side)
    square = exec_call(own, "square", animal, seen.image_size, seen.mean, fit)
    expected = prepare(cut(photo.read_bytes(), Box(*box) if box else None, seen.geometry), seen)
    assert square.shape == expected.shape
    assert np.abs(square.astype(int) - expected).mean() < 3


def exec_call(own, name, *arguments):
    own[name].__globals__.update(own)
    return own[name](*arguments)


@pytest.mark.skipif(not WEB or not CHROMIUM, reason="needs Chromium, and onnxruntime-web (PETMOOD_ORT_WEB=its dist)")
def test_the_page_answers_as_petmood_in_a_browser(model, model_file, photo, tmp_path):
    from playwright.sync_api import sync_playwright

    (tmp_path / "index.html").write_text(program("html"), encoding="utf-8")
    shutil.copy(model_file, tmp_path / "model.onnx")
    shutil.copy(photo, tmp_path / "dog.png")
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        shutil.copy(Path(WEB) / name, tmp_path / name)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    box = (100, 50, 300, 200)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            problems = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
            page.wait_for_function("() => !!window.predict", timeout=20_000)
            ask = "async (box) => await predict(await (await fetch('dog.png')).blob(), box ?? undefined)"
            answers = [page.evaluate(ask, given) for given in (None, list(box))]
            page.set_input_files("#photo", photo)
            page.wait_for_function("document.querySelector('#answer').textContent")
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    assert not problems
    assert_near(answers[0], model.predict(photo))
    assert_near(answers[1], model.predict(photo, Box(*box)))
