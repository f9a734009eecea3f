"""Where forecasts are good and where not: by steps ahead, hour, month and series; coverage; and some of them drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Bars, Block, Finding, Grid, Lines, Section, Text
from sanmaru.html.numbers import percent, short
from sanmaru.metrics.forecasting import levels_of, pinball_losses
from sanmaru.tables.every import local_times
from sanmaru.tables.match import align

if TYPE_CHECKING:
    from sanmaru.tasks.forecasting.task import Forecasting

MOST_SERIES = 30
DRAWN = 4
"""Origins whose forecasts are drawn per target: of small, middle and large error."""
COVERAGE_OFF = 0.1
"""A coverage further than this from what is promised becomes a finding."""

Scored = Mapping[str, np.ndarray]
"""Records of forecasts by name: the model's own first, then those of the naive forecasts."""


def diagnose(
    task: Forecasting, table: pl.DataFrame, predictions: pl.DataFrame, others: Mapping[str, pl.DataFrame] | None = None
) -> Iterator[Section]:
    """Analyse out-of-fold forecasts; windows of the table that have none are left out.

    Args:
        task: Whose forecasts, with its series attached.
        table: Windows.
        predictions: Of these windows.
        others: Predictions of the same windows by other models, drawn beside.

    Raises:
        DataError: when a window of the predictions is not in the table.
    """
    name = task.roles.id
    places = align(predictions[name], table[name], left_name="the predictions", right_name="the table", subset=True)
    rows = table[places]
    truth = task.truth(rows)
    scored = {"model": task.scored(predictions)}
    for kind, theirs in (others or {}).items():
        order = align(predictions[name], theirs[name], left_name="the predictions", right_name=kind)
        scored[kind] = task.scored(theirs[order])
    for target, label in enumerate(task.layout.targets):
        yield _errors_section(task, rows, truth, scored, (target, label))
    if task.quantiles:
        yield coverage_section(task, truth, scored["model"])
    yield drawn_section(task, rows, truth, scored["model"])


def left_out_section(task: Forecasting) -> Section | None:
    """Show how many pairs of forecast and truth there are, and which were left out."""
    found = task.facts.get("left_out")
    if not found:
        return None
    rows = [[name, number] for name, number in found.items()]
    share = found["missing target values"] / max(1, found["target values"])
    lead = (
        f"{task.facts['origins']:,} origins from {task.facts['first_origin'][:16]} to "
        f"{task.facts['last_origin'][:16]} ({task.every.zone}). A forecast is scored where its target is known: "
        f"{percent(share)} of the values are missing and left out."
    )
    return Section(title="What was scored", lead=lead, blocks=[Grid(columns=["what", "number"], rows=rows)])


def _errors_section(
    task: Forecasting, rows: pl.DataFrame, truth: np.ndarray, scored: Scored, of_target: tuple[int, str]
) -> Section:
    target, label = of_target
    value = truth["value"][:, :, target]
    errors = {kind: one["point"][:, :, target] - value for kind, one in scored.items()}
    horizon = task.layout.horizon
    steps = [float(step) for step in range(1, horizon + 1)]
    blocks: list[Block] = [_overall(truth, scored, target, label)]
    if horizon > 1:
        for title, measure in (("MAE", _mae), ("RMSE", _rmse)):
            series = [(kind, steps, [measure(one[:, step]) for step in range(horizon)]) for kind, one in errors.items()]
            x_label = f"steps of {task.every.text} ahead"
            blocks.append(Lines(title=f"{title} by steps ahead", x_label=x_label, y_label=title, series=series))
    at, _ = task.every.index(rows["origin"])
    times = task.every.time((at[:, None] + np.arange(1, horizon + 1)).ravel())
    local = local_times(times, task.every.zone)
    if "hour" in task.channels.clock:
        blocks.append(_by(errors, local.dt.hour(), "hour of the day forecast", task.every.zone))
    months = local.dt.strftime("%Y-%m")
    if months.n_unique() > 1:
        blocks.append(_by_name(errors, months, "MAE by month forecast"))
    names = rows["series"]
    if names.n_unique() > 1:
        blocks += _by_series(errors, names)
    return Section(title=f"Errors of {label}" if len(task.layout.targets) > 1 else "Errors", blocks=blocks)


