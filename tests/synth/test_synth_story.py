from __future__ import annotations

import math
from collections import Counter

import pytest

from petmood.errors import UserError
from petmood.labels import EMOTIONS
from petmood.synth import SynthSettings
from petmood.synth.build import planned
from petmood.synth.faults import CLIP_FAULTS, FRAME_FAULTS, reason_of
from petmood.synth.layouts import has_korean, label_file, picture_folder
from petmood.synth.story import emotion_shares, quotas, size_of


def test_real_shares_are_kept_and_no_emotion_is_too_rare():
    counts = quotas(SynthSettings(clips=120))
    assert sum(counts.values()) == 120
    assert counts["calm"] > counts["happy"] > counts["fear"]
    assert min(counts.values()) == 6


@pytest.mark.parametrize("clips", [1, 2, 5, 7, 12, 61])
def test_quotas_add_up_in_small_sets(clips):
    for shares in ("real", "balanced"):
        assert sum(quotas(SynthSettings(clips=clips, shares=shares)).values()) == clips


def test_given_shares_leave_the_rest_to_the_others():
    shares = emotion_shares(SynthSettings(share=("fear=0.5",), shares="balanced"))
    assert shares["fear"] == 0.5
    assert shares["happy"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("share", "message"),
    [(("hungry=0.1",), "hungry"), (("fear=much",), "EMOTION=NUMBER"), (("fear=0.7", "calm=0.7"), "more than 1")],
)
def test_wrong_shares_are_refused(share, message):
    with pytest.raises(UserError, match=message):
        emotion_shares(SynthSettings(share=share))


def test_size():
    assert size_of("960x540") == (960, 540)
    with pytest.raises(UserError, match="WIDTHxHEIGHT"):
        size_of("big")


def test_distinct_animals_have_distinct_keys_and_share_them_within():
    clips = planned(SynthSettings(clips=900))
    keys = {(clip.animal.index, clip.animal.key()) for clip in clips}
    assert len(keys) == len({key for _, key in keys}) == len({index for index, _ in keys})


def test_names_are_unique_in_a_large_set():
    clips = planned(SynthSettings(clips=10_000, frames=2))
    assert len({clip.folder for clip in clips}) == 10_000


def test_validation_is_a_ninth_of_each_action_clip_by_clip():
    clips = planned(SynthSettings(clips=600))
    for species in ("dog", "cat"):
        own = [clip for clip in clips if clip.animal.species == species]
        for slug, count in Counter(clip.action.slug for clip in own).items():
            held = sum(clip.split == "Validation" for clip in own if clip.action.slug == slug)
            assert held == math.ceil(count / 9)


def test_emotion_is_even_over_species_and_spread_over_animals():
    clips = planned(SynthSettings(clips=600, shares="balanced"))
    for emotion in EMOTIONS:
        dogs = sum(clip.animal.species == "dog" for clip in clips if clip.emotion == emotion)
        share = sum(clip.animal.species == "dog" for clip in clips) / 600
        assert dogs / 100 == pytest.approx(share, abs=0.02)
    rare = [clip.animal.index for clip in planned(SynthSettings(clips=120)) if clip.emotion == "fear"]
    assert len(set(rare)) == len(rare) == 6


def test_every_oddity_occurs_in_a_small_set():
    kinds = set().union(*(clip.irregular for clip in planned(SynthSettings(clips=60))))
    assert kinds == {
        "absent_keypoints",
        "action_trailing_space",
        "byte_order_mark",
        "emotion_spaces",
        "gaps",
        "inspect_action_differs",
        "int_duration",
        "mp4_folder",
        "new_wording",
        "nfd_folder",
        "null_keypoints",
        "owner_differs",
        "repeated_boxes",
        "seq_reused",
        "single_annotation",
        "undated_low_id",
    }


def test_no_damage_unless_asked_for():
    clips = planned(SynthSettings(clips=60))
    assert not any(clip.frame_faults or clip.clip_fault for clip in clips)


def test_every_damage_occurs_and_the_rate_is_kept():
    clips = planned(SynthSettings(clips=300, faults=0.1))
    words = Counter(fault for clip in clips for fault in clip.frame_faults.values())
    assert set(words) == set(FRAME_FAULTS)
    frames = sum(len(clip.kept()) for clip in clips if not clip.clip_fault)
    assert words.total() / frames == pytest.approx(0.1, abs=0.01)
    assert {clip.clip_fault for clip in clips} == {"", *CLIP_FAULTS}
    assert sum(bool(clip.clip_fault) for clip in clips) == 30
    assert reason_of("no_label:folder_without_label") == "no_label"


@pytest.mark.parametrize("layout", ["korean", "numbered", "bracket", "species", "user", "action"])
def test_layouts_give_every_clip_its_own_place(layout):
    clips = planned(SynthSettings(clips=200, layout=layout))
    places = {label_file(clip, layout) for clip in clips} | {picture_folder(clip, layout) for clip in clips}
    assert len(places) == 400
    assert has_korean(layout) == any(not str(place).isascii() for place in places)
