"""One series of the forecast page: its state, charts, hours to come, yesterday's forecast, anomalies."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sanmaru.html.charts.band import Band, Line, draw_band
from sanmaru.html.charts.svg import escape
from sanmaru.publish.grades import GRADES, Grade
from sanmaru.publish.times import local, parse, short_day, when
from sanmaru.publish.words import both, shown, words

EVERY = 3
"""Hours between the rows of the table of what is to come."""


def draw_district(series: dict[str, Any], place: int, payload: dict[str, Any]) -> str:
    """Return the article of a series, from its part of `forecast.json`."""
    name = both(series["label"]["en"], series["label"]["ko"])
    last = series["observed"]["last"] if series["observed"] else None
    seen = words(when(parse(last), payload["zone"])) if last else both("no observation", "관측 없음")
    panels = "".join(_panel(series, target, payload) for target in payload["targets"])
    return (
        f'<article class="district" id="s-{place}" tabindex="-1" data-place="{place}"><header><h2>{name}</h2>'
        f'<p class="seen">{both("Observed", "관측")} {seen}</p></header><div class="charts">{panels}</div>'
        f"{_anomalies(series, payload)}{_hours(series, payload)}</article>"
    )


def grade_of(value: float | None, target: dict[str, Any]) -> Grade | None:
    """Return the grade of a value by the limits in `forecast.json`."""
    if value is None or target["limits"] is None:
        return None
    return GRADES[sum(int(value + 0.5) > limit for limit in target["limits"])]


def pill(value: float | None, target: dict[str, Any]) -> str:
    """Return the grade of a value in its colour, with its name."""
    found = grade_of(value, target)
    return f'<span class="grade {found.name}">{both(found.en, found.ko)}</span>' if found else ""


def latest(series: dict[str, Any], name: str) -> float | None:
    """Return the value of the newest observation, or None where it is missing."""
    values: list[float | None] = series["observed"]["values"][name] if series["observed"] else [None]
    return values[-1]


def _panel(series: dict[str, Any], target: dict[str, Any], payload: dict[str, Any]) -> str:
    name, digits = target["name"], target["digits"]
    value = latest(series, name)
    forecast = series["forecast"]
    ahead = ""
    if forecast:
        known = [(v, i) for i, v in enumerate(forecast["values"][name]) if v is not None]
        if known:
            top, at = max(known)
            moment = words(when(_time(forecast, at), payload["zone"]))
            ahead = (
                f'<p class="ahead">{both("Highest ahead", "예상 최고")} '
                f"<b>{shown(top, digits)}</b> {pill(top, target)} "
                f"<span>{moment}</span></p>"
            )
    label = both(target["label"]["en"], target["label"]["ko"])
    return (
        f'<figure class="panel target" data-target="{escape(name)}"><figcaption>{label} '
        f'<span class="unit">{escape(target["unit"])}</span></figcaption>'
        f'<div class="state"><p class="value"><b>{shown(value, digits)}</b> {pill(value, target)}</p>{ahead}</div>'
        f"{_chart(series, target, payload)}{_yesterday(series, target)}</figure>"
    )


def _chart(series: dict[str, Any], target: dict[str, Any], payload: dict[str, Any]) -> str:
    name, zone = target["name"], payload["zone"]
    observed = _line(series["observed"], name)
    lines = [_line(series[part], name) for part in ("observed", "forecast", "earlier")]
    spans = [(line.start, line.x(len(line.values) - 1)) for line in lines if line is not None]
    days, hours = _ticks(min(s for s, _ in spans), max(e for _, e in spans), zone) if spans else ([], [])
    marks = []
    if observed is not None:
        for anomaly in series["anomalies"]:
            place = round((parse(anomaly["time"]).timestamp() - observed.start) / observed.step)
            value = observed.values[place] if 0 <= place < len(observed.values) else None
            # Where a detector names the columns, only their charts are marked.
            if value is not None and (not anomaly["reason"] or _names(anomaly["reason"], target, payload)):
                marks.append((observed.x(place), value))
    limits = target["limits"]
    ends = [limit + 0.5 for limit in limits] + [float("inf")] if limits else []
    return draw_band(
        Band(
            title=f"{series['label']['ko']}, {target['label']['en']}",
            unit=target["unit"] or name,
            observed=observed,
            forecast=_line(series["forecast"], name),
            earlier=_line(series["earlier"], name),
            now=observed.x(len(observed.values) - 1) if observed else None,
            marks=marks,
            levels=[(end, one.colour) for end, one in zip(ends, GRADES, strict=False)],
            days=days,
            hours=hours,
        )
    )


def _names(reason: str, target: dict[str, Any], payload: dict[str, Any]) -> bool:
    said = reason.replace(",", " ").replace(":", " ").split()
    named = {one["name"] for one in payload["targets"]} & set(said)
    return not named or target["name"] in named


def _line(part: dict[str, Any] | None, name: str) -> Line | None:
    if part is None:
        return None
    values = part["values"]
    return Line(
        start=parse(part["start"]).timestamp(),
        step=part["step_s"],
        values=values[name],
        low=values.get(f"{name}.q10", ()),
        high=values.get(f"{name}.q90", ()),
    )


Days = list[tuple[float, tuple[tuple[str, str], ...]]]


def _ticks(start: float, end: float, zone: str) -> tuple[Days, list[tuple[float, str]]]:
    """Return midnights with the day's name, and noons."""
    days: Days = []
    hours: list[tuple[float, str]] = []
    moment = local(datetime.fromtimestamp(start, tz=parse("1970-01-01T00:00:00Z").tzinfo), zone)
    moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    while moment.timestamp() <= end:
        said = short_day(moment, zone)
        days.append((moment.timestamp(), (("en", said.en), ("ko", said.ko))))
        noon = moment.replace(hour=12)
        hours.append((noon.timestamp(), "12:00"))
        moment = (moment + timedelta(days=1)).replace(hour=0)
    return days, hours


