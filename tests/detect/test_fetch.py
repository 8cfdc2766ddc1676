"""Weights come whole, as their publisher made them, or not at all."""

import contextlib
import dataclasses
import hashlib
import http.server
import re
import threading

import pytest

from fixtures.detectors import DOG, guess, write_yolox
from petmood.detect import open_detector
from petmood.detect.cache import cache_folder, fetch, kept, sha256_of
from petmood.detect.table import WEIGHTS
from petmood.errors import RunError


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        promised = len(content or b"") + (1000 if self.path == "/cut-off" else 0)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asks may have heard enough
            self.wfile.write(content or b"")

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("PETMOOD_DETECTOR", raising=False)
    return cache_folder()


@pytest.fixture
def content(tmp_path):
    return write_yolox(tmp_path / "made.onnx", guess(9, 0, 0, 64, 64, DOG)).read_bytes()


@pytest.fixture
def server(content):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files = {"/right": content, "/cut-off": content[:100], "/long": content * 2}
        running.files["/wrong"] = content[:-1] + b"!"
        running.asked = 0
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def weights(content, address):
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(WEIGHTS[0], size=len(content), sha256=digest, address=address)


def address(server, path):
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_fetched_weights_are_kept_and_opened(server, content, cache):
    row = weights(content, address(server, "/right"))
    assert kept(row) is None
    path = fetch(row, quiet=True)
    assert path == cache / "yolox_nano.onnx"
    assert path.read_bytes() == content
    assert sha256_of(path) == row.sha256
    assert open_detector() is not None
    assert fetch(row, quiet=True) == path
    assert server.asked == 1
    fetch(row, quiet=True, force=True)
    assert server.asked == 2


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/wrong", "with SHA-256"),
        ("/long", "with SHA-256"),
        ("/cut-off", "100 bytes|cannot be fetched"),
        ("/none", "cannot be fetched.*Not Found"),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(server, content, cache, path, words):
    with pytest.raises(RunError, match=words) as caught:
        fetch(weights(content, address(server, path)), quiet=True)
    assert address(server, path) in caught.value.message
    assert "PETMOOD_DETECTOR=FILE" in caught.value.hint
    assert list(cache.iterdir()) == []


def test_what_is_far_too_long_is_not_fetched_to_its_end(server, content):
    server.files["/endless"] = content + bytes(8 << 20)
    with pytest.raises(RunError, match="gave [0-9,]+ bytes") as caught:
        fetch(weights(content, address(server, "/endless")), quiet=True)
    told = re.search("gave ([0-9,]+) bytes", caught.value.message)
    assert int(told[1].replace(",", "")) < 1 << 20


def test_weights_that_are_there_survive_a_fetch_that_fails(server, content, cache):
    fetch(weights(content, address(server, "/right")), quiet=True)
    with pytest.raises(RunError):
        fetch(weights(content, address(server, "/wrong")), quiet=True, force=True)
    assert [path.name for path in cache.iterdir()] == ["yolox_nano.onnx"]
    assert (cache / "yolox_nano.onnx").read_bytes() == content


@pytest.mark.parametrize("host", ["nobody.invalid", "127.0.0.1:9"])
def test_a_publisher_that_cannot_be_reached_is_told(content, cache, host):
    with pytest.raises(
        RunError, match=f"weights of yolox-nano cannot be fetched from http://{host}/y.onnx: "
    ) as caught:
        fetch(weights(content, f"http://{host}/y.onnx"), quiet=True)
    assert "check the network" in caught.value.hint
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_told_as_such(server, small_disk, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    large = bytes(1 << 20)
    server.files["/large"] = large
    with pytest.raises(OSError, match="No space left"):
        fetch(weights(large, address(server, "/large")), quiet=True)
    assert list(cache_folder().iterdir()) == []
