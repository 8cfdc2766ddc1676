"""Listing and comparing runs: what is said of whole, unfinished and damaged ones, and when a difference is shown."""

from __future__ import annotations

import json
import os

import numpy as np
import polars as pl
import pytest
import yaml

from fixtures.runs import CLASSES, FakePredictor, always_calm, make_run, truth
from fixtures.workspaces import make_workspace
from petmood import evaluate as evaluating
from petmood.bundle import forget_results
from petmood.cli import run as petmood
from petmood.errors import UserError
from petmood.evaluate import evaluate
from petmood.metrics import Caution
from petmood.recipes import TrainSettings
from petmood.report.texts import caution_line
from petmood.runs import compare_runs, list_runs
from petmood.settings import to_plain
from petmood.workspace import read_json, read_table, write_json, write_table

CURVE = "epoch,train_loss,val_loss,val_accuracy,val_clip_macro_f1\n"


@pytest.fixture
def workspace(tmp_path):
    """36 clips a class, each a group of its own; val and test have 6 of each."""
    return make_workspace(tmp_path / "work", clips_per_class=36, frames_per_clip=2, size=16)


def half_wrong(frame_id):
    """Half of the angry clips are called calm."""
    number = int(frame_id.split("-")[2][:3])
    return "calm" if truth(frame_id) == "angry" and number % 12 == 3 else truth(frame_id)


def one_wrong(frame_id):
    """A single angry clip is called calm."""
    return "calm" if "angry-003" in frame_id else truth(frame_id)


def judged(workspace, monkeypatch, name, answer, **settings):
    """A finished run that was judged on test."""
    folder = make_run(workspace, name)
    (folder / "model.safetensors").write_bytes(b"weights")
    info = read_json(folder / "bundle.json")
    write_json(folder / "bundle.json", {**info, "settings": to_plain(TrainSettings(**{"epochs": 3, **settings}))})
    monkeypatch.setattr(evaluating, "Predictor", FakePredictor(answer))
    evaluate(folder, quiet=True)
    return folder


def stopped(workspace, name, scores, *, model=False, **settings):
    """A run folder as a training leaves it that was stopped after some epochs."""
    folder = make_run(workspace, name) if model else workspace.runs / name
    folder.mkdir(parents=True, exist_ok=True)
    plain = to_plain(TrainSettings(**settings))
    (folder / "config.yaml").write_text(yaml.safe_dump({"recipe": "default", "settings": plain}))
    rows = [f"{number},1.0,1.0,0.5,{score}\n" for number, score in enumerate(scores, 1)]
    (folder / "metrics.csv").write_text(CURVE + "".join(rows))
    if model:
        (folder / "model.safetensors").write_bytes(b"weights")
        info = read_json(folder / "bundle.json")
        write_json(folder / "bundle.json", {**info, "settings": plain})
    return folder


# --- the list ---------------------------------------------------------------------------------------------------------


def test_a_finished_run_shows_its_scores_beside_the_majority(workspace, monkeypatch):
    judged(workspace, monkeypatch, "good", half_wrong)
    (run,) = list_runs(workspace).runs
    assert (run.state, run.problem, run.epochs, run.kept_epoch, run.validation) == ("finished", "", 3, 2, 0.44)
    assert run.judged.split == "test"
    evaluation = read_json(workspace.runs / "good" / "metrics.json")["clips"]
    assert run.judged.macro_f1 == evaluation["macro_f1"]
    assert run.judged.majority_macro_f1 == evaluation["baseline"]["macro_f1"]
    assert run.judged.majority_balanced_accuracy == pytest.approx(1 / 3)
    assert not run.other_data


