"""The contact sheet: what it shows after each stage, of which clips, and that nothing in the data can break it."""

import html.parser
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.trees import Clip, Tree, jpeg
from fixtures.workspaces import make_workspace
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import index
from petmood.data.pack import pack
from petmood.data.screen import ScreenSettings, screen
from petmood.data.split import SplitSettings, split
from petmood.errors import UserError
from petmood.media import decode
from petmood.recipes.sheet import SheetSettings
from petmood.report.clip_rows import ClipRow, Frame, Gap, choose_clips, clip_table, read_clips, thinned
from petmood.report.sheet import read_sheet, write_sheet
from petmood.report.sheet_texts import WORDS
from petmood.schemas import REJECT_SCHEMA
from petmood.workspace import ORDER, Workspace, write_table

STATES = ("kept", "left", "refused", "open", "missing")


class Sheet(html.parser.HTMLParser):
    """What a reader sees of each clip: its frames as (state, words), gaps as ("gap", words)."""

    def __init__(self, page):
        super().__init__()
        self.clips = {}
        self.pictures = 0
        self.links = []
        self.tags = set()
        self._name = self._item = self._reading = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        kind = given.get("class", "")
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        self.pictures += tag == "img"
        if kind == "name":
            self._reading = "name"
        elif tag == "li" and self._name is not None:
            self._item = [kind.split()[0], ""]
            self.clips[self._name].append(self._item)

    def handle_endtag(self, tag):
        if tag == "li":
            self._item = None
        elif tag == "article":
            self._name = None

    def handle_data(self, data):
        if self._reading == "name":
            self._name, self._reading = data, None
            self.clips[data] = []
        elif self._item is not None:
            self._item[1] = f"{self._item[1]} {data.strip()}".strip()

    def states(self, name):
        return [kind for kind, _ in self.clips[name] if kind in STATES]


def shown(work, language="en", **settings):
    summary = write_sheet(work, SheetSettings(**settings), language=language)
    page = summary.path.read_text(encoding="utf-8")
    assert summary.size == len(page.encode())
    sheet = Sheet(page)
    assert summary.pictures == sheet.pictures
    assert summary.clips == len(sheet.clips)
    return sheet, page


def run_to(last, tree, work, **choice):
    """Run the real stages up to one of them."""
    stages = {
        "index": lambda: index(tree.root, work, jobs=1, quiet=True),
        "curate": lambda: curate(work, CurateSettings(**{"method": "time", "per_clip": 2, "min_box": 0, **choice})),
        "pack": lambda: pack(work, jobs=1, quiet=True),
        "screen": lambda: screen(work, ScreenSettings(min_sharpness=0, near_copies="off")),
        "split": lambda: split(work, SplitSettings()),
    }
    for stage in ORDER[: ORDER.index(last) + 1]:
        stages[stage]()


# --- each stage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ORDER)
def test_after_each_stage_it_shows_what_is_decided_so_far(stage, tree, tmp_path):
    tree.add_many(24, frames=5)
    work = tmp_path / "work"
    run_to(stage, tree, work)
    sheet, page = shown(work)
    assert len(sheet.clips) == 12
    expected = ["open"] * 5 if stage == "index" else ["kept", "left", "left", "left", "kept"]
    assert all(sheet.states(name) == expected for name in sheet.clips)
    assert page.count("✓ <small>done") == ORDER.index(stage) + 1
    assert ("None are chosen yet" in page) == (stage == "index")
    assert ("48 of 120 good frames are in use (40%)" in page) == (stage != "index")
    assert ("evenly spread over its time" in page) == (stage != "index")
    assert (" · training" in page.replace("\n", "")) == (stage == "split")


def test_kept_frames_show_mark_time_and_weight(tree, tmp_path):
    clip = tree.add(Clip(frames=4))
    run_to("curate", tree, tmp_path / "work")
    sheet, _ = shown(tmp_path / "work")
    assert [words for _, words in sheet.clips[clip.name]] == ["✓ 0.0 s weight 1", "0.2 s", "0.4 s", "✓ 0.6 s weight 1"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"method": "pose", "per_clip": 3}, "at most 3 frames whose poses differ most"),
        ({"method": "pose", "per_clip": 0}, "All frames of each clip (pose; --per-clip 0)"),
        ({"method": "random", "share": 0.5}, "A random share of all frames, whatever their clip: 50%"),
        ({"method": "all"}, "All good frames (all)"),
        ({"rare": "all", "rare_below": 0.3}, "All frames of rare emotions: fear (--rare all)"),
        ({"min_box": 20}, "shorter than 20 pixels on one side are refused: 0."),
    ],
)
def test_the_head_says_how_the_frames_were_chosen(choice, words, tree, tmp_path):
    for number in range(4):
        tree.add(Clip(number=number, frames=4, emotion="공포" if number == 3 else "편안/안정"))
    run_to("curate", tree, tmp_path / "work", **choice)
    _, page = shown(tmp_path / "work")
    assert words in page


