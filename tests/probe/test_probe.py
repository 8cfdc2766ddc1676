"""A probe leaves an ordinary run that answers as its fit does; what it cannot do is said."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import timm
import torch
import yaml

from fixtures.workspaces import make_workspace
from petmood.bundle import keep_certainty, load_bundle, read_info
from petmood.cli import run as command
from petmood.errors import UserError
from petmood.evaluate import evaluate
from petmood.features import crop_features
from petmood.loading import load_samples
from petmood.losses import validation_scores
from petmood.predict import Predictor
from petmood.probe import probe
from petmood.probe.fitting import Corrections, Frames, fit_head
from petmood.probe.run import _feature_settings
from petmood.recipes import TrainSettings
from petmood.recipes.evaluation import EvaluateSettings
from petmood.runfolder import read_config, write_config
from petmood.workspace import write_table

QUICK = TrainSettings(
    method="probe", model="test_efficientnet", image_size=48, pretrained="none", folds=3, device="cpu", threads=1
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("probe") / "work", clips_per_class=12)


@pytest.fixture(scope="module")
def probed(workspace):
    return probe(workspace, "probed", QUICK, recipe="probe", quiet=True)


def test_the_run_folder_holds_exactly_this(probed):
    assert sorted(path.name for path in probed.run.iterdir()) == ["bundle.json", "config.yaml", "model.safetensors"]
    assert read_config(probed.run) == (QUICK, "probe")
    assert yaml.safe_load((probed.run / "config.yaml").read_text())["petmood"]


def test_it_learns_something(probed):
    assert probed.scores["val_clip_macro_f1"] > 0.5  # chance is 0.33
    assert f"model: {probed.run}" in probed.lines


def fit_of(workspace, features):
    """What the probe fits, made by hand from the training clips."""
    train = load_samples(workspace, "train")
    _, first, clips = np.unique(train.clips, return_index=True, return_inverse=True)
    frames = Frames(
        features=torch.from_numpy(features.of(train.frames["frame_id"])),
        clips=clips,
        labels=train.labels[first],
        groups=train.frames["group"].gather(first).to_list(),
    )
    return fit_head(frames, 3, Corrections(loss="balanced_softmax", class_weights="none"), folds=3, seed=0)


def test_the_model_answers_as_the_fit_did(probed, workspace):
    samples = load_samples(workspace, "val")
    answers = Predictor.load(probed.run, device="cpu").crops(samples.store, threads=1).probabilities
    features = crop_features(workspace, _feature_settings(QUICK), quiet=True)
    fitted = fit_of(workspace, features)
    logits = torch.from_numpy(fitted.head.logits(features.of(samples.frames["frame_id"])))
    assert fitted.choice.strength == probed.strength
    assert np.allclose(answers, logits.softmax(dim=1).numpy(), atol=5e-3)
    scores = validation_scores(logits, samples.labels, samples.clips)
    assert scores == pytest.approx(dict(probed.scores), abs=1e-4)


def test_it_knows_how_its_probabilities_are_to_be_read_and_evaluation_believes_it(workspace):
    run = probe(workspace, "certain", QUICK, recipe="probe", quiet=True).run
    kept = read_info(run).certainty
    evaluate(run, EvaluateSettings(split="test"), quiet=True)
    assert read_info(run).certainty == kept
    # Fitted anew through the pictures themselves it is the same, up to the rounding of the features.
    keep_certainty(run, None)
    evaluate(run, EvaluateSettings(split="test"), quiet=True)
    again = read_info(run).certainty
    assert again.fitted_on == kept.fitted_on
    assert again.frames.temperature == pytest.approx(kept.frames.temperature, rel=0.02)
    assert again.clips.threshold == pytest.approx(kept.clips.threshold, abs=0.01)


def test_the_batch_norm_holds_the_standardisation_of_the_training_clips(probed, workspace):
    samples = load_samples(workspace, "train")
    features = crop_features(workspace, _feature_settings(QUICK), quiet=True).of(samples.frames["frame_id"])
    norm = load_bundle(probed.run).net.norm
    assert np.allclose(norm.running_mean.numpy(), features.mean(axis=0), atol=1e-3)
    normalised = norm(torch.from_numpy(features)).detach().numpy()
    assert np.allclose(normalised.mean(axis=0), 0, atol=1e-2)
    # Deviations come to 1 but for the small number that the norm adds to each variance.
    expected = np.sqrt(features.var(axis=0) / (features.var(axis=0) + norm.eps))
    assert expected.max() > 0.2
    assert np.allclose(normalised.std(axis=0), expected, atol=2e-2)


def test_the_run_describes_itself(probed, workspace):
    info = load_bundle(probed.run).info
    assert info.model == "test_efficientnet"
    assert info.training_clips == {"happy": 8, "calm": 8, "angry": 8}
    assert list(info.shares.values()) == pytest.approx([1 / 3] * 3)
    assert info.data == {stage: workspace.mark(stage)["made_from"] for stage in ("index", "pack", "split")}
    assert (info.epoch, info.init) == (1, None)


def test_evaluate_takes_it_as_any_run(probed):
    evaluate(probed.run, EvaluateSettings(device="cpu", threads=1), quiet=True)
    assert {"metrics.json", "predictions.parquet"} <= {path.name for path in probed.run.iterdir()}


def test_a_second_probe_finds_the_features(probed, workspace):
    again = probe(workspace, "again", replace(QUICK, loss="cross_entropy"), quiet=True)
    assert again.cached
    assert again.strength > 0
    assert any("from the cache" in line for line in again.lines)


def test_from_another_run_it_takes_its_backbone(workspace, tmp_path):
    torch.manual_seed(5)
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.pth")
    first = probe(workspace, "first", replace(QUICK, pretrained=str(tmp_path / "weights.pth")), quiet=True)
    summary = probe(workspace, "second", TrainSettings(method="probe", init=str(first.run), folds=3), quiet=True)
    before, after = load_bundle(first.run), load_bundle(summary.run)
    assert after.info.model == "test_efficientnet"
    assert after.info.preprocessing == before.info.preprocessing
    assert after.info.init is not None
    assert (after.info.init.run, after.info.init.same_data) == (str(first.run), True)
    theirs = before.net.backbone.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in after.net.backbone.state_dict().items())
    assert summary.cached  # the same network on the same crops
    assert summary.scores == pytest.approx(first.scores)


def test_a_clip_head_is_saved_with_the_run(workspace):
    summary = probe(workspace, "clips", replace(QUICK, pool="clip"), quiet=True)
    bundle = load_bundle(summary.run)
    assert (bundle.net.attention is not None) == (bundle.info.pool == "attention")
    assert summary.notes


def test_a_stopped_probe_goes_on_and_a_finished_one_does_not(probed, workspace):
    write_config(workspace.runs / "stopped", QUICK, "probe", None)
    summary = probe(workspace, "stopped", TrainSettings(), resume=True, quiet=True)
    assert summary.scores == pytest.approx(probed.scores)
    with pytest.raises(UserError, match="run 'stopped' is finished"):
        probe(workspace, "stopped", QUICK, resume=True, quiet=True)
    with pytest.raises(UserError, match="run 'stopped' exists already"):
        probe(workspace, "stopped", QUICK, quiet=True)
    with pytest.raises(UserError, match="run 'never' does not exist"):
        probe(workspace, "never", QUICK, resume=True, quiet=True)


def test_what_is_not_used_is_named(workspace):
    summary = probe(workspace, "unused", replace(QUICK, epochs=3, mixup=0.2), quiet=True)
    assert any("does not use epochs, mixup" in note for note in summary.notes)


def kept(workspace, root, condition):
    """A workspace like another one in which only some frames are kept."""
    other = make_workspace(root / "work", clips_per_class=12)
    frames = workspace.read_frames()
    write_table(frames.with_columns(keep=condition), other.frames)
    return other


def test_an_emotion_without_training_pictures_is_named(workspace, tmp_path):
    no_angry = kept(workspace, tmp_path, (pl.col("emotion") != "angry") | (pl.col("split") != "train"))
    summary = probe(no_angry, "run", QUICK, quiet=True)
    assert any("no picture of angry" in note for note in summary.notes)
    assert np.isfinite(summary.scores["val_loss"])


@pytest.mark.parametrize(
    ("changed", "condition", "message"),
    [
        ({"loss": "focal"}, pl.lit(value=True), "loss 'focal' is not possible with a probe"),
        ({}, pl.col("emotion") == "calm", "pictures of one emotion alone, calm"),
        ({}, pl.col("split") == "train", "no chosen frames in the split 'val'"),
        ({"new_head": True}, pl.lit(value=True), "no run to take the backbone from"),
        ({"model": "efficientnot"}, pl.lit(value=True), "model 'efficientnot' is not known"),
    ],
)
def test_what_cannot_be_done_is_said(workspace, tmp_path, changed, condition, message):
    other = kept(workspace, tmp_path, condition)
    with pytest.raises(UserError, match=message):
        probe(other, "run", replace(QUICK, **changed), quiet=True)
    assert not other.runs.exists()


def test_the_command_line_goes_by_the_method_of_the_recipe(workspace, capsys):
    words = ["train", str(workspace.root), "--recipe", "probe", "--model", "test_efficientnet", "--pretrained", "none"]
    assert command([*words, "--image-size", "48", "--device", "cpu", "--folds", "3", "--json", "-q"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["run"] == str(workspace.runs / "probe")
    assert {"strength", "cached", "feature_seconds", "fit_seconds", "val_clip_macro_f1"} <= set(counts)
    # By the run's own method, whatever recipe is named.
    assert command(["train", str(workspace.root), "--name", "probe", "--resume", "-q"]) == 2
    assert "run 'probe' is finished" in capsys.readouterr().err
