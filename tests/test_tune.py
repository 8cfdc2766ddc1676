"""Tuning: what is searched, what any stop leaves, what comes out. The trainings are real, of a network of toy size."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from fixtures.workspaces import make_workspace
from petmood.cli import run as petmood
from petmood.errors import RunError, UserError
from petmood.recipes import TrainSettings, load_recipe, recipe_settings
from petmood.recipes.tuning import TuneSettings
from petmood.tune import search as searching
from petmood.tune import tune
from petmood.tune.search import NOT_OF_A_RECIPE
from petmood.tune.space import search_space, settings_at, start_point
from petmood.tune.study import JOURNAL, alone, open_study, rows

BASE = TrainSettings(
    model="test_efficientnet", pretrained="none", image_size=32, epochs=2, batch_size=8, learning_rate=3e-3, threads=1
)
OPTIONS = ["--model", "test_efficientnet", "--pretrained", "none", "--image-size", "32", "--batch-size", "8", "-q"]


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "work", frames_per_clip=1, size=32)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of three trials that others only look at."""
    workspace = make_workspace(tmp_path_factory.mktemp("searched") / "work", frames_per_clip=1, size=32)
    return workspace, tune(workspace, "s", BASE, TuneSettings(trials=3), recipe="toy", quiet=True)


def go_on(workspace, trials, base=BASE, name="s", **settings):
    return tune(workspace, name, base, TuneSettings(trials=trials, **settings), quiet=True)


def stop_in(monkeypatch, number, error):
    """Let a trial's training end with an error after its first epoch."""
    train = searching.train

    def stopped(workspace, name, settings, *, after_epoch, **others):
        def told(epoch, scores):
            after_epoch(epoch, scores)
            if name == f"trial-{number:04d}":
                raise error

        return train(workspace, name, settings, after_epoch=told, **others)

    monkeypatch.setattr(searching, "train", stopped)


# --- the space --------------------------------------------------------------------------------------------------------


@given(st.data())
def test_every_point_of_the_space_is_a_setting_of_training(data):
    space = search_space(BASE)
    point = {
        name: data.draw(
            st.integers(each.low, each.high)
            if isinstance(each.low, int)
            else st.floats(each.low, each.high, allow_subnormal=False)
        )
        for name, each in space.items()
    }
    settings = settings_at(BASE, point)
    for name, value in point.items():
        assert getattr(settings, name) == pytest.approx(value, rel=0.006, abs=1e-9)
    unsearched = set(TrainSettings.__dataclass_fields__) - set(space)
    assert all(getattr(settings, name) == getattr(BASE, name) for name in unsearched)


def test_the_first_trial_has_the_settings_of_the_recipe():
    space = search_space(BASE)
    assert settings_at(BASE, start_point(BASE, space)) == BASE
    notes = dataclasses.replace(BASE, weight_decay=0.0)  # outside the range
    assert start_point(notes, space)["weight_decay"] == space["weight_decay"].low


def test_what_is_searched_can_be_chosen():
    assert set(search_space(BASE, ("learning-rate", "mixup"))) == {"learning_rate", "mixup"}
    frozen = dataclasses.replace(BASE, freeze="backbone")
    assert "layer_decay" not in search_space(frozen)
    with pytest.raises(UserError, match="backbone is frozen"):
        search_space(frozen, ("layer-decay",))
    rate = search_space(dataclasses.replace(BASE, learning_rate=1e-4))["learning_rate"]
    assert (rate.low, rate.high, rate.log) == (pytest.approx(1e-5), pytest.approx(1e-3), True)


# --- a search ---------------------------------------------------------------------------------------------------------


def test_the_best_trial_is_written_as_a_recipe(searched):
    workspace, summary = searched
    assert [row.state for row in summary.trials] == ["finished"] * 3
    assert summary.best.score == max(row.score for row in summary.trials)
    assert summary.base.number == 0
    text = summary.recipe.read_text()
    assert f"trial {summary.best.number}, macro-F1 of clips {summary.best.score:.4f}" in text
    assert "optimistic" in text
    assert f"split {workspace.mark('split')['made_from']}" in text
    found = recipe_settings(str(summary.recipe))
    assert found == dataclasses.replace(settings_at(BASE, summary.best.values), threads=0)
    assert not set(load_recipe(str(summary.recipe))) & set(NOT_OF_A_RECIPE)