def test_labels_without_keypoints_are_not_said_to_be_chosen_by_pose(tree, tmp_path):
    def forget(label):
        for annotation in label["annotations"]:
            annotation["keypoints"] = None

    tree.add(Clip(frames=4), edit=forget)
    run_to("curate", tree, tmp_path / "work", method="pose")
    _, page = shown(tmp_path / "work")
    assert "whose boxes differ most" in page
    assert "poses differ" not in page


# --- what was refused, what is broken ---------------------------------------------------------------------------------


def test_refused_frames_stand_at_their_time_with_their_reason(tree, tmp_path):
    def break_boxes(label):
        label["annotations"][1]["bounding_box"]["x"] = -3
        label["annotations"][3]["bounding_box"] = {"x": 1, "y": 1, "width": 30, "height": 6}

    clip = tree.add(Clip(frames=6), edit=break_boxes)
    picture = tree.folders(clip)[1] / clip.picture(5)
    work = tmp_path / "work"
    run_to("index", tree, work)
    picture.write_bytes(picture.read_bytes()[:-200])
    curate(work, CurateSettings(method="all", min_box=8))
    pack(work, jobs=1, quiet=True)
    sheet, page = shown(work)
    states = sheet.clips[clip.name]
    assert [kind for kind, _ in states] == ["kept", "refused", "kept", "refused", "kept", "refused"]
    assert [words.split(" s ")[1] for kind, words in states if kind == "refused"] == [
        "negative_box", "small_box", "truncated_image",
    ]  # fmt: skip
    assert [words[0] for _, words in states] == ["✓", "×", "✓", "×", "✓", "×"]
    assert "no picture" in states[5][1]
    assert "3 of 6 frames in use" in page
    assert "3 refused" in page


def test_broken_pictures_leave_an_empty_place_and_never_stop_it(tree, tmp_path):
    clip = tree.add(Clip(frames=6))
    work = tmp_path / "work"
    run_to("curate", tree, work, method="all")
    folder = tree.folders(clip)[1]
    broken = [folder / clip.picture(number) for number in range(5)]
    broken[0].unlink()
    broken[1].write_bytes(b"")
    broken[2].write_bytes(b"not a picture")
    broken[3].write_bytes(broken[3].read_bytes()[:-200])
    broken[4].unlink()
    broken[4].mkdir()
    (folder / clip.picture(5)).write_bytes(jpeg((32, 24)))
    sheet, _ = shown(work)
    told = [words.split()[-1] for _, words in sheet.clips[clip.name]]
    images = ["no_image", "empty_image", "unreadable_image", "truncated_image", "unreadable_image"]
    assert told == [*images, "size_differs"]
    assert sheet.pictures == 0


def test_a_refused_copy_of_a_good_frame_does_not_speak_of_it(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1, frames_per_clip=1)
    frame = workspace.read_frames().row(0, named=True)
    copy = {**{name: frame[name] for name in ("frame_id", "path", "clip")}, "reason": "duplicate_label"}
    write_table(pl.DataFrame([{**copy, "detail": "", "stage": "index"}], schema=dict(REJECT_SCHEMA)), workspace.rejects)
    assert shown(workspace.root)[0].states(frame["clip"]) == ["kept", "refused"]


def test_a_thumbnail_shows_the_box_with_its_margin(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1, frames_per_clip=1, size=100, sources=True)
    write_table(workspace.read_frames().with_columns(x=20, y=30, width=40, height=20), workspace.frames)
    page = read_sheet(workspace, SheetSettings(clip=("dog-calm-000",)))
    (thumbnail,) = page.clips[0].items
    assert decode(thumbnail.jpeg).shape == (24, 48, 3)  # a tenth more on each side; never enlarged
    assert (thumbnail.width, thumbnail.height) == (172, 86)  # no wider than 1.8 times 96


