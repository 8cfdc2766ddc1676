from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from petmood.crops import CROP_SCHEMA, CropStore, writing_part
from petmood.data import copies
from petmood.data.copies import Joined, Thumbnails, find_copies, repeats
from petmood.media import encode


def always(left, right):
    return np.ones(len(left), bool)


def never(left, right):
    return np.zeros(len(left), bool)


def links_of(hashes, **options):
    options = {"within": 6, "alike": always, "settled": never, **options}
    return [link for part in find_copies(hashes, **options) for link in zip(*map(np.ndarray.tolist, part), strict=True)]


def sets_of(count, links):
    joined = Joined(count)
    if links:
        pairs = np.array(links)
        joined.join(pairs[:, 0], pairs[:, 1])
    return joined.roots.tolist()


some_hashes = st.lists(st.integers(0, 2**10 - 1), min_size=1, max_size=60)


# --- within a clip ----------------------------------------------------------------------------------------------------


def one_by_one(hashes, clips, within):
    """What `repeats` guarantees, written down as it is said."""
    kept: list[int] = []
    found = []
    for row, value in enumerate(hashes):
        near = [k for k in kept if clips[k] == clips[row] and (hashes[k] ^ value).bit_count() <= within]
        found.append(near[0] if near else -1)
        if not near:
            kept.append(row)
    return found


@given(some_hashes, st.integers(0, 5), st.integers(1, 5), st.sampled_from([1, 9, 1 << 20]))
def test_a_frame_repeats_the_first_kept_one_of_its_clip_that_is_near(hashes, within, frames, cells):
    clips = [row // frames for row in range(len(hashes))]
    before, copies._CELLS = copies._CELLS, cells
    try:
        got = repeats(np.array(hashes, np.uint64), np.array(clips), within)
    finally:
        copies._CELLS = before
    assert got.tolist() == one_by_one(hashes, clips, within)


def test_the_first_frame_of_every_clip_is_kept_even_if_all_are_equal():
    assert repeats(np.zeros(6, np.uint64), np.array([4, 4, 4, 5, 5, 6]), 0).tolist() == [-1, 0, 0, -1, 3, -1]
    assert repeats(np.zeros(0, np.uint64), np.zeros(0, np.int64), 0).tolist() == []


# --- between clips ----------------------------------------------------------------------------------------------------


@given(some_hashes, st.integers(0, 4))
def test_links_connect_what_comparing_all_with_all_connects(hashes, within):
    rows = range(len(hashes))
    near = [(a, b) for a in rows for b in rows if a < b and (hashes[a] ^ hashes[b]).bit_count() <= within]
    links = links_of(np.array(hashes, np.uint64), within=within)
    assert all((hashes[a] ^ hashes[b]).bit_count() == bits <= within for a, b, bits in links)
    assert sets_of(len(hashes), [link[:2] for link in links]) == sets_of(len(hashes), near)


def test_a_hundred_thousand_equal_hashes_give_a_link_each():
    links = links_of(np.full(100_000, 77, np.uint64))
    assert len(links) == 99_999
    assert len(set(sets_of(100_000, [link[:2] for link in links]))) == 1


def test_a_hash_that_many_different_pictures_share_joins_nothing_and_ends():
    hashes = np.concatenate([np.full(5000, 77, np.uint64), np.array([76], np.uint64)])
    asked = []

    def different(left, right):
        asked.append(len(left))
        return np.zeros(len(left), bool)

    assert links_of(hashes, alike=different) == []
    assert sum(asked) < 8 * 5001


def test_equal_hashes_of_two_pictures_make_two_sets():
    looks = np.array([0, 1, 0, 1, 1, 0])
    links = links_of(np.zeros(6, np.uint64), alike=lambda left, right: looks[left] == looks[right])
    assert sets_of(6, [link[:2] for link in links]) == [0, 1, 0, 1, 1, 0]


def test_settled_pairs_are_not_looked_at():
    hashes = np.array([0, 1, 7 << 40, (7 << 40) + 1], np.uint64)
    asked = []

    def looked(left, right):
        asked.extend(zip(left.tolist(), right.tolist(), strict=True))
        return np.ones(len(left), bool)

    links = links_of(hashes, within=1, alike=looked, settled=lambda left, _: left == 0)
    assert links == [(2, 3, 1)]
    assert asked == [(2, 3)]


@given(st.integers(2, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60))
def test_joined_things_are_in_one_set_named_by_the_smallest(count, pairs):
    pairs = [(a % count, b % count) for a, b in pairs]
    joined, wanted = Joined(count), [{thing} for thing in range(count)]
    fewer = 0
    for part in (pairs[::2], pairs[1::2]):
        table = np.array(part, np.int64).reshape(-1, 2)
        fewer += joined.join(table[:, 0], table[:, 1])
        for a, b in part:
            one, other = (next(members for members in wanted if thing in members) for thing in (a, b))
            if one is not other:
                wanted.remove(other)
                one |= other
    assert {thing: int(root) for thing, root in enumerate(joined.roots)} == {
        thing: min(members) for members in wanted for thing in members
    }
    assert fewer == count - len(wanted)


# --- by pixels --------------------------------------------------------------------------------------------------------


def test_pixels_tell_a_copy_in_other_light_and_size_from_another_picture(tmp_path):
    generator = np.random.default_rng(0)
    one, other = (
        np.kron(generator.integers(30, 200, (9, 12, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(2)
    )
    pictures = [one, (one[::2, ::2] * 1.2).astype(np.uint8), other, np.full((64, 64, 3), 90, np.uint8), one[:, ::-1]]
    rows = []
    with writing_part(tmp_path / "part-00000.tar") as part:
        for number, pixels in enumerate(pictures):
            jpeg = encode(np.ascontiguousarray(pixels), 80)
            rows.append(
                (f"c/{number}", "part-00000.tar", part.add(f"{number}.jpg", jpeg), len(jpeg), 9, 9, 0, 9.0, False, 0)
            )
    table = pl.DataFrame(rows, schema=CROP_SCHEMA, orient="row")
    alike = Thumbnails(CropStore(tmp_path, table), threads=1).alike
    left, right = np.triu_indices(5)
    same = alike(left, right)
    assert set(zip(left[same].tolist(), right[same].tolist(), strict=True)) == {(0, 0), (0, 1), (1, 1), (2, 2), (4, 4)}
