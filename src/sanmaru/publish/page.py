"""The forecast page: one HTML file that needs nothing but itself, drawn from what `forecast.json` holds.

Without a script it shows every district below the overview, and either language; the script adds the district picker,
the hour slider, pointing at charts, and remembers the reader's choices.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sanmaru.files import write_text
from sanmaru.html.charts.svg import escape
from sanmaru.publish.district import draw_district, grade_of, latest
from sanmaru.publish.grades import GRADES
from sanmaru.publish.payload import make_payload
from sanmaru.publish.state import ForecastState
from sanmaru.publish.times import date, parse, when
from sanmaru.publish.words import both, shown, words

PAGE, FIGURES = "index.html", "forecast.json"

_THEME = (
    '<svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><circle cx="10" cy="10" r="7.5"/>'
    '<path d="M10 2.5a7.5 7.5 0 0 1 0 15z"/></svg>'
)
_MARK = (
    '<svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">'
    '<path class="far" d="M2 26L12 9l5 7 4-6 9 16z"/><path class="near" d="M2 26l8-9 5 5 6-8 9 12z"/></svg>'
)


def make_page(state: ForecastState, folder: Path) -> dict[str, Path]:
    """Write `index.html` and `forecast.json` to a folder; each appears whole.

    Returns:
        File name -> path.
    """
    payload = make_payload(state)
    paths = {FIGURES: folder / FIGURES, PAGE: folder / PAGE}
    write_text(paths[FIGURES], figures_text(payload))
    write_text(paths[PAGE], draw_page(payload))
    return paths


def figures_text(payload: dict[str, Any]) -> str:
    """Return the content of `forecast.json`."""
    return _json(payload) + "\n"


def draw_page(payload: dict[str, Any]) -> str:
    """Return the page of a payload. Everything from the data is escaped; only the page's own script may run."""
    style, script = _asset("sanmaru.html", "style.css") + _asset("sanmaru.publish", "page.css"), _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    title = payload["title"]
    made = words(when(parse(payload["generated_at"]), payload["zone"]))
    districts = "".join(draw_district(one, place, payload) for place, one in enumerate(payload["series"]))
    # In a script element "<" is all that could end it; JSON may write it as an escape.
    data = _json(payload).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="{payload["language"]}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Sanmaru">
<title>{escape(title[payload["language"]])}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">{both("Skip to the content", "본문으로")}</a>
<header class="top"><div class="inner">{_MARK}<div class="titles"><h1>{both(title["en"], title["ko"])}</h1>
<p class="subtitle">{both("Made", "작성")} {made} · {escape(payload["zone"])}</p></div>
{_languages(payload["language"])}
<button type="button" id="theme" hidden aria-label="Light or dark · 밝게 또는 어둡게">{_THEME}</button></div></header>
<main id="main">{_banners(payload)}{_overview(payload)}
<section id="districts" aria-label="Districts · 지역">{_picker(payload)}{districts}</section>
{_about(payload)}</main>
<footer><p>{both(payload["sources"]["en"], payload["sources"]["ko"])}</p>
<p><a href="{FIGURES}">{both("The figures of this page as JSON", "이 페이지의 수치 (JSON)")}</a></p></footer>
<div id="tip" role="status" aria-live="off" hidden></div>
<script type="application/json" id="state">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def _languages(first: str) -> str:
    options = "".join(
        f'<input type="radio" name="language" id="lang-{code}" value="{code}"{" checked" if code == first else ""}>'
        f'<label for="lang-{code}" lang="{code}">{name}</label>'
        for code, name in (("ko", "한국어"), ("en", "English"))
    )
    return f'<fieldset class="switch language"><legend class="hidden">Language · 언어</legend>{options}</fieldset>'


