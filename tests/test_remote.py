"""Work folders on a real S3 server: fetched before a command, pushed after it, by one machine at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import pytest
import torch

from fixtures.clusters import dask_cluster
from fixtures.s3 import BUCKET, s3_server
from fixtures.workspaces import make_workspace
from petmood.errors import RunError, UserError
from petmood.remote import claimed, mirror_of
from petmood.remote.claim import LOCK
from petmood.remote.mirror import PUSH
from petmood.synth import SynthSettings, synth

torch.set_num_threads(1)

PROBE = ["--recipe", "probe", "--model", "test_efficientnet", "--pretrained", "none", "--image-size", 32, "--no-doctor"]


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        yield bucket


@pytest.fixture
def url(server, request, tmp_path, monkeypatch):
    """An empty place on the server, and a cache that knows nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"{server}/{request.node.name[:40]}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "source"
    synth(folder, SynthSettings(clips=40, frames=3, seed=2, shares="balanced"), jobs=1)
    return folder


@pytest.fixture
def other_machine(tmp_path, monkeypatch):
    """Calls a function with another cache, as of another machine."""

    def call(function):
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
            return function()

    return call


def _objects(url):
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return {one["Key"].removeprefix(f"{prefix}/"): _read(one["Key"]) for one in found}


def _read(key):
    return boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()


def _files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


def _everything(_):
    return True


def _pushed(url, **files):
    """A mirror with these files (dots for double underscores), pushed."""
    mirror = mirror_of(url)
    mirror.fetch(_everything)
    _write(mirror, **files)
    mirror.push()
    return mirror


def _write(mirror, **files):
    for name, text in files.items():
        path = mirror.work / name.replace("__", ".").replace("_0_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_work_folder_on_s3_is_prepared_here_and_trained_and_judged_elsewhere(
    url, source, other_machine, run, tmp_path
):
    here = tmp_path / "work"
    assert run("prepare", source, here, "--jobs", 1, "--no-sheet")[0] == 0
    code, _, told = run("prepare", source, url, "--jobs", 1, "--no-sheet")
    assert (code, f"{url}: 0 files fetched" in told) == (0, True)
    objects = _objects(url)
    assert set(objects) == {*_files(here), PUSH}
    assert all(objects[name] == content for name, content in _files(here).items())

    def elsewhere():
        assert run("train", url, *PROBE, "--threads", 1)[0] == 0
        assert run("evaluate", f"{url}/runs/probe", "--no-heat-maps")[0] == 0

    other_machine(elsewhere)
    assert {"runs/probe/bundle.json", "runs/probe/model.safetensors", "runs/probe/report.html"} <= set(_objects(url))
    code, answers, _ = run("predict", f"{url}/runs/probe", next(source.rglob("*.jpg")), "--whole", "--json")
    assert code == 0
    assert json.loads(answers)["emotion"]
    code, out, _ = run("prepare", source, url, "--jobs", 1, "--no-sheet")
    assert code == 0
    assert out.count("up to date") == 5


def test_only_what_changed_is_fetched_and_pushed(url, other_machine):
    _pushed(url, petmood__json="{}", frames__parquet="one", crops_0_part__tar="tar")
    other = other_machine(lambda: mirror_of(url))
    assert other.fetch(_everything) == 3
    assert other.fetch(_everything) == 0
    assert other.push() == 0
    (other.work / "crops" / "part.tar").unlink()
    _write(other, frames__parquet="two")
    assert other.push() == 2
    mirror = mirror_of(url)
    assert mirror.fetch(_everything) == 1
    assert _files(mirror.work) == {"petmood.json": b"{}", "frames.parquet": b"two"}


def test_locks_and_unfinished_work_stay_here(url):
    _pushed(url, petmood__json="{}", __petmood__lock="", __pack__x_0_part__tar="half")
    assert set(_objects(url)) == {"petmood.json", PUSH}


def test_marks_are_taken_away_first_and_put_last(url, monkeypatch):
    mirror = _pushed(url, petmood__json="{}", index__json="1", pack__json="1", crops_0_part__tar="1", frames__csv="1")
    _write(mirror, pack__json="22", crops_0_part__tar="22", frames__csv="22")
    seen = []
    put, remove = type(mirror)._put, type(mirror)._remove
    monkeypatch.setattr(type(mirror), "_put", lambda self, name: seen.append(f"put {name}") or put(self, name))
    monkeypatch.setattr(type(mirror), "_remove", lambda self, name: seen.append(f"remove {name}") or remove(self, name))
    mirror.push()
    assert seen[0] == "remove pack.json"
    assert sorted(seen[1:3]) == ["put crops/part.tar", "put frames.csv"]
    assert seen[3:] == ["put pack.json"]


_KILLED_WHILE_PUSHING = """
import os, signal, sys
from petmood.remote import mirror_of
from petmood.remote.mirror import Mirror
put, count = Mirror._put, []
def _put(self, name):
    done = put(self, name)
    count.append(name)
    if len(count) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Mirror._put = _put
mirror_of(sys.argv[1]).push()
"""


