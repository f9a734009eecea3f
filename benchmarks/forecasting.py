"""Forecasting models on hourly PM2.5 of Beijing: every estimator, plain trees per hour and AutoGluon-TimeSeries.

    python benchmarks/forecasting.py [--tune] [--models NAME ...] [--autogluon PYTHON] [--write-docs]

The last fifth of the rows in time is the test. Origins are the 291 evenings at 23:00 in it, as `forecast.origins` has
them by default, and the horizon is 24 hours: each origin is judged on the hours of the day after it whose value is
known. Every model learns from windows whose last target lies before the test; ours hold back the latest tenth of those
to choose epochs and trees, and take a window every third hour, for neighbours are nearly alike (`--stride 1` takes
all). Settings were chosen on two rolling splits inside the training part, which `--tune` makes; it never opens the test
part. The test is for one run, without `--tune`.

The anchor is what people write first: LightGBM with its defaults, one model for each hour, fed with the last 24 hours,
the weather at the origin and the clock. It is there three times: learning from the same list of origins that it is
judged on, one every 24 hours; from every hour, which gives it 24 times the rows; and so with absolute errors. `--mark`
makes only the last value's figures for origins at each hour of the day, gaps filled by the value before, and the
anchor's, learned either way: from these has to be told how the mark that was to be beaten was learned.

`--autogluon` names a Python that has autogluon.timeseries (in an environment of its own); it gets the same history,
covariates included, and the time that `--autogluon-s` gives it. Its pretrained models are left out, for they would have
to be downloaded.

Data: air-beijing of ../shared/data (or SANMARU_DATA).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as Sanmaru's own fits do; before torch brings its OpenMP

import numpy as np
import polars as pl

from sanmaru.metrics.base import find_metric
from sanmaru.metrics.bootstrap import paired
from sanmaru.metrics.forecasting import seasonal_scale
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import (
    ETSConfig,
    LightGBMForecastConfig,
    LSTMConfig,
    PersistenceConfig,
    RidgeConfig,
    SeasonalNaiveConfig,
)
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training.config import TrainConfig

DATA = Path(os.environ.get("SANMARU_DATA", Path(__file__).parents[2] / "shared" / "data")) / "air-beijing/train.csv"
DOCS = Path(__file__).parents[1] / "docs/tasks/forecasting-models.md"
BEGIN, END = "<!-- benchmarks/forecasting.py: begin -->", "<!-- benchmarks/forecasting.py: end -->"
HORIZON, LOOKBACK, LEVELS, THREADS = 24, 168, (0.1, 0.5, 0.9), 1
NETWORK = TrainConfig(epochs=8, batch_size=128, learning_rate=2e-3)
MODELS: dict[str, tuple[Any, TrainConfig]] = {
    "persistence": (PersistenceConfig(), TrainConfig()),
    "seasonal-naive": (SeasonalNaiveConfig(), TrainConfig()),
    "ridge": (RidgeConfig(), TrainConfig()),
    "lightgbm": (LightGBMForecastConfig(), TrainConfig()),
    "lightgbm, from the last value": (LightGBMForecastConfig(start="last"), TrainConfig()),
    "lightgbm, per step": (LightGBMForecastConfig(strategy="per-step", start="nothing"), TrainConfig()),
    "lightgbm, per step, from the last value": (
        LightGBMForecastConfig(strategy="per-step", start="last"),
        TrainConfig(),
    ),
    "ets": (ETSConfig(), TrainConfig()),
    "mstl": (ETSConfig(method="mstl"), TrainConfig()),
    "lstm, direct": (LSTMConfig(width=48, history=72, dropout=0.3, members=4), NETWORK),
    "lstm, encoder-decoder": (LSTMConfig(width=48, history=72, mode="encoder-decoder", members=4), NETWORK),
}
"""Name to config and training."""
ENSEMBLE = ("lightgbm, per step", "lightgbm, per step, from the last value", "lstm, direct")
ANCHOR, ANCHOR_DAILY = "anchor: LightGBM per hour", "anchor, an origin every 24 h"
ANCHOR_L1, PEER = "anchor, absolute error", "AutoGluon-TimeSeries"
NAMES = [*MODELS, ANCHOR_DAILY, ANCHOR, ANCHOR_L1, PEER]
PREDICTION = (
    "Written before this run: our models and the anchors that learn from every hour come out as in the run before, "
    "level in RMSE, but for `lightgbm` in one model for all steps, whose trees are now told how far the value at the "
    "origin is from their start: the MAE of its median 0.3 to 0.5 lower, its RMSE level. The anchor that learns from "
    "an origin every 24 hours is new; its own RMSE of 65.0 and MAE of 45.1 were known, so the ensemble mean is 4.8 "
    "and 4.1 ahead, and both are shown (half the interval about 3 and 2). AutoGluon comes out 3 to 6 RMSE behind."
)


@dataclass
class Forecast:
    outputs: np.ndarray
    """(origins, HORIZON, 1 + levels); NaN in the quantiles of a model that has none."""
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="two rolling splits inside the training part, not the test")
    parser.add_argument("--mark", action="store_true", help="the last value and the anchor at each hour of the day")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep forecasts there, and take those that are there"
    )
    parser.add_argument("--autogluon", metavar="PYTHON")
    parser.add_argument("--autogluon-s", type=int, default=300, metavar="SECONDS")
    parser.add_argument("--stride", type=int, default=3, help="hours from one training window of ours to the next")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCS.name}")
    arguments = parser.parse_args()
    table, panel = read()
    n_steps = panel.values.shape[1]
    cut = int(n_steps * 0.8)
    if arguments.mark:
        print("\n".join(mark(table, panel, cut)))
        return
    parts = [(0.6, 0.8), (0.8, 1.0)] if arguments.tune else [(1.0, n_steps / cut)]
    lines: list[str] = []
    for begin, end in parts:
        first, last = int(cut * begin), min(int(cut * end + 0.5), n_steps)
        origins = np.arange(first - 1, last - HORIZON)
        origins = origins[table["hour"].to_numpy()[origins] == 23]
        print(f"learned before {table['time'][first]}, {len(origins)} origins to {table['time'][int(origins[-1])]}")
        lines = judge(table, panel, origins, first, arguments)
        print("\n".join(lines), flush=True)
    if arguments.write_docs and not arguments.tune:
        write_docs(lines, arguments.stride)


def judge(
    table: pl.DataFrame, panel: Panel, origins: np.ndarray, first: int, arguments: argparse.Namespace
) -> list[str]:
    """Fit everything on what lies before `first` and return the tables in Markdown."""
    task = Forecasting(panel.layout, panel=panel, quantiles=LEVELS)
    held = windows(table, origins)
    truth = task.target(held)[:, :, 0].astype(np.float64)
    found: dict[str, Forecast] = {}
    for name in arguments.models:
        kept = arguments.keep / f"{first}-{name}.npz" if arguments.keep else None
        if kept is not None and kept.is_file():
            with np.load(kept) as file:
                found[name] = Forecast(file["outputs"], float(file["seconds"]))
        elif name in MODELS:
            found[name] = ours(name, task, table, held, first=first, stride=arguments.stride)
        elif name == PEER:
            if not arguments.autogluon:
                continue
            found[name] = autogluon(arguments.autogluon, arguments.autogluon_s, panel, origins, first)
        else:
            objective = "regression_l1" if name == ANCHOR_L1 else "regression"
            found[name] = anchor(table, panel, origins, first, objective, daily=name == ANCHOR_DAILY)
        if kept is not None and not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, outputs=found[name].outputs, seconds=found[name].seconds)
        rmse = scores(truth, found[name].outputs)["rmse"]
        print(f"  {name}: RMSE {rmse:.2f}, {found[name].seconds:.0f} s", flush=True)
    members = [name for name in ENSEMBLE if name in found]
    if len(members) > 1:
        mean = np.mean([found[name].outputs for name in members], axis=0)
        found["ensemble mean"] = Forecast(mean, sum(found[name].seconds for name in members))
    scale = float(seasonal_scale(panel.values[:, :first, :1], 24)[0, 0])
    missing, pairs = int(np.isnan(truth).sum()), truth.size
    lines = [
        f"{len(origins)} origins, {pairs - missing:,} of {pairs:,} hours judged, {missing:,} without a value left out.",
        "",
        "| model | RMSE t+1 | t+24 | all 24 h | MAE t+1 | t+24 | all 24 h | MAE of the median | MASE | pinball | "
        "in the 10–90 band | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, forecast in found.items():
        s = scores(truth, forecast.outputs)
        one, day = scores(truth[:, :1], forecast.outputs[:, :1]), scores(truth[:, -1:], forecast.outputs[:, -1:])
        cells = [one["rmse"], day["rmse"], s["rmse"], one["mae"], day["mae"], s["mae"], s["median"], s["mae"] / scale]
        shown = " | ".join(f"{value:.2f}" if np.isfinite(value) else "–" for value in (*cells, s["pinball"]))
        inside = f"{100 * s['inside']:.0f} %" if np.isfinite(s["inside"]) else "–"
        lines.append(f"| {name} | {shown} | {inside} | {forecast.seconds:.0f} |")
    lines += [
        "",
        "| ours | against | metric | ours minus theirs, 95 % by days | by weeks |",
        "| --- | --- | --- | --- | --- |",
    ]
    for other in (ANCHOR_DAILY, ANCHOR, ANCHOR_L1, PEER):
        for name in ("ensemble mean", "lightgbm, per step", "lightgbm", "ridge"):
            if other in found and name in found:
                lines += verdicts(truth, name, found[name].outputs, other, found[other].outputs)
    return lines


def ours(name: str, task: Forecasting, table: pl.DataFrame, held: pl.DataFrame, *, first: int, stride: int) -> Forecast:
    """Fit one of ours, its latest tenth selecting, and forecast."""
    config, training = MODELS[name]
    at = np.arange(LOOKBACK - 1, first - HORIZON, stride)
    cut = int(len(at) * 0.9)
    selects = at[cut:]
    learned = at[at < selects[0] - HORIZON]
    model = task.estimator(config, training)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        place = Path(folder)
        context = FitContext(folder=place, cache=place, seed=0, metric=find_metric("rmse"), threads=THREADS)
        model.fit(windows(table, learned), windows(table, selects), context)
        outputs = model.forward(model.encode(held))
    return Forecast(outputs.reshape(len(held), HORIZON, -1).astype(np.float64), time.perf_counter() - began)


def anchor(
    table: pl.DataFrame, panel: Panel, origins: np.ndarray, first: int, objective: str, *, daily: bool
) -> Forecast:
    """LightGBM with its defaults, one model for each hour: 24 lags, the weather at the origin, the clock.

    It learns from a window every hour, or with `daily` from those at the hour of the origins, which is one.
    """
    from lightgbm import LGBMRegressor

    pm = table["pm2.5"].to_numpy().astype(np.float64)
    weather = table.select("DEWP", "TEMP", "PRES", "Iws", "Is", "Ir").to_numpy().astype(np.float64)
    wind = table["cbwd"].to_dummies().to_numpy().astype(np.float64)
    clock = table.select("hour", "month").to_numpy().astype(np.float64)

    def features(at: np.ndarray) -> np.ndarray:
        lags = pm[at[:, None] - np.arange(24)]
        return np.concatenate([lags, weather[at], wind[at], clock[at]], axis=1)

    began = time.perf_counter()
    outputs = np.full((len(origins), HORIZON, 1 + len(LEVELS)), np.nan)
    at = np.arange(23, first - HORIZON)
    if daily:
        hour = table["hour"].to_numpy()
        at = at[hour[at] == hour[origins[0]]]
    matrix, held = features(at), features(origins)
    for step in range(1, HORIZON + 1):
        known = ~np.isnan(pm[at + step])
        model = LGBMRegressor(objective=objective, n_jobs=THREADS, verbosity=-1)
        model.fit(matrix[known], pm[at + step][known])
        outputs[:, step - 1, 0] = np.asarray(model.predict(held))
    return Forecast(outputs, time.perf_counter() - began)


def mark(table: pl.DataFrame, panel: Panel, first: int) -> list[str]:
    """RMSE and MAE of the last value and of the anchor, learned either way, by the hour of the origins."""
    filled = table.with_columns(pl.col("pm2.5").fill_null(strategy="forward").fill_null(strategy="backward"))
    pm = filled["pm2.5"].to_numpy().astype(np.float64)
    every = np.arange(first - 1, len(table) - HORIZON)
    lines = [
        "| origin | last value | anchor, an origin every 24 h | anchor, every hour |",
        "| --- | ---: | ---: | ---: |",
    ]
    for hour in range(24):
        origins = every[filled["hour"].to_numpy()[every] == hour]
        truth = pm[origins[:, None] + 1 + np.arange(HORIZON)]
        said = [np.repeat(pm[origins, None], HORIZON, axis=1)]
        said += [
            anchor(filled, panel, origins, first, "regression", daily=daily).outputs[..., 0] for daily in (True, False)
        ]
        errors = [truth - one for one in said]
        cells = [f"{np.sqrt(np.mean(e**2)):.1f} / {np.mean(np.abs(e)):.1f}" for e in errors]
        lines.append(f"| {hour:02d}:00 | {' | '.join(cells)} |")
    return lines


def autogluon(python: str, seconds: int, panel: Panel, origins: np.ndarray, first: int) -> Forecast:
    """AutoGluon-TimeSeries, high quality without pretrained models, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "data.npz",
            values=panel.values[0],
            origins=origins,
            first=first,
            horizon=HORIZON,
            limit=seconds,
        )
        (Path(folder) / "names.json").write_text(json.dumps(panel.layout.channels))
        script = Path(__file__).with_name("forecasting_autogluon.py")
        began = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}
        subprocess.run([python, str(script), folder], check=True, env=environment)
        return Forecast(np.load(Path(folder) / "forecasts.npy"), time.perf_counter() - began)