def _banners(payload: dict[str, Any]) -> str:
    """What must not be overlooked; the script shows them later, too, when the page itself has grown old."""
    fresh, model, zone = payload["freshness"], payload["model"], payload["zone"]
    parts = []
    if fresh["last"]:
        last, due = when(parse(fresh["last"]), zone), when(parse(fresh["stale_at"]), zone)
        en = f"The newest observation is of {last.en}; another was due by {due.en}. Do not rely on this page."
        ko = f"마지막 관측은 {last.ko}이며, {due.ko}까지 새 관측이 들어왔어야 합니다. 이 페이지를 믿지 마세요."
    else:
        en, ko = "There is no observation at all.", "관측값이 하나도 없습니다."
    parts.append(_banner("stale", fresh["stale"], "problem", ("The data is stale.", "오래된 자료입니다."), (en, ko)))
    if fresh["last"] and fresh["behind"]:
        names = {one["id"]: one["label"] for one in payload["series"]}
        few, n = fresh["behind"][:6], len(fresh["behind"])
        rest = f" +{n - 6}" if n > 6 else ""
        en = ", ".join(names[one]["en"] for one in few) + rest
        ko = ", ".join(names[one]["ko"] for one in few) + rest
        title = (f"{n} of {len(names)} places report late:", f"{len(names)}곳 중 {n}곳의 관측이 늦습니다:")
        parts.append(_banner("late", True, "warning", title, (en, ko)))
    if model and model["old_at"]:
        trained = date(parse(model["trained_at"]), zone)
        text = (f"It was trained on {trained.en}.", f"{trained.ko}에 학습되었습니다.")
        parts.append(_banner("old", model["old"], "warning", ("The model is old.", "오래된 모델입니다."), text))
    return "".join(parts)


def _banner(id: str, on: bool, kind: str, title: tuple[str, str], text: tuple[str, str]) -> str:
    return (
        f'<div class="banner {kind}" id="{id}" role="alert"{"" if on else " hidden"}><b>{both(*title)}</b> '
        f"{both(*text)}</div>"
    )


def _overview(payload: dict[str, Any]) -> str:
    if len(payload["series"]) < 2:
        return ""
    target = payload["targets"][0]
    tiles = []
    for place, one in enumerate(payload["series"]):
        value = latest(one, target["name"])
        found = grade_of(value, target)
        where = f' style="--row:{one["place"][0]};--column:{one["place"][1]}"' if one["place"] else ""
        tiles.append(
            f'<a class="place {found.name if found else "none"}" href="#s-{place}" data-place="{place}"{where}>'
            f'<span class="name">{both(one["label"]["en"], one["label"]["ko"])}</span>'
            f"<b>{shown(value, target['digits'])}</b>"
            f'<span class="word">{both(found.en, found.ko) if found else ""}</span></a>'
        )
    mapped = " mapped" if all(one["place"] for one in payload["series"]) else ""
    choices = "".join(
        f'<input type="radio" name="target" id="t-{number}" value="{number}"{" checked" if number == 0 else ""}>'
        f'<label for="t-{number}">{both(one["label"]["en"], one["label"]["ko"])}</label>'
        for number, one in enumerate(payload["targets"])
    )
    label = both(target["label"]["en"], target["label"]["ko"])
    moment = words(when(parse(payload["freshness"]["last"]), payload["zone"])) if payload["freshness"]["last"] else "–"
    return (
        f'<section id="overview"><header><h2><span id="shown">{label}</span> '
        f'<span class="unit" id="unit">{escape(target["unit"])}</span></h2>'
        f'<fieldset class="switch script" hidden><legend class="hidden">{both("Quantity", "항목")}</legend>'
        f"{choices}</fieldset>"
        f"</header>"
        f'<div class="ahead-by script" hidden><label for="hour">{both("Hours ahead", "몇 시간 뒤")}</label>'
        f'<input type="range" id="hour" min="0" max="48" value="0" step="1">'
        f'<output id="hour-shown" for="hour">{moment}</output></div>'
        f'<p class="seen unscripted">{both("Observed", "관측")} {moment}</p>'
        f'<div class="places{mapped}">{"".join(tiles)}</div>{_key(payload)}</section>'
    )


