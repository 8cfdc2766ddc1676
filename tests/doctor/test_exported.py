"""The doctor sees an exported file that no longer answers as its run."""

import dataclasses
import shutil

import pytest

from fixtures.exported import CERTAINTY, make_exported, with_metadata
from petmood.bundle import assume_shares, keep_certainty
from petmood.doctor.exported import check_same_export
from petmood.doctor.run import Run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_exported(tmp_path_factory.mktemp("exported") / "work").parent.parent


@pytest.fixture
def run(original, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(original, work)
    return work / "runs" / "run"


def test_a_fresh_file_answers_as_the_run(run):
    check = check_same_export(Run(folder=run))
    assert check.verdict == "ok", check.evidence
    assert check.numbers["difference"] < 1e-4


def test_without_a_file_nothing_is_asked(run):
    (run / "model.onnx").unlink()
    assert check_same_export(Run(folder=run)).verdict == "skipped"


def test_a_run_that_was_adjusted_since(run):
    assume_shares(run, {"happy": 0.8, "calm": 0.1, "angry": 0.1})
    keep_certainty(run, CERTAINTY)
    check = check_same_export(Run(folder=run))
    assert check.verdict == "fail"
    assert "allowed is 0.001" in check.evidence
    assert "petmood export" in check.remedy


def test_a_run_that_was_evaluated_since(run):
    warmer = dataclasses.replace(CERTAINTY.clips, temperature=3.0)
    keep_certainty(run, dataclasses.replace(CERTAINTY, clips=warmer))
    check = check_same_export(Run(folder=run))
    assert check.verdict == "fail"
    assert "temperature and threshold are not those of the run" in check.evidence


def test_a_damaged_file(run):
    with_metadata(run / "model.onnx", run / "model.onnx", petmood="{")
    check = check_same_export(Run(folder=run))
    assert check.verdict == "fail"
    assert "is damaged" in check.evidence
