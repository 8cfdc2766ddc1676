"""`petmood serve`: one command to a page; what is wrong is said before anything is served."""

import os
import signal
import subprocess
import sys

import httpx
import pytest

from fixtures import photos
from petmood.errors import UserError
from petmood.recipes.serve import ServeSettings
from petmood.serve.examples import examples_of
from petmood.serve.running import listening, on_this_machine, url_of


@pytest.fixture
def started(run_folder):
    """A server as a user starts it; its address."""
    words = [sys.executable, "-m", "petmood", "serve", str(run_folder), "--port", "0", "--whole"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.stderr.read()
        yield process, line.split()[0]
        process.kill()


def test_a_run_is_served_until_it_is_interrupted(started):
    process, address = started
    answer = httpx.post(f"{address}v1/predict", files={"file": photos.jpeg()}, timeout=30).json()
    assert answer["animals"][0]["box"] is None
    process.send_signal(signal.SIGINT)
    assert process.wait(15) in {0, 130}
    assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_named(run, run_folder):
    with listening(ServeSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", run_folder, "--whole", "--port", port)
    assert code == 2
    assert f"address 127.0.0.1:{port} cannot be used" in err
    assert "--port" in err


def test_what_is_missing_is_said_before_anything_is_served(run, run_folder, tmp_path):
    code, _, err = run("serve", tmp_path / "none", "--whole")
    assert (code, "Traceback" in err) == (2, False)
    code, _, err = run("serve", run_folder, "--whole", "--api-key-file", tmp_path / "none")
    assert code == 2
    assert "api-key-file" in err
    code, _, err = run("serve", run_folder, "--detector", tmp_path / "none.onnx")
    assert code == 2
    assert "none.onnx" in err


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(UserError, match="address 192.0.2.1:0 cannot be used") as told:
        listening(ServeSettings(host="192.0.2.1", port=0))
    assert told.value.hint == "give an address of this machine"


def test_addresses_are_known_to_be_private_or_not():
    assert [on_this_machine(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [on_this_machine(host) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org")] == [False] * 4
    with listening(ServeSettings(host="0.0.0.0", port=0)) as opened:
        assert url_of(opened) == f"http://127.0.0.1:{opened.getsockname()[1]}/"


def test_without_its_data_a_run_has_no_examples(tmp_path):
    assert examples_of(tmp_path / "runs" / "made-up") == ()