def test_only_the_settings_that_differ_are_named_and_older_runs_have_the_defaults(workspace):
    stopped(workspace, "a", [0.3], learning_rate=1e-3)
    folder = stopped(workspace, "b", [0.4], seed=1)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["settings"]["mixup"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    table = list_runs(workspace)
    assert table.differing == ("learning_rate", "seed")
    assert table.runs[1].settings["mixup"] == 0


@pytest.mark.parametrize(
    ("scores", "model", "settings", "state"),
    [
        ([], False, {}, "unfinished"),
        ([0.3, 0.4], False, {"epochs": 2}, "unfinished"),
        ([0.3, 0.4], True, {"epochs": 9}, "unfinished"),
        ([0.3, 0.4], True, {"epochs": 2}, "finished"),
        ([0.4, 0.3, 0.4], True, {"epochs": 9, "patience": 2}, "finished"),
        ([0.3, 0.4, 0.3], True, {"epochs": 9, "patience": 2}, "unfinished"),
        ([], True, {"method": "probe"}, "finished"),
    ],
)
def test_a_run_is_finished_when_its_epochs_or_its_patience_are_over(workspace, scores, model, settings, state):
    stopped(workspace, "run", scores, model=model, **settings)
    (run,) = list_runs(workspace).runs
    assert (run.state, run.epochs) == (state, len(scores))


def test_an_unfinished_run_names_the_epoch_that_it_would_keep(workspace):
    stopped(workspace, "run", [0.2, 0.5, 0.3], epochs=9)
    (run,) = list_runs(workspace).runs
    assert (run.kept_epoch, run.validation) == (2, 0.5)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("bundle.json", "{", "bundle.json is damaged"),
        ("bundle.json", "[]", "an object is expected"),
        ("bundle.json", "{}", "neither config.yaml nor bundle.json"),
        ("bundle.json", '{"settings": {}}', "scores"),
        ("bundle.json", '{"settings": 3}', "int"),
        ("config.yaml", "a: [", "not readable YAML"),
        ("config.yaml", "a: 1", "settings"),
        ("metrics.csv", "epoch,val_loss\none,two\n", "could not convert"),
        ("metrics.csv", "val_loss\n1\n", "without its epoch"),
        ("metrics.json", "{}", "judge the run again"),
        ("metrics.json", "\x00", "metrics.json is damaged"),
        ("model.safetensors", None, "no model.safetensors"),
    ],
)
def test_a_damaged_run_is_told_and_hides_no_other(workspace, monkeypatch, name, content, problem, capsys):
    folder = judged(workspace, monkeypatch, "bad", truth)
    path = folder / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    stopped(workspace, "whole", [0.3])
    bad, whole = sorted(list_runs(workspace).runs, key=lambda run: run.name)
    assert (bad.state, whole.state) == ("damaged", "unfinished")
    assert problem in bad.problem
    assert petmood(["runs", str(workspace.root)]) == 0
    assert f"bad: damaged: {bad.problem}" in capsys.readouterr().out


def test_runs_are_sorted_by_time_or_best_score_first(workspace, monkeypatch):
    for when, (name, answer) in enumerate([("b", truth), ("a", always_calm), ("c", half_wrong)]):
        path = judged(workspace, monkeypatch, name, answer) / "model.safetensors"
        os.utime(path, (1e9 + when, 1e9 + when))
    stopped(workspace, "d", [])
    os.utime(workspace.runs / "d" / "metrics.csv", (2e9, 2e9))

    def order(sort):
        return "".join(run.name for run in list_runs(workspace, sort=sort).runs)

    assert [order(sort) for sort in ("time", "name", "macro-f1", "accuracy")] == ["bacd", "abcd", "bcad", "bcad"]


def test_a_run_of_other_data_is_marked(workspace, monkeypatch, capsys):
    judged(workspace, monkeypatch, "run", truth)
    mark = workspace.mark("split")
    workspace.finish("split", made_from="another", settings=mark["settings"], counts=mark["counts"])
    assert list_runs(workspace).runs[0].other_data
    petmood(["runs", str(workspace.root)])
    assert "trained on other data" in capsys.readouterr().out


