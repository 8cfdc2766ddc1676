"""A model folder describes itself, and one that was changed or damaged is not believed."""

import json

import pytest
import safetensors.torch
import timm
import torch

from fixtures.workspaces import make_workspace
from petmood.bundle import check_same_classes, load_bundle, read_info, save_bundle
from petmood.errors import UserError
from petmood.geometry import CropGeometry
from petmood.labels import fingerprint
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.weights import create_backbone

MODEL = "test_efficientnet"
CLASSES = ("happy", "calm", "angry")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("bundle") / "work", clips_per_class=1, frames_per_clip=1)


def save(workspace, folder, *, attention=False):
    torch.manual_seed(0)
    backbone = create_backbone(MODEL)
    net = EmotionNet(backbone, classes=3, attention=attention)
    with torch.no_grad():
        for _ in range(3):  # batch norms get statistics, as in training
            net.train()(torch.randn(8, 3, 64, 64))
        net.classifier.weight.normal_()  # as decided as a trained one
    preprocessing = Preprocessing.of_backbone(timm.data.resolve_model_data_config(backbone), image_size=64, fit="pad")
    save_bundle(
        folder,
        net,
        workspace,
        model=MODEL,
        classes=CLASSES,
        preprocessing=preprocessing,
        settings={"epochs": 3},
        epoch=2,
        scores={"val_loss": 0.5},
    )
    return folder


@pytest.fixture
def folder(workspace, tmp_path):
    return save(workspace, tmp_path)


@pytest.fixture
def attentive(workspace, tmp_path):
    return save(workspace, tmp_path, attention=True)


def edit(folder, **values):
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    for name, value in values.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(content))


def test_it_comes_back_as_it_was(folder, workspace):
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "model.safetensors"]
    bundle = load_bundle(folder)
    info = bundle.info
    assert (info.model, info.classes, info.epoch, info.scores) == (MODEL, CLASSES, 2, {"val_loss": 0.5})
    assert info.labels == fingerprint(CLASSES)
    assert info.geometry == CropGeometry()
    assert info.data == {"index": "index-0", "pack": "pack-0", "split": "split-0"}
    assert info.preprocessing.image_size == 64
    assert not bundle.net.training
    saved = safetensors.torch.load_file(folder / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in bundle.net.state_dict().items())


def test_attention_comes_back_as_it_was(attentive):
    bundle = load_bundle(attentive)
    assert bundle.info.pool == "attention"
    assert len(bundle.info.check) == 4
    saved = safetensors.torch.load_file(attentive / "model.safetensors")
    assert {name for name in saved if name.startswith("attention.")} == {
        "attention.content.weight",
        "attention.content.bias",
        "attention.gate.weight",
        "attention.gate.bias",
        "attention.score.weight",
    }
    assert all(torch.equal(value, saved[name]) for name, value in bundle.net.state_dict().items())


def test_a_bundle_that_says_nothing_of_pooling_takes_the_mean(folder):
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    assert content.pop("pool") == "mean"
    path.write_text(json.dumps(content))
    bundle = load_bundle(folder)
    assert bundle.info.pool == "mean"
    assert bundle.net.attention is None


def test_other_attention_is_noticed(attentive):
    path = attentive / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["attention.score.weight"] += 0.5
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UserError, match="answers its test picture differently"):
        load_bundle(attentive)


def test_attention_cannot_be_dropped_by_a_word(attentive):
    edit(attentive, pool="mean")
    with pytest.raises(UserError, match=r"do not belong to test_efficientnet: .*attention"):
        load_bundle(attentive)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0, 0, 0], "std": [1 / 255] * 3},  # the notes' first mistake: never divided by 255 …
        {"mean": [0.485 * 255] * 3, "std": [0.229 * 255] * 3},  # … or divided twice
        {"fit": "squash"},
        {"image_size": 96},
    ],
)
def test_other_preprocessing_than_in_training_is_noticed(folder, change):
    edit(folder, preprocessing=change)
    with pytest.raises(
        UserError, match=r"answers its test picture differently than when it was saved|mean.* not allowed"
    ):
        load_bundle(folder)


def test_other_weights_are_noticed(folder):
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["classifier.bias"] += 1
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UserError, match="answers its test picture differently"):
        load_bundle(folder)
    del tensors["classifier.bias"]
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UserError, match=r"do not belong to test_efficientnet: .*classifier.bias"):
        load_bundle(folder)


def test_weights_that_are_no_number_are_noticed(folder):
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["classifier.bias"][0] = float("nan")
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(UserError, match="answers its test picture differently"):
        load_bundle(folder)


def test_classes_in_another_order_are_noticed(folder):
    # The notes' third mistake: the same names, other numbers.
    edit(folder, classes=["calm", "happy", "angry"])
    with pytest.raises(UserError, match="names the classes calm, happy, angry, which are not the ones it was saved"):
        read_info(folder)


def test_saving_a_model_again_removes_the_results_of_the_old_one(folder, workspace):
    for name in ("metrics.json", "predictions.parquet", "report.html", "metrics.csv"):
        (folder / name).write_text("of the old model")
    bundle = load_bundle(folder)
    known = ("model", "classes", "preprocessing", "settings", "epoch", "scores")
    values = {name: getattr(bundle.info, name) for name in known}
    save_bundle(folder, bundle.net, workspace, **values)
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "metrics.csv", "model.safetensors"]


def test_data_with_other_classes_is_refused(folder):
    info = read_info(folder)
    check_same_classes(info, CLASSES, where="work folder w")
    for other in (("calm", "happy", "angry"), ("happy", "calm")):
        with pytest.raises(UserError, match=r"work folder w has the classes .*; the model knows happy, calm, angry"):
            check_same_classes(info, other, where="work folder w")


def test_missing_and_damaged_files_are_named(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"weights .*model.safetensors are damaged"):
        load_bundle(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"run folder .* lacks model.safetensors"):
        load_bundle(folder)
    (folder / "bundle.json").write_text("{")
    with pytest.raises(UserError, match=r"bundle.json is damaged"):
        load_bundle(folder)
    (folder / "bundle.json").unlink()
    with pytest.raises(UserError, match=r"run folder .* holds no model \(bundle.json is missing\)"):
        load_bundle(folder)


def test_another_format_is_refused(folder):
    edit(folder, format=2)
    with pytest.raises(UserError, match=r"has format 2; this petmood \(.*\) reads format 1"):
        read_info(folder)


def test_an_unknown_or_missing_field_is_named(folder):
    edit(folder, colour="red")
    with pytest.raises(UserError, match="unknown setting 'colour'"):
        read_info(folder)
