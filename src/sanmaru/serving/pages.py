"""The pages of a service: the model's card, and the form to try it. Both are one self-contained HTML text each."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from sanmaru.serving.examples import example_value
from sanmaru.serving.forecasts import task_of
from sanmaru.serving.openapi import json_example

if TYPE_CHECKING:
    from jinja2 import Environment

    from sanmaru.serving.model import ServedModel
    from sanmaru.serving.slot import Slot
    from sanmaru.serving.source import ModelSource
    from sanmaru.tables.contract import Column

SELECT_MOST = 60
"""Categories that still make a usable list to choose from; more become a text field with suggestions."""
SUGGEST_MOST = 500

SCRIPTS = {"try.html": "try.js", "forecast.html": "forecast.js"}

Page = tuple[str, str]
"""HTML text and its content security policy."""


def card_page(slot: Slot, source: ModelSource, base_url: str, *, needs_key: bool, has_site: bool = False) -> Page:
    """Return the model's card: what it is for, how good it is, what it takes, how to call it."""
    model = slot.current
    if model is None:
        return _render("card.html", model=None, source=source, slot=slot, has_site=has_site)
    card = {"problem": "", "goal": "", "constraints": "", "baseline": "", **model.package.card}
    row = {} if model.forecasts else json_example(model.signature)
    return _render(
        "card.html",
        model=model,
        source=source,
        slot=slot,
        has_site=has_site,
        card=card,
        series=_series(model) if model.forecasts else None,
        score=_score(card),
        row_ms=f"{model.warmth.row_ms:.2g}" if model.warmth.row_ms < 10 else f"{model.warmth.row_ms:.0f}",
        since=datetime.fromtimestamp(model.since, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        inputs=[_input_line(column) for column in model.signature.inputs],
        facts=_facts(card),
        curl=_curl(model, row, base_url, needs_key=needs_key),
        python=_python(model, row, base_url, needs_key=needs_key),
    )


def try_page(model: ServedModel, *, needs_key: bool, has_site: bool = False) -> Page:
    """Return the form made from the signature, or the page to paste a series' history into."""
    if model.forecasts:
        return _try_forecast(model, needs_key=needs_key, has_site=has_site)
    fields = [_field(column) for column in model.signature.inputs]
    data = {
        "inputs": [
            {"name": column.name, "kind": column.kind, "required": column.required, "dateFormat": column.date_format}
            for column in model.signature.inputs
        ],
        "outputs": [output.to_json() for output in model.signature.outputs],
        "examples": {field["name"]: field["value"] for field in fields},
    }
    return _render("try.html", model=model, fields=fields, data=data, needs_key=needs_key, has_site=has_site)


def _try_forecast(model: ServedModel, *, needs_key: bool, has_site: bool) -> Page:
    from sanmaru.serving.forecast_example import csv_text

    series = _series(model)
    task = task_of(model.package)
    data = {
        "example": csv_text(model.example),
        "zone": task.every.zone,
        "series": task.data.series,
        "time": task.data.time_columns[0] if len(task.data.time_columns) == 1 else None,
        "outputs": [
            {
                "name": output.name,
                "quantiles": output.quantile_names,
                "levels": [f"{100 * level:.4g} %" for level in output.quantiles],
            }
            for output in model.signature.outputs
        ],
    }
    return _render("forecast.html", model=model, data=data, needs_key=needs_key, has_site=has_site, **series)


def _series(model: ServedModel) -> dict[str, Any]:
    """What of history and horizon the pages tell."""
    task = task_of(model.package)
    return {
        "lookback": task.layout.lookback,
        "horizon": task.layout.horizon,
        "every": task.every.text,
        "zone": task.every.zone,
        "known": task.channels.known,
    }


def _render(template: str, **context: Any) -> Page:
    script = _asset(SCRIPTS[template]) if template in SCRIPTS else ""
    # Only this very script may run: a category named like HTML could not, even if it escaped its place.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; script-src 'sha256-{digest}'"
    )
    return _environment().get_template(template).render(style=_asset("page.css"), script=script, **context), policy


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sanmaru.serving", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment


@functools.cache
def _asset(name: str) -> str:
    return resources.files("sanmaru.serving").joinpath("templates", name).read_text(encoding="utf-8")


