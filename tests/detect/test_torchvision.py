"""torchvision's detectors: with random weights, as the real ones cannot be brought along."""

import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.models import detection

from petmood.detect import open_detector
from petmood.detect.coco import TorchvisionDetector
from petmood.errors import UserError
from petmood.geometry import Box

BUILDERS = {
    "fasterrcnn": detection.fasterrcnn_mobilenet_v3_large_320_fpn,
    "ssdlite": detection.ssdlite320_mobilenet_v3_large,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of both networks; Faster R-CNN says dog (18) of every place, with a score of nearly 1."""
    folder = tmp_path_factory.mktemp("weights")
    for name, build in BUILDERS.items():
        torch.manual_seed(0)
        state = build(weights=None, weights_backbone=None, num_classes=91).state_dict()
        if name == "fasterrcnn":
            state["roi_heads.box_predictor.cls_score.weight"].zero_()
            state["roi_heads.box_predictor.cls_score.bias"].zero_()
            state["roi_heads.box_predictor.cls_score.bias"][18] = 12.0
        torch.save(state, folder / f"{name}.pth")
    return folder


def noise(width, height):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_file_tells_which_network_it_is_for(files, name):
    opened = TorchvisionDetector(files / f"{name}.pth")
    assert type(opened._network) is type(BUILDERS[name](weights=None, weights_backbone=None))
    assert not opened._network.training
    assert isinstance(opened.animals(noise(90, 60)), list)


def test_boxes_lie_in_the_picture_and_species_follow_cocos_numbers(files):
    opened = open_detector(str(files / "fasterrcnn.pth"))
    found = opened.animals(noise(200, 100))
    assert found
    assert {animal.species for animal in found} == {"dog"}
    assert found[0].score == pytest.approx(np.exp(12) / (np.exp(12) + 90), rel=1e-3)
    for animal in found:
        assert animal.box.x + animal.box.width <= 200
        assert animal.box.y + animal.box.height <= 100
    assert not opened.animals(noise(200, 100), least=0.9999)


@pytest.mark.parametrize(("label", "species"), [(17, "cat"), (18, "dog"), (16, None), (19, None)])
def test_other_classes_do_not_count(files, label, species):
    opened = TorchvisionDetector(files / "fasterrcnn.pth")
    with torch.no_grad():
        opened._network.roi_heads.box_predictor.cls_score.bias.zero_()[label] = 12.0
    assert {animal.species for animal in opened.animals(noise(120, 80))} == ({species} if species else set())


def test_the_network_is_given_red_first_from_0_to_1(files):
    opened = TorchvisionDetector(files / "ssdlite.pth")
    seen = []
    opened._network.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    pixels = np.zeros((6, 4, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 255, 51
    opened.animals(pixels)
    (picture,) = seen
    assert picture.shape == (3, 6, 4)
    assert picture.amin(dim=(1, 2)).tolist() == pytest.approx([1.0, 0.2, 0.0])


def test_boxes_are_in_the_pixels_of_the_picture(files):
    """The network answers in the given picture's pixels; nothing here may scale them again."""
    opened = TorchvisionDetector(files / "ssdlite.pth")

    class Fixed(torch.nn.Module):
        def forward(self, pictures):
            boxes = torch.tensor([[10.4, -5.0, 60.6, 40.0], [900.0, 900.0, 950.0, 950.0]])
            return [{"boxes": boxes, "labels": torch.tensor([17, 17]), "scores": torch.tensor([0.7, 0.9])}]

    opened._network = Fixed()
    (animal,) = opened.animals(noise(50, 80))
    assert (animal.species, animal.box) == ("cat", Box(10, 0, 40, 40))


def test_safetensors_are_read_too(files, tmp_path):
    state = torch.load(files / "ssdlite.pth", weights_only=True)
    safetensors.torch.save_file(state, tmp_path / "ssd.safetensors")
    assert isinstance(open_detector(str(tmp_path / "ssd.safetensors")), TorchvisionDetector)


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize("kind", ["garbage", "empty", "code", "tensor", "other network", "other classes"])
def test_other_files_are_refused_in_a_sentence(files, tmp_path, capsys, kind):
    path = tmp_path / "w.pth"
    state = torch.load(files / "ssdlite.pth", weights_only=True)
    match kind:
        case "garbage":
            path.write_bytes(b"no weights")
        case "empty":
            path.write_bytes(b"")
        case "code":
            path.write_bytes(pickle.dumps(Evil(), protocol=2))
        case "tensor":
            torch.save(torch.zeros(2), path)
        case "other network":
            torch.save({"weight": torch.zeros(2)}, path)
        case "other classes":
            del state["head.classification_head.module_list.0.1.bias"]
            torch.save(state, path)
    words = "cannot be read|not names with tensors|of no network|do not fit"
    with pytest.raises(UserError, match=f"detector weights .*({words})"):
        open_detector(str(path))
    assert "code was run" not in capsys.readouterr().out
