"""False alarms a year, and days until a sensor fault is caught, on years of real PM2.5.

The reference is the first two years; the years after it are undisturbed as far as anybody knows (Seoul's 2020 has the
pandemic in it, a real change). What is watched: the values, the values less their season, the residual of a ridge
forecast 24 hours ahead from the sensor's own past, and the residual of a ridge that tells the value from the other
columns of the same hour and never sees the sensor. Thresholds: a textbook's, each window by itself, and calibrated ones
(`sanmaru.monitoring`) at one false alarm a year. Faults begin every 120 days in turn and last 90 days; an alarm that
stood or rose in the 30 days before the fault does not count as found. The row `no fault` says what is found by chance.

    python benchmarks/drift.py [--data FOLDER] [--write-docs] [--tiny]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
from sklearn.linear_model import Ridge

from sanmaru.monitoring.config import MonitorConfig
from sanmaru.monitoring.decide import Alarm
from sanmaru.monitoring.watch import watch

DOCS = Path(__file__).parents[1] / "docs" / "decisions" / "drift-thresholds.md"
BEFORE, LASTS, EVERY = timedelta(days=30), timedelta(days=90), timedelta(days=120)
FAULTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "no fault": lambda value, days: value,
    "+5": lambda value, days: value + 5,
    "+10": lambda value, days: value + 10,
    "+20": lambda value, days: value + 20,
    "gain 1.2": lambda value, days: value * 1.2,
    "drift 0.25 a day": lambda value, days: value + 0.25 * days,
}
SIGNALS = {
    "values": {"data": ("pm25",), "season": "none"},
    "less season": {"data": ("pm25",), "season": "month-hour"},
    "forecast residual": {"residuals": ("own",), "season": "month-hour"},
    "cross residual": {"residuals": ("cross",), "season": "month-hour"},
}
ALONE = {"thresholds": "textbook", "raise_after": 1, "clear_after": 1, "sequential": ()}
METHODS = {
    "KS p < 0.05": {**ALONE, "statistics": ("ks",)},
    "Wasserstein 0.1": {**ALONE, "statistics": ("wasserstein",)},
    "PSI 0.2": {**ALONE, "statistics": ("psi",)},
    "windows 7d": {"sequential": ()},
    "windows 28d": {"sequential": (), "window": "28d"},
    "windows 7d + Page-Hinkley": {"sequential": ("page-hinkley",)},
}


class Kept:
    """Keeps calibrations in memory and remembers no alarms, so that every trial begins anew."""

    def __init__(self) -> None:
        self.bodies: dict[str, object] = {}

    def alarms(self) -> dict[str, Alarm]:
        return {}

    def keep(self, alarms: object, alerts: object, channels: object) -> None:
        return

    def calibration(self, fingerprint: str) -> object:
        return self.bodies.get(fingerprint)

    def keep_calibration(self, fingerprint: str, body: object) -> None:
        self.bodies[fingerprint] = body


def seoul(folder: Path) -> tuple[pl.DataFrame, str, int]:
    table = pl.read_csv(folder / "air-seoul" / "hourly.csv", null_values="-")
    table = table.with_columns(time=pl.col("datetime").str.to_datetime()).unique("time", keep="first").sort("time")
    return filled(table, ["pm25", "pm10", "o3", "no2", "co", "so2"]), "Asia/Seoul", 2020


def beijing(folder: Path) -> tuple[pl.DataFrame, str, int]:
    table = pl.read_csv(folder / "air-beijing" / "train.csv", null_values="NA", infer_schema_length=None).rename(
        {"pm2.5": "pm25"}
    )
    table = table.with_columns(
        time=pl.datetime("year", "month", "day", "hour"), north=(pl.col("cbwd") == "NW").cast(pl.Float64)
    )
    return filled(table, ["pm25", "DEWP", "TEMP", "PRES", "Iws", "north"]), "Asia/Shanghai", 2012


def filled(table: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Hour by hour; hours that are not there are null."""
    hours = pl.datetime_range(table["time"].min(), table["time"].max(), "1h", eager=True, time_unit="us")  # type: ignore[arg-type]
    return pl.DataFrame({"time": hours}).join(
        table.select("time", pl.col(columns).cast(pl.Float64)), on="time", how="left"
    )


