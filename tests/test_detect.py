"""Animals in pictures: boxes in the picture's own pixels, one for each animal, and clear words without weights."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from petmood.detect import Yolox
from petmood.errors import UserError
from petmood.records import Box

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
CAT, DOG, HORSE = 15, 16, 17


def guess(cell, x, y, width, height, kind, score=0.9):
    """Row ``cell`` (of the 8 × 8 finest ones): a box in pixels of the square around its middle."""
    row, column = divmod(cell, 8)
    values = np.zeros(85, np.float32)
    values[:4] = (x + width / 2) / 8 - column, (y + height / 2) / 8 - row, np.log(width / 8), np.log(height / 8)
    values[4], values[5 + kind] = 1, score
    return cell, values


def detector(path, *guesses):
    """A YOLOX that always guesses the same, with scores in proportion to how blue the picture is."""
    output = np.zeros((1, CELLS, 85), np.float32)
    for cell, values in guesses:
        output[0, cell] = values
    blue = np.zeros((1, CELLS, 85), np.float32)
    blue[0, :, 4] = 1 / 255
    other = output.copy()
    other[0, :, 4] = 0
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["images", "start", "end"], ["first"]),
            helper.make_node("ReduceMax", ["first"], ["most"], keepdims=0),
            helper.make_node("Mul", ["blue", "most"], ["objectness"]),
            helper.make_node("Add", ["objectness", "other"], ["output"]),
        ],
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, CELLS, 85])],
        [
            numpy_helper.from_array(np.array([0, 0, 0, 0], np.int64), "start"),
            numpy_helper.from_array(np.array([1, 1, SIDE // 4, SIDE // 4], np.int64), "end"),
            numpy_helper.from_array(blue, "blue"),
            numpy_helper.from_array(other, "other"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return Yolox(path)


def picture(width, height, colour=(0, 0, 255)):
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3))


def test_boxes_are_in_the_pixels_of_the_picture(tmp_path):
    yolox = detector(tmp_path / "y.onnx", guess(10, 8, 8, 16, 16, DOG))
    # 256 × 128 pixels become 64 × 32: a quarter.
    (animal,) = yolox.animals(picture(256, 128))
    assert (animal.species, animal.box) == ("dog", Box(32, 32, 64, 64))
    assert animal.score == pytest.approx(0.9)


def test_a_box_beyond_the_picture_is_cut_at_its_edge_and_one_outside_is_none(tmp_path):
    yolox = detector(tmp_path / "y.onnx", guess(0, -8, -8, 24, 24, CAT), guess(60, 30, 50, 8, 8, DOG))
    # In a wide picture the square's lower half is filling.
    (animal,) = yolox.animals(picture(128, 64))
    assert (animal.species, animal.box) == ("cat", Box(0, 0, 32, 32))


def test_of_overlapping_boxes_the_surest_stays_and_other_animals_are_kept(tmp_path):
    yolox = detector(
        tmp_path / "y.onnx",
        guess(9, 0, 0, 20, 20, DOG, 0.6),
        guess(10, 2, 2, 20, 20, DOG, 0.8),
        guess(30, 40, 40, 16, 16, DOG, 0.5),
        guess(11, 2, 2, 20, 20, CAT, 0.4),
        guess(12, 2, 2, 20, 20, HORSE, 0.95),
    )
    found = yolox.animals(picture(64, 64))
    assert [(animal.species, animal.score) for animal in found] == [
        ("dog", pytest.approx(0.8)),
        ("dog", pytest.approx(0.5)),
        ("cat", pytest.approx(0.4)),
    ]
    assert [animal.species for animal in yolox.animals(picture(64, 64), least=0.7)] == ["dog"]


def test_the_network_sees_blue_first(tmp_path):
    yolox = detector(tmp_path / "y.onnx", guess(9, 0, 0, 20, 20, DOG))
    assert not yolox.animals(picture(64, 64, (255, 255, 0)))
    assert yolox.animals(picture(64, 64, (0, 0, 255)))


def test_what_is_no_detector_is_said(tmp_path):
    with pytest.raises(UserError, match="do not exist") as caught:
        Yolox(tmp_path / "none.onnx")
    assert "yolox_nano.onnx" in caught.value.hint
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    with pytest.raises(UserError, match="cannot be read"):
        Yolox(tmp_path / "broken.onnx")
