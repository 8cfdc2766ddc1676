"""Nothing that comes from outside may fill the memory, block others, or learn what is none of its business."""

import dataclasses
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures import photos
from petmood.errors import UserError
from petmood.serve.gate import Gate
from petmood.serve.guard import read_keys
from petmood.serve.refusals import REFUSALS, RefusalError

PHOTO = photos.jpeg()
KEY = b"a-key-of-some-length"


def refusal(response):
    return response.status_code, response.json()["error"]["reason"]


def sent(client, data=PHOTO, path="/v1/predict", **options):
    return client.post(path, files={"file": data}, **options)


class Slow:
    """A looker that takes its time, until it may go on; `asked` are the sizes of its batches."""

    def __init__(self, looker):
        self.looker, self.go, self.asked = looker, threading.Event(), []

    def find(self, file, *, box=None):
        return self.looker.find(file, box=box)

    def answer(self, found):
        self.asked.append(len(found))
        self.go.wait(10)
        return self.looker.answer(found)


@pytest.fixture
def slow(served):
    """A model that answers only when told to."""
    looker = Slow(served.looker)
    yield dataclasses.replace(served, looker=looker)
    looker.go.set()


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in ten seconds")


def inside(client):
    line = next(one for one in client.get("/metrics").text.splitlines() if one.startswith("petmood_requests_inside"))
    return float(line.split()[1])


def test_more_requests_than_fit_are_sent_away_at_once_and_told_when_to_come_again(serving, slow):
    client = serving(model=slow, requests=3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(sent, client) for _ in range(3)]
        until(lambda: inside(client) == 3)
        turned_away = sent(client)
        assert refusal(turned_away) == (429, "busy")
        assert int(turned_away.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        slow.looker.go.set()
        assert [one.result().status_code for one in waiting] == [200] * 3
    assert inside(client) == 0
    assert sent(client).status_code == 200


def test_pictures_that_need_too_much_memory_together_are_sent_away(serving, slow):
    client = serving(model=slow, memory=64)
    large = photos.jpeg(4000, 3000)  # 36 MB of pixels
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sent, client, large)
        until(lambda: slow.looker.asked)
        assert refusal(sent(client, large)) == (429, "busy")
        slow.looker.go.set()
        assert first.result().status_code == 200
    assert sent(client, large).status_code == 200


def test_requests_of_the_same_time_share_a_batch(serving, slow):
    client = serving(model=slow)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(sent, client)
        until(lambda: slow.looker.asked)
        others = [pool.submit(sent, client) for _ in range(7)]
        until(lambda: inside(client) == 8)
        time.sleep(0.2)
        slow.looker.go.set()
        answers = [one.result().json() for one in [first, *others]]
    assert all(answer == answers[0] for answer in answers)
    assert slow.looker.asked == [1, 7]


def test_an_answer_that_takes_too_long_is_given_up_and_the_next_batch_leaves_it_out(serving, slow):
    client = serving(model=slow, time_limit=0.3)
    with ThreadPoolExecutor(2) as pool:
        late = list(pool.map(lambda _: sent(client), range(2)))
    assert [refusal(one) for one in late] == [(503, "out_of_time")] * 2
    assert "retry-after" in late[0].headers
    assert inside(client) == 0
    slow.looker.go.set()
    until(lambda: sent(client).status_code == 200)


def test_an_error_of_the_model_is_told_without_its_inside(serving, served, caplog):
    class Broken:
        def find(self, file, *, box=None):
            return []

        def answer(self, found):
            raise ValueError("secret /root/path")

    client = serving(model=dataclasses.replace(served, looker=Broken()))
    response = sent(client)
    assert refusal(response) == (500, "internal")
    assert "secret" not in response.text
    assert "content-security-policy" in response.headers
    assert refusal(sent(client)) == (500, "internal")  # the queue lives on


