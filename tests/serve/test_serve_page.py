"""The page in a real Chromium: send a photo, read the answer, by mouse, keyboard and phone, in two languages."""

import dataclasses
import shutil

import pytest

from fixtures import photos
from fixtures.films import film

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; `make browser` installs it where apt may")
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.fixture
def opened(browser, url):
    """Opens the page in a new window; what it asked for and complained about is kept beside it."""
    contexts = []

    def open_page(address=url, *, width=1280, scheme="light", language="en-GB"):
        size = {"width": width, "height": 850}
        context = browser.new_context(viewport=size, color_scheme=scheme, locale=language, has_touch=width < 500)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.set_default_timeout(15_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


def choose(page, data=None, name="photo.jpg", kind="image/jpeg"):
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data or photos.jpeg(640, 480)})


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def answered(page):
    page.wait_for_selector("#result:not([hidden])")
    return page.inner_text("#said").strip()


def test_a_photo_is_sent_and_its_answer_read_and_nothing_else_is_asked_for(opened, url, client):
    page = opened()
    choose(page)
    said = answered(page)
    (animal,) = client.post("/v1/predict", files={"file": photos.jpeg(640, 480)}).json()["animals"]
    assert animal["emotion"] in said.lower() or said == "Not sure"
    assert page.locator(".box").count() == 1
    assert page.inner_text(".card small") == "Dog"
    shown = dict(
        zip(page.locator(".bars dt").all_inner_texts(), page.locator(".bars dd").all_inner_texts(), strict=True)
    )
    assert shown == {name: f"{round(100 * share)} %" for name, share in animal["probabilities"].items()}
    assert all(one.startswith((url, f"blob:{url}"[:-1])) for one in page.asked)
    assert page.said == []


def test_the_box_lies_over_the_animal(opened):
    page = opened()
    choose(page)
    answered(page)
    box, stage = page.locator(".box").bounding_box(), page.locator("#stage").bounding_box()
    # The made-up detector sees the middle half of its square, which a wide picture fills from the top.
    assert (box["x"] - stage["x"]) / stage["width"] == pytest.approx(0.25, abs=0.02)
    assert box["width"] / stage["width"] == pytest.approx(0.5, abs=0.02)
    assert (box["y"] - stage["y"]) / stage["height"] == pytest.approx(1 / 3, abs=0.02)


def test_the_language_is_the_browsers_and_can_be_switched(opened):
    page = opened(language="ko-KR")
    assert page.get_attribute("html", "lang") == "ko"
    choose(page)
    korean = answered(page)
    assert any("가" <= letter <= "힣" for letter in korean)
    page.click("#language")
    assert page.get_attribute("html", "lang") == "en"
    assert page.inner_text("#said").isascii()
    assert set(page.locator(".bars dt").all_inner_texts()) == {"happy", "calm", "angry"}
    assert sum("/v1/predict" in one for one in page.asked) == 1