def test_the_recipe_trains_to_the_score_of_its_trial(searched, tmp_path, capsys):
    workspace, summary = searched
    shutil.copytree(workspace.root, tmp_path / "work")
    command = ["train", str(tmp_path / "work"), "--recipe", str(summary.recipe), "--threads", "1", "-q", "--json"]
    assert petmood(command) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["val_clip_macro_f1"] == pytest.approx(summary.best.score)


def test_only_the_best_trial_keeps_its_folder(searched):
    _, summary = searched
    kept = [path.name for path in (summary.folder / "trials").iterdir()]
    assert kept == [f"trial-{summary.best.number:04d}"]


def test_a_finished_search_is_not_run_again_and_a_larger_number_adds(searched, tmp_path):
    workspace, summary = searched
    copy = make_workspace(tmp_path / "work", frames_per_clip=1, size=32)
    shutil.copytree(workspace.root / "tune", copy.root / "tune")
    assert go_on(copy, 3).trials == go_on(copy, 2).trials == summary.trials
    more = go_on(copy, 4)
    assert more.trials[:3] == summary.trials
    assert len(more.trials) == 4
    assert more.trials[3].values not in [row.values for row in summary.trials]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), MemoryError()])
def test_a_trial_that_was_stopped_runs_again_with_the_same_settings(workspace, monkeypatch, error):
    with monkeypatch.context() as patched:
        stop_in(patched, 1, error)
        with pytest.raises(type(error)):
            go_on(workspace, 2)
    assert recipe_settings(str(workspace.root / "tune" / "s" / "best.yaml")).learning_rate == BASE.learning_rate
    done = go_on(workspace, 2)
    assert [row.state for row in done.trials] == ["finished", "killed", "finished"]
    assert done.trials[1].values == done.trials[2].values != done.trials[0].values
    more = go_on(workspace, 3)  # it was run again once; what follows is new
    assert len(more.trials) == 4
    assert more.trials[3].values != done.trials[1].values


@pytest.mark.slow
def test_a_killed_process_leaves_a_usable_search(workspace):
    code = (
        "import os, sys; sys.path.insert(0, 'tests')\n"
        "from test_tune import *; from pathlib import Path; from petmood.workspace import Workspace\n"
        "train = searching.train\n"
        "def dies(workspace, name, settings, *, after_epoch, **others):\n"
        "    told = (lambda *_: os.kill(os.getpid(), 9)) if name == 'trial-0001' else after_epoch\n"
        "    return train(workspace, name, settings, after_epoch=told, **others)\n"
        "searching.train = dies\n"
        "go_on(Workspace.open(Path(sys.argv[1])), 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, workspace.root], check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert [row.state for row in go_on(workspace, 2).trials] == ["finished", "killed", "finished"]


def test_a_last_line_that_was_cut_off_is_dropped(workspace):
    go_on(workspace, 1)
    journal = workspace.root / "tune" / "s" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worker')
    assert len(go_on(workspace, 2).trials) == 2
    assert journal.read_bytes().startswith(whole)


def test_a_damaged_journal_is_refused(workspace):
    go_on(workspace, 1)
    journal = workspace.root / "tune" / "s" / JOURNAL
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    with pytest.raises(UserError, match=r"journal.log is damaged"):
        go_on(workspace, 2)


def test_a_hopeless_trial_is_given_up_and_counts(workspace):
    """Five planted trials were perfect from the first epoch: no real one reaches their median."""
    folder = workspace.root / "tune" / "s"
    folder.mkdir(parents=True)
    base = dataclasses.replace(BASE, epochs=3, patience=3)
    space = search_space(base)
    made_from = searching._made_from(workspace, base, space)
    study = open_study(folder, made_from, epochs=3, prune=True)
    for number in range(5):
        point = start_point(base, space)
        study.add_trial(
            create_trial(
                params={**point, "mixup": 0.1 + number / 100},
                distributions=dict(space),
                value=2.0,
                intermediate_values={1: 2.0, 2: 2.0, 3: 2.0},
            )
        )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(searching._Search, "_write_recipe", lambda *_: None)
        summary = tune(workspace, "s", base, TuneSettings(trials=6), quiet=True)
    assert [row.state for row in summary.trials[5:]] == ["given up"]
    assert summary.trials[5].epochs == 1
    patient = tune(workspace, "s", base, TuneSettings(trials=7, prune=False), quiet=True)
    assert patient.trials[6].state == "finished"


def test_trials_that_diverge_do_not_count_and_five_in_a_row_end_the_search(workspace, capsys):
    wild = dataclasses.replace(BASE, learning_rate=1e25)
    with pytest.raises(RunError, match="the last 5 trials diverged") as caught:
        tune(workspace, "s", wild, TuneSettings(trials=3, search=("learning-rate",)))
    assert "lower --learning-rate than 1e+25" in caught.value.hint
    assert "trial 0 (0/3): failed: " in capsys.readouterr().err
    assert not (workspace.root / "tune" / "s" / "best.yaml").exists()
    assert list((workspace.root / "tune" / "s" / "trials").iterdir()) == []


def test_a_full_disk_ends_the_search_and_is_no_failed_trial(workspace, small_disk):
    (workspace.root / "tune").symlink_to(small_disk)
    with pytest.raises((RunError, OSError), match="No space left"):
        go_on(workspace, 2)
    saved = (small_disk / "s" / JOURNAL).read_bytes()
    (workspace.root / "tune").unlink()
    (workspace.root / "tune" / "s").mkdir(parents=True)
    (workspace.root / "tune" / "s" / JOURNAL).write_bytes(saved)
    assert [row.state for row in go_on(workspace, 1).trials] == ["killed", "finished"]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_search_with_other_settings_or_data_is_refused(searched):
    workspace, _ = searched
    with pytest.raises(UserError, match=r"begun otherwise: epochs 3 \(then 2\), seed 5 \(then 0\);"):
        go_on(workspace, 4, dataclasses.replace(BASE, epochs=3, seed=5))
    with pytest.raises(UserError, match=r"search 'mixup' \(then 'learning_rate, "):
        go_on(workspace, 4, search=("mixup",))
    mark = workspace.mark("split")
    try:
        workspace.finish("split", made_from="another", settings=mark["settings"], counts=mark["counts"])
        with pytest.raises(UserError, match="split 'another'") as caught:
            go_on(workspace, 4)
        assert "another --name" in caught.value.hint
    finally:
        workspace.finish("split", made_from=mark["made_from"], settings=mark["settings"], counts=mark["counts"])
    assert len(go_on(workspace, 3, dataclasses.replace(BASE, threads=2)).trials) == 3  # of the machine: no matter


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"method": "probe"}, "method probe has nothing to tune"),
        ({"devices": 2}, "devices 2"),
        ({"nodes": 2}, "nodes 2"),
    ],
)
def test_what_cannot_be_tuned_is_refused(workspace, changed, problem):
    with pytest.raises(UserError, match=problem):
        go_on(workspace, 1, dataclasses.replace(BASE, **changed))
    assert not (workspace.root / "tune").exists()