def scores(truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Scores over the hours whose value is known."""
    known = ~np.isnan(truth)
    value, point = truth[known], outputs[..., 0][known]
    quantiles = outputs[..., 1:][known]
    errors = value[:, None] - quantiles
    levels = np.asarray(LEVELS)
    return {
        "rmse": float(np.sqrt(np.mean((value - point) ** 2))),
        "mae": float(np.mean(np.abs(value - point))),
        "median": float(np.mean(np.abs(errors[:, 1]))),
        "pinball": float(np.mean(np.maximum(levels * errors, (levels - 1) * errors))),
        "inside": float(np.mean((value >= quantiles[:, 0]) & (value <= quantiles[:, 2])))
        if np.isfinite(quantiles).all()
        else float("nan"),
    }


def verdicts(truth: np.ndarray, name: str, a: np.ndarray, other: str, b: np.ndarray) -> list[str]:
    """Paired differences on the same hours: origin days drawn with replacement, then weeks of them.

    RMSE of the numbers; MAE of the numbers, and of the medians where both have them.
    """
    known = ~np.isnan(truth)
    day = np.broadcast_to(np.arange(len(truth))[:, None], truth.shape)[known]
    lines = []
    for metric, title, place in (("rmse", "RMSE", 0), ("mae", "MAE", 0), ("mae", "MAE of our median", 2)):
        theirs = b[..., place][known] if np.isfinite(b[..., place][known]).all() else b[..., 0][known]
        cells = []
        for groups in (day, day // 7):
            found = paired(find_metric(metric), truth[known], a[..., place][known], theirs, groups=groups)
            mark = "**better**" if found.a_better else "worse" if found.b_better else "not shown"
            cells.append(f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f}), {mark}")
        lines.append(f"| {name} | {other} | {title} | {' | '.join(cells)} |")
    return lines


def read() -> tuple[pl.DataFrame, Panel]:
    """The series as a panel: PM2.5, the weather, wind speed towards each direction, and the clock."""
    table = pl.read_csv(DATA, null_values="NA", infer_schema_length=None)
    table = table.with_columns(pl.datetime("year", "month", "day", "hour", time_zone="UTC").alias("time"))
    total, direction = table["Iws"].to_numpy().astype(np.float64), table["cbwd"].to_numpy()
    # Iws adds up while the direction stays: the hour's own speed is what was added, or all of it after a change.
    added = np.diff(total, prepend=0.0)
    turned = np.concatenate([[True], direction[1:] != direction[:-1]])
    speed = np.where(turned | (added < 0), total, added)
    past = {name: table[name].to_numpy().astype(np.float64) for name in ("DEWP", "TEMP", "PRES", "Iws", "Is", "Ir")}
    past |= {f"cbwd={one}": (direction == one).astype(np.float64) for one in ("NW", "NE", "SE", "cv")}
    past |= {f"speed {one}": np.where(direction == one, speed, 0.0) for one in ("NW", "NE", "SE")}
    known = {}
    clock = (("hour", 24.0, table["hour"]), ("week", 7.0, table["time"].dt.weekday()))
    for name, period, values in (*clock, ("year", 365.25, table["time"].dt.ordinal_day())):
        turn = 2 * np.pi * values.to_numpy() / period
        known |= {f"{name} sin": np.sin(turn), f"{name} cos": np.cos(turn)}
    layout = WindowLayout(
        targets=("pm2.5",), past=tuple(past), known=tuple(known), lookback=LOOKBACK, horizon=HORIZON, season=24
    )
    columns = [table["pm2.5"].to_numpy().astype(np.float64), *past.values(), *known.values()]
    values = np.stack(columns, axis=1)[None].astype(np.float32)
    return table, Panel(layout=layout, values=values, static=np.zeros((1, 0), dtype=np.float32))


def windows(table: pl.DataFrame, at: np.ndarray) -> pl.DataFrame:
    """A windows table of origins given as rows."""
    return pl.DataFrame(
        {
            "window": [f"beijing@{time}" for time in table["time"].gather(at)],
            "series": ["beijing"] * len(at),
            "origin": table["time"].gather(at),
            "series_code": np.zeros(len(at), dtype=np.int32),
            "at": at.astype(np.int64),
        }
    )


def write_docs(lines: list[str], stride: int) -> None:
    """Put the tables between the marks of the page."""
    from importlib.metadata import version

    text = DOCS.read_text(encoding="utf-8")
    versions = ", ".join(f"{name} {version(name)}" for name in ("lightgbm", "torch", "statsforecast"))
    head = [
        f"Run on {datetime.date.today()}: {platform.machine()}, {os.cpu_count()} cores, {THREADS} thread for each fit, "
        f"a machine under other load, so that seconds only compare; Python {platform.python_version()}, {versions}, "
        f"seed 0; ours learned from every {f'{stride}. ' if stride > 1 else ''}window (`--stride {stride}`).",
        "",
        PREDICTION,
        "",
    ]
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(before + "\n".join([BEGIN, *head, *lines, END]) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
