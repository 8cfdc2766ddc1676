"""Videos: every animal over time, within the limits of length, size and time."""

import json

import pytest

from fixtures import photos
from fixtures.films import film


def sent(client, data, **query):
    return client.post("/v1/video", params=query, files={"file": data})


def test_a_video_has_a_timeline_and_one_answer_an_animal(client):
    answer = sent(client, film(), every=500).json()
    assert [frame["time_ms"] for frame in answer["frames"]] == [0, 500, 1000, 1500]
    assert {animal["track"] for frame in answer["frames"] for animal in frame["animals"]} == {1}
    (track,) = answer["tracks"]
    assert (track["species"], track["frames"], answer["every_ms"], answer["cut_short"]) == ("dog", 4, 500, False)
    assert sum(track["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert answer["text"]


def test_a_video_without_an_animal_says_so(client):
    answer = sent(client, film(blue=False), lang="ko").json()
    assert answer["tracks"] == []
    assert len(answer["frames"]) == 10
    assert all(frame["animals"] == [] for frame in answer["frames"])
    assert answer["text"] == "개나 고양이를 찾지 못했습니다."


def test_only_the_beginning_of_a_long_video_is_looked_at(serving):
    answer = sent(serving(video_seconds=1), film(seconds=3)).json()
    assert answer["cut_short"] is True
    assert max(frame["time_ms"] for frame in answer["frames"]) == 1000


def test_a_video_that_breaks_off_is_answered_as_far_as_it_goes(client):
    whole = film(seconds=4, kind="mpegts")
    answer = sent(client, whole[: len(whole) // 2]).json()
    assert 0 < len(answer["frames"]) < 20


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", 422, "empty_image"),
        (b"no film", 415, "unreadable_video"),
        (photos.jpeg(), 415, "unreadable_video"),
        (film()[:300], 415, "unreadable_video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "unreadable_video"),
    ],
    ids=["empty", "text", "photo", "head alone", "playlist"],
)
def test_what_is_no_video_is_refused(client, data, status, reason):
    response = sent(client, data)
    assert (response.status_code, response.json()["error"]["reason"]) == (status, reason)


def test_a_video_is_given_up_in_time_and_a_large_one_is_not_read(serving):
    late = sent(serving(video_time_limit=0.001), film())
    assert (late.status_code, json.loads(late.content)["error"]["reason"]) in [
        (503, "out_of_time"),
        (408, "slow_upload"),
    ]
    large = sent(serving(video_megabytes=1), bytes(1_200_000))
    assert large.status_code == 413
