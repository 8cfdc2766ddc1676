"""What `petmood status` says of runs, features and searches: trained, stopped, judged, and each way of being stale."""

from __future__ import annotations

import csv
import json
import os
import shutil

import pytest

from petmood.train import checkpoints
from petmood.upkeep import status, trained
from petmood.upkeep.trained import RESUMABLE
from petmood.workspace import read_json, write_json


def run_of(lived, name="full"):
    return next(run for run in status(lived.work).runs if run.name == name)


def amend(path, **changes):
    write_json(path, {**read_json(path), **changes})


def older(path, seconds):
    when = path.stat().st_mtime - seconds
    os.utime(path, (when, when))


def test_the_names_of_checkpoints_are_those_that_training_gives():
    assert (checkpoints.LAST, checkpoints.PREVIOUS, checkpoints.BEST) == RESUMABLE
    assert (checkpoints.FOLDER, checkpoints.PREVIOUS) == (trained.CHECKPOINTS, trained.PREVIOUS)


def test_each_run_says_how_far_it_is(lived):
    full, half, probe = (run_of(lived, name) for name in ("full", "half", "probe"))
    assert (full.state, full.epochs, full.most_epochs, full.stale) == ("finished", 2, 2, ())
    assert full.judged.split == "test"
    assert (half.state, half.epochs, half.has_model, half.stale) == ("stopped", 2, True, ())
    assert half.resume_needs_checkpoints
    assert not full.resume_needs_checkpoints
    assert (probe.state, probe.judged, probe.checkpoints) == ("finished", None, 0)


def test_a_stopped_run_is_what_comes_next_then_one_that_was_not_judged(lived):
    assert status(lived.work).following.command == f"petmood train {lived.work} --name half --resume"
    shutil.rmtree(lived.work / "runs" / "half")
    assert status(lived.work).following.command == f"petmood evaluate {lived.work / 'runs' / 'probe'}"
    shutil.rmtree(lived.work / "runs" / "probe")
    assert status(lived.work).following.command == f"petmood predict {lived.work / 'runs' / 'full'} PHOTO"


def test_a_run_of_other_data_says_which_stages_changed(lived):
    amend(lived.work / "split.json", made_from="0123456789abcdef")
    run = run_of(lived)
    assert run.other_data
    assert run.stale == ("trained on other data than is here now (split changed)",)


def test_scores_of_another_model_are_found_by_what_they_say(lived):
    path = lived.work / "runs" / "full" / "bundle.json"
    amend(path, certainty={**read_json(path)["certainty"], "fitted_on": "0123456789abcdef"})
    assert run_of(lived).stale == ("the scores are of the model as it was before",)


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("metrics.json", "the scores are older than the model"),
        ("predictions.parquet", "the predictions are older than the scores"),
        ("report.html", "the report is older than the scores"),
    ],
)
def test_files_that_are_clearly_older_are_stale_and_those_of_one_copy_are_not(lived, name, clause):
    path = lived.work / "runs" / "full" / name
    older(path, 30)
    assert run_of(lived).stale == ()
    older(path, 300)
    assert clause in run_of(lived).stale


def test_scores_without_their_predictions_are_told(lived):
    (lived.work / "runs" / "full" / "predictions.parquet").unlink()
    assert run_of(lived).stale == ("the scores have lost their predictions.parquet",)


def test_an_export_from_before_the_last_judgement_is_stale(lived):
    run = lived.work / "runs" / "full"
    fitted = read_json(run / "bundle.json")["certainty"]["fitted_on"]
    (run / "model.onnx").write_bytes(b"\x08\x0a" + fitted.encode() + b"rest")
    assert (run_of(lived).exported, run_of(lived).stale) == (("model.onnx",), ())
    (run / "model.onnx").write_bytes(b"\x08\x0a" + b"f" * 16 + b"rest")
    assert run_of(lived).stale[0].startswith("model.onnx was made before the run was last judged, adjusted or trained")


def test_an_adjusted_run_makes_its_export_stale_and_wants_to_be_judged(lived, run):
    folder = lived.work / "runs" / "full"
    (folder / "model.onnx").write_bytes(read_json(folder / "bundle.json")["certainty"]["fitted_on"].encode())
    older(folder / "model.onnx", 300)
    assert run("adjust", folder, "--target", "training")[0] == 0
    found = run_of(lived)
    assert found.judged is None
    assert found.stale == ("model.onnx is older than the model: export it again, or ask `petmood doctor`",)


def test_a_training_killed_before_its_model_was_written_keeps_its_checkpoints(lived):
    """After the last epoch the best one's weights become the model; until then --resume has something to do."""
    folder = lived.work / "runs" / "full"
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = read_json(folder / "bundle.json")["epoch"]
    for row in rows:
        row["val_clip_macro_f1"] = row["val_accuracy"] = "0.1" if int(row["epoch"]) == kept else "0.9"
        row["val_loss"] = "9" if int(row["epoch"]) == kept else "1"
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    older(folder / "bundle.json", 300)
    found = run_of(lived)
    assert found.resume_needs_checkpoints
    assert found.stale[0] == f"the model is of epoch {kept}, the best is {3 - kept}: go on with --resume"


@pytest.mark.parametrize("name", ["bundle.json", "config.yaml", "metrics.json", "metrics.csv"])
def test_a_damaged_file_of_a_run_is_a_sentence(lived, run, name):
    (lived.work / "runs" / "full" / name).write_bytes(b"\xff{")
    code, out, _ = run("status", lived.work)
    assert code == 0
    assert "run full: " in out
    assert run_of(lived).state == "damaged"


def test_a_run_folder_alone_is_told_and_json_too(lived, run):
    code, out, _ = run("status", lived.work / "runs" / "half", "--json")
    content = json.loads(out)
    assert code == 0
    assert [one["state"] for one in content["runs"]] == ["stopped"]
    assert content["stages"] == []
    assert content["following"]["command"].endswith("--name half --resume")


def test_a_run_outside_of_a_work_folder_is_told(lived, tmp_path):
    shutil.copytree(lived.work / "runs" / "full", tmp_path / "alone" / "runs" / "full")
    found = status(tmp_path / "alone" / "runs" / "full")
    assert found.runs[0].state == "finished"
    assert found.problems[0].startswith("it stands in no work folder")


def test_features_say_of_how_many_crops_they_are_and_whether_these_are_still_there(lived):
    (features,) = status(lived.work).features
    assert (features.model, features.rows, features.current) == ("test_efficientnet", 48, True)
    assert 0 < features.known <= 48
    amend(lived.work / "pack.json", made_from="0123456789abcdef")
    assert status(lived.work).features[0].current is False
    shutil.rmtree(lived.work / "crops")
    assert status(lived.work).features[0].current is None


def test_a_search_says_how_it_ended(lived):
    folder = lived.work / "tune" / "default"
    folder.mkdir(parents=True)
    assert status(lived.work).searches[0].told == "no trial has finished"
    (folder / "best.yaml").write_text(
        "# Best of 4 trials of `petmood tune`: trial 2, macro-F1 of clips 0.5\n# on the\n"
    )
    assert "Best of 4 trials" in status(lived.work).searches[0].told
