"""An exported file answers as its run, says what it needs, and is not left behind if it does not."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import petmood.export.run
from fixtures.workspaces import make_workspace
from petmood.bundle import Bundle, keep_certainty, load_bundle, read_info
from petmood.cli import run as command
from petmood.crops import CropStore
from petmood.errors import RunError, UserError
from petmood.export import answers, export
from petmood.export.graph import write_graph
from petmood.model import EmotionNet
from petmood.predict import Predictor
from petmood.recipes import TrainSettings
from petmood.recipes.export import ExportSettings
from petmood.records import Calibrated, Certainty
from petmood.train import train

torch.set_num_threads(1)
SETTINGS = TrainSettings(
    model="test_efficientnet", image_size=48, pretrained="none", epochs=2, batch_size=16, learning_rate=4e-3, threads=1
)
CERTAINTY = Certainty(
    level=0.9,
    frames=Calibrated(temperature=1.7, threshold=0.12, clips=9, groups=9),
    clips=Calibrated(temperature=1.2, threshold=0.2, clips=9, groups=9),
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("export") / "work", clips_per_class=9, frames_per_clip=2)


@pytest.fixture(scope="module")
def run(workspace):
    made = train(workspace, "run", SETTINGS, quiet=True).run
    keep_certainty(made, CERTAINTY)
    return made


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(run, tmp_path_factory.mktemp("file") / "model.onnx")


def squares(workspace, run):
    preprocessing = read_info(run).preprocessing
    store = CropStore(workspace.crops)
    return np.stack([preprocessing.prepare(store.pixels(row)) for row in range(len(store))])


def test_the_file_answers_as_the_run_for_batches_of_any_size(workspace, run, exported):
    given = squares(workspace, run)
    (found,) = answers(exported.path, given)
    predictor = Predictor.load(run, device="cpu")
    expected = predictor.believed(predictor.crops(CropStore(workspace.crops)).probabilities)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    (alone,) = answers(exported.path, given[3:4])
    np.testing.assert_allclose(alone[0], found[3], atol=1e-6)
    assert exported.difference < 1e-4
    assert exported.crops > 0
    raw = predictor.crops(CropStore(workspace.crops)).probabilities
    assert np.abs(found - raw).max() > 1e-3  # the temperature is in the file


def test_the_file_says_what_its_input_must_look_like(run, exported):
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [48, 48, 3])
    assert isinstance(given.shape[0], str)
    props = session.get_modelmeta().custom_metadata_map
    assert props["labels"] == "happy,calm,angry"
    assert (props["temperature"], props["threshold"]) == ("1.7", "0.12")
    said = json.loads(props["petmood"])
    info = read_info(run)
    assert said["korean"] == ["행복/즐거움", "편안/안정", "화남/불쾌"]
    assert said["preprocessing"]["image_size"] == info.preprocessing.image_size
    assert said["preprocessing"]["fit"] == info.preprocessing.fit
    assert said["geometry"]["margin"] == info.geometry.margin
    assert said["certainty"]["clips"]["temperature"] == 1.2


def test_a_model_that_weighs_frames_gives_their_attention(workspace, run, tmp_path):
    bundle = load_bundle(run)
    torch.manual_seed(0)
    net = EmotionNet(bundle.net.backbone, classes=3, attention=True).eval()
    torch.nn.init.normal_(net.attention.score.weight)
    write_graph(Bundle(dataclasses.replace(bundle.info, pool="attention"), net), tmp_path / "model.onnx")
    given = squares(workspace, run)[:5]
    _, attention = answers(tmp_path / "model.onnx", given)
    pixels = torch.from_numpy(given).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = net.answers(bundle.info.preprocessing.normalise(pixels)).attention
    np.testing.assert_allclose(attention, expected, atol=1e-4)
    assert np.ptp(attention) > 1e-3


def test_a_file_that_answers_differently_is_not_kept(run, tmp_path, monkeypatch):
    original = petmood.export.run.write_graph

    def other(bundle, path):
        with torch.no_grad():
            bundle.net.classifier.bias.add_(torch.tensor([0.5, 0, 0]))
        original(bundle, path)

    monkeypatch.setattr(petmood.export.run, "write_graph", other)
    with pytest.raises(RunError, match="answers .* crops differently.*was not kept"):
        export(run, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_eight_bits_are_kept_only_if_they_cost_little(run, tmp_path, monkeypatch):
    monkeypatch.setattr(petmood.export.run, "_LOSS", 1.0)
    small = export(run, tmp_path / "small.onnx", ExportSettings(int8=True, calibrate=16))
    assert small.macro_f1 is not None
    kinds = {node.op_type for node in onnx.load(small.path).graph.node}
    assert "QuantizeLinear" in kinds
    assert "temperature" in onnxruntime.InferenceSession(small.path).get_modelmeta().custom_metadata_map
    monkeypatch.setattr(petmood.export.run, "_LOSS", -1.0)
    with pytest.raises(RunError, match="8 bits lower the macro-F1"):
        export(run, tmp_path / "none.onnx", ExportSettings(int8=True, calibrate=16))
    assert not (tmp_path / "none.onnx").exists()


def test_the_command_writes_into_the_run(run, capsys):
    assert command(["export", str(run)]) == 0
    assert (run / "model.onnx").is_file()
    assert "same answers" in capsys.readouterr().out


def test_a_run_apart_from_its_data_cannot_be_checked(run, tmp_path):
    for name in ("bundle.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(UserError, match="not in a work folder"):
        export(tmp_path)