def _key(payload: dict[str, Any]) -> str:
    """The grades with their ranges, per graded target."""
    lists = []
    for number, target in enumerate(payload["targets"]):
        if not target["limits"]:
            continue
        starts = [0, *(limit + 1 for limit in target["limits"])]
        ends = [f"–{limit}" for limit in target["limits"]] + ["+"]
        items = "".join(
            f'<li><span class="grade {one.name}">{both(one.en, one.ko)}</span> {start}{end}</li>'
            for one, start, end in zip(GRADES, starts, ends, strict=True)
        )
        label = both(target["label"]["en"], target["label"]["ko"])
        lists.append(f'<li data-target="{number}"><span>{label}</span><ul>{items}</ul></li>')
    return f'<ul class="key">{"".join(lists)}</ul>' if lists else ""


def _picker(payload: dict[str, Any]) -> str:
    lines = (
        ("observed", "Observed", "관측"),
        ("forecast", "Forecast", "예보"),
        ("area", "8 of 10 hours should lie here", "10시간 중 8시간의 예상 범위"),
        ("earlier", "Yesterday's forecast", "어제 예보"),
        ("diamond", "Anomalous", "이상 관측"),
    )
    legend = "".join(f'<li><i class="{kind}"></i>{both(en, ko)}</li>' for kind, en, ko in lines)
    options = "".join(
        f'<option value="{place}" data-en="{escape(one["label"]["en"])}" data-ko="{escape(one["label"]["ko"])}">'
        f"{escape(one['label'][payload['language']])}</option>"
        for place, one in enumerate(payload["series"])
    )
    hidden = "" if len(payload["series"]) > 1 else " data-single"
    return (
        f'<div class="picker"><div class="script" hidden{hidden}><label for="pick">{both("District", "지역")}</label>'
        f'<select id="pick">{options}</select></div><ul class="legend">{legend}</ul></div>'
    )


def _about(payload: dict[str, Any]) -> str:
    """The model and the data behind the page."""
    zone, model, fresh = payload["zone"], payload["model"], payload["freshness"]
    tiles = []
    if fresh["last"]:
        tiles.append(_tile(both("Newest observation", "마지막 관측"), words(when(parse(fresh["last"]), zone)), ""))
    if model:
        trained = both("not stated", "알 수 없음")
        if model["trained_at"]:
            days = (parse(payload["generated_at"]) - parse(model["trained_at"])).days
            ago = both(f"{days} day{'' if days == 1 else 's'} before this page", f"작성 {days}일 전")
            trained = words(date(parse(model["trained_at"]), zone))
        else:
            ago = ""
        tiles.append(
            _tile(
                both("Model", "모델"),
                escape(model["name"]),
                both(f"version {model['version']}", f"버전 {model['version']}"),
            )
        )
        tiles.append(_tile(both("Trained", "학습일"), trained, ago))
        score = model["score"]
        if score:
            value = f"{shown(score['value'], 2)} {score['unit']}".strip()
            beside = ""
            if score["baseline_value"] is not None:
                better = score["value"] < score["baseline_value"]
                verdict = ("better than", "보다 나음") if better else ("NOT better than", "보다 낫지 않음")
                base = f"{score['baseline']} {shown(score['baseline_value'], 2)}"
                beside = both(f"{verdict[0]} {base}", f"{base}{verdict[1]}")
            tiles.append(_tile(escape(score["metric"]), escape(value), beside))
    if not tiles:
        return ""
    heading = both("Model and data", "모델과 자료")
    return f'<section id="about"><h2>{heading}</h2><dl class="tiles">{"".join(tiles)}</dl></section>'


def _tile(label: str, value: str, small: str) -> str:
    note = f'<span class="small">{small}</span>' if small else ""
    return f'<div class="tile"><dt>{label}</dt><dd><b>{value}</b>{note}</dd></div>'


def _json(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@cache
def _asset(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    return _asset("sanmaru.publish", "page.js")