def test_a_clip_cut_short_shows_its_holes(tree, tmp_path):
    clip = Clip(frames=30)
    there = sorted(clip.picture(number) for number in range(30))[:13]
    everything = Tree(tmp_path / "other").add(clip)
    pictures = Tree(tmp_path / "other").folders(everything)[1]
    tree.add(clip, pictures={name: (pictures / name).read_bytes() for name in there})
    run_to("curate", tree, tmp_path / "work", per_clip=4)
    sheet, page = shown(tmp_path / "work")
    assert "Cut short" in page
    assert "17 pictures not there" in page
    gaps = [words for kind, words in sheet.clips[clip.name] if kind == "gap"]
    # There are 0, 12, and 102 to 162: sorted as text, 102 comes before 12.
    assert gaps == ["… 0.4 s 1 not there", "… 3.0 s 14 not there", "… 2 not there"]


def test_label_files_that_were_refused_are_named_beside_their_clip(tree, tmp_path):
    clip = tree.add(Clip(frames=3), pictures={"frame_0_timestamp_0.jpg": b"", "stray.jpg": b"x"})
    broken = tree.add(Clip(number=8), text=b"{")
    tree.add(Clip(number=9))
    run_to("index", tree, tmp_path / "work")
    _, page = shown(tmp_path / "work", clip=(clip.name, broken.name))
    assert "<code>no_label</code> 1" in page
    assert "<code>unreadable_label</code> 1" in page
    assert "Every frame of this clip is refused" in page


def test_clips_joined_by_near_copies_are_named(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1)
    assert "Joined:" not in shown(workspace.root)[1]
    write_table(workspace.read_frames().with_columns(group=pl.lit("joined")), workspace.frames)
    assert shown(workspace.root)[1].count("Joined:") == 3


# --- which clips, which frames ----------------------------------------------------------------------------------------


def test_every_emotion_and_species_appears_and_the_seed_decides(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=40, frames_per_clip=1, size=8)
    table = clip_table(workspace)
    drawn = choose_clips(table, SheetSettings(clips=6))
    kinds = table.filter(pl.col("clip").is_in(drawn)).select("species", "emotion").unique()
    assert len(drawn) == len(kinds) == 6
    assert drawn == choose_clips(table, SheetSettings(clips=6))
    assert drawn != choose_clips(table, SheetSettings(clips=6, seed=1))
    three = table.filter(pl.col("clip").is_in(choose_clips(table, SheetSettings(clips=3))))
    assert three["emotion"].n_unique() == 3
    assert three["species"].n_unique() == 2


def test_an_emotion_can_be_asked_for_in_two_languages(tmp_path):
    workspace = make_workspace(tmp_path / "work", frames_per_clip=1, size=8)
    table = clip_table(workspace)
    drawn = choose_clips(table, SheetSettings(emotion=("화남", "calm"), clips=20))
    assert {name.split("-")[1] for name in drawn} == {"angry", "calm"}
    assert len(drawn) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"emotion": ("hungry",)}, r"emotion 'hungry' is unknown; this work folder has happy 행복/즐거움, calm"),
        ({"emotion": ("fear",)}, r"emotion 'fear' does not occur; this work folder has happy"),
        ({"clip": ("cat-calm-0O1",)}, r"clip 'cat-calm-0O1' is not in work folder .*; there are cat-calm-001"),
    ],
)
def test_what_is_not_there_is_told(settings, message, tmp_path):
    workspace = make_workspace(tmp_path / "work", frames_per_clip=1, size=8)
    with pytest.raises(UserError, match=message):
        write_sheet(workspace.root, SheetSettings(**settings))
    assert not workspace.contact_sheet.exists()


def test_named_clips_come_in_the_order_given(tmp_path):
    workspace = make_workspace(tmp_path / "work", frames_per_clip=2, size=8, sources=True)
    names = ("dog-happy-002", "cat-angry-001")
    sheet, page = shown(workspace.root, clip=names)
    assert tuple(sheet.clips) == names
    assert "2 clips, as asked for" in page


def test_clips_that_do_not_fit_are_left_out_and_counted(tmp_path):
    workspace = make_workspace(tmp_path / "work", frames_per_clip=2, size=32, sources=True)
    sheet, page = shown(workspace.root, max_mb=0.004)
    assert 1 <= len(sheet.clips) < 12
    assert f"{12 - len(sheet.clips)} further clips are left out" in page