def _yesterday(series: dict[str, Any], target: dict[str, Any]) -> str:
    earlier = series["earlier"]
    score = earlier["scores"][target["name"]] if earlier else None
    if not score or score["mae"] is None:
        return ""
    off = f"{shown(score['mae'], max(1, target['digits']))} {target['unit']}".strip()
    en = f"Yesterday's forecast was off by {off} on average over {score['n']} hours"
    ko = f"어제 예보는 {score['n']}시간 동안 평균 {off} 빗나감"
    if score["inside"] is not None:
        en += f"; {score['inside']:.0%} of them lay in its band"
        ko += f" · {score['inside']:.0%}가 예상 범위 안"
    return f'<p class="yesterday">{both(en + ".", ko)}</p>'


def _anomalies(series: dict[str, Any], payload: dict[str, Any]) -> str:
    if not series["anomalies"]:
        return ""
    rows = []
    for one in series["anomalies"][-20:]:
        score = f' <span class="small">{both("score", "점수")} {one["score"]:.3g}</span>' if one["score"] else ""
        reason = f" · {escape(one['reason'])}" if one["reason"] else ""
        rows.append(f"<li>{words(when(parse(one['time']), payload['zone']))}{reason}{score}</li>")
    n = len(series["anomalies"])
    title = both(f"{n} observation{'s' if n > 1 else ''} marked as anomalous", f"이상 관측 {n}건")
    summary = f'<summary><i class="diamond"></i>{title}</summary>'
    return f'<details class="anomalies">{summary}<ul>{"".join(rows)}</ul></details>'


def _hours(series: dict[str, Any], payload: dict[str, Any]) -> str:
    forecast = series["forecast"]
    if forecast is None:
        return f'<p class="none">{both("No forecast was made for this place.", "예보가 없습니다.")}</p>'
    every = max(1, round(EVERY * 3600 / forecast["step_s"]))
    heads = "".join(
        f'<th scope="col">{both(one["label"]["en"], one["label"]["ko"])} '
        f'<span class="unit">{escape(one["unit"])}</span></th>'
        for one in payload["targets"]
    )
    rows = []
    n = len(forecast["values"][payload["targets"][0]["name"]])
    for place in range(every - 1, n, every):
        cells = []
        for target in payload["targets"]:
            name, digits = target["name"], target["digits"]
            value, low, high = (
                forecast["values"].get(column, [None] * n)[place] for column in (name, f"{name}.q10", f"{name}.q90")
            )
            spread = (
                f' <span class="small">{shown(low, digits)}–{shown(high, digits)}</span>' if low is not None else ""
            )
            cells.append(f"<td><b>{shown(value, digits)}</b>{spread} {pill(value, target)}</td>")
        moment = words(when(_time(forecast, place), payload["zone"]))
        rows.append(f'<tr><th scope="row">{moment}</th>{"".join(cells)}</tr>')
    title = both(f"The next {n} hours as a table", f"앞으로 {n}시간 표로 보기")
    return (
        f'<details class="hours"><summary>{title}</summary><div class="panel table"><table><thead><tr>'
        f'<th scope="col">{both("Time", "시각")}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _time(part: dict[str, Any], place: int) -> datetime:
    return parse(part["start"]) + timedelta(seconds=part["step_s"] * place)
