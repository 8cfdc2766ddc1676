"""Features of crops: right rows, found again, computed anew when anything they are made of has changed."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import timm
import torch

import petmood.features
from fixtures.workspaces import make_workspace
from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.features import crop_features, weights_digest
from petmood.preprocess import Preprocessing
from petmood.recipes.features import FeatureSettings
from petmood.weights import create_backbone
from petmood.workspace import read_json, read_table, write_json

SETTINGS = FeatureSettings(model="test_efficientnet", pretrained="none", image_size=32, batch_size=5, threads=1)


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "work", clips_per_class=4, frames_per_clip=2, size=24)


def stamps(workspace):
    return {path.name: path.stat().st_mtime_ns for path in workspace.features.glob("*.npy")}


def test_rows_are_those_of_the_crops_and_their_features_the_networks(workspace):
    found = crop_features(workspace, SETTINGS, quiet=True)
    store = CropStore(workspace.crops)
    assert found.values.dtype == np.float16
    assert isinstance(found.values, np.memmap)
    assert found.frames.to_list() == store.table["frame_id"].to_list()
    torch.manual_seed(0)
    backbone = create_backbone(SETTINGS.model, image_size=32).eval()
    preprocessing = Preprocessing.of_backbone(
        timm.data.resolve_model_data_config(backbone), image_size=32, fit=SETTINGS.fit
    )
    for row in (0, 7, len(store) - 1):
        prepared = torch.from_numpy(preprocessing.prepare(store.pixels(row))).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = backbone(preprocessing.normalise(prepared))[0].numpy()
        assert np.allclose(found.values[row], expected, atol=2e-3)


def test_the_number_of_threads_is_given_back(workspace):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        crop_features(workspace, SETTINGS, quiet=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_second_call_finds_them(workspace):
    first = crop_features(workspace, SETTINGS, quiet=True)
    before = stamps(workspace)
    again = crop_features(workspace, dataclasses.replace(SETTINGS, batch_size=3, threads=2), quiet=True)
    assert (again.key, stamps(workspace)) == (first.key, before)
    assert (first.found, again.found) == (False, True)


@pytest.mark.parametrize("change", [{"model": "test_resnet"}, {"image_size": 48}, {"fit": "squash"}])
def test_other_settings_have_features_of_their_own(workspace, change):
    first = crop_features(workspace, SETTINGS, quiet=True)
    other = crop_features(workspace, dataclasses.replace(SETTINGS, **change), quiet=True)
    assert other.key != first.key
    assert {name.partition(".")[0] for name in stamps(workspace)} == {first.key, other.key}


def test_other_weights_have_features_of_their_own(workspace, tmp_path):
    first = crop_features(workspace, SETTINGS, quiet=True)
    network = timm.create_model(SETTINGS.model, pretrained=False)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    other = crop_features(
        workspace, dataclasses.replace(SETTINGS, pretrained=str(tmp_path / "weights.pth")), quiet=True
    )
    assert other.key != first.key


def test_one_changed_value_changes_the_digest_of_the_weights():
    network = torch.nn.Linear(3, 2)
    before = weights_digest(network)
    assert weights_digest(network) == before
    with torch.no_grad():
        network.weight[1, 2] += 1e-6
    assert weights_digest(network) != before


def test_features_of_other_crops_are_removed(workspace):
    first = crop_features(workspace, SETTINGS, quiet=True)
    mark = read_json(workspace.root / "pack.json")
    write_json(workspace.root / "pack.json", {**mark, "made_from": "another source"})
    second = crop_features(workspace, SETTINGS, quiet=True)
    assert second.key != first.key
    assert {path.name.partition(".")[0] for path in workspace.features.iterdir()} == {second.key}


def test_a_crop_that_was_packed_again_is_looked_at_again(workspace):
    first = crop_features(workspace, SETTINGS, quiet=True)
    table = read_table(workspace.crops / "crops.parquet")
    changed = pl.when(pl.int_range(pl.len()) == 3).then(pl.col("hash") ^ 1).otherwise("hash")
    table.with_columns(hash=changed.cast(pl.UInt64)).write_parquet(workspace.crops / "crops.parquet")
    assert crop_features(workspace, SETTINGS, quiet=True).key != first.key


def test_a_stopped_computation_goes_on_and_leaves_nothing_half_done(workspace, monkeypatch):
    monkeypatch.setattr(petmood.features, "_BLOCK", 5)
    expected = np.array(crop_features(workspace, SETTINGS, quiet=True).values)
    for path in workspace.features.iterdir():
        path.unlink()
    part = workspace.crops / "part-00000.tar"
    good = part.read_bytes()
    row = read_table(workspace.crops / "crops.parquet").row(12, named=True)
    part.write_bytes(good[: row["offset"]] + bytes(row["size"]) + good[row["offset"] + row["size"] :])
    with pytest.raises(ValueError, match="JPEG"):
        crop_features(workspace, SETTINGS, quiet=True)
    # What was finished is not computed again: changed rows come out as they are.
    (path,) = (path for path in workspace.features.glob("*.npy") if "known" not in path.name)
    values = np.load(path, mmap_mode="r+")
    assert values[:10].any(axis=1).all()
    assert not values[10:].any()
    values[:5] = 0
    values.flush()
    part.write_bytes(good)
    found = crop_features(workspace, SETTINGS, quiet=True).values
    assert not found[:5].any()
    assert np.array_equal(found[5:], expected[5:])


def test_only_what_is_asked_for_is_computed_and_the_rest_later(workspace):
    expected = np.array(crop_features(workspace, SETTINGS, quiet=True).values)
    for path in workspace.features.iterdir():
        path.unlink()
    ids = CropStore(workspace.crops).table["frame_id"]
    some = crop_features(workspace, SETTINGS, frames=ids[[9, 2]], quiet=True)
    assert np.flatnonzero(some.known).tolist() == [2, 9]
    assert np.array_equal(some.of(ids[[9, 2]]), expected[[9, 2]].astype(np.float32))
    assert not np.delete(some.values, [2, 9], axis=0).any()
    with pytest.raises(ValueError, match="not asked for"):
        some.of(ids[[3]])
    more = crop_features(workspace, SETTINGS, frames=ids[[2, 3]], quiet=True)
    assert (np.flatnonzero(more.known).tolist(), more.found) == ([2, 3, 9], False)
    assert crop_features(workspace, SETTINGS, frames=ids[[9, 3]], quiet=True).found
    assert np.allclose(crop_features(workspace, SETTINGS, quiet=True).values, expected, atol=2e-3)
    with pytest.raises(UserError, match="have no crop"):
        crop_features(workspace, SETTINGS, frames=pl.Series(["unknown/frame"]), quiet=True)


@pytest.mark.parametrize("name", ["{}.npy", "{}.known.npy", "{}.json"])
def test_a_damaged_file_is_computed_again(workspace, name):
    first = crop_features(workspace, SETTINGS, quiet=True)
    expected = np.array(first.values)
    (workspace.features / name.format(first.key)).write_bytes(b"\x93NUMPY damaged")
    assert np.array_equal(crop_features(workspace, SETTINGS, quiet=True).values, expected)


def test_rows_of_given_frames_come_in_their_order(workspace):
    found = crop_features(workspace, SETTINGS, quiet=True)
    rows = [5, 0, 5, 11]
    ids = [found.frames[row] for row in rows]
    assert found.of(ids).dtype == np.float32
    assert np.array_equal(found.of(ids), found.values[rows].astype(np.float32))
    with pytest.raises(UserError, match=r"1 of 2 frames have no features"):
        found.of([ids[0], "unknown/frame"])


def test_what_cannot_be_done_is_said(workspace, tmp_path):
    with pytest.raises(UserError, match="model 'efficientnot' is not known"):
        crop_features(workspace, dataclasses.replace(SETTINGS, model="efficientnot"), quiet=True)
    (workspace.root / "pack.json").unlink()
    with pytest.raises(UserError, match="no completed stage `pack`"):
        crop_features(workspace, SETTINGS, quiet=True)
