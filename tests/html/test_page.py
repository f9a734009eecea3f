"""A page is whole, escaped, accessible and says its findings first."""

import hashlib
import html
import re
from base64 import b64decode, b64encode

import pytest

from sanmaru.html.blocks import (
    Bars,
    Code,
    Finding,
    Grid,
    Heatmap,
    Histogram,
    Lines,
    Page,
    Picture,
    Pictures,
    Section,
    Text,
    Tiles,
)
from sanmaru.html.page import count_findings, render

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def finding(title="t", severity="warning", **more):
    return Finding(title=title, severity=severity, evidence="e", advice="a", **more)


def evil_page() -> Page:
    """A page in which every text that could come from data is hostile."""
    blocks = [
        Text(EVIL),
        Tiles(tiles=[(EVIL, EVIL, EVIL)], hero=True),
        Grid(columns=[EVIL, "n"], rows=[[EVIL, 1], [None, float("nan")]], caption=EVIL, bars="n"),
        Lines(title=EVIL, x_label=EVIL, y_label=EVIL, series=[(EVIL, [1, 2], [1, 2]), ("b", [1], [2])]),
        Bars(title=EVIL, labels=[EVIL], series=[(EVIL, [1])], value_label=EVIL),
        Bars(title=EVIL, labels=[EVIL], series=[(EVIL, [1])], value_label=EVIL, horizontal=False),
        Histogram(title=EVIL, x_label=EVIL, edges=[0, 1], series=[(EVIL, [1])]),
        Heatmap(title=EVIL, row_label=EVIL, column_label=EVIL, rows=[EVIL], columns=[EVIL], values=[[1]]),
        Pictures(title=EVIL, pictures=[Picture(data=PNG, caption=EVIL, wrong=True)]),
        Code(title=EVIL, text=EVIL, folded=True),
    ]
    evil = Finding(title=EVIL, severity="problem", evidence=EVIL, advice=EVIL, ids=(EVIL,), kind=EVIL)
    section = Section(title=EVIL, lead=EVIL, blocks=blocks, findings=[evil])
    return Page(title=EVIL, subtitle=EVIL, sections=[section], footer=EVIL)


def test_nothing_from_data_becomes_markup():
    text = render(evil_page())
    assert text.count("<script>") == 1  # the page's own
    assert "<img src=x" not in text
    assert "onerror=alert" not in re.sub(r"&lt;img.*?&gt;", "", text)
    # Attributes cannot be left either: every quote of the data is escaped.
    assert EVIL not in text
    assert html.escape(EVIL) in text


def test_a_page_asks_no_network_and_admits_only_its_own_script():
    text = render(evil_page())
    script = re.search(r"<script>(.*)</script>", text, re.S).group(1)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    sources = re.findall(r'(?:src|href)="([^"#][^"]*)"', text)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|http-equiv", "", text)


def test_findings_are_counted_and_stand_on_top_worst_first():
    sections = [
        Section(title="One", findings=[finding("small", "info"), finding("bad", "problem")]),
        Section(title="Two", findings=[finding("hm", "warning")]),
    ]
    text = render(Page(title="p", sections=sections))
    summary = re.search(r'<section id="findings".*?</section>', text, re.S).group(0)
    assert "<h2>1 problem, 1 warning, 1 note</h2>" in summary
    order = [summary.index(title) for title in ("bad", "hm", "small")]
    assert order == sorted(order)
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text


def test_a_page_without_findings_has_no_summary():
    assert 'id="findings"' not in render(Page(title="p", sections=[Section(title="a")]))


def test_sections_with_equal_titles_have_addresses_of_their_own():
    titles = ["Scores", "Scores", "점수", "!!!", "findings"]
    text = render(Page(title="p", sections=[Section(title=t) for t in titles]))
    found = re.findall(r'<section id="([^"]+)"', text)
    assert found == ["scores", "scores-2", "점수", "section", "findings-2"]


def test_charts_and_pictures_have_words_for_those_who_do_not_see_them():
    text = render(evil_page())
    for svg in re.findall(r"<svg[^>]*>", text):
        assert "aria-hidden" in svg or "aria-label" in svg
    for image in re.findall(r"<img[^>]*>", text):
        assert "alt=" in image
    for landmark in ("<main", "<nav aria-label", "<header", "<footer", 'lang="en"'):
        assert landmark in text


def test_grids_align_numbers_and_write_missing_as_a_dash():
    grid = Grid(columns=["name", "n", "share"], rows=[["a", 12_345, 0.25], ["b", None, 0.5]], bars="share")
    text = render(Page(title="p", sections=[Section(title="s", blocks=[grid])]))
    assert '<td class="num" data-value="12345.0">12,345</td>' in text
    assert '<td class="num">–</td>' in text
    assert 'style="--share:50.0%"' in text


def test_a_grid_survives_rows_of_another_length():
    text = render(
        Page(title="p", sections=[Section(title="s", blocks=[Grid(columns=["a", "b"], rows=[["x"], [1, 2, 3]])])])
    )
    assert text.count("<td") == 4


@pytest.mark.parametrize(("data", "kind"), [(PNG, "png"), (b"\xff\xd8\xff\xe0", "jpeg")])
def test_pictures_lie_inside_with_their_kind(data, kind):
    page = Page(title="p", sections=[Section(title="s", blocks=[Pictures(title="t", pictures=[Picture(data=data)])])])
    assert f"data:image/{kind};base64,{b64encode(data).decode()}" in render(page)


def test_counts_are_said_in_words():
    assert count_findings([finding(severity="problem"), finding(severity="problem")]) == "2 problems"
    assert count_findings([]) == "no findings"