def inputs(table: pl.DataFrame, own: bool) -> np.ndarray:
    """Design of the ridge: season and day by harmonics, and the sensor's own past or the other columns."""
    time = table["time"]
    year = 2 * np.pi * time.dt.ordinal_day().to_numpy() / 365.25
    day = 2 * np.pi * time.dt.hour().to_numpy() / 24
    parts = [wave(k * angle) for angle in (year, day) for k in (1, 2) for wave in (np.sin, np.cos)]
    if own:
        value = pl.col("pm25")
        past = table.select(
            *(value.shift(lag).alias(f"l{lag}") for lag in (24, 25, 26, 48, 72, 168)),
            value.rolling_mean(24, min_samples=6).shift(24).alias("m24"),
            value.rolling_mean(168, min_samples=24).shift(24).alias("m168"),
        )
    else:
        past = table.select(pl.exclude("time", "pm25")).with_columns(
            (pl.all() ** 2).name.suffix("2"), pl.all().rolling_mean(24, min_samples=6).name.suffix("m")
        )
    return np.column_stack([*parts, past.to_numpy()])


def standard(X: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(X), (X - mean) / spread, 0.0)


class Models:
    """Both ridges, learned on the reference; residuals of the reference are cross-fitted by year."""

    def __init__(self, reference: pl.DataFrame) -> None:
        self.fits = {own: self.fit(reference, own) for own in (True, False)}

    def fit(
        self, table: pl.DataFrame, own: bool, keep: np.ndarray | None = None
    ) -> Callable[[pl.DataFrame], np.ndarray]:
        X, y = inputs(table, own), table["pm25"].to_numpy()
        rows = np.isfinite(y) & (np.isfinite(X).mean(axis=1) > 0.9)
        if keep is not None:
            rows &= keep
        mean, spread = np.nanmean(X[rows], axis=0), np.nanstd(X[rows], axis=0) + 1e-9
        ridge = Ridge(alpha=10.0).fit(standard(X[rows], mean, spread), y[rows])
        return lambda other: np.asarray(ridge.predict(standard(inputs(other, own), mean, spread)))

    def reference(self, table: pl.DataFrame) -> pl.DataFrame:
        half = np.arange(len(table)) < len(table) // 2
        for own, name in ((True, "own"), (False, "cross")):
            first, second = self.fit(table, own, half), self.fit(table, own, ~half)
            said = np.where(half, second(table), first(table))
            table = table.with_columns(pl.Series(name, table["pm25"].to_numpy() - said, nan_to_null=True))
        return table

    def current(self, table: pl.DataFrame) -> pl.DataFrame:
        return table.with_columns(
            pl.Series(name, table["pm25"].to_numpy() - self.fits[own](table), nan_to_null=True)
            for own, name in ((True, "own"), (False, "cross"))
        )


def raised(reference: pl.DataFrame, current: pl.DataFrame, config: MonitorConfig, kept: Kept) -> list[datetime]:
    report = watch(reference, current, config, kept)  # type: ignore[arg-type]
    return [
        datetime.fromtimestamp(one.at / 1e6, UTC).replace(tzinfo=None) for one in report.alerts if one.event == "raised"
    ]