def _overall(truth: np.ndarray, scored: Scored, target: int, label: str) -> Grid:
    value = truth["value"][:, :, target]
    scale = truth["scale"][:, None, target]
    known = ~np.isnan(value)
    rows = []
    for kind, one in scored.items():
        error = one["point"][:, :, target] - value
        mase = np.abs(error) / scale
        losses = pinball_losses(value, _only(one, target))
        rows.append(
            [kind, _mae(error), _rmse(error), _mean(mase), _mean(error), _mean(losses), _covered(value, one, target)]
        )
    columns = ["", "MAE", "RMSE", "MASE", "mean error", "pinball loss", "coverage"]
    return Grid(columns=columns, rows=rows, caption=f"{label} on {int(known.sum()):,} pairs of forecast and truth")


def _by(errors: Scored, part: pl.Series, label: str, zone: str) -> Lines:
    places = part.to_numpy()
    x = np.unique(places)
    series = [
        (kind, [float(place) for place in x], [_mae(one.ravel()[places == place]) for place in x])
        for kind, one in errors.items()
    ]
    return Lines(title=f"MAE by {label}", x_label=f"{label}, {zone}", y_label="MAE", series=series)


def _by_name(errors: Scored, part: pl.Series, title: str) -> Bars:
    names = part.unique().sort().to_list()
    places = part.to_numpy()
    series = [(kind, [_mae(one.ravel()[places == name]) for name in names]) for kind, one in errors.items()]
    return Bars(title=title, labels=names, series=series, value_label="MAE", horizontal=False)


def _by_series(errors: Scored, names: pl.Series) -> list[Block]:
    own = errors["model"]
    labels = names.to_numpy()
    rows = []
    for name in names.unique().sort().to_list():
        mine = labels == name
        figures = [_mae(one[mine]) for one in errors.values()]
        rows.append([name, int((~np.isnan(own[mine])).sum()), *figures, _mean(own[mine])])
    rows.sort(key=lambda row: -row[2] if row[2] == row[2] else 0.0)
    columns = ["series", "pairs", *(f"MAE {kind}" for kind in errors), "mean error"]
    caption = (
        f"The {MOST_SERIES} series with the largest MAE of {len(rows)}" if len(rows) > MOST_SERIES else "By series"
    )
    return [Grid(columns=columns, rows=rows[:MOST_SERIES], caption=caption, bars="MAE model")]


def coverage_section(task: Forecasting, truth: np.ndarray, scored: np.ndarray) -> Section:
    """Show how many values lie below each quantile, and within the outermost, by steps ahead."""
    levels, horizon = levels_of(scored), task.layout.horizon
    rows: list[list[object]] = []
    curves, findings = [], []
    promised = levels[-1] - levels[0]
    for target, label in enumerate(task.layout.targets):
        value = truth["value"][:, :, target]
        known = ~np.isnan(value)
        for level in levels:
            below = value <= scored[f"{level:g}"][:, :, target]
            rows.append([label, f"{100 * level:g} %", percent(float(below[known].mean()) if known.any() else 0.0)])
        if len(levels) > 1:
            inside = _inside(value, scored, target)
            share = [_mean(np.where(known, inside, np.nan)[:, step]) for step in range(horizon)]
            curves.append((label, [float(step + 1) for step in range(horizon)], share))
            whole = _mean(np.where(known, inside, np.nan))
            if abs(whole - promised) > COVERAGE_OFF:
                findings.append(
                    Finding(
                        title=f"The bands of {label} are too {'narrow' if whole < promised else 'wide'}",
                        severity="warning",
                        evidence=f"{percent(whole)} of the values lie within them, {percent(promised)} should.",
                        advice="Read them with this in mind; a model with other quantiles may keep its promise.",
                        kind="coverage",
                    )
                )
    blocks: list[Block] = [Grid(columns=["target", "quantile", "values below it"], rows=rows)]
    if curves and horizon > 1:
        blocks.append(
            Lines(
                title=f"Values within the outermost quantiles by steps ahead ({percent(promised)} promised)",
                x_label=f"steps of {task.every.text} ahead",
                y_label="share",
                series=curves,
            )
        )
    lead = "Of a forecast's 10 % quantile a tenth of what comes should lie below."
    return Section(title="Quantiles and bands", lead=lead, blocks=blocks, findings=findings)