def _score(card: Mapping[str, Any]) -> dict[str, Any] | None:
    score = card.get("score")
    if not isinstance(score, Mapping) or "value" not in score:
        return None
    return {"metric": str(card.get("metric", "score")), **score}


def _facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else the card says, one line a key; long inner parts are left to `card.json`."""
    shown = {"name", "problem", "goal", "constraints", "baseline", "metric", "score"}
    lines = []
    for key, value in card.items():
        if key in shown or not value:
            continue
        if isinstance(value, Mapping):
            parts = [f"{name} {_figure(part)}" for name, part in value.items() if not isinstance(part, Mapping | list)]
            text = ", ".join(parts)
        elif isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
            text = "; ".join(str(part["text"]) for part in value if "text" in part)
        else:
            text = _figure(value)
        if text:
            lines.append((key.replace("_", " "), text[:400]))
    return lines


def _figure(value: Any) -> str:
    """A number with four significant digits, anything else as its text."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = str(value)
    return text[:16] + "…" if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text) else text


def _input_line(column: Column) -> dict[str, str]:
    return {
        "name": column.name,
        "kind": column.kind,
        "note": _note(column),
        "required": "yes" if column.required else "",
    }


def _note(column: Column) -> str:
    if column.categories:
        more = len(column.categories) - 8
        return ", ".join(column.categories[:8]) + (f" and {more} more" if more > 0 else "")
    if column.kind == "boolean":
        return "yes or no"
    if column.low is not None and column.high is not None:
        return f"{_figure(column.low)} to {_figure(column.high)}"
    if column.kind == "date":
        return column.date_format or "ISO 8601"
    return ""


def _field(column: Column) -> dict[str, Any]:
    """Everything the template needs of one input."""
    categories = list(column.categories or ())
    if column.kind == "image":
        control = "image"
    elif column.kind in ("number", "integer"):
        control = "number"
    elif column.kind == "boolean":
        control = "boolean"
    elif column.kind == "date":
        has_time = column.date_format is not None and "%H" in column.date_format
        control = "datetime-local" if has_time else "date"
    elif categories and len(categories) <= SELECT_MOST:
        control = "select"
    elif column.kind == "text" and not categories:
        control = "textarea"
    else:
        control = "suggest"
    value = None if column.kind == "image" else example_value(column)
    if control == "select" and str(value) not in categories:
        value = categories[0]
    return {
        "name": column.name,
        "control": control,
        "categories": categories[:SUGGEST_MOST],
        "value": value if isinstance(value, bool | int | float) else None if value is None else str(value),
        "note": _note(column) if control == "number" else "",
        "required": column.required,
        "step": "1" if column.kind == "integer" else "any",
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value[:24] + "…" if isinstance(value, str) and len(value) > 60 else value for name, value in row.items()
    }


def _curl(model: ServedModel, row: dict[str, Any], base_url: str, *, needs_key: bool) -> str:
    key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    if model.forecasts:
        return f"curl{key} -H 'Content-Type: text/csv' \\\n  --data-binary @history.csv {base_url}predict"
    if len(model.images) == 1:
        return f"curl{key} -F file=@picture.jpg {base_url}predict"
    body = json.dumps({"rows": [_short(row)]}, ensure_ascii=False).replace("'", "'\\''")
    return f"curl{key} -H 'Content-Type: application/json' \\\n  -d '{body}' \\\n  {base_url}predict"


def _python(model: ServedModel, row: dict[str, Any], base_url: str, *, needs_key: bool) -> str:
    key = ', headers={"Authorization": "Bearer KEY"}' if needs_key else ""
    if model.forecasts:
        return (
            'import httpx\nimport polars as pl\n\nrows = pl.read_csv("history.csv").to_dicts()\n'
            f'answer = httpx.post("{base_url}predict", json={{"rows": rows}}{key}).json()\n'
            'print(pl.DataFrame(answer["predictions"]).explode("forecast").unnest("forecast"))'
        )
    if len(model.images) == 1:
        call = f'httpx.post("{base_url}predict", files={{"file": open("picture.jpg", "rb")}}{key})'
    else:
        call = f'httpx.post("{base_url}predict", json={{"rows": rows}}{key})'
        return f"import httpx\n\nrows = [{_short(row)!r}]\nprint({call}.json())"
    return f"import httpx\n\nprint({call}.json())"