def measure(
    name: str, table: pl.DataFrame, zone: str, split: int, tiny: bool
) -> tuple[list[list[str]], list[list[str]]]:
    reference = table.filter(pl.col("time").dt.year() < split)
    later = table.filter(pl.col("time").dt.year() >= split)
    models = Models(reference)
    known = models.reference(reference)
    tail = reference[-24 * 14 :]
    undisturbed = models.current(pl.concat([tail, later]))[len(tail) :]
    first, last = later["time"][0], later["time"][-1]
    starts = [first + BEFORE + n * EVERY for n in range(100) if first + BEFORE + n * EVERY + LASTS <= last]
    if tiny:
        starts = starts[:2]
    years = sorted(set(later["time"].dt.year().to_list()))
    years = [year for year in years if later.filter(pl.col("time").dt.year() == year).height > 4000]
    hurt = {
        (fault, start): faulty(table, models, start, change) for fault, change in FAULTS.items() for start in starts
    }
    quiet, found = [], []
    for signal, what in SIGNALS.items():
        for method, how in METHODS.items():
            if "Page" in method and "residuals" not in what:
                continue
            config = MonitorConfig.model_validate({"zone": zone, "power": 0.8, **what, **how})
            kept = Kept()
            # The clock is UTC here and local there; only counts per year and delays in days are wanted.
            alarms = raised(known, undisturbed, config, kept)
            report = watch(known, undisturbed, config, kept)  # type: ignore[arg-type]
            beyond = np.mean([
                any(each.values[n] > each.threshold for each in report.columns[0].statistics if len(each.values) > n)
                for n in range(len(report.columns[0].statistics[0].values))
            ])  # fmt: skip
            per = [sum(one.year == year for one in alarms) for year in years]
            rate = len(alarms) / ((last - first).total_seconds() / 86400 / 365.25)
            shift = report.columns[0].smallest_shift
            quiet.append([
                name, signal, method, f"{rate:.1f}", " ".join(map(str, per)), f"{beyond:.0%}".replace("%", " %"),
                f"{report.in_reference / report.reference_years:.1f}", "none" if np.isinf(shift) else f"{shift:.0f}",
            ])  # fmt: skip
            print(" | ".join(quiet[-1]), flush=True)
            if "textbook" in how.values():
                continue
            row = [name, signal, method]
            for fault in FAULTS:
                delays = [delay(known, hurt[fault, start], start, config, kept) for start in starts]
                seen = [one for one in delays if one is not None]
                median = f", {statistics.median(seen):.0f} d" if seen else ""
                row.append(f"{len(seen)}/{len(starts)}{median}")
            found.append(row)
            print(" | ".join(row), flush=True)
    return quiet, found


def faulty(
    table: pl.DataFrame, models: Models, start: datetime, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> pl.DataFrame:
    """The time around a fault, with everything that follows from the faulty values."""
    warm, history = timedelta(days=14), timedelta(days=28)  # for lags; for the first windows
    part = table.filter(pl.col("time").is_between(start - BEFORE - history - warm, start + LASTS))
    days = np.maximum((part["time"] - start).dt.total_seconds().to_numpy() / 86400, 0)
    value = part["pm25"].to_numpy()
    changed = np.where((part["time"] >= start).to_numpy(), change(value, days), value)
    part = models.current(part.with_columns(pl.Series("pm25", changed, nan_to_null=True)))
    return part.filter(pl.col("time") >= start - BEFORE - history)


def delay(known: pl.DataFrame, part: pl.DataFrame, start: datetime, config: MonitorConfig, kept: Kept) -> float | None:
    """Days from a fault to the alarm, or None where none rose within its 90 days or one was there before."""
    alarms = raised(known, part, config, kept)
    if any(start - BEFORE < one <= start for one in alarms):
        return None
    after = [one for one in alarms if one > start]
    return (after[0] - start).total_seconds() / 86400 if after else None


def grid(head: list[str], rows: list[list[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" if n < 3 else "---:" for n in range(len(head)))]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("SANMARU_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--tiny", action="store_true", help="two faults per row, to see that it runs")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables into docs/decisions/drift-thresholds.md"
    )
    given = parser.parse_args()
    began = time.perf_counter()
    quiet: list[list[str]] = []
    found: list[list[str]] = []
    for name, load in (("Seoul", seoul), ("Beijing", beijing)):
        some, more = measure(name, *load(given.data), given.tiny)
        quiet += some
        found += more
    heads = (
        [
            "data",
            "signal",
            "method",
            "alarms a year",
            "by year",
            "windows beyond",
            "in the reference",
            "smallest shift",
        ],
        ["data", "signal", "method", *FAULTS],
    )
    text = "\n\n".join(grid(head, rows) for head, rows in zip(heads, (quiet, found), strict=True))
    print(f"\n{text}\n\n{time.perf_counter() - began:.0f} s")
    if given.write_docs and not given.tiny:
        before, _, rest = DOCS.read_text().partition("<!-- measured -->")
        _, _, after = rest.partition("<!-- /measured -->")
        DOCS.write_text(f"{before}<!-- measured -->\n\n{text}\n\n<!-- /measured -->{after}")


if __name__ == "__main__":
    main()
