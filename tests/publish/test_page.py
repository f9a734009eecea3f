"""The page in a real browser, at a desk and on a phone, in both languages, and without a script."""

import json
import re
from datetime import timedelta

import polars as pl
import pytest

from sanmaru.publish.page import draw_page, make_page
from sanmaru.publish.payload import make_payload
from sanmaru.publish.seoul import seoul_districts

pytestmark = pytest.mark.browser

TIME = "2026-11-21T06:30:00Z"


@pytest.fixture
def opened(chromium, tmp_path, state):
    """Open the page of a state; fails at the end when the browser complained or asked the network for anything."""
    complaints, asked, contexts = [], [], []

    def open_page(shown=state, *, width=1280, query="", time=TIME, scheme="light", script=True, folder="page"):
        page_file = make_page(shown, tmp_path / folder)["index.html"]
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=script,
            locale="en-GB",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        if script:
            page.clock.set_fixed_time(time)
        page.goto(page_file.as_uri() + query)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def visible(page, selector: str) -> list[str]:
    """Texts of the elements that are shown, in one call: a call each would take most of the tests' time."""
    return page.evaluate(
        """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.getClientRects().length)
            .map((e) => e.innerText.split(/\\s+/).filter(Boolean).join(' '))""",
        selector,
    )


def test_districts_are_graded_and_picked(opened):
    page = opened()
    assert visible(page, ".place") == [
        "Jongno 20 Good",
        "Jung 50 Moderate",
        '<b>나쁜</b> & "구" \' 80 Moderate',
    ]
    assert visible(page, ".district h2") == ["Jongno"]
    assert visible(page, ".district .value") == ["20 Good", "16 Moderate", "−3.2"]
    page.select_option("#pick", "1")
    assert visible(page, ".district h2") == ["Jung"]
    assert visible(page, ".district .value") == ["50 Moderate", "37 Bad", "−2.2"]
    page.click(".place >> nth=2")
    assert visible(page, ".district h2") == ['<b>나쁜</b> & "구" \'']
    assert page.evaluate("location.hash") == "#s-2"
    assert page.input_value("#pick") == "2"
    page.reload()
    assert visible(page, ".district .value") == ["80 Moderate", "58 Bad", "−1.2"]  # the address was kept


def test_the_overview_shows_each_quantity_at_each_hour(opened):
    page = opened()
    page.click("label[for=t-1]")
    assert visible(page, ".place .word") == ["Moderate", "Bad", "Bad"]
    assert visible(page, ".key > li") == ["PM2.5 Good 0–15 Moderate 16–35 Bad 36–75 Very bad 76+"]
    page.locator("#hour").fill("48")
    assert re.fullmatch(r"Mon,? 23 Nov(,| at) 15:00", *visible(page, "#hour-shown"))
    assert visible(page, ".place b") == ["64", "85", "106"]  # the level plus 48
    assert visible(page, ".place .word") == ["Bad", "Very bad", "Very bad"]
    page.click("label[for=t-2]")
    assert visible(page, ".place b") == ["44.8", "45.8", "46.8"]
    assert visible(page, ".key > li") == []
    assert visible(page, ".place .word") == ["", "", ""]
    assert page.locator(".place.none").count() == 3  # temperature has no grades


def test_the_language_is_changed_remembered_and_taken_from_the_address(opened):
    page = opened()
    assert visible(page, "h1") == ["Seoul <air>"]
    page.click("label[for=lang-ko]")
    assert visible(page, "h1") == ["서울 <공기>"]
    assert page.title() == "서울 <공기>"
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert visible(page, ".place .word") == ["좋음", "보통", "보통"]
    assert page.locator("#pick option").all_inner_texts()[0] == "종로구"
    assert "11월 21일" in visible(page, "#hour-shown")[0]
    english = page.evaluate("[...document.querySelectorAll('.en')].filter((e) => e.getClientRects().length).length")
    assert english == 0
    page.reload()
    assert visible(page, "h1") == ["서울 <공기>"]  # remembered
    address = page.url.split("#")[0]
    page.goto(address + "?lang=en")
    assert visible(page, "h1") == ["Seoul <air>"]
    page.goto(address + "?lang=xx")
    assert visible(page, "h1") == ["Seoul <air>"]  # what the address had chosen