@pytest.mark.parametrize("language", ["en-GB", "ko-KR"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_runs_out_of_the_page(opened, width, language):
    page = opened(width=width, language=language)
    choose(page)
    answered(page)
    assert overflow(page) <= 0
    for button in page.locator("button:visible, .button:visible").all():
        assert button.bounding_box()["height"] >= 40


def test_the_keyboard_alone_is_enough(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "language"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    choose(page)
    answered(page)
    assert page.evaluate("document.activeElement.id") == "result"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Show why"
    page.keyboard.press("Enter")
    page.wait_for_selector(".heat")
    page.keyboard.press("Enter")
    page.wait_for_selector(".heat", state="detached")
    assert page.said == []


def test_every_control_has_a_name(opened):
    page = opened()
    choose(page)
    answered(page)
    unnamed = """[...document.querySelectorAll("button, input, a, img, video")].filter((one) => one.checkVisibility()
      && !(one.textContent.trim() || one.ariaLabel || one.alt || one.labels?.length || one.closest("[aria-label],h1")))
      .map((one) => one.outerHTML)"""
    assert page.evaluate(unnamed) == []


def test_an_example_is_a_click_away(opened):
    page = opened()
    assert page.locator("#examples button").count() == 3
    page.locator("#examples button").first.click()
    answered(page)
    assert page.locator(".box").count() == 0


def test_a_photo_can_be_dropped_and_pasted(opened):
    page = opened()
    for event, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(
            """([event, field, bytes]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], "a.jpg", { type: "image/jpeg" }));
              const kind = event === "drop" ? DragEvent : ClipboardEvent;
              document.dispatchEvent(new kind(event, { [field]: transfer, bubbles: true }));
            }""",
            [event, field, list(photos.jpeg())],
        )
        answered(page)
        page.evaluate("document.getElementById('result').hidden = true")
    assert page.said == []


def test_a_photo_can_be_taken_with_the_camera(opened):
    page = opened()
    page.click("#camera")
    for _ in range(200):
        if page.evaluate("document.querySelector('#viewfinder video').videoWidth"):
            break
        page.wait_for_timeout(50)
    page.click("#shoot")
    answered(page)
    assert page.evaluate("document.querySelector('#viewfinder video').srcObject") is None
    assert page.said == []


def test_no_animal_is_said_and_the_whole_picture_can_be_taken(opened):
    page = opened()
    choose(page, photos.jpeg(blue=False))
    assert answered(page) == "No dog or cat was found."
    page.click("text=Take the whole picture")
    page.wait_for_selector(".card")


def test_a_refusal_is_a_sentence_and_the_next_photo_clears_it(opened):
    page = opened()
    choose(page, b"no photo at all")
    page.wait_for_selector("#error:not([hidden])")
    assert "not a photo that can be read" in page.inner_text("#error")
    choose(page)
    answered(page)
    assert not page.is_visible("#error")


def test_a_video_has_a_timeline_that_can_be_clicked(opened):
    page = opened()
    choose(page, film(), "film.mp4", "video/mp4")
    answered(page)
    assert page.locator(".lane button").count() >= 1
    assert page.locator(".lane button").first.get_attribute("aria-label").startswith("0:00–0:0")
    page.locator(".lane button").first.click()
    assert "10 frames" in page.inner_text(".card small")
    assert overflow(page) <= 0
    # MPEG-4 Part 2, which browsers do not play.
    assert "cannot play the video" in page.inner_text("#stage .hint")


def test_a_key_is_asked_for_once(opened, serving):
    client = serving(keys=(b"a-key-of-some-length",))
    page = opened(str(client.base_url))
    page.wait_for_selector("#key:not([hidden])")
    page.fill("#key-text", "a-key-of-some-length")
    page.keyboard.press("Enter")
    page.wait_for_selector("#examples:not([hidden])")
    choose(page)
    answered(page)


def test_where_nothing_was_fitted_the_page_says_so(opened, serving, served, predictor):
    class Unfitted:
        def __init__(self, engine):
            self._engine = engine
            self.certainty = None

        def __getattr__(self, name):
            return getattr(self._engine, name)

    from petmood.look import Looker

    engine = Unfitted(predictor)
    client = serving(
        model=dataclasses.replace(served, engine=engine, looker=Looker(engine, None, whole=True), finds=False)
    )
    page = opened(str(client.base_url))
    choose(page)
    answered(page)
    assert "never measured" in page.inner_text(".card")


def test_dark_and_light_are_two_looks(opened):
    light, dark = (
        opened(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    )
    assert light == "rgb(255, 255, 255)"
    assert dark != light


def test_the_addresses_are_described_on_a_page_that_loads_nothing_else(opened, url):
    page = opened(f"{url}docs", width=390)
    assert page.said == []
    assert all(one.startswith(url) for one in page.asked)
    assert overflow(page) <= 0
