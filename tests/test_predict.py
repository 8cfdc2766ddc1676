"""One inference path: photos, crops and batches give the same answers, failures are values, output can be read."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fixtures.workspaces import make_workspace
from petmood.bundle import Bundle, assume_shares, load_bundle, read_info, save_bundle
from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.geometry import Box, parse_box
from petmood.loading import load_samples
from petmood.look import Looker
from petmood.media import cut, encode
from petmood.metrics import clip_means
from petmood.model import FrameAttention
from petmood.predict import Predictor
from petmood.recipes import TrainSettings
from petmood.train import train

# OpenMP threads wait by spinning: beside other processes on few cores these small steps would take 20 times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("predict") / "work", sources=True)


@pytest.fixture(scope="module")
def run(workspace):
    settings = TrainSettings(
        model="test_efficientnet", image_size=48, pretrained="none", epochs=2, batch_size=16, learning_rate=4e-3
    )
    return train(workspace, "run", settings, quiet=True).run


@pytest.fixture(scope="module")
def predictor(run):
    return Predictor.load(run, device="cpu")


@pytest.fixture(scope="module")
def photos(workspace):
    return workspace.read_frames()["path"].to_list()[::7]


def photos_of(engine, paths, box=None):
    """One answer a photo: of the box, or of all of it."""
    looker = Looker(engine, None, whole=True)
    return [answer for (answer,) in looker.files((str(path), Path(path), box) for path in paths)]


def shares(prediction):
    return np.array(list(prediction.probabilities.values()))


def test_a_batch_answers_as_single_photos_do(predictor, photos):
    together = photos_of(predictor, photos)
    assert [one.source for one in together] == photos
    for path, answer in zip(photos, together, strict=True):
        (alone,) = photos_of(predictor, [path])
        np.testing.assert_allclose(shares(alone), shares(answer), atol=1e-5)
        assert alone.emotion == answer.emotion
        assert list(answer.probabilities) == ["happy", "calm", "angry"]
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_the_batch_size_of_crops_does_not_matter(predictor, workspace):
    store = CropStore(workspace.crops)
    told = []
    large, attention = predictor.crops(store, batch_size=64, advance=told.append)
    assert attention is None
    assert large.shape == (54, 3)
    assert large.dtype == np.float32
    assert sum(told) == 54
    np.testing.assert_allclose(predictor.crops(store, batch_size=5, threads=3).probabilities, large, atol=1e-5)


def test_no_crops_give_no_answers(predictor, workspace):
    store = CropStore(workspace.crops)
    assert predictor.crops(CropStore(workspace.crops, store.table[:0])).probabilities.shape == (0, 3)


def test_a_photo_answers_as_its_packed_crop(predictor, workspace):
    # Preprocessing is the same in training, evaluation and prediction: only the crop's JPEG rounding lies between.
    frames = workspace.read_frames()
    crops = predictor.crops(CropStore(workspace.crops)).probabilities
    photos = np.stack([shares(answer) for answer in photos_of(predictor, frames["path"])])
    np.testing.assert_allclose(photos, crops, atol=0.03)


def test_a_box_cuts_as_packing_does(predictor, tmp_path):
    generator = np.random.default_rng(0)
    picture = cv2.resize(generator.integers(0, 255, (20, 30, 3), np.uint8), (900, 600))
    (tmp_path / "photo.jpg").write_bytes(encode(picture, 95))
    box = Box(300, 100, 400, 350)
    crop = cut((tmp_path / "photo.jpg").read_bytes(), box, predictor.info.geometry)
    (tmp_path / "crop.jpg").write_bytes(encode(crop.pixels, 90))
    (boxed,) = photos_of(predictor, [tmp_path / "photo.jpg"], box=box)
    (packed,) = photos_of(predictor, [tmp_path / "crop.jpg"])
    (whole,) = photos_of(predictor, [tmp_path / "photo.jpg"])
    np.testing.assert_allclose(shares(boxed), shares(packed), atol=0.03)
    assert np.abs(shares(boxed) - shares(whole)).max() > 1e-4


def test_training_and_prediction_see_the_same_pixels(predictor, run, workspace):
    # The scores of validation in training come again, to the last frame, from the saved model.
    samples = load_samples(workspace, "val")
    answers = predictor.crops(samples.store).probabilities
    accuracy = (answers.argmax(axis=1) == samples.labels).mean()
    loss = -np.log(answers[np.arange(len(answers)), samples.labels]).mean()
    assert accuracy == pytest.approx(predictor.info.scores["val_accuracy"], abs=1e-6)
    assert loss == pytest.approx(predictor.info.scores["val_loss"], abs=1e-3)


def test_an_answer_needs_no_certainty(run, photos):
    # The notes' fifth mistake: they looked for a softmax output of exactly 1.
    bundle = load_bundle(run)
    bundle.net.classifier.weight.data.mul_(0)
    bundle.net.classifier.bias.data.copy_(bundle.net.classifier.bias.new_tensor([0.0, 0.001, 0.0]))
    for answer in photos_of(Predictor(Bundle(bundle.info, bundle.net), device="cpu"), photos[:3]):
        assert answer.emotion == "calm"
        assert max(answer.probabilities.values()) < 0.34


@pytest.fixture(scope="module")
def attentive(run, workspace, tmp_path_factory):
    """The same model with attention over the frames of a clip, as a folder."""
    folder = tmp_path_factory.mktemp("attentive")
    bundle = load_bundle(run)
    info, net = bundle.info, bundle.net
    torch.manual_seed(0)
    net.attention = FrameAttention(net.classifier.in_features)
    store = CropStore(workspace.crops)
    pixels = np.stack([info.preprocessing.prepare(store.pixels(row)) for row in range(len(store))])
    images = info.preprocessing.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    with torch.no_grad():  # frames of a clip that differ as those of a trained network do
        features = net.backbone(images)
        net.norm.running_mean.copy_(features.mean(dim=0))
        net.norm.running_var.copy_(features.var(dim=0))
        net.attention.score.weight.mul_(5)
        net.classifier.weight.normal_(std=0.3)
    known = ("model", "classes", "preprocessing", "settings", "epoch", "scores", "shares", "training_clips")
    save_bundle(folder, net.eval(), workspace, **{name: getattr(info, name) for name in known})
    return folder


def test_attention_does_not_change_the_answers_of_single_frames(attentive, workspace):
    store = CropStore(workspace.crops)
    predictor = Predictor.load(attentive, device="cpu")
    found = predictor.crops(store, batch_size=7)
    assert found.attention.shape == (54,)
    assert found.attention.dtype == np.float32
    assert found.attention.std() > 0.1
    np.testing.assert_allclose(predictor.crops(store).attention, found.attention, atol=1e-4)
    plain = load_bundle(attentive)
    plain.net.attention = None
    without = Predictor(Bundle(replace(plain.info, pool="mean"), plain.net), device="cpu").crops(store)
    assert without.attention is None
    np.testing.assert_allclose(without.probabilities, found.probabilities, atol=1e-5)
    empty = predictor.crops(CropStore(workspace.crops, store.table[:0]))
    assert empty.attention.shape == (0,)


def test_a_clip_by_attention_is_what_the_network_says_of_its_pooled_features(attentive, workspace):
    """Weighting the frames' answers is weighting their features, because batch norm and the last layer are affine."""
    samples = load_samples(workspace, "train")
    predictor = Predictor.load(attentive, device="cpu")
    found = predictor.crops(samples.store)
    clips = clip_means(samples.clips, found.probabilities, samples.labels, found.attention)
    net = predictor.net
    for number, clip in enumerate(clips.clips[:4]):
        rows = [row for row, name in enumerate(samples.clips) if name == clip]
        pixels = np.stack([predictor.info.preprocessing.prepare(samples.store.pixels(row)) for row in rows])
        images = predictor.info.preprocessing.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        with torch.inference_mode():
            features = net.norm(net.backbone(images))
            pooled = net.attention(features).softmax(dim=0) @ features
            expected = net.classifier(pooled).softmax(dim=0).numpy()
        np.testing.assert_allclose(clips.probabilities[number], expected, atol=1e-4)
        assert np.abs(found.probabilities[rows].mean(axis=0) - expected).max() > 1e-4