def test_a_push_that_is_killed_counts_as_unfinished_and_goes_on(url, other_machine):
    mirror = _pushed(url, petmood__json="{}", pack__json="1", **{f"crops_0_part-{n}__tar": "1" for n in range(12)})
    _write(mirror, pack__json="2", **{f"crops_0_part-{n}__tar": f"new {n}" for n in range(12)})
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_PUSHING, url], env=os.environ, check=False)
    assert killed.returncode == -9
    half = _objects(url)
    assert "pack.json" not in half
    assert {half[f"crops/part-{number}.tar"] for number in range(12)} > {b"1"}
    again = mirror_of(url)
    again.fetch(_everything)
    again.push()
    expected = _files(again.work)
    assert expected["crops/part-7.tar"] == b"new 7"
    assert {name: content for name, content in _objects(url).items() if name != PUSH} == expected
    other = other_machine(lambda: mirror_of(url))
    other.fetch(_everything)
    assert _files(other.work) == expected


def test_a_push_that_lacks_its_last_note_alone_is_ended_by_the_next(url):
    mirror = _pushed(url, petmood__json="{}")
    last = json.loads(_objects(url)[PUSH])
    mirror._write_push(last["push"], whole=False)
    assert mirror.push() == 0
    assert json.loads(_objects(url)[PUSH])["whole"]


def test_changes_that_were_not_pushed_are_set_aside_when_another_machine_has_pushed(url, other_machine, capsys):
    mirror = _pushed(url, petmood__json="{}", frames__parquet="one")
    _write(mirror, frames__parquet="mine")
    other_machine(lambda: _pushed(url, frames__parquet="theirs"))
    with pytest.raises(RunError, match="was changed by another machine meanwhile; nothing was pushed"):
        mirror.push()
    mirror.fetch(_everything)
    assert (mirror.work / "frames.parquet").read_text() == "theirs"
    aside = next(mirror.work.parent.glob("set-aside-*"))
    assert (aside / "frames.parquet").read_text() == "mine"
    assert f"1 files that were changed here and not pushed are set aside in {aside}" in capsys.readouterr().err


def _lock_of_another(url, **changes):
    owner = {
        "command": "petmood pack",
        "pid": 7,
        "host": "far",
        "since": "noon",
        "machine": "m",
        "token": "t",
        "part": "",
    }
    key = f"{url}/{LOCK}".removeprefix(f"s3://{BUCKET}/")
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps({**owner, "count": 1, **changes}).encode())


def test_a_folder_in_which_another_machine_works_is_refused(url):
    _lock_of_another(url)
    stop = threading.Event()

    def work():
        count = 1
        while not stop.wait(0.05):
            count += 1
            _lock_of_another(url, count=count)

    thread = threading.Thread(target=work)
    thread.start()
    refused = claimed(url, "petmood train", watch=5)
    with pytest.raises(UserError, match=r"is in use by `petmood pack` \(process 7 on far, since noon\)"), refused:
        pass
    stop.set()
    thread.join()


def test_two_that_begin_at_once_never_both_go_on(url):
    inside, refused = [], []

    def begin():
        try:
            with claimed(url, "petmood pack"):
                inside.append(len(inside))
                done.wait()
        except UserError as error:
            refused.append(error)
            done.set()

    done = threading.Event()
    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 1)


def test_a_lock_whose_counter_stands_still_is_taken_over(url, capsys):
    _lock_of_another(url)
    with claimed(url, "petmood train", watch=0.3):
        assert "`petmood pack` (process 7 on far, since noon), which gave no sign" in capsys.readouterr().err
        alive = claimed(url, "petmood train")
        with (
            pytest.raises(UserError, match=rf"`petmood train` \(process {os.getpid()} on {socket.gethostname()}"),
            alive,
        ):
            pass
    assert LOCK not in _objects(url)


def test_a_command_that_fails_pushes_its_runs_alone_and_frees_the_lock(url, run):
    mirror = mirror_of(url)
    make_workspace(mirror.work)
    mirror.push()
    (mirror.work / "runs" / "begun").mkdir(parents=True)
    (mirror.work / "runs" / "begun" / "config.yaml").write_text("x")
    (mirror.work / "split.json").write_text("{}")
    assert run("train", url, "--recipe", "no-such-recipe.yaml")[0] == 2
    assert run("split", url, "--train", "0.9", "--val", "0.9")[0] == 2
    assert "runs/begun/config.yaml" not in _objects(url)  # the words alone were wrong
    assert run("train", url, *PROBE, "--name", "begun")[0] == 2
    objects = _objects(url)
    assert "runs/begun/config.yaml" in objects
    assert objects["split.json"] != b"{}"
    assert LOCK not in objects


def test_an_address_in_no_bucket_and_a_run_in_no_work_folder(url, run):
    code, _, told = run("train", "s3://no-such-bucket/work")
    assert code != 0
    assert "s3://no-such-bucket/work" in told
    code, _, told = run("predict", f"{url}/mine", "x.jpg")
    assert (code, "its address ends in /runs/NAME" in told) == (2, True)


def test_index_and_pack_on_a_cluster_bring_their_files_into_the_mirror(url, source, run, tmp_path):
    here = tmp_path / "here"
    assert run("prepare", source, here, "--jobs", 1, "--no-sheet")[0] == 0
    with dask_cluster(tmp_path / "dask", workers=1) as cluster:
        code, _, told = run("prepare", source, url, "--cluster", cluster.address, "--no-sheet")
        assert code == 0, told
        code, _, told = run("train", url, *PROBE, "--cluster", cluster.address)
        assert (code, "cannot read a remote work folder" in told) == (2, True)
    found = _objects(url)
    assert {name: found[name] for name in _files(here)} == _files(here)