def test_settings_that_training_refuses_end_the_search(workspace):
    with pytest.raises(UserError, match="no_such_net"):
        go_on(workspace, 1, dataclasses.replace(BASE, model="no_such_net"))


def test_two_processes_do_not_search_at_once(workspace):
    folder = workspace.root / "tune" / "s"
    folder.mkdir(parents=True)
    with alone(folder), pytest.raises(UserError, match="another `petmood tune` is at work"):
        go_on(workspace, 1)
    with pytest.raises(UserError, match="search name"):
        go_on(workspace, 1, name="../s")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_goes_on_and_says_what_to_do_next(searched, tmp_path, capsys):
    work = tmp_path / "work"
    shutil.copytree(searched[0].root, work)
    command = ["tune", str(work), *OPTIONS, "--epochs", "2", "--learning-rate", "3e-3", "--name", "s"]
    assert petmood([*command, "--trials", "3"]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("tune: 3 finished; best is trial ")
    assert "optimistic" in out.out
    assert f"petmood train {work} --recipe {work}/tune/s/best.yaml --name s-tuned" in out.out
    assert out.err == ""
    assert petmood([*command, "--trials", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"]["number"] == searched[1].best.number
    assert petmood([*command, "--trials", "0"]) == 2
    assert petmood(["tune", str(work), "--recipe", "probe", "--name", "p"]) == 2
    assert "cross-validation" in capsys.readouterr().err


def test_each_trial_is_told_on_standard_error(workspace, capsys):
    tune(workspace, "s", BASE, TuneSettings(trials=1))
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("trial 0 (1/1): macro-F1 ")
    assert out.err.endswith("s, best so far\n")


def test_the_record_is_plain_optuna(searched):
    _, summary = searched
    journal = optuna.storages.journal.JournalFileBackend(str(summary.folder / JOURNAL))
    study = optuna.load_study(study_name="petmood", storage=optuna.storages.JournalStorage(journal))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert rows(study) == list(summary.trials)
    assert yaml.safe_load(summary.recipe.read_text())["epochs"] == study.user_attrs["made_from"]["epochs"]
