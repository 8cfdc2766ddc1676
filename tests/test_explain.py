"""Heat maps: the heat lies where the answer comes from, whatever the network; files for the report."""

import io

import numpy as np
import polars as pl
import pytest
import timm
import torch
from torch import nn

from fixtures.workspaces import make_workspace
from petmood.bundle import RESULTS, forget_results, save_bundle
from petmood.explain import EACH, HEAT_SCHEMA, LONGER_SIDE, MOST, explain_run, feature_map, heat_maps, over_crop
from petmood.explain import write_heat_maps as write
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.workspace import write_table

SIZE = 64


def preprocessing(fit="pad", size=SIZE):
    return Preprocessing(image_size=size, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", fit=fit)


def patches(count, generator):
    """Grey noise with one square that is red or green, the class, in one quarter: pictures, classes, places."""
    pictures = torch.randint(90, 130, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    classes, places = torch.arange(count) % 2, torch.randint(0, 2, (count, 2), generator=generator)
    for number in range(count):
        top, left = (places[number] * SIZE // 2 + 8).tolist()
        pictures[number, int(classes[number]), top : top + 16, left : left + 16] = 255
    return pictures, classes, places.tolist()


def trained(name, **options):
    """A small timm network that has learnt to tell red from green squares."""
    torch.manual_seed(0)
    net = EmotionNet(timm.create_model(name, num_classes=0, **options), classes=2)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        pictures, classes, _ = patches(16, generator)
        loss = nn.functional.cross_entropy(net(preprocessing().normalise(pictures)), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval(), patches(16, generator)


def share_in_place(maps, places):
    """Mean share of the heat that lies in the quarter of the square; 0.25 by chance."""
    middle = maps.shape[1] // 2
    shares = []
    for heat, (down, across) in zip(maps.astype(float), places, strict=True):
        quarter = np.split(np.split(heat, [middle])[down], [middle], axis=1)[across]
        shares.append(quarter.sum() / max(heat.sum(), 1))
    return np.mean(shares)


@pytest.mark.parametrize(
    ("name", "options", "form"),
    [
        ("test_efficientnet", {}, "channels first"),
        ("test_convnext", {}, "channels first"),
        ("test_vit2", {"img_size": SIZE}, "tokens"),
        ("test_vit", {"img_size": SIZE}, None),  # answers from a class token: integrated gradients
    ],
)
def test_the_heat_lies_where_the_answer_comes_from(name, options, form):
    net, (pictures, classes, places) = trained(name, **options)
    assert torch.equal(net(preprocessing().normalise(pictures)).argmax(dim=1), classes)
    found = feature_map(net, preprocessing().normalise(pictures[:1]))
    assert (found and found.form) == form
    maps = heat_maps(net, preprocessing(), pictures, classes.tolist())
    assert maps.dtype == np.uint8
    assert set(maps.max(axis=(1, 2))) == {255}
    assert share_in_place(maps, places) > 0.6
    np.testing.assert_array_equal(maps, heat_maps(net, preprocessing(), pictures, classes.tolist()))
    # What speaks for the other answer is not there.
    assert share_in_place(heat_maps(net, preprocessing(), pictures, (1 - classes).tolist()), places) < 0.4


class Halves(nn.Module):
    """Two classes by the brightness of cells: the first by the left half alone, the second by the right half."""

    def __init__(self, common=0.0):
        super().__init__()
        self.common = common
        self.pool = nn.AvgPool2d(8)
        self.widen = nn.Conv2d(3, 16, 1)
        nn.init.constant_(self.widen.weight, 1 / 3)
        nn.init.zeros_(self.widen.bias)

    def forward(self, images):
        cells = self.widen(self.pool(images))
        halves = torch.stack([half.mean(dim=(1, 2, 3)) for half in cells.chunk(2, dim=3)], dim=1)
        return halves + self.common * halves[:, 1:]


class ChannelsLast(nn.Module):
    """Two classes, red and green, by features whose channels come last, as in a Swin transformer."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(8)
        self.order, self.flat = nn.Identity(), nn.Identity()

    def forward(self, images):
        cells = self.order(self.pool(images).permute(0, 2, 3, 1))
        return self.flat(cells.mean(dim=(1, 2)))[:, :2]


def test_channels_may_come_last():
    pictures, classes, places = patches(8, torch.Generator().manual_seed(1))
    found = feature_map(ChannelsLast(), preprocessing().normalise(pictures[:1]))
    assert found.form == "channels last"
    assert share_in_place(heat_maps(ChannelsLast(), preprocessing(), pictures, classes.tolist()), places) > 0.9


@pytest.mark.parametrize("common", [0.0, 10.0])
def test_only_the_part_that_an_answer_depends_on_is_warm(common):
    """Grad-CAM's mean gradient is 0 here: one half speaks for a class as much as the other speaks against it.

    What raises all scores alike (``common``) speaks for none.
    """
    bright = torch.full((2, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    left, right = heat_maps(Halves(common), preprocessing(), bright, [0, 1])
    np.testing.assert_array_equal(left, np.repeat([[255] * 4 + [0] * 4], 8, axis=0))
    np.testing.assert_array_equal(right, left[:, ::-1])


def test_a_network_that_is_frozen_is_explained_too():
    net = Halves()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    pictures = torch.full((1, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    pictures[..., 8:24, 8:24] = 255
    (heat,) = heat_maps(net, preprocessing(), pictures, [0])
    assert heat.shape == (8, 8)
    assert heat[1:3, 1:3].min() == 255
    assert heat[4:].max() <= 2  # the rest is the middle grey


def test_a_map_without_anything_for_the_answer_is_dark():
    pictures = torch.zeros((1, 3, SIZE, SIZE), dtype=torch.uint8)
    pictures[..., SIZE // 2 :] = 255
    assert heat_maps(Halves(), preprocessing(), pictures, [0]).max() == 0
    assert heat_maps(Halves(), preprocessing(), pictures[:0], []).shape[0] == 0


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
def test_heat_over_the_crop_lies_where_the_square_shows_it(fit):
    """Painting and its reversal agree: what is bright in the crop is where the square's heat comes back."""
    for height, width in ((60, 120), (120, 60), (80, 80)):
        crop = np.zeros((height, width, 3), np.uint8)
        top, left = height // 2 - 8, width // 2 + 8
        crop[top : top + 16, left : left + 16] = 255
        square = preprocessing(fit).prepare(crop)
        heat = np.where(square[..., 0] > 200, 255, 0).astype(np.uint8)
        back = over_crop(heat, preprocessing(fit), height, width)
        assert max(back.shape) == LONGER_SIDE
        assert back.shape[0] / back.shape[1] == pytest.approx(height / width, rel=0.02)
        rows, columns = np.nonzero(back > 128)
        scale = LONGER_SIDE / max(height, width)
        assert rows.mean() == pytest.approx((top + 7.5) * scale, abs=1.5)
        assert columns.mean() == pytest.approx((left + 7.5) * scale, abs=1.5)


@pytest.fixture
def run(tmp_path):
    """A run with a small untrained network and answers, as `petmood evaluate` leaves them."""
    torch.manual_seed(0)
    workspace = make_workspace(tmp_path / "work", clips_per_class=16, frames_per_clip=2, size=32)
    folder = workspace.runs / "made-up"
    folder.mkdir(parents=True)
    net = EmotionNet(timm.create_model("test_efficientnet", num_classes=0), classes=3)
    save_bundle(
        folder, net, workspace, model="test_efficientnet", classes=("happy", "calm", "angry"),
        preprocessing=preprocessing(), settings={}, epoch=1, scores={},
    )  # fmt: skip
    frames = workspace.read_frames()
    rank = pl.int_range(pl.len()) / pl.len()
    right = frames.select("frame_id", "clip", "emotion", "split").with_columns(
        predicted=pl.when(pl.col("clip").str.ends_with("3")).then(pl.lit("calm")).otherwise("emotion")
    )
    shares = [
        pl.when(pl.col("predicted") == name).then(0.5 + rank / 2).otherwise(0.25 - rank / 4).alias(f"p_{name}")
        for name in ("happy", "calm", "angry")
    ]
    write_table(right.with_columns(shares), folder / "predictions.parquet")
    return folder


def test_right_and_wrong_answers_of_each_class_get_a_heat_map(run):
    made = explain_run(run, device="cpu")
    table = pl.read_parquet(run / "heatmaps.parquet")
    assert table.schema == pl.Schema(HEAT_SCHEMA)
    told = table.join(pl.read_parquet(run / "predictions.parquet"), on="frame_id")
    assert len(told) == len(table) == made <= MOST
    right = told.filter(pl.col("emotion") == pl.col("answer"))
    assert dict(right.group_by("emotion").len().iter_rows()) == {"happy": EACH, "calm": EACH, "angry": EACH}
    assert set(told.filter(pl.col("emotion") != pl.col("answer"))["emotion"]) == {"happy", "angry"}
    assert told["clip"].n_unique() == len(told)
    assert all(len(heat) == height * width for height, width, heat in table.select("height", "width", "heat").rows())
    before = (run / "heatmaps.parquet").read_bytes()
    explain_run(run, device="cpu")
    same = pl.read_parquet(io.BytesIO(before))
    assert pl.read_parquet(run / "heatmaps.parquet").equals(same)


def test_there_are_never_more_than_sixty_and_unknown_frames_are_left_out(run):
    frames = pl.read_parquet(run / "predictions.parquet")["frame_id"].to_list()
    chosen = pl.DataFrame({"frame_id": ["no/such", *frames, frames[0]], "answer": "calm"})
    assert write(run, chosen, device="cpu") == MOST
    assert pl.read_parquet(run / "heatmaps.parquet")["frame_id"].to_list() == frames[:MOST]
    assert write(run, chosen[:1], device="cpu") == 0
    assert pl.read_parquet(run / "heatmaps.parquet").schema == pl.Schema(HEAT_SCHEMA)


def test_another_model_takes_the_heat_maps_away(run):
    assert "heatmaps.parquet" in RESULTS
    write(run, pl.read_parquet(run / "predictions.parquet").select("frame_id", answer="emotion")[:2], device="cpu")
    there = run / "elsewhere" / "other"
    (there / "work").mkdir(parents=True)
    for name in ("metrics.json", "predictions.parquet"):
        (there / name).write_text("{}")
    forget_results(run)
    assert not (run / "heatmaps.parquet").exists()
    assert [path.name for path in there.iterdir()] == ["work"]
