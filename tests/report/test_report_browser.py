"""The report in a real Chromium: nothing is asked of the network, nothing is cut off, a click shows the pictures."""

import shutil

import pytest

from fixtures.reports import evaluated_run
from petmood.errors import UserError
from petmood.report.printing import find_browser, print_pdf
from petmood.report.render import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here; `make browser` installs it where apt may")
sync_api = pytest.importorskip("playwright.sync_api")

#: Text whose colour differs too little from what lies behind it (WCAG 2, AA: 4.5 to 1).
FAINT = """
() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    if (!element) return [255, 255, 255, 1];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(element.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const ink = parse(element.closest("svg") ? style.fill : style.color);
    const paper = behind(element);
    const [high, low] = [light(over(ink, paper)), light(paper)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${walker.currentNode.textContent.trim().slice(0, 40)}`);
  }
  return [seen, faint];
}
"""


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """The report in a language, written once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = evaluated_run(tmp_path_factory.mktemp("report"), monkeypatch)
    return lambda language="en": write_report(run, language)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens a file in a new window; what it asked for and complained about is kept beside it."""
    contexts = []

    def open_page(path, *, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_page_asks_for_nothing_but_itself_and_complains_about_nothing(page_of, opened, language):
    path = page_of(language)
    page = opened(path)
    page.wait_for_load_state("networkidle")
    assert [url for url in page.asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.said == []
    broken = page.evaluate("[...document.images].filter((one) => !one.complete || !one.naturalWidth).length")
    assert broken == 0


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_runs_out_of_the_page(page_of, opened, language, width):
    assert overflow(opened(page_of(language), width=width)) <= 0


def test_a_click_on_a_cell_shows_its_pictures_without_a_script(page_of, opened):
    page = opened(page_of(), width=390)
    cell = page.locator("#cell-calm-happy")
    assert not cell.is_visible()
    page.locator('a[href="#cell-calm-happy"]').click()
    assert cell.is_visible()
    assert cell.locator("img").count() >= 1
    assert cell.locator("img").first.is_visible()
    assert page.locator(".cell:visible").count() == 1
    page.locator('a[href="#cell-happy-happy"]').click()
    assert not cell.is_visible()
    assert overflow(page) <= 0
    assert page.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(page_of, opened, scheme):
    page = opened(page_of(), scheme=scheme)
    page.locator('a[href="#cell-calm-happy"]').click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    seen, faint = page.evaluate(FAINT)
    assert seen > 300
    assert faint == []


def test_dark_and_light_are_two_looks(page_of, opened):
    papers = {
        scheme: opened(page_of(), scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert papers["light"] == "rgb(255, 255, 255)"
    assert papers["dark"] != papers["light"]


def test_print_is_dark_on_white_and_cuts_no_picture(page_of, opened):
    page = opened(page_of(), scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    uncut = "[...document.querySelectorAll('figure')].every((one) => getComputedStyle(one).breakInside === 'avoid')"
    assert page.evaluate(uncut)


def test_the_pdf_is_printed_beside_the_page(page_of):
    target = print_pdf(page_of())
    assert target.name == "report.pdf"
    assert target.read_bytes().startswith(b"%PDF-")
    assert [path.name for path in target.parent.glob(".*")] == []


def test_without_a_browser_the_user_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("petmood.report.printing._MAC", tmp_path / "none")
    with pytest.raises(UserError, match="no Chromium was found") as told:
        find_browser()
    assert "apt install chromium" in told.value.hint