def test_the_command_prints_one_line_a_run_when_piped(workspace, monkeypatch, capsys):
    judged(workspace, monkeypatch, "first", truth, learning_rate=1e-3, model="efficientnet_b0")
    stopped(workspace, "second", [0.4], epochs=7)
    assert petmood(["runs", str(workspace.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(line for line in lines if line.startswith("first"))
    assert "1.000 (0.167)" in first
    assert "learning-rate=0.001" in first
    assert "test 18" in first
    second = next(line for line in lines if line.startswith("second"))
    assert "[unfinished]" in second
    assert "1/7" in second
    assert any(f"petmood train {workspace.root} --name second --resume" in line for line in lines)
    assert any("optimistic: report the scores on test" in line for line in lines)


def test_all_lists_every_setting_and_marks_those_that_differ(workspace, capsys):
    stopped(workspace, "a", [0.3], learning_rate=1e-3)
    stopped(workspace, "b", [0.3])
    assert petmood(["runs", str(workspace.root), "--all"]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["learning-rate", "*", "0.001", "0.0005"] in words
    assert ["weight-decay", "0.02", "0.02"] in words


def test_runs_as_json_and_without_runs(workspace, capsys):
    assert petmood(["runs", str(workspace.root)]) == 0
    assert "no runs yet" in capsys.readouterr().out
    stopped(workspace, "a", [0.3])
    assert petmood(["runs", str(workspace.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"][0]["name"] == "a"
    assert found["differing"] == []


# --- the comparison ---------------------------------------------------------------------------------------------------


def test_a_real_difference_is_shown_with_its_sign(workspace, monkeypatch, capsys):
    good = judged(workspace, monkeypatch, "good", truth)
    poor = judged(workspace, monkeypatch, "poor", always_calm)
    found = compare_runs(poor, good)
    difference = found.differences["macro_f1"]
    assert difference.shown
    assert difference.estimate == pytest.approx(1 - 1 / 6)
    assert difference.low <= difference.estimate <= difference.high
    assert difference.above == 1
    back = compare_runs(good, poor).differences["macro_f1"]
    assert (back.low, back.high) == pytest.approx((-difference.high, -difference.low))
    assert petmood(["compare", str(poor), str(good)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("good is better than poor: +83.3 points of macro-F1 (")
    assert first.endswith("on 18 clips of test in 18 groups.")
    assert rest[0].startswith("CAUTION: 18 groups are few")
    assert petmood(["compare", str(good), str(poor)]) == 0
    assert capsys.readouterr().out.startswith("poor is worse than good: -83.3 points")


def test_a_difference_of_one_clip_is_not_shown(workspace, monkeypatch, capsys):
    good = judged(workspace, monkeypatch, "good", truth)
    almost = judged(workspace, monkeypatch, "almost", one_wrong)
    assert not compare_runs(good, almost).differences["macro_f1"].shown
    assert petmood(["compare", str(good), str(almost)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("No difference shown between good and almost")
    assert "same answer for 17 of 18 clips" in out


def test_equal_answers_differ_by_nothing(workspace, monkeypatch):
    runs = [judged(workspace, monkeypatch, name, half_wrong) for name in ("one", "two")]
    found = compare_runs(*runs)
    assert all((each.estimate, each.low, each.high, each.above) == (0, 0, 0, 0) for each in found.differences.values())
    assert found.same_answers == found.clips


def test_scores_and_recalls_are_those_of_the_evaluations(workspace, monkeypatch):
    folders = [
        judged(workspace, monkeypatch, name, answer) for name, answer in (("one", half_wrong), ("two", one_wrong))
    ]
    found = compare_runs(*folders)
    for number, (side, folder) in enumerate(zip((found.first, found.second), folders, strict=True)):
        clips = read_json(folder / "metrics.json")["clips"]
        for score in ("macro_f1", "balanced_accuracy", "accuracy"):
            assert side.scores[score].estimate == pytest.approx(clips[score])
        recalls = {one["name"]: one["recall"] for one in clips["classes"]}
        assert {emotion.name: emotion.recall[number] for emotion in found.emotions} == pytest.approx(recalls)
    angry = next(emotion for emotion in found.emotions if emotion.name == "angry")
    assert angry.difference.estimate == pytest.approx(angry.recall[1] - angry.recall[0])
    assert (angry.clips, angry.groups) == (6, 6)


def test_whole_groups_are_drawn(workspace, monkeypatch):
    """The same answers rest on fewer animals when several clips are of one: the interval is wider."""
    frames = workspace.read_frames()
    wide = frames.with_columns(
        group=pl.col("emotion") + (pl.col("clip").str.extract(r"(\d+)$").cast(pl.Int32) // 18).cast(pl.String)
    )
    alone = [judged(workspace, monkeypatch, name, answer) for name, answer in (("a", truth), ("b", half_wrong))]
    narrow_found = compare_runs(*alone).differences["accuracy"]
    write_table(wide, workspace.frames)
    for folder, answer in zip(alone, (truth, half_wrong), strict=True):
        monkeypatch.setattr(evaluating, "Predictor", FakePredictor(answer))
        evaluate(folder, quiet=True)
    found = compare_runs(*alone)
    assert found.groups == 6
    assert found.differences["accuracy"].high - found.differences["accuracy"].low > 0
    assert found.differences["accuracy"].estimate == pytest.approx(narrow_found.estimate)


def test_clips_are_answered_with_attention_where_a_run_has_it(workspace, monkeypatch):
    """Frame 0 of each clip is right and sure of it; attention that looks at it alone makes every clip right."""
    mean = judged(workspace, monkeypatch, "mean", truth)
    attending = judged(workspace, monkeypatch, "attending", truth)
    for folder in (mean, attending):
        table = read_table(folder / "predictions.parquet")
        first = pl.col("frame_id").str.ends_with("_0")
        shares = [
            pl.when((pl.col("emotion") == name) == first)
            .then(0.6 if name == CLASSES[0] else 0.8)
            .otherwise(0.1)
            .alias(f"p_{name}")
            for name in CLASSES
        ]
        table = table.with_columns(shares)
        if folder == attending:
            table = table.with_columns(attention=pl.when(first).then(9.0).otherwise(-9.0))
        write_table(table, folder / "predictions.parquet")
    found = compare_runs(mean, attending)
    assert found.second.scores["accuracy"].estimate == 1
    assert found.first.scores["accuracy"].estimate < 1


def test_other_frames_of_the_same_clips_are_told(workspace, monkeypatch, capsys):
    runs = [judged(workspace, monkeypatch, name, truth) for name in ("one", "two")]
    table = read_table(runs[1] / "predictions.parquet")
    write_table(table.unique("clip", keep="first", maintain_order=True), runs[1] / "predictions.parquet")
    assert not compare_runs(*runs).same_frames
    assert petmood(["compare", *map(str, runs)]) == 0
    assert "other frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.filter(pl.col("clip") != t["clip"][0]), "1 only in the first"),
        (lambda t: t.with_columns(clip=pl.col("clip") + "x"), "18 only in the first, 18 only in the second"),
        (
            lambda t: t.with_columns(
                emotion=pl.when(pl.col("clip") == t["clip"][0]).then(pl.lit("calm")).otherwise("emotion")
            ),
            "1 with another emotion",
        ),
        (lambda t: t.with_columns(group=pl.lit("one")), "18 in another group"),
        (lambda t: t.drop("p_calm"), "no column p_calm"),
        (lambda t: t.with_columns(emotion=pl.lit("hungry")), "does not know"),
    ],
)
def test_runs_judged_on_other_clips_are_refused(workspace, monkeypatch, change, problem):
    runs = [judged(workspace, monkeypatch, name, truth) for name in ("one", "two")]
    path = runs[1] / "predictions.parquet"
    write_table(change(read_table(path)), path)
    with pytest.raises(UserError, match=problem) as caught:
        compare_runs(*runs)
    assert "petmood evaluate" in caught.value.hint


def test_runs_that_cannot_be_compared_are_refused(workspace, monkeypatch, capsys):
    one, two = (judged(workspace, monkeypatch, name, truth) for name in ("one", "two"))
    with pytest.raises(UserError, match="given twice"):
        compare_runs(one, workspace.runs / ".." / "runs" / "one")
    metrics_json = read_json(two / "metrics.json")
    write_json(two / "metrics.json", {**metrics_json, "split": "val"})
    with pytest.raises(UserError, match="judged on test, run .*two on val"):
        compare_runs(one, two)
    write_json(two / "metrics.json", {**metrics_json, "classes": ["calm", "happy", "angry"]})
    with pytest.raises(UserError, match="cannot be compared"):
        compare_runs(one, two)
    write_json(two / "metrics.json", {"format": 1})
    with pytest.raises(UserError, match="damaged, or of another version"):
        compare_runs(one, two)
    forget_results(two)
    assert petmood(["compare", str(one), str(two)]) == 2
    assert f"hint: `petmood evaluate {two}`" in capsys.readouterr().err


def test_one_group_is_refused(workspace, monkeypatch):
    write_table(workspace.read_frames().with_columns(group=pl.lit("same")), workspace.frames)
    runs = [judged(workspace, monkeypatch, name, truth) for name in ("one", "two")]
    with pytest.raises(UserError, match="all of one group"):
        compare_runs(*runs)


def test_the_comparison_in_korean_and_as_json(workspace, monkeypatch, capsys):
    runs = [judged(workspace, monkeypatch, name, answer) for name, answer in (("a", always_calm), ("b", truth))]
    assert petmood(["compare", *map(str, runs), "--lang", "ko"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("b이(가) a보다 낫습니다")
    assert "행복/즐거움" in out
    assert petmood(["compare", *map(str, runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"]["macro_f1"]["above"] == 1
    assert found["second"]["name"] == "b"


def test_cautions_of_the_evaluations_are_repeated(workspace, monkeypatch, capsys):
    runs = [judged(workspace, monkeypatch, name, truth) for name in ("a", "b")]
    for run in runs:
        evaluate(run, evaluating.EvaluateSettings(split="val"), quiet=True)
    assert petmood(["compare", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line == caution_line(Caution(kind="chosen_on", detail="val"), "en") for line in lines) == 1


def test_the_answers_of_both_runs_meet_the_same_draws(workspace, monkeypatch):
    """A difference of correlated answers is surer than the scores themselves: the draws must be paired."""
    runs = [judged(workspace, monkeypatch, name, answer) for name, answer in (("a", half_wrong), ("b", one_wrong))]
    found = compare_runs(*runs)
    first, second = found.first.scores["accuracy"], found.second.scores["accuracy"]
    unpaired = np.hypot(first.high - first.low, second.high - second.low)
    difference = found.differences["accuracy"]
    assert difference.high - difference.low < unpaired


def test_a_folder_that_is_no_work_folder_is_refused(tmp_path, capsys):
    assert petmood(["runs", str(tmp_path)]) == 2
    assert "not a petmood workspace" in capsys.readouterr().err