def test_large_files_are_refused_by_what_they_announce_and_by_what_comes(serving):
    client = serving(most_megabytes=1)
    assert refusal(sent(client, bytes(1_200_000))) == (413, "too_large")
    assert sent(client, PHOTO + bytes(900_000)).status_code == 200
    batch = client.post("/v1/predict/batch", files=[("files", PHOTO), ("files", PHOTO + bytes(1_100_000))])
    assert [one["error"] and one["error"]["reason"] for one in batch.json()["results"]] == [None, "too_large"]
    assert refusal(client.post("/v1/predict", content=iter([PHOTO]))) == (411, "no_length")


def test_many_pixels_are_refused(serving):
    client = serving(most_megapixels=1)
    assert refusal(sent(client, photos.jpeg(1200, 1000))) == (413, "too_many_pixels")
    assert refusal(sent(client, photos.bomb())) == (413, "too_many_pixels")


def test_a_slow_upload_is_ended(serving):
    client = serving(time_limit=0.3)
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as line:
        line.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + PHOTO[:100])
        assert line.recv(4096).startswith(b"HTTP/1.1 408")


def test_uploads_touch_no_disk(serving, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))  # a file there cannot be made
    client = serving()
    assert sent(client, PHOTO + bytes(5_000_000)).status_code == 200


def test_without_a_key_nothing_of_the_model_is_said(serving):
    client = serving(keys=(b"another-key-of-length", KEY))
    for path in ("/v1/model", "/metrics", "/v1/examples/0"):
        response = client.get(path)
        assert refusal(response) == (401, "no_key")
        assert response.headers["www-authenticate"] == "Bearer"
    assert refusal(sent(client)) == (401, "no_key")
    assert refusal(sent(client, headers={"x-api-key": "wrong-key-of-length"})) == (401, "no_key")
    assert refusal(sent(client, headers={"x-api-key": "kéy".encode()})) == (401, "no_key")
    for path in ("/", "/healthz", "/docs", "/static/page.js"):
        assert client.get(path).status_code == 200
    assert sent(client, headers={"x-api-key": KEY.decode()}).status_code == 200
    assert sent(client, headers={"authorization": f"Bearer {KEY.decode()}"}).status_code == 200


def test_other_web_sites_may_not_ask_unless_they_are_named(client, serving):
    origin = {"origin": "https://example.org"}
    assert "access-control-allow-origin" not in sent(client, headers=origin).headers
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    opened = serving(cors=("https://example.org",), keys=(KEY,))
    answer = sent(opened, headers={**origin, "x-api-key": KEY.decode()})
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert opened.options("/v1/predict", headers=asked).status_code == 200
    other = opened.options("/v1/predict", headers={**asked, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/docs", "/v1/model", "/nothing", "/healthz"])
def test_every_answer_has_the_safe_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers


def test_a_browser_that_has_the_page_already_is_told_so(client):
    mark = client.get("/").headers["etag"]
    assert client.get("/", headers={"if-none-match": mark}).status_code == 304


def test_a_gate_lets_a_single_large_request_in():
    gate = Gate(requests=2, memory=100)
    with gate.enter(500) as held:
        held.more(500)
        with pytest.raises(RefusalError, match="busy"), gate.enter(1):
            pass
    assert (gate.inside, gate.held) == (0, 0)


def test_a_gate_gives_everything_back_after_an_error():
    gate = Gate(requests=1, memory=100)
    with pytest.raises(ZeroDivisionError), gate.enter(10) as held:
        held.more(20)
        assert gate.held == 30
        raise ZeroDivisionError
    with gate.enter(100):
        assert gate.held == 100


def test_every_refusal_is_a_sentence_in_both_languages():
    for words in REFUSALS.values():
        assert 400 <= words.status < 600
        assert words.english.endswith(".")
        assert words.korean.endswith((".", "능)."))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "holds no key"), ("# only words\n", "holds no key"), ("short\n", "key 1 .* is shorter")],
)
def test_a_file_of_keys_that_is_of_no_use_is_refused(tmp_path, text, complaint):
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint) as told:
        read_keys(path)
    assert "secrets.token_urlsafe" in told.value.hint


def test_keys_are_read_line_by_line(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# of the app\n  a-key-of-some-length  \n\nanother-key-of-length\n")
    assert read_keys(path) == (KEY, b"another-key-of-length")
    with pytest.raises(UserError, match="cannot be read"):
        read_keys(tmp_path / "none")