def made_clip(states):
    frames = tuple(
        Frame(frame_id=str(n), path=Path(), state=state, time_ms=200 * n, box=None, size=None, weight=None)
        for n, state in enumerate(states)
    )
    flags = dict.fromkeys(("species", "emotion", "owner", "action", "split"))
    return ClipRow(name="made", joined=False, cut_short=False, frames=frames, other={}, **flags)


@given(st.lists(st.sampled_from(STATES)), st.integers(1, 20))
def test_all_kept_frames_are_shown_and_nothing_is_uncounted(states, most):
    clip = made_clip(states)
    items = thinned(clip, most)
    frames = [item for item in items if isinstance(item, Frame)]
    gaps = [item for item in items if isinstance(item, Gap)]
    kept, there = clip.count("kept"), len(states) - clip.count("missing")
    assert sum(frame.state == "kept" for frame in frames) == kept
    assert len(frames) == max(kept, min(most, there))
    assert [frame.time_ms for frame in frames] == sorted(frame.time_ms for frame in frames)
    assert sum(gap.missing for gap in gaps) == clip.count("missing")
    assert len(frames) + sum(gap.thinned for gap in gaps) == there


def test_the_frames_left_out_are_evenly_spread():
    items = thinned(made_clip(["left"] * 40), 5)
    assert [item.time_ms // 200 for item in items if isinstance(item, Frame)] == [0, 10, 20, 29, 39]


def test_a_hole_that_no_table_tells_of_is_seen_by_its_time(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1, frames_per_clip=4)
    late = pl.col("timestamp_ms") + pl.when(pl.col("timestamp_ms") >= 400).then(1000).otherwise(0)
    write_table(workspace.read_frames().with_columns(timestamp_ms=late), workspace.frames)
    (clip,) = read_clips(workspace, ["dog-calm-000"])
    assert thinned(clip, 10)[2] == Gap(seconds=1.2)


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_page_loads_nothing_and_runs_nothing(language, tmp_path):
    workspace = make_workspace(tmp_path / "work", sources=True)
    sheet, page = shown(workspace.root, language)
    assert sheet.pictures == 36
    assert all(link.startswith(("data:", "#")) for link in sheet.links)
    assert not sheet.tags & {"script", "iframe", "object", "embed", "form"}
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "url(" not in page
    assert f'<html lang="{language}">' in page


def test_names_from_the_data_are_escaped(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1, frames_per_clip=1)
    evil = "<script>alert(1)</script>\"' onload=x"
    columns = {name: pl.lit(evil) for name in ("clip", "frame_id", "action", "species", "split", "owner_emotion")}
    write_table(workspace.read_frames().head(1).with_columns(**columns), workspace.frames)
    sheet, page = shown(workspace.root)
    assert "script" not in sheet.tags
    assert "<script" not in page
    assert "\"' onload" not in page
    assert evil in sheet.clips


def test_korean_has_no_english_sentences_left(tree, tmp_path):
    tree.add_many(4, frames=5)
    run_to("screen", tree, tmp_path / "work")
    _, page = shown(tmp_path / "work", "ko", frames=3)
    visible = re.sub(r"(?s)<(style|svg|code).*?</\1>|<[^>]+>", " ", page)
    assert "편안/안정" in visible or "행복/즐거움" in visible
    for english, _ in WORDS.values():
        for part in re.split(r"{\w+}", english):
            assert len(part.split()) < 2 or part not in visible, part


def test_every_text_has_both_languages_with_the_same_fields():
    for key, (english, korean) in WORDS.items():
        fields = [set(re.findall(r"{(\w+)}", words)) for words in (english, korean)]
        assert fields[0] == fields[1], key
        assert korean


def test_photos_without_times_have_no_bar_of_time(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1, frames_per_clip=1, sources=True)
    write_table(workspace.read_frames().with_columns(timestamp_ms=pl.lit(None, pl.Int64)), workspace.frames)
    sheet, page = shown(workspace.root)
    assert "<svg" not in page
    assert [words for _, words in sheet.clips["dog-calm-000"]] == ["✓ weight 1"]


def test_a_damaged_table_or_no_index_is_told(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=1)
    workspace.frames.write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"frames.parquet is damaged"):
        write_sheet(workspace.root)
    empty = Workspace.create(tmp_path / "empty")
    with pytest.raises(UserError, match="no completed stage `index`"):
        write_sheet(empty.root)
