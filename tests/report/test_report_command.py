"""`petmood report`: one run again, several side by side, in words for what cannot be done."""

import html
import shutil

import numpy as np
import polars as pl
import pytest

import petmood.evaluate
from fixtures.reports import evaluated_run
from fixtures.runs import FakePredictor, make_run, truth
from petmood.bootstrap import Interval
from petmood.cli import run as command
from petmood.evaluate import evaluate
from petmood.report.side_by_side import Difference, read_sides, render_sides
from petmood.report.texts import TEXTS
from petmood.workspace import Workspace, read_json, write_json


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A fair run, and one that is always right."""
    first = evaluated_run(tmp_path, monkeypatch)
    monkeypatch.setattr(petmood.evaluate, "Predictor", FakePredictor(truth))
    second = make_run(Workspace.open(first.parents[1]), "always-right")
    evaluate(second, quiet=True)
    return first, second


def change_settings(run, **settings):
    bundle = read_json(run / "bundle.json")
    bundle["settings"].update(settings)
    write_json(run / "bundle.json", bundle)


def test_one_run_gets_its_report_again(runs, capsys):
    assert command(["report", str(runs[0]), "--lang", "ko"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"report: {runs[0] / 'report.html'}"]
    assert '<html lang="ko">' in (runs[0] / "report.html").read_text(encoding="utf-8")


def test_two_runs_stand_side_by_side_with_their_difference(runs, capsys):
    change_settings(runs[1], learning_rate=0.01)
    assert command(["report", *map(str, runs)]) == 0
    target = runs[0].parents[1] / "comparison.html"
    assert capsys.readouterr().out.splitlines() == [f"report: {target}"]
    text = html.unescape(target.read_text(encoding="utf-8"))
    assert "No difference shown between always-right and made-up: +" in text  # six clips
    assert "<code>learning_rate</code></th><td>0.0005</td><td>0.01</td>" in text
    assert "<code>horizontal_flip</code>" not in text
    assert "<script" not in text
    assert "default-src 'none'" in text


def test_another_file_can_be_named(runs, tmp_path):
    assert command(["report", *map(str, runs), "--out", str(tmp_path / "both.html"), "--lang", "ko"]) == 0
    assert TEXTS["sides_title"][1] in (tmp_path / "both.html").read_text(encoding="utf-8")
    assert not (runs[0].parents[1] / "comparison.html").exists()


def test_runs_judged_on_other_clips_are_not_compared(runs, capsys):
    table = pl.read_parquet(runs[1] / "predictions.parquet")
    table.filter(pl.col("clip") != table["clip"][0]).write_parquet(runs[1] / "predictions.parquet")
    assert command(["report", *map(str, runs)]) == 0
    text = (runs[0].parents[1] / "comparison.html").read_text(encoding="utf-8")
    assert "were judged on other clips" in text
    assert "is better than" not in text


@pytest.mark.parametrize(
    ("estimate", "low", "high", "key"),
    [(0.1, 0.05, 0.2, "sides_better"), (-0.1, -0.2, -0.05, "sides_worse"), (0.1, -0.1, 0.2, "sides_luck")],
)
def test_a_difference_whose_interval_holds_0_is_called_luck(runs, estimate, low, high, key):
    one = Interval(estimate=estimate, low=low, high=high, above=0.9)
    text = render_sides(read_sides(runs, [Difference(macro_f1=one, accuracy=one)]), "en")
    start = TEXTS[key][0].split("{")[0] or TEXTS[key][0].split("}")[1].split("{")[0]
    assert start in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no run was given"),
        (["FIRST", "FIRST"], "was given twice"),
        (["FIRST", "--out", "x.html"], "is for a page of several runs"),
        (["FIRST", "SECOND", "--out", "/nowhere/x.html"], "folder /nowhere of --out does not exist"),
        (["FIRST", "/nowhere"], "was not evaluated"),
        (["/nowhere"], "was not evaluated"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_paragraph(runs, capsys, arguments, said):
    names = {"FIRST": str(runs[0]), "SECOND": str(runs[1])}
    assert command(["report", *(names.get(word, word) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_missing_browser_is_told_before_anything_is_written(runs, capsys, monkeypatch, tmp_path):
    (runs[0] / "report.html").unlink(missing_ok=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("petmood.report.printing._MAC", tmp_path / "none")
    assert command(["report", str(runs[0]), "--pdf"]) == 2
    assert "apt install chromium" in capsys.readouterr().err
    assert not (runs[0] / "report.html").exists()


def test_a_browser_that_fails_is_told(runs, capsys, monkeypatch, tmp_path):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\necho it has a cold >&2\nexit 3\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{shutil.os.environ['PATH']}")
    assert command(["report", str(runs[0]), "--pdf"]) == 1
    assert "did not print report.html: it has a cold." in capsys.readouterr().err
    assert not (runs[0] / "report.pdf").exists()


def test_the_majority_is_beaten_by_the_same_groups_for_both(runs):
    """Equal answers have a difference of exactly 0 in every draw; a model that is always right gains what is left."""
    from petmood.report.advantage import advantage
    from petmood.report.page import read_evaluation

    evaluation = read_evaluation(runs[1])
    table = pl.read_parquet(runs[1] / "predictions.parquet")
    gain = advantage(table, evaluation)["accuracy"]
    assert gain.estimate == pytest.approx(1 - evaluation.clips.baseline.accuracy)
    assert gain.low >= 0
    always = table.with_columns(p_calm=pl.lit(0.9), p_happy=pl.lit(0.05), p_angry=pl.lit(0.05))
    none = advantage(always, evaluation)["accuracy"]
    assert np.allclose([none.estimate, none.low, none.high], 0)
    assert advantage(table.with_columns(group=pl.lit("one")), evaluation) == {}
