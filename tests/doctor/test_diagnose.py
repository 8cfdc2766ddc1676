"""The command: which checks are made of what, how it ends, and that nothing that breaks hides the rest."""

import json
import shutil

import pytest
import torch

from fixtures.workspaces import make_workspace
from petmood.doctor.diagnose import BRIEF, RUN_CHECKS, WORK_CHECKS, answer, check_names, diagnose
from petmood.doctor.records import Check
from petmood.errors import RunError, UserError
from petmood.recipes import TrainSettings
from petmood.recipes.doctor import DoctorSettings

WORDS = ["--model", "test_efficientnet", "--image-size", "48", "--pretrained", "none", "--device", "cpu", "-q"]
SMALL = TrainSettings(model="test_efficientnet", image_size=48, pretrained="none", device="cpu", threads=1)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("diagnose") / "work", clips_per_class=6, sources=True).root


@pytest.fixture(scope="module")
def whole(work):
    return diagnose(work, training=SMALL, quiet=True)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_work_folder_is_asked_everything(whole):
    names = [check.name for check in whole.checks]
    assert names[-len(WORK_CHECKS) :] == [name for name, _ in WORK_CHECKS]
    assert names[0] == "labels"
    assert not [check for check in whole.checks if "broke" in check.evidence]


def test_a_work_folder_stays_as_it_is(work):
    before = contents(work)
    diagnose(work, DoctorSettings(brief=True), SMALL, quiet=True)
    assert contents(work) == before


def test_every_check_has_a_name_of_its_own_and_a_remedy_if_it_finds_something(whole):
    assert len({check.name for check in whole.checks}) == len(whole.checks)
    assert all(check.remedy for check in whole.checks if check.verdict in {"warn", "fail"})
    assert set(check_names()) >= BRIEF


def test_the_command_says_what_it_found_and_exits_with_0(run, work):
    code, out, err = run("doctor", work, *WORDS, "--only", "batch-mixing, plan")
    assert code == 0
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith(
        "✓ plan          test_efficientnet (fine-tune, --freeze none) could begin on 36 pictures"
    )
    assert lines[1].startswith("✓ batch-mixing  the first batches have ")
    assert f"{work}: 2 ok (" in lines[-1]


def test_json_has_verdict_evidence_and_numbers(run, work):
    code, out, _ = run("doctor", work, *WORDS, "--only", "disk", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["failed"] is False
    assert content["checks"][0]["name"] == "disk"
    assert content["checks"][0]["numbers"]["needed"] > 0


def test_a_failed_check_exits_with_1(run, work):
    code, out, _ = run("doctor", work, *WORDS[2:], "--only", "plan,disk", "--model", "no_such_model")
    assert code == 1
    assert "✗ plan" in out
    assert "model 'no_such_model' is not known to timm" in out
    assert "- disk" in out
    assert "cannot be planned" in out


def test_weights_that_cannot_be_had_leave_the_other_checks(work, tmp_path):
    settings = TrainSettings(
        model="test_efficientnet", image_size=48, pretrained=str(tmp_path / "gone.pth"), device="cpu"
    )
    found = diagnose(work, DoctorSettings(only="plan,gradients"), settings, quiet=True)
    assert [check.verdict for check in found.checks] == ["fail", "ok"]
    assert "gone.pth" in found.checks[0].evidence


def test_a_probe_makes_no_steps(work):
    probe = TrainSettings(method="probe", model="test_efficientnet", image_size=48, pretrained="none", device="cpu")
    found = diagnose(work, DoctorSettings(only="plan,gradients,input-range"), probe, quiet=True)
    assert [(check.name, check.verdict) for check in found.checks] == [
        ("plan", "ok"),
        ("input-range", "ok"),
        ("gradients", "skipped"),
    ]


def test_a_folder_of_something_else_is_refused(run, tmp_path):
    code, _, err = run("doctor", tmp_path)
    assert code == 2
    assert "is neither a work folder (petmood.json is missing) nor a run (config.yaml is missing)" in err


def test_a_check_that_does_not_exist_is_refused_with_what_was_meant(run, work):
    code, _, err = run("doctor", work, "--only", "batch-mixin")
    assert code == 2
    assert "check 'batch-mixin' does not exist; did you mean batch-mixing?" in err


def test_a_check_of_runs_is_none_of_a_work_folder(run, work):
    code, _, err = run("doctor", work, "--only", "bundle")
    assert code == 2
    assert "none of the checks asked for is one of a work folder: bundle" in err


def test_a_run_without_a_model_is_told_once_and_the_rest_is_skipped(work, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(work, folder)
    run = folder / "runs" / "stopped"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("petmood: 0\nrecipe: ''\nsettings: {epochs: 3}\n")
    (run / "metrics.csv").write_text(
        "epoch,train_loss,val_loss,val_accuracy,val_clip_macro_f1\n1,1.1,1.1,0.2,0.1\n2,1.099,1.1,0.2,0.1\n"
    )
    found = {check.name: check for check in diagnose(run, quiet=True).checks}
    assert [name for name, check in found.items() if check.verdict == "fail"] == [
        "bundle",
        "beats-majority",
        "never-learnt",
    ]
    assert "holds no model" in found["bundle"].evidence
    assert found["same-scores"].verdict == "skipped"
    assert set(found) == {name for name, _ in RUN_CHECKS} | {"leakage"}


def test_whatever_happens_in_a_check_becomes_an_answer():
    def breaks(subject):
        raise ZeroDivisionError("float division\nby zero")

    def refuses(subject):
        raise UserError("thing 3 is wrong; allowed is 2.", hint="take 2")

    def runs_out(subject):
        raise RunError("batch-size 64 does not fit into the memory.", hint="take less")

    broken = answer(("some", breaks), None)
    assert (broken.name, broken.verdict) == ("some", "warn")
    assert "ZeroDivisionError: float division by zero" in broken.evidence
    refused = answer(("some", refuses), None)
    assert refused == Check(name="some", verdict="fail", evidence="thing 3 is wrong; allowed is 2.", remedy="take 2")
    assert answer(("some", refuses), None, lacking="skipped").verdict == "skipped"
    assert answer(("some", runs_out), None, lacking="skipped").verdict == "fail"


def test_a_training_that_cannot_begin_says_so_in_its_own_words(run, work):
    code, _, err = run("train", work, *WORDS[2:], "--name", "none", "--model", "no_such_model")
    assert code == 2
    assert err.startswith("petmood: model 'no_such_model' is not known to timm")
    assert "doctor" not in err


def test_the_doctor_can_be_left_out(run, work, monkeypatch):
    monkeypatch.setattr("petmood.doctor.diagnose.diagnose", None)  # asking would be a traceback
    code, out, err = run("train", work, *WORDS, "--name", "unasked", "--epochs", "1", "--no-doctor")
    assert code == 0, err
    assert "model:" in out
