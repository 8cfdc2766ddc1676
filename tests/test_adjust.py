"""Telling a trained run how often each emotion will be met: exact, reversible, and never half done."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from fixtures.workspaces import make_workspace
from petmood.adjust import adjust, target_shares
from petmood.bundle import load_bundle, read_info
from petmood.cli import run as command
from petmood.errors import UserError
from petmood.evaluate import evaluate
from petmood.loading import load_samples
from petmood.predict import Predictor
from petmood.recipes import TrainSettings
from petmood.recipes.evaluation import EvaluateSettings
from petmood.report.render import write_report
from petmood.report.texts import summary_lines
from petmood.train import train
from petmood.workspace import write_table

torch.set_num_threads(1)

QUICK = TrainSettings(
    model="test_efficientnet",
    image_size=48,
    pretrained="none",
    epochs=4,
    batch_size=16,
    learning_rate=4e-3,
    loss="cross_entropy",
    label_smoothing=0.0,
    frames_per_clip=0,
    device="cpu",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """48 clips of calm for training, 8 of happy and 2 of angry; 12 clips of each to be judged on."""
    made = make_workspace(tmp_path_factory.mktemp("adjust") / "work", clips_per_class=72, frames_per_clip=2, size=48)
    number = pl.col("clip").str.extract(r"(\d+)$").cast(pl.Int32)
    most = pl.col("emotion").replace_strict({"calm": 72, "happy": 12, "angry": 4})
    train_rows = pl.col("split") == "train"
    frames = made.read_frames().with_columns(keep=~train_rows | (number < most))
    write_table(frames, made.frames)
    return made


@pytest.fixture(scope="module")
def run(workspace):
    return train(workspace, "plain", QUICK, quiet=True).run


@pytest.fixture(autouse=True)
def _as_trained(run):
    yield
    adjust(run, "trained")


def probabilities(run, workspace):
    answers = Predictor.load(run, device="cpu").crops(load_samples(workspace, "test").store)
    return answers.probabilities.astype(np.float64)


def test_a_run_says_what_it_expects(run):
    info = read_info(run)
    clips = info.training_clips
    assert clips == {"happy": 8, "calm": 48, "angry": 2}
    assert info.shares == info.trained_shares
    np.testing.assert_allclose(list(info.shares.values()), np.array([8, 48, 2]) / 58)


def test_adjusted_answers_are_the_old_ones_times_the_shares(run, workspace):
    before = probabilities(run, workspace)
    target = {"happy": 0.5, "calm": 0.1, "angry": 0.4}
    done = adjust(run, "happy=5,편안/안정=1, angry = 4")
    assert done.after == pytest.approx(target)
    ratio = np.array([target[name] / done.before[name] for name in target])
    expected = before * ratio
    after = probabilities(run, workspace)
    np.testing.assert_allclose(after, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.abs(after - before).max() > 0.1


def test_there_and_back_again_changes_nothing(run, workspace):
    before, description = probabilities(run, workspace), (run / "bundle.json").read_bytes()
    weights = (run / "model.safetensors").read_bytes()
    for target in ("uniform", "happy=1,calm=1e-6,angry=3", "training", "trained"):
        adjust(run, target)
    assert (run / "bundle.json").read_bytes() == description
    assert (run / "model.safetensors").read_bytes() == weights
    np.testing.assert_array_equal(probabilities(run, workspace), before)


def test_even_shares_find_the_rare_ones_better(run, workspace):
    """A training that shows calm 24 times as often as angry, judged where all are equally frequent."""
    before = evaluate(run, quiet=True).clips.balanced_accuracy
    adjust(run, "uniform")
    after = evaluate(run, quiet=True)
    assert after.clips.balanced_accuracy > before
    (caution,) = [caution for caution in after.cautions if caution.kind == "adjusted"]
    assert caution.detail == "happy 33.3 %, calm 33.3 %, angry 33.3 %"
    line = "Adjusted after training: the answers expect these shares of the emotions: happy 33.3 %, calm 33.3 %"
    assert any(text.startswith(line) for text in summary_lines(after, "en"))
    assert "학습 후 조정됨" in write_report(run, "ko").read_text(encoding="utf-8")


def test_after_balanced_softmax_the_answers_expect_equal_shares(workspace):
    run = train(workspace, "softmax", replace(QUICK, loss="balanced_softmax", epochs=1, limit=32), quiet=True).run
    assert read_info(run).shares == pytest.approx(dict.fromkeys(("happy", "calm", "angry"), 1 / 3))
    assert not adjust(run, "uniform").changed
    assert adjust(run, "training").changed


def test_outdated_results_go(run):
    evaluate(run, quiet=True)
    write_report(run, "en")
    assert adjust(run, "trained").removed == ()  # nothing changed: they are still right
    assert (run / "metrics.json").is_file()
    assert adjust(run, "uniform").removed == ("metrics.json", "predictions.parquet", "report.html")
    assert not {"metrics.json", "predictions.parquet", "report.html"} & {path.name for path in run.iterdir()}


@pytest.mark.parametrize("killed_at", ["os.fsync", "pathlib.Path.replace"])
def test_a_kill_before_the_one_rename_leaves_the_old_answers(run, workspace, monkeypatch, killed_at):
    before = probabilities(run, workspace)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(killed_at, killed)
        adjust(run, "uniform")
    np.testing.assert_array_equal(probabilities(run, workspace), before)
    assert adjust(run, "uniform").changed
    assert load_bundle(run).info.shares["angry"] == pytest.approx(1 / 3)


def test_shares_that_were_edited_by_hand_are_not_believed(run):
    path = run / "bundle.json"
    original = path.read_bytes()
    for shares, message in (
        ({"happy": 0.2, "calm": 0.2, "angry": 0.6}, "answers its test picture differently"),
        ({"happy": 0.5, "calm": 0.5}, "its shares do not name the model's classes"),
        ({"happy": 0.5, "calm": 0.5, "angry": 0}, "greater than 0"),
    ):
        content = json.loads(original)
        content["shares"] = shares
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            load_bundle(run)
    path.write_bytes(original)


def test_a_model_of_an_older_petmood_still_answers_but_cannot_be_adjusted(run, workspace, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    content = json.loads((run / "bundle.json").read_text())
    for name in ("shares", "trained_shares", "training_clips", "init"):
        content.pop(name)
    (old / "bundle.json").write_text(json.dumps(content))
    (old / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    np.testing.assert_array_equal(probabilities(old, workspace), probabilities(run, workspace))
    with pytest.raises(UserError, match="does not say which shares of the emotions its answers expect") as caught:
        adjust(old, "uniform")
    assert "train it again" in caught.value.hint


def test_an_emotion_without_clips_counts_as_one_clip_in_the_shares_of_training(run):
    info = replace(read_info(run), training_clips={"happy": 3, "calm": 6, "angry": 0})
    assert target_shares("training", info) == {"happy": 0.3, "calm": 0.6, "angry": 0.1}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("even", "target 'even' is not a share of one of the model's emotions; allowed are uniform, training, trained"),
        ("happy=1,calm=1", "target 'happy=1,calm=1' leaves out angry"),
        ("happy=1,calm=1,angry=1,행복=2", "names happy twice"),
        ("happy=1,calm=1,fear=1", "target 'fear=1' is not a share of one of the model's emotions"),
        ("happy=1,calm=1,hungry=1", "target 'hungry=1' is not a share"),
        ("happy=1,calm=0,angry=1", r"target 'calm=0' has no share above 0; allowed are numbers above 0"),
        ("happy=1,calm=-1,angry=1", "target 'calm=-1' has no share above 0"),
        ("happy=1,calm=nan,angry=1", "target 'calm=nan' has no share above 0"),
        ("happy=1,calm=inf,angry=1", "target 'calm=inf' has no share above 0"),
        ("happy=1,calm=much,angry=1", "target 'calm=much' has no share above 0"),
        ("", "target '' is not a share"),
    ],
)
def test_a_target_that_is_none_is_refused_in_words(run, target, message):
    before = (run / "bundle.json").read_bytes()
    with pytest.raises(UserError, match=message):
        adjust(run, target)
    assert (run / "bundle.json").read_bytes() == before


def test_the_command_shows_before_and_after(run, capsys):
    assert command(["adjust", str(run), "--target", "uniform"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "adjust: done"
    shown = [line.split()[-2:] for line in lines[2:5]]
    assert shown == [["13.79%", "33.33%"], ["82.76%", "33.33%"], ["3.45%", "33.33%"]]
    assert lines[-1].strip() == f"judge it again: petmood evaluate {run}"
    assert command(["adjust", str(run), "--target", "uniform"]) == 0
    assert capsys.readouterr().out.startswith("adjust: up to date, nothing to do")
    assert command(["adjust", str(run), "--target", "trained", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["after"] == read_info(run).trained_shares
    assert command(["adjust", str(run), "--target", "angry=0"]) == 2
    assert command(["adjust", str(run / "nowhere"), "--target", "uniform"]) == 2
    assert command(["adjust", str(run)]) == 2


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"label_smoothing": 0.1}, "label smoothing (0.1) taught the network"),
        ({"loss": "focal"}, "the focal loss does not learn probabilities"),
        ({"loss": "balanced_softmax", "label_smoothing": 0.1}, ""),
        ({}, ""),
    ],
)
def test_where_the_formula_does_not_quite_hold_it_is_said(run, tmp_path, changed, note):
    content = json.loads((run / "bundle.json").read_text())
    content["settings"] |= changed
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    found = adjust(tmp_path, "uniform").notes
    assert len(found) == bool(note)
    assert all(text.startswith(note) for text in found)


def test_every_split_is_judged_with_the_adjusted_answers(run):
    adjust(run, "happy=1e-12,calm=1e-12,angry=1")
    for split in ("val", "test"):
        found = evaluate(run, EvaluateSettings(split=split), quiet=True)
        assert found.clips.confusion[0][2] == found.clips.classes[0].support  # everything is called angry