@pytest.mark.parametrize("query", ["?lang=en", "?lang=ko"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_sideways(opened, changed_state, state, width, query):
    all_districts = changed_state(
        series=seoul_districts(),
        observations=everywhere(state.observations),
        forecast=everywhere(state.forecast),
        earlier=everywhere(state.earlier),
    )
    page = opened(all_districts, width=width, query=query)
    assert page.locator(".place").count() == 25
    for details in page.locator(".district:not([hidden]) details").all():
        details.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll(
            'main > section, .panel, .place, .place span, .tile, h2, .banner, .switch')]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className || e.tagName)"""
    )
    assert outside == []


def everywhere(table: pl.DataFrame) -> pl.DataFrame:
    own = table.filter(pl.col("series") == "종로구")
    return pl.concat([own.with_columns(pl.lit(one.id).alias("series")) for one in seoul_districts()])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_holds(opened, scheme):
    page = opened(scheme=scheme, time="2027-06-01T00:00:00Z")  # with all banners
    page.wait_for_selector("#stale:not([hidden])")
    weak, checked = page.evaluate(CONTRAST)
    assert weak == []
    assert checked > 60


def test_stale_data_and_old_models_say_so(opened, changed_state, state):
    page = opened()
    assert visible(page, ".banner") == []
    page = opened(time="2026-11-21T09:00:00Z")  # nobody made a new page: the page itself notices
    (banner,) = visible(page, ".banner")
    assert banner.startswith(
        "The data is stale. The newest observation is of Sat 21 Nov, 15:00; another was due by Sat"
    )
    page = opened(time="2026-12-30T00:00:00Z", query="?lang=ko")
    assert [text.split(".")[0] for text in visible(page, ".banner")] == ["오래된 자료입니다", "오래된 모델입니다"]
    replay = changed_state(live=False)
    assert visible(opened(replay, time="2030-01-01T00:00:00Z", folder="replay"), ".banner") == []
    late = state.observations.filter(
        (pl.col("series") != "중구") | (pl.col("time") < state.generated_at - timedelta(hours=2))
    )
    (banner,) = visible(opened(changed_state(observations=late), folder="late"), ".banner")
    assert banner == "1 of 3 places report late: Jung"
    nothing = changed_state(observations=state.observations.clear(), forecast=state.forecast.clear(), earlier=None)
    page = opened(nothing, folder="nothing")
    assert visible(page, ".banner") == ["The data is stale. There is no observation at all."]
    assert visible(page, ".district .none") == ["No forecast was made for this place."]


def test_a_model_that_does_not_beat_its_baseline_says_so(opened, changed_state, state):
    from dataclasses import replace

    score = replace(state.model.score, value=9.0)
    page = opened(changed_state(model=replace(state.model, score=score)))
    assert "NOT better than persistence 8.00" in visible(page, "#about .tile")[-1]


def test_charts_tell_the_values_under_the_pointer(opened):
    page = opened()
    chart = page.locator(".district:not([hidden]) svg.band").nth(1)
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.995, box["y"] + box["height"] / 2)
    lines = page.locator("#tip").inner_text().split("\n")
    assert "23 Nov" in lines[0]
    assert lines[1:] == ["forecast: 64 (54–74) Bad"]
    page.mouse.move(box["x"] + box["width"] * 0.52, box["y"] + box["height"] / 2)
    lines = page.locator("#tip").inner_text().split("\n")
    assert lines[1] == "observed: 16 Moderate"
    assert lines[2].startswith("yesterday's forecast: ")
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_anomalies_and_yesterday_are_shown(opened):
    page = opened()
    assert page.locator(".district:not([hidden]) .anomaly").count() == 1  # of PM10, which the reason names
    assert page.locator(".district[data-place='1'] .anomaly").count() == 0
    page.click(".district:not([hidden]) .anomalies summary")
    (text,) = visible(page, ".anomalies li")
    assert text == "Sat 21 Nov, 10:00 · pm10 </script><script>alert(1)</script> score 9.5"
    first = visible(page, ".yesterday")[1]
    assert re.match(r"Yesterday's forecast was off by 9\.\d µg/m³ on average over 24 hours; 54% of them lay", first)


def test_it_reads_without_a_script(opened):
    page = opened(script=False)
    assert visible(page, ".district h2") == ["Jongno", "Jung", '<b>나쁜</b> & "구" \'']
    assert visible(page, ".place .word") == ["Good", "Moderate", "Moderate"]
    assert visible(page, "#pick, #hour, #theme, input[name=target] + label") == []
    page.locator("label[for=lang-ko]").click()  # the switch is the style's
    assert visible(page, "h1") == ["서울 <공기>"]
    page.locator(".district summary").nth(1).click()
    rows = visible(page, "#s-0 .hours tbody tr")
    assert len(rows) == 16
    assert rows[0] == "11월 21일 (토) 18:00 23 13–33 좋음 19 9–29 보통 −0.2 −10.2–9.8"


def test_everything_from_the_data_is_escaped(state):
    text = draw_page(make_payload(state))
    assert "<script>alert" not in text
    assert "<b>나쁜" not in text
    assert text.count("</script>") == 2
    data = re.search(r'<script type="application/json" id="state">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data) == json.loads(json.dumps(make_payload(state)))


def test_a_single_series_has_no_overview(opened, changed_state, state):
    one = changed_state(series=state.series[:1])
    page = opened(one)
    assert page.locator("#overview").count() == 0
    assert visible(page, "#pick") == []
    assert visible(page, ".district h2") == ["Jongno"]


CONTRAST = """() => {
  const linear = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const rgba = (text) => { const v = text.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c.slice(0, 3); }
    return [255, 255, 255]; };
  const weak = []; let checked = 0;
  for (const e of document.querySelectorAll(
      'h1,h2,p,a,dt,b,span,td,th,li,label,summary,figcaption,output,option,text')) {
    if (!e.textContent.trim() || !e.getClientRects().length || e.classList.contains('hidden')) continue;
    checked += 1;
    const style = getComputedStyle(e);
    const ink = rgba(e.tagName === 'text' ? style.fill : style.color).slice(0, 3);
    const [a, b] = [luminance(ink), luminance(behind(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) weak.push(e.tagName + '.' + e.getAttribute('class') + ': ' + e.textContent);
  }
  return [[...new Set(weak)], checked];
}"""
