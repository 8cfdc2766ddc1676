from __future__ import annotations

import json

import polars as pl
import pytest

from petmood.data.curate import curate
from petmood.data.cutshort import cut_short
from petmood.data.index import IndexSettings, index
from petmood.synth import SynthSettings, synth
from petmood.workspace import Workspace

NAMES = [f"frame_{6 * n}_timestamp_{200 * n}" for n in range(94)]
FIRST = sorted(NAMES)[:14]


def tables(clips):
    """Frames and refused rows of clips given as (listed names, present names)."""
    rows = [
        (clip, f"{clip}/{name}", int(name.rsplit("_", 1)[1]), name in present)
        for clip, (listed, present) in clips.items()
        for name in listed
    ]
    table = pl.DataFrame(rows, schema=["clip", "frame_id", "timestamp_ms", "there"], orient="row")
    schema = {"clip": pl.String, "frame_id": pl.String, "reason": pl.String}
    missing = table.filter(~pl.col("there")).select("clip", "frame_id", reason=pl.lit("no_image"))
    return table.filter("there").drop("there").lazy(), pl.concat([pl.DataFrame(schema=schema), missing]).lazy()


def found(present, listed=NAMES):
    return cut_short(*tables({"a": (listed, present)}))["clip"].to_list() == ["a"]


def test_the_first_pictures_in_string_order_are_a_cut_clip():
    assert FIRST[:7] == [NAMES[n] for n in (0, 17, 18, 19, 20, 21, 2)]  # 0, 102, 108, 114, 120, 126, 12
    assert cut_short(*tables({"a": (NAMES, FIRST)})).rows() == [("a", 14, 94)]


@pytest.mark.parametrize(
    ("present", "cut"),
    [
        (FIRST[:13], True),
        (FIRST[:-4] + FIRST[-3:], True),  # one more is lost
        (NAMES, False),
        (NAMES[:14], False),  # the first in time
        (NAMES[::7], False),
        (sorted(NAMES)[:-1], False),  # a single picture that happens to be the last by name
        (FIRST[::2], False),
        (sorted(NAMES)[80:], False),
    ],
)
def test_other_clips_that_lack_pictures_are_not(present, cut):
    assert found(present) == cut


def test_a_clip_whose_names_sort_as_they_were_filmed_is_not_cut_in_string_order():
    listed = [f"frame_{n}_timestamp_{200 * n}" for n in range(100, 190)]
    assert not found(listed[:14], listed)


def test_a_present_picture_that_was_refused_for_another_reason_counts_as_present():
    frames, rejects = tables({"a": (NAMES, FIRST)})
    last = f"a/{FIRST[-1]}"
    refused = pl.LazyFrame({"clip": ["a"], "frame_id": [last], "reason": ["negative_box"]})
    clips = cut_short(frames.filter(pl.col("frame_id") != last), pl.concat([rejects, refused]))
    assert clips.rows() == [("a", 14, 94)]


def test_label_files_and_names_of_another_form_do_no_harm():
    frames = pl.LazyFrame(
        {"clip": ["a"], "frame_id": ["a/one"], "timestamp_ms": [None]}, schema_overrides={"timestamp_ms": pl.Int64}
    )
    rejects = pl.LazyFrame(
        {"clip": ["a"] * 4 + ["b"], "frame_id": ["a/two", "a/x", "a/y", "a/z", None], "reason": ["no_image"] * 5}
    )
    assert cut_short(frames, rejects).is_empty()


@pytest.mark.parametrize("faults", [0.0, 0.05])
def test_the_clips_that_the_made_up_set_cuts_short_are_found(tmp_path, faults):
    source, work = tmp_path / "source", tmp_path / "work"
    synth(source, SynthSettings(clips=30, frames=60, pictures="few", faults=faults), jobs=1)
    truth = json.loads((tmp_path / "source-truth.json").read_text(encoding="utf-8"))["clips"]
    index(source, work, IndexSettings(), jobs=1, quiet=True)
    workspace = Workspace.open(work)
    clips = set(cut_short(pl.scan_parquet(workspace.frames), pl.scan_parquet(workspace.rejects))["clip"])
    planted = {name for name, clip in truth.items() if clip["cut_short"] and clip["frames"]}
    assert planted
    assert clips == planted
    summary = curate(work)
    assert summary.counts["cut_short"]["clips"] == len(planted)
    assert any(line.startswith(f"{len(planted)} clips are cut short in string order") for line in summary.lines)
