"""Looking at a table of series and proposing a forecasting project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables.config import DataConfig, TimeConfig
from sanmaru.tables.every import find_every
from sanmaru.tables.long import ONE_SERIES, Long, to_long
from sanmaru.tables.profile import Profile, profile
from sanmaru.tables.propose import Proposal, project_name, relative
from sanmaru.tables.propose_table import ALL_MARKERS
from sanmaru.tables.raw import Raw, read_raw
from sanmaru.tables.suspicious import Remark

_SIZES = (
    {"year", "yr", "연도", "년"},
    {"month", "mon", "mo", "월"},
    {"day", "일"},
    {"hour", "hr", "시"},
    {"minute", "min", "분"},
)
_TARGETS = ("target", "y", "value", "pm2.5", "pm25", "pm10", "demand", "load", "sales", "temperature", "temp")
_CALENDAR = (
    "holiday",
    "휴일",
    "season",
    "계절",
    "weekday",
    "weekend",
    "요일",
    "주말",
    "workingday",
    "working day",
    "school",
)
_NUMBERS = ("id", "no", "idx", "index", "row", "순번")
MOST_SERIES = 2000


def propose_series(
    path: Path,
    *,
    targets: Sequence[str] = (),
    name: str | None = None,
    folder: Path | None = None,
    zone: str = "UTC",
    encoding: str = "utf-8",
) -> Proposal:
    """Look at a long table and propose time, series, target and what is forecast.

    Args:
        path: A table with a row per series and time.
        targets: Columns to forecast; one is guessed where empty.
        name: Project name; made from the path where None.
        folder: Project folder, which paths in the file are relative to.
        zone: Time zone in which times without one were written.
        encoding: Of text files.

    Raises:
        DataError: when the table cannot be read, no column is a time or a number to forecast, or a target is no
            column, no number, or given twice.
    """
    path, folder = path.resolve(), (folder or Path.cwd()).resolve()
    raw = read_raw(path, encoding=encoding)
    columns = profile(raw.table, ALL_MARKERS)
    why: dict[str, str] = {}
    time = _time(path, raw.table, columns, why)
    taken = set(time.columns)
    series = _series(raw, time, columns, taken, why)
    drop = [n for n, c in columns.items() if n not in taken and n.lower() in _NUMBERS and c.distinct == len(raw.table)]
    numbers = [n for n, c in columns.items() if c.is_number and n not in {*taken, *drop, series}]
    chosen = _targets(path, targets, numbers, list(columns), why)
    data: dict[str, Any] = {"time": time.columns[0] if len(time.columns) == 1 else list(time.columns)}
    if series is not None:
        data = {"series": series, **data}
    data["target"] = chosen[0] if len(chosen) == 1 else chosen
    long = to_long(raw, DataConfig(train="", **data, drop=tuple(drop)), zone=zone)
    every = find_every(long.table["series"], long.table["time"], zone)
    constant, static = _unvarying(long, chosen)
    drop += constant
    if drop:
        data["drop"] = drop
    if static:
        data["static"] = static
        why["data.static"] = "One value for each series, whatever the time."
    why["data.time"] += f" From {long.table['time'].min()!s:.16} to {long.table['time'].max()!s:.16} UTC."
    why["data.known"] = (
        "Columns whose values are known before their time (holidays, a weather forecast) go here; all other columns "
        "are shown to the model up to the origin only."
    )
    calendar = [name for name in columns if name not in {*taken, *drop, *static} and _of_calendar(name)]
    if calendar:
        why["data.known"] += f" By their names perhaps: {', '.join(calendar)}."
    why["forecast.zone"] = "Times without a zone were written in this one, and days begin in it. Is it yours?"
    why["forecast.every"] = "The most frequent distance from one row of a series to the next."
    why["forecast.horizon"] = "Steps forecast. Lookback and season follow the steps unless they are given."
    why["split.folds"] = "Blocks of origins in the last fifth of the time; each fold learns only from what lies before."
    why["model.kind"] = "Trees on lags. Persistence and seasonal-naive are judged beside every model."
    why["metric"] = "Mean absolute error, in the target's unit."
    forecast: dict[str, Any] = {"zone": zone, "every": every.text}
    if every.per_day and every.per_day >= 4:
        forecast["horizon"] = "24h"
    elif every.unit == "d":
        forecast["horizon"] = 7 if every.count == 1 else 4
    content = {
        "name": name or project_name(path),
        "problem": "",
        "task": "forecasting",
        "data": {
            "train": relative(path, folder),
            **({"encoding": encoding} if encoding != "utf-8" else {}),
            **data,
        },
        "forecast": forecast,
        "split": {"folds": 5},
        "model": {"kind": "lightgbm"},
        "metric": "mae",
    }
    dropped = [
        Remark(column, "has one value in all rows" if column in constant else "numbers the rows", drop=True)
        for column in drop
    ]
    looked = [Remark(note.split("'")[1] if "'" in note else ONE_SERIES, note, drop=False) for note in long.notes[:5]]
    return Proposal(
        content=content,
        why=why,
        remarks=(*dropped, *looked),
        source=f"{len(raw.table):,} rows, {long.table['series'].n_unique():,} series, steps of {every.text}",
        summary=_summary(content, long, every.text),
        set_aside=long.quarantine.counts(),
    )


def _time(path: Path, table: pl.DataFrame, columns: Mapping[str, Profile], why: dict[str, str]) -> TimeConfig:
    by_word = {name.strip().lower(): name for name in table.columns}
    found: list[str] = []
    for words in _SIZES:
        fitting = [by_word[word] for word in words if word in by_word]
        if not fitting:
            break
        found.append(fitting[0])
    if len(found) >= 3:
        why["data.time"] = f"{', '.join(found)} make the time of a row."
        return TimeConfig(columns=tuple(found))
    dates = [column for column in columns.values() if column.kind == "date" and column.missing_share < 0.5]
    if not dates:
        raise DataError(
            f"no column of {path} holds times. Write them as 2026-01-31 13:00, or give the project file data.time by "
            f"hand. Columns: {', '.join(table.columns)}."
        )
    first = max(dates, key=lambda column: column.distinct)
    hours = [by_word[word] for word in (*_SIZES[3], "time") if word in by_word and by_word[word] != first.name]
    if hours and columns[hours[0]].is_number and columns[hours[0]].distinct <= 25:
        why["data.time"] = f"{first.name} holds dates and {hours[0]} the hour."
        return TimeConfig(columns=(first.name, hours[0]))
    why["data.time"] = f"{first.name} holds times."
    return TimeConfig(columns=(first.name,))


def _series(
    raw: Raw, time: TimeConfig, columns: Mapping[str, Profile], taken: set[str], why: dict[str, str]
) -> str | None:
    """The column that, with the time, names a row; None where the time alone does."""
    table = raw.table
    keys = table.select(time.columns)
    repeated = 1 - keys.unique().height / max(1, keys.height)
    if repeated < 0.2:
        why["data.series"] = "Nearly every time stands once, so the table is one series."
        return None
    best: tuple[float, str] | None = None
    for name, column in columns.items():
        if name in taken or column.distinct < 2 or column.distinct > MOST_SERIES or "." in str(column.values[0]):
            continue
        share = table.select([*time.columns, name]).unique().height / table.height
        if share > 0.98 and (best is None or column.distinct < columns[best[1]].distinct):
            best = (share, name)
    if best is None:
        raise DataError(
            f"times repeat ({repeated:.0%} of the rows), and no column tells series apart. Give data.series by hand, "
            "or is this another task?"
        )
    why["data.series"] = (
        f"With the time, {best[1]} names {best[0]:.1%} of the rows: {columns[best[1]].distinct} series."
    )
    return best[1]


def _targets(
    path: Path, targets: Sequence[str], numbers: list[str], names: list[str], why: dict[str, str]
) -> list[str]:
    for place, target in enumerate(targets):
        if target not in names:
            raise DataError(f"{path} has no column {target!r} (--target). {nearest(target, names)}")
        if target not in numbers:
            raise DataError(
                f"the column {target!r} of {path} (--target) is no number to forecast, or tells times, series or rows "
                f"apart. Numbers: {', '.join(numbers) or 'none'}."
            )
        if target in targets[:place]:
            raise DataError(f"--target {target!r} is given twice. Give it once.")
    if targets:
        why["data.target"] = "As asked for."
        return list(targets)
    if not numbers:
        raise DataError(f"no column of {path} holds numbers to forecast. Columns: {', '.join(names)}.")
    lower = {name.lower(): name for name in reversed(numbers)}
    guess = next((lower[word] for word in _TARGETS if word in lower), numbers[0])
    why["data.target"] = "Guessed. Is it? Else name it here; several may be forecast at once: [pm10, pm25]."
    return [guess]


def _unvarying(long: Long, targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns with one value in all rows, and those with one value in each series."""
    names = [column.name for column in long.columns if column.name not in targets]
    if not names or long.table.is_empty():
        return [], []
    distinct = pl.col(names).drop_nulls().n_unique()
    whole = long.table.select(distinct).row(0, named=True)
    most = long.table.group_by("series").agg(distinct).select(pl.col(names).max()).row(0, named=True)
    constant = [name for name in names if whole[name] <= 1]
    return constant, [name for name in names if whole[name] > 1 and most[name] <= 1]


def _of_calendar(name: str) -> bool:
    lower = name.lower().replace("_", " ")
    return any(word in lower for word in _CALENDAR)


def _summary(content: Mapping[str, Any], long: Long, every: str) -> tuple[tuple[str, str], ...]:
    data, time, target = content["data"], content["data"]["time"], content["data"]["target"]
    return (
        ("target", target if isinstance(target, str) else ", ".join(target)),
        ("task", "forecasting"),
        ("series", f"{data.get('series', 'one')}: {long.table['series'].n_unique():,}"),
        ("time", f"{time if isinstance(time, str) else ', '.join(time)}, steps of {every}"),
        ("split", "5 blocks of origins at the end"),
        ("model", content["model"]["kind"]),
        ("metric", content["metric"]),
    )