def drawn_section(task: Forecasting, rows: pl.DataFrame, truth: np.ndarray, scored: np.ndarray) -> Section:
    """Draw some forecasts with their bands and what came: of small, middle and large error."""
    layout = task.layout
    history = layout.history(task.encode(rows))
    back = min(layout.lookback, max(layout.season, 2 * layout.horizon))
    blocks: list[Block] = []
    levels = levels_of(scored)
    origins = local_times(rows["origin"], task.every.zone)
    for target, label in enumerate(layout.targets):
        error = np.abs(scored["point"][:, :, target] - truth["value"][:, :, target])
        known = ~np.isnan(error)
        mean = np.where(known, error, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        enough = np.flatnonzero(known.mean(axis=1) > 0.5)
        if not len(enough):
            continue
        order = enough[np.argsort(mean[enough], kind="stable")]
        for place in np.unique(np.linspace(0.1, 0.98, DRAWN) * (len(order) - 1)).round().astype(int):
            window = int(order[place])
            x = [float(step) for step in range(1 - back, layout.horizon + 1)]
            ahead = x[back:]
            past = history[window, layout.lookback - back :, target]
            came = np.concatenate([past, truth["value"][window, :, target]])
            series = [
                ("what came", x, [float(value) for value in came]),
                ("forecast", ahead, [float(value) for value in scored["point"][window, :, target]]),
            ]
            ends = (levels[0], levels[-1]) if len(levels) > 1 else ()
            band = [
                ("forecast", ahead, [float(value) for value in scored[f"{level:g}"][window, :, target]])
                for level in ends
            ]
            origin = str(origins[window])[:16]
            series_name = f"{rows['series'][window]}, " if len(task.scales) > 1 else ""
            blocks.append(
                Lines(
                    title=f"{label}: {series_name}origin {origin}, MAE {short(float(mean[window]))}",
                    x_label=f"steps of {task.every.text} from the origin",
                    y_label=label,
                    series=series,
                    background=band,
                )
            )
    if not blocks:
        blocks = [Text("No window has half of its targets known.")]
    thin = f" Thin: the {100 * levels[0]:g} % and {100 * levels[-1]:g} % quantiles." if len(levels) > 1 else ""
    lead = f"From small to large error; origins in {task.every.zone}.{thin}"
    return Section(title="Some forecasts", lead=lead, blocks=blocks)


def _only(one: np.ndarray, target: int) -> np.ndarray:
    """The records of one target, without its axis."""
    names = one.dtype.names or ()
    out = np.empty(len(one), dtype=[(name, np.float64, one[names[0]].shape[1:2]) for name in names])
    for name in names:
        out[name] = one[name][:, :, target]
    return out


def _inside(value: np.ndarray, one: np.ndarray, target: int) -> np.ndarray:
    names = (one.dtype.names or ())[1:]
    return np.asarray((value >= one[names[0]][:, :, target]) & (value <= one[names[-1]][:, :, target]))


def _covered(value: np.ndarray, one: np.ndarray, target: int) -> str:
    if len(one.dtype.names or ()) < 3:
        return ""
    return percent(_mean(np.where(np.isnan(value), np.nan, _inside(value, one, target))))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mae(errors: np.ndarray) -> float:
    return _mean(np.abs(errors))


def _rmse(errors: np.ndarray) -> float:
    return float(np.sqrt(_mean(errors**2)))