def test_adjusting_is_exact_for_clips_by_attention(attentive, workspace):
    samples = load_samples(workspace, "train")

    def of_clips():
        found = Predictor.load(attentive, device="cpu").crops(samples.store)
        return clip_means(samples.clips, found.probabilities, samples.labels, found.attention).probabilities

    info = read_info(attentive)
    before, target = of_clips(), {"happy": 0.1, "calm": 0.3, "angry": 0.6}
    try:
        assume_shares(attentive, target)
        factors = np.array([target[name] / info.shares[name] for name in info.classes])
        expected = before * factors / (before * factors).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(of_clips(), expected, atol=1e-5)
        assert np.abs(expected - before).max() > 0.05
    finally:
        assume_shares(attentive, info.shares)


def test_failures_are_values_in_their_place(predictor, photos, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("hello")
    inputs = [photos[0], tmp_path / "empty.jpg", tmp_path / "none.jpg", photos[1], tmp_path / "text.jpg", tmp_path]
    answers = photos_of(predictor, inputs)
    assert [one.source for one in answers] == [str(path) for path in inputs]
    reasons = ["", "empty_image", "no_image", "", "unreadable_image", "unreadable_image"]
    assert [one.reason for one in answers] == reasons
    assert [one.emotion is None for one in answers] == [reason != "" for reason in reasons]
    assert answers[1].probabilities == {}


def test_a_box_outside_the_photo_is_a_reason(predictor, photos):
    (answer,) = photos_of(predictor, photos[:1], box=Box(5000, 5000, 10, 10))
    assert answer.reason == "box_outside_image"


def test_cuda_without_a_gpu_is_an_error(run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device cuda is not available"):
        Predictor.load(run, device="cuda")


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "1,2,0,5", "1,2,3,4,5"])
def test_a_bad_box_is_explained(text):
    with pytest.raises(UserError, match=f"box '{text}' is not usable; allowed is x,y,width,height"):
        parse_box(text)


def test_a_good_box_is_read():
    assert parse_box("1, 2,30,40") == Box(1, 2, 30, 40)
    assert parse_box("") is None


def test_a_saved_bundle_of_another_run_can_be_saved_again(run, workspace, tmp_path):
    bundle = load_bundle(run)
    info = bundle.info
    again = save_bundle(
        tmp_path,
        bundle.net,
        workspace,
        model=info.model,
        classes=info.classes,
        preprocessing=info.preprocessing,
        settings=info.settings,
        epoch=info.epoch,
        scores=info.scores,
        shares=info.shares,
        training_clips=info.training_clips,
    )
    assert again == info
