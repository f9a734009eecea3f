"""The page in a real browser: no errors, no sideways scrolling on a phone, navigation, theme, sorting, tips."""

import os
import shutil

import pytest

from sanmaru.html.blocks import Bars, Code, Finding, Grid, Heatmap, Histogram, Lines, Page, Section, Text, Tiles
from sanmaru.html.page import render

pytestmark = pytest.mark.browser
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def full_page() -> Page:
    wide = [f"a rather long class name {i}" for i in range(30)]
    finding = Finding(title="A" * 90, severity="problem", evidence="word " * 40, advice="do " * 40, ids=("1" * 60,))
    blocks = [
        Tiles(tiles=[(f"label {i}", "123,456.789", "small print") for i in range(9)], hero=True),
        Text("https://example.org/" + "x" * 200),
        Grid(columns=["name", "n", "long"], rows=[["b", 2, "x" * 80], ["a", 10, "y"], ["c", 1, "z"]], bars="n"),
        Grid(columns=[f"column {i}" for i in range(20)], rows=[[i * 1000 for i in range(20)]] * 30),
        Lines(title="lines", x_label="epoch", y_label="loss", series=[("train", range(9), range(9)), ("b", [1], [1])]),
        Bars(title="bars", labels=wide, series=[("", range(30))], value_label="rows"),
        Histogram(title="histogram", x_label="x", edges=range(11), series=[("", range(10))]),
        Heatmap(
            title="h", row_label="true", column_label="predicted", rows=wide, columns=wide, values=[range(30)] * 30
        ),
        Code(title="file", text="key: " + "value " * 60, folded=True),
    ]
    sections = [Section(title=f"Section {i}", blocks=blocks, findings=[finding] if i == 0 else []) for i in range(4)]
    return Page(title="A report 보고서", subtitle="s" * 120, sections=sections, footer="f" * 150)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render(full_page()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a Chromium; set CHROMIUM to its path")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Open the page at a width; fails at the end when the browser complained or asked the network for anything."""
    complaints, asked, contexts = [], [], []

    def open_at(width: int, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_sideways(opened, width, scheme):
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll('main > section, .panel, .finding, .tile, h2, p')]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className || e.tagName)"""
    )
    assert outside == []


@pytest.mark.parametrize("width", [390, 1280])
def test_navigation_brings_the_section_and_marks_it(opened, width):
    page = opened(width)
    page.emulate_media(reduced_motion="reduce")
    page.click("nav a[href='#section-2']")
    page.wait_for_function("document.querySelector('nav a[aria-current]').hash === '#section-2'")
    top = page.evaluate("document.getElementById('section-2').getBoundingClientRect().top")
    below = page.evaluate("document.querySelector('nav').getBoundingClientRect().bottom") if width == 390 else 0
    assert below - 1 <= top < 200  # on a phone the strip does not cover the title
    assert page.evaluate("document.querySelector('nav').getBoundingClientRect().top") >= -1  # it stays in sight


def test_theme_can_be_changed_and_contrast_holds_in_both(opened):
    page = opened(1280)
    colours = []
    for _ in range(2):
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.evaluate(CONTRAST) == []
        page.click("#theme")
    assert colours[0] != colours[1]


def test_tables_are_sorted_by_their_heads(opened):
    page = opened(1280)
    table = page.locator("table").first
    column = "(t, i) => [...t.tBodies[0].rows].map((r) => r.cells[i].textContent)"
    head = table.locator("th button")
    head.nth(1).click()
    assert table.evaluate(column, 1) == ["10", "2", "1"]
    head.nth(1).click()
    assert table.evaluate(column, 1) == ["1", "2", "10"]
    head.nth(0).click()
    assert table.evaluate(column, 0) == ["a", "b", "c"]
    assert table.locator("th").nth(0).get_attribute("aria-sort") == "ascending"


def test_marks_tell_their_values(opened):
    page = opened(1280)
    page.locator("svg.histogram rect[data-tip]").nth(5).hover()
    assert page.locator("#tip").inner_text() == "5 to 6\n5"
    page.locator("h1").hover()
    assert page.locator("#tip").is_hidden()


CONTRAST = """() => {
  const linear = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const rgba = (text) => { const v = text.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const s = getComputedStyle(e); const c = rgba(s.backgroundColor);
    if (s.backgroundImage !== 'none') return null; if (c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
  const weak = []; let checked = 0;
  for (const e of document.querySelectorAll('h1, h2, h3, p, a, dt, b, span, td, th, caption, figcaption, text')) {
    if (!e.textContent.trim() || e.classList.contains('in') || e.classList.contains('hidden')) continue;
    const style = getComputedStyle(e); const ground = behind(e);
    if (!ground) continue;
    checked += 1;
    const ink = rgba(e.tagName === 'text' ? style.fill : style.color).slice(0, 3);
    const [a, b] = [luminance(ink), luminance(ground)].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) weak.push(e.tagName + '.' + e.getAttribute('class') + ': ' + e.textContent);
  }
  if (checked < 200) weak.push('only ' + checked + ' texts were looked at');
  return [...new Set(weak)];
}"""
