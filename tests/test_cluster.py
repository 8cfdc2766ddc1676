"""A cluster of real processes: the same files and values as on one machine, whoever dies."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import threading
import time
from pathlib import Path

import polars as pl
import pytest
import torch

from fixtures.clusters import dask_cluster, deadly, fails, killed_once, own_address, process
from fixtures.workspaces import make_workspace
from petmood import features as features_module
from petmood.cluster import asking, on_cluster
from petmood.data import curate as curate_stage
from petmood.data import pack as pack_stage
from petmood.errors import RunError, UserError
from petmood.features import crop_features
from petmood.parallel import run_tasks
from petmood.recipes import TrainSettings
from petmood.recipes.features import FeatureSettings
from petmood.sources import aihub
from petmood.synth import SynthSettings, synth
from petmood.train import train

torch.set_num_threads(1)

DESCRIBED = FeatureSettings(model="test_efficientnet", pretrained="none", image_size=32, threads=1, device="cpu")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers that are ready; tests that kill one start another."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as started:
        _until(lambda: len(_workers(started)) == 2)
        yield started


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "source"
    synth(folder, SynthSettings(clips=12, frames=6, seed=3, faults=0.1), jobs=1)
    return folder


@pytest.fixture
def small_tasks(monkeypatch):
    monkeypatch.setattr(aihub, "_CLIPS_A_TASK", 2)
    monkeypatch.setattr(curate_stage, "FRAMES_A_TASK", 10)
    monkeypatch.setattr(pack_stage, "CROPS_A_PART", 8)
    monkeypatch.setattr(features_module, "_BLOCK", 12)


def _until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _workers(cluster):
    with on_cluster(cluster.address):
        return set(run_tasks(process, range(12)))


def _kill(cluster, pid):
    """Kill a worker, and start another in its place."""
    worker = next(worker for worker in cluster.workers if worker.pid == pid)
    worker.kill()
    worker.wait()
    cluster.add_worker()


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.usefixtures("small_tasks")
def test_index_curate_and_pack_write_the_same_bytes_as_here(cluster, source, run, tmp_path):
    here, there = tmp_path / "here" / "work", tmp_path / "there" / "work"
    for work, words in ((here, ["--jobs", 1]), (there, ["--cluster", cluster.address])):
        assert run("index", source, work, *words)[0] == 0
        assert run("curate", work, "--no-sheet", "--per-clip", 3, *words)[0] == 0
        assert run("pack", work, *words)[0] == 0
    assert _files(here) == _files(there)
    assert len(list((there / "crops").glob("*.tar"))) > 2


@pytest.mark.usefixtures("small_tasks")
def test_a_worker_that_is_killed_within_a_part_changes_nothing(cluster, source, run, tmp_path):
    here, there, copied = tmp_path / "here", tmp_path / "there", tmp_path / "source"
    shutil.copytree(source, copied)
    assert run("index", copied, here, "--jobs", 1)[0] == 0
    assert run("curate", here, "--no-sheet")[0] == 0
    shutil.copytree(here, there)
    assert run("pack", here, "--jobs", 1)[0] == 0
    picture = Path(pl.read_parquet(there / "frames.parquet").filter("keep")["path"][20])
    with _killing_its_reader(picture, cluster) as killed:
        assert run("pack", there, "--cluster", cluster.address)[0] == 0
    assert len(killed) == 1
    assert _files(here) == _files(there)


@contextlib.contextmanager
def _killing_its_reader(picture, cluster):
    """A picture that makes its reader wait: that is killed, and the next one finds the picture as it was."""
    aside, killed = picture.with_suffix(".aside"), []
    picture.replace(aside)
    os.mkfifo(picture)

    def kill():
        writing = _open_for_its_reader(picture)
        _until(lambda: _holders(cluster, picture))  # it may still be within its opening
        found = _holders(cluster, picture)[0]
        aside.replace(picture)
        _kill(cluster, found)
        os.close(writing)
        killed.append(found)

    thread = threading.Thread(target=kill)
    thread.start()
    yield killed
    thread.join()


def _open_for_its_reader(pipe):
    """The writing end of a pipe, as soon as somebody reads."""
    end = time.monotonic() + 30
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO
            assert time.monotonic() < end
            time.sleep(0.02)


def _holders(cluster, path):
    return [worker.pid for worker in cluster.workers if _holds(worker.pid, path)]


def _holds(pid, path):
    with contextlib.suppress(OSError):
        return any(file.exists() and file.samefile(path) for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_results_stay_complete_and_in_order_when_a_worker_is_killed(cluster, tmp_path):
    sign = tmp_path / "process"
    with on_cluster(cluster.address):
        results = run_tasks(functools.partial(killed_once, tmp_path), range(12))
        found = [next(results), next(results)]
        _until(sign.exists)
        _kill(cluster, int(sign.read_text()))
        found += results
    assert found == [number * number for number in range(12)]


def test_an_error_of_a_task_arrives_with_its_worker_and_its_hint(cluster):
    with on_cluster(cluster.address), pytest.raises(RunError, match="worker tcp://.*: three is too many.") as caught:
        list(run_tasks(fails, range(6)))
    assert caught.value.hint == "give two"


@pytest.mark.usefixtures("small_tasks")
def test_features_and_probe_are_the_same_as_here(cluster, run, tmp_path):
    here = make_workspace(tmp_path / "here")
    expected = crop_features(here, DESCRIBED, quiet=True)
    there = make_workspace(tmp_path / "there")
    words = ["--recipe", "probe", "--model", "test_efficientnet", "--pretrained", "none", "--image-size", 32]
    code, _, told = run("train", there.root, *words, "--threads", 1, "--no-doctor", "--cluster", cluster.address)
    assert code == 0, told
    found = crop_features(there, DESCRIBED, quiet=True)
    assert found.key == expected.key
    rows = found.known
    assert rows.sum() > 24
    assert (found.values[rows] == expected.values[rows]).all()


def test_other_weights_on_a_worker_are_refused(cluster, tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "work")
    monkeypatch.setattr(features_module, "weights_digest", lambda _: "0123456789abcdef")
    with on_cluster(cluster.address), pytest.raises(UserError, match="weights of test_efficientnet are others here"):
        crop_features(workspace, DESCRIBED, quiet=True)


def test_predict_answers_as_here_in_order(cluster, run, tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "work", sources=True)
    trained = train(workspace, "run", TrainSettings(model="test_efficientnet", image_size=32, pretrained="none",
        epochs=1, batch_size=16), quiet=True).run  # fmt: skip
    photos = workspace.read_frames()["path"].to_list()[::7]
    monkeypatch.chdir(Path(photos[0]).parent)
    words = [trained, Path(photos[0]).name, *photos[1:], tmp_path / "missing.jpg", "--whole", "--json", "--threads", 1]
    here = run("predict", *words)
    there = run("predict", *words, "--cluster", cluster.address)
    assert here[0] == there[0] == 1  # one is missing
    assert here[1] == there[1]
    assert here[1].count("\n") == len(photos) + 1


def test_training_by_steps_is_not_for_such_a_cluster(run, tmp_path):
    workspace = make_workspace(tmp_path / "work")
    code, _, told = run("train", workspace.root, "--cluster", "tcp://127.0.0.1:1")
    assert code == 2
    assert "trains by steps" in told
    assert "torchrun" in told


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:1", "tcp:/127.0.0.1"])
def test_no_scheduler_at_the_address(address):
    with pytest.raises(UserError, match=f"no Dask scheduler answers at {address}: "), on_cluster(address, patience=0.5):
        pass


def test_the_address_of_a_worker_is_not_the_schedulers(cluster):
    with on_cluster(cluster.address):
        worker = next(iter(run_tasks(own_address, [0])))
    with pytest.raises(UserError, match=f"at {worker} answers a Worker of Dask, and no scheduler"), on_cluster(worker):
        pass


def test_a_worker_that_does_not_share_the_work_folder_is_told(tmp_path, monkeypatch):
    needs = asking.Needs((), ())
    with asking.signed(tmp_path / "work") as sign:
        assert needs.lacking(sign) == ""
        assert "does not share the work folder" in needs.lacking(sign._replace(token="of another disk"))
    monkeypatch.setattr(asking, "_SEEN", 0.1)
    assert "does not share the work folder" in needs.lacking(sign)
    assert not (tmp_path / "work").exists()


def test_a_worker_that_sees_something_else_at_the_source_is_told(tmp_path):
    (tmp_path / "clip").mkdir()
    needs = asking.Needs((), ((str(tmp_path), asking.look(str(tmp_path))),))
    assert needs.lacking() == ""
    (tmp_path / "other").mkdir()
    assert needs.lacking() == f"sees something else at {tmp_path}"
    assert asking.Needs((), ((str(tmp_path / "gone"), "a"),)).lacking() == f"does not see {tmp_path / 'gone'}"


def test_a_source_that_vanishes_stops_the_work(cluster, tmp_path):
    seen = tmp_path / "seen"
    seen.mkdir()
    with on_cluster(cluster.address, sees=[str(seen)]):
        results = run_tasks(process, range(200))
        next(results)
        seen.rmdir()
        with pytest.raises(RunError, match=f"worker tcp://.* does not see {seen} any more"):
            list(results)


def test_what_a_task_saw_while_its_source_vanished_does_not_count(cluster, tmp_path):
    seen = tmp_path / "seen"
    seen.mkdir()
    with on_cluster(cluster.address, sees=[str(seen)]), pytest.raises(RunError, match=f"does not see {seen} any more"):
        list(run_tasks(os.rmdir, [str(seen)]))


def test_workers_of_other_versions_or_without_petmood_are_named_also_when_they_come_later(tmp_path):
    other, without = tmp_path / "other", tmp_path / "without"
    (other / "timm-0.0.1.dist-info").mkdir(parents=True)
    (other / "timm-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 0.0.1\n")
    (without / "petmood").mkdir(parents=True)
    (without / "petmood" / "__init__.py").write_text("raise ModuleNotFoundError('none', name='petmood')")
    with dask_cluster(tmp_path / "dask", workers=1) as small:
        _until(lambda: _workers(small))
        with on_cluster(small.address), pytest.raises(RunError, match=r"worker tcp://.* has timm 0\.0\.1; "):
            wrong = small.add_worker(PYTHONPATH=f"{other}:{Path(__file__).parent}")
            list(run_tasks(process, range(2000)))
        with pytest.raises(UserError, match=r"worker tcp://.* has timm 0\.0\.1; "), on_cluster(small.address):
            pass
        wrong.kill()
        with on_cluster(small.address), pytest.raises(RunError, match="a worker that came later cannot import petmood"):
            small.add_worker(PYTHONPATH=str(without))
            list(run_tasks(process, range(2000)))
        with pytest.raises(UserError, match="worker tcp://.* cannot import petmood"):
            _workers(small)


def test_a_task_that_ends_every_worker_is_named(tmp_path):
    with dask_cluster(tmp_path, workers=3, failures=1) as small:
        _until(lambda: len(_workers(small)) == 3)
        with on_cluster(small.address), pytest.raises(RunError, match="task 4 of 8 ended each worker that tried it"):
            list(run_tasks(deadly, range(8)))


def test_a_scheduler_that_dies_is_told(tmp_path):
    with dask_cluster(tmp_path, workers=1) as small, on_cluster(small.address):
        results = run_tasks(process, range(200))
        next(results)
        small.scheduler.kill()
        with pytest.raises(RunError, match=f"the connection to the scheduler at {small.address} is lost") as caught:
            list(results)
        assert "the same command goes on where it stopped" in caught.value.hint


def test_no_worker_and_no_worker_left(tmp_path):
    with dask_cluster(tmp_path, workers=0) as small:
        empty = on_cluster(small.address, patience=0.5)
        with pytest.raises(UserError, match="has no worker, after 0.5 s of waiting"), empty:
            pass
        only = small.add_worker()
        _until(lambda: _workers(small))
        with on_cluster(small.address, patience=1):
            results = run_tasks(process, range(200))
            next(results)
            only.kill()
            with pytest.raises(RunError, match="has no worker left"):
                list(results)
