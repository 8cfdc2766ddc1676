from __future__ import annotations

import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from petmood.crops import CROP_SCHEMA, CropStore, writing_part
from petmood.errors import UserError
from petmood.media import decode, encode
from petmood.workspace import write_table

NAMES = ["cat-walkrun-000007/frame_0_timestamp_0.jpg", "행복/고양이 1.jpg.jpg", "x" * 180 + "/long.jpg", "empty.jpg"]


def jpegs():
    generator = np.random.default_rng(0)
    return [encode(generator.integers(0, 255, (32 + 9 * n, 40, 3), np.uint8), 90) for n in range(3)] + [b""]


@pytest.fixture
def folder(tmp_path):
    """Two parts with the same four files, and their table."""
    rows = []
    for part in ("part-00000.tar", "part-00001.tar"):
        with writing_part(tmp_path / part) as writer:
            for name, data in zip(NAMES, jpegs(), strict=True):
                offset = writer.add(name, data)
                rows.append((f"{part}/{name}", part, offset, len(data), 40, 40, 0, 1.0, False, 0))
    write_table(pl.DataFrame(rows, schema=CROP_SCHEMA, orient="row"), tmp_path / "crops.parquet")
    return tmp_path


def test_a_part_is_a_plain_tar_whose_members_come_back(folder):
    with tarfile.open(folder / "part-00000.tar", "r:") as tar:
        assert tar.getnames() == NAMES
        assert [tar.extractfile(name).read() for name in NAMES] == jpegs()


def test_offsets_point_at_the_members_bytes(folder):
    with tarfile.open(folder / "part-00001.tar", "r:") as tar:
        wanted = [member.offset_data for member in tar.getmembers()]
    table = pl.read_parquet(folder / "crops.parquet").filter(pl.col("part") == "part-00001.tar")
    assert table["offset"].to_list() == wanted


def test_the_same_crops_in_the_same_order_give_the_same_bytes(folder):
    assert (folder / "part-00000.tar").read_bytes() == (folder / "part-00001.tar").read_bytes()


def test_a_part_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing_part(tmp_path / "part.tar") as writer:
        writer.add("a.jpg", b"some bytes")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_store_reads_from_many_threads_what_the_files_hold(folder):
    store = CropStore(folder)
    wanted = jpegs() * 2
    order = np.random.default_rng(1).integers(0, len(store), 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: bytes(store.jpeg(row)), order))
    assert found == [wanted[row] for row in order]


def test_store_decodes_in_threads(folder):
    store = CropStore(folder)
    rows = [0, 1, 2, 4, 5, 6] * 20
    with ThreadPoolExecutor(4) as pool:
        for row, pixels in zip(rows, pool.map(store.pixels, rows), strict=True):
            np.testing.assert_array_equal(pixels, decode(jpegs()[row % 4]))


def test_a_table_restricts_and_orders_the_store(folder):
    table = pl.read_parquet(folder / "crops.parquet")[[6, 1]]
    store = CropStore(folder, table)
    assert len(store) == 2
    assert bytes(store.jpeg(0)) == jpegs()[2]
    assert bytes(store.jpeg(1)) == jpegs()[1]


def test_a_store_that_was_used_can_be_sent_to_another_process(folder):
    store = CropStore(folder)
    store.jpeg(0)
    again = pickle.loads(pickle.dumps(store))
    assert bytes(again.jpeg(5)) == jpegs()[1]


def test_a_folder_without_crops_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"has no crops\.parquet") as caught:
        CropStore(tmp_path)
    assert "`petmood pack`" in caught.value.hint


def test_a_missing_part_is_named(folder):
    (folder / "part-00001.tar").unlink()
    with pytest.raises(UserError, match=r"lacks the part part-00001\.tar"):
        CropStore(folder)
