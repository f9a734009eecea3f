"""Requests to a model that forecasts: the rows of series in, one forecast per series out.

    {"rows": [{"series": "Jongno", "time": "2026-05-01T00:00:00Z", "pm25": 31, "temperature": 18.2}, ...]}

or the same as `text/csv`. Rows hold each series' history up to now and, where the model has columns that are known in
advance, the rows of the steps ahead with the targets left empty. Each series is forecast from its last observed step.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError, nearest
from sanmaru.serving.errors import RequestError
from sanmaru.serving.rows import read_rows

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.packages.package import Package
    from sanmaru.serving.model import ServedModel
    from sanmaru.tables.every import Every
    from sanmaru.tasks.forecasting.task import Forecasting

MOST_CELLS = 4_000_000
"""Series times steps times columns that the rows of one request may span."""
ISO = "%Y-%m-%dT%H:%M:%SZ"
_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastRequest:
    """What a request asks to forecast."""

    windows: pl.DataFrame
    """One row per series, as the task makes them."""
    counts: Mapping[str, int]
    """What was odd about the rows, and how many there were."""

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, part: slice) -> ForecastRequest:
        return replace(self, windows=self.windows[part])


def read_forecast(body: bytes, kind: bytes, model: ServedModel, max_rows: int) -> ForecastRequest:
    """Return the windows of a request.

    Args:
        body: The whole body.
        kind: Content type: JSON (also where empty) or `text/csv`.
        model: Whose rows.
        max_rows: More are refused.

    Raises:
        RequestError: for a body that cannot be read, too many rows, or a row that does not fit (row and column named).
        DataError: naming series whose history is too short or empty, or that lack rows ahead.
    """
    if kind.partition(b";")[0].strip().lower() == b"text/csv":
        table = _csv(body)
    else:
        table = table_of(model.package, read_rows(body, kind, model, max_rows))
    if table.height > max_rows:
        raise RequestError(
            413, f"{table.height:,} rows in one request; at most {max_rows:,} are taken. Send fewer series.", "rows"
        )
    if not table.height:
        raise RequestError(422, "the request has no rows", "rows")
    return request_of(model.package, table)


def request_of(package: Package, table: pl.DataFrame) -> ForecastRequest:
    """Return the windows of rows as they were written.

    Raises:
        RequestError: naming row and column of what does not fit.
        DataError: naming series whose history is too short or empty, or that lack rows ahead.
    """
    from sanmaru.tasks.forecasting.online import windows_of

    task = task_of(package)
    typed, counts = _typed(table, task)
    _check_span(typed, task.every, len(task.channels.columns))
    made = windows_of(task, typed)
    counts |= {name: n for name, n in made.counts.items() if n}
    return ForecastRequest(windows=made.windows, counts={"rows": table.height, **counts})


def outputs_of(package: Package, parts: Sequence[ForecastRequest]) -> np.ndarray:
    """Return the outputs of all windows of several requests at once, float32 (n, n_outputs)."""
    import polars as pl

    windows = parts[0].windows if len(parts) == 1 else pl.concat([part.windows for part in parts])
    return package.outputs(windows)


def answers_of(package: Package, request: ForecastRequest, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Return one forecast per series, ready to be written as JSON.

    `{"series": "Jongno", "origin": "2026-05-01T00:00:00Z", "forecast": [{"horizon": 1, "time": ..., "pm25": 30.1,
    "pm25.q10": 22.4, ...}, ...]}`: the columns of a forecast table, step by step.

    Raises:
        ValueError: when the model gave a value that is not finite.
    """
    import numpy as np
    import polars as pl

    from sanmaru.tasks.forecasting.online import forecast_table

    if not np.isfinite(outputs).all():
        raise ValueError(f"{package.folder} gave values that are not finite")
    task = task_of(package)
    table = forecast_table(task, request.windows, outputs).with_columns(pl.col("origin", "time").dt.strftime(ISO))
    steps = table.drop("series", "origin").to_dicts()
    horizon = task.layout.horizon
    return [
        {"series": series, "origin": origin, "forecast": steps[start : start + horizon]}
        for start, (series, origin) in zip(
            range(0, len(steps), horizon), table.select("series", "origin")[::horizon].iter_rows(), strict=True
        )
    ]


def task_of(package: Package) -> Forecasting:
    """Return the task of a package that forecasts."""
    task: Any = package.task
    return task  # type: ignore[no-any-return]


def breaks_forecasts(old: Package, new: Package) -> str | None:
    """Say why requests made for `old` would fail or be misread under `new`, beyond what their signatures say."""
    before, after = task_of(old), task_of(new)
    if before.every != after.every:
        return f"its steps are {after.every.text} (zone {after.every.zone}), not {before.every.text}"
    if after.layout.lookback > before.layout.lookback:
        return f"it needs {after.layout.lookback} steps of history, not {before.layout.lookback}"
    if after.layout.horizon < before.layout.horizon:
        return f"it forecasts {after.layout.horizon} steps, not {before.layout.horizon}"
    added = [name for name in after.channels.known if name not in before.channels.known]
    if added:
        return f"it needs {', '.join(map(repr, added))} in advance"
    return None


def _csv(body: bytes) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_csv(io.BytesIO(body), infer_schema=False, encoding="utf8")
    except Exception as error:
        told = str(error).strip().splitlines()
        raise RequestError(400, f"the body is no csv: {told[0] if told else 'it is empty'}", "body") from None


def table_of(package: Package, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows of JSON values as a table: numbers where all cells of a column are, else texts.

    Raises:
        RequestError: naming row and column of a cell that holds several values.
    """
    import polars as pl

    task = task_of(package)
    keys = {*task.data.time_columns, "series", "time", *([task.data.series] if task.data.series else [])}
    wanted = [*dict.fromkeys(keys), *task.channels.columns]
    given = dict.fromkeys(name for row in rows for name in row)
    columns = []
    for name in given:
        # Columns beyond those of the model are kept by name only, to tell a slip from a missing column.
        values = [row.get(name) for row in rows] if name in wanted else [None] * len(rows)
        columns.append(_series(name, values, number=name not in keys))
    return pl.DataFrame(columns)


def _series(name: str, values: list[Any], *, number: bool) -> pl.Series:
    import polars as pl

    kinds = set(map(type, values)) - {type(None)}
    if kinds & {list, dict}:
        place = next(place for place, value in enumerate(values) if isinstance(value, list | dict))
        where = f"row {place}, column {name!r}"
        raise RequestError(422, f"{where}: expected one value, got a list or an object", where)
    if kinds and kinds <= {int, float}:
        return pl.Series(name, values, dtype=pl.Float64 if number or float in kinds else pl.Int64, strict=False)
    texts = [value if value is None or type(value) is str else _text(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(table: pl.DataFrame, task: Forecasting) -> tuple[pl.DataFrame, dict[str, int]]:
    """Give a table `series`, `time` (Datetime, UTC) and values of the model's types; refuse what does not fit."""
    import polars as pl

    from sanmaru.tables import types
    from sanmaru.tables.config import TimeConfig
    from sanmaru.tables.times import read_times

    data = task.data
    key = data.series if data.series in table.columns else "series"
    if key in table.columns:
        cells = types.clean(table[key], data.missing)
        series = types.convert(cells, "category").series.alias("series")
        _refuse(series.is_null(), table[key], "the row names no series")
    elif data.series is not None:
        raise RequestError(422, f"the rows have no {data.series!r}; they have {', '.join(table.columns[:10])}", "rows")
    else:
        series = pl.repeat("series", table.height, dtype=pl.String, eager=True).alias("series")
    names = data.time_columns if data.time_columns and set(data.time_columns) <= set(table.columns) else ("time",)
    if not set(names) <= set(table.columns):
        raise RequestError(422, f"the rows have no {names[0]!r}; they have {', '.join(table.columns[:10])}", "rows")
    aware = _moments(table[names[0]]) if len(names) == 1 else None
    counts: dict[str, int] = {}
    if aware is not None:
        times = aware
    else:
        config = (
            data.time if isinstance(data.time, TimeConfig) and data.time.columns == names else TimeConfig(columns=names)
        )
        try:
            read = read_times(table, config, series=series, zone=task.every.zone, missing=data.missing)
        except DataError as error:
            raise RequestError(
                422, str(error).replace(" (data.time)", "").split(" Say how")[0], f"column {names[0]!r}"
            ) from None
        times, counts = read.utc.alias("time"), dict(read.counts)
        _refuse(read.nonexistent, table[names[0]], f"the clocks of {task.every.zone} left this time out")
    _refuse(times.is_null(), table[names[0]], "the row has no time that can be read; write 2026-05-01T00:00:00Z")
    _, on = task.every.index(times)
    _refuse(pl.Series(~on), table[names[0]], f"is no step of {task.every.text} (zone {task.every.zone}) of this model")
    wanted = dict.fromkeys(task.channels.columns)
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        spare = [name for name in table.columns if name not in wanted]
        told = ", ".join(map(repr, absent[:10]))
        raise RequestError(
            422, f"the rows have no column {told}, which the model takes. {nearest(absent[0], spare)}", "rows"
        )
    columns = [series, times.alias("time")]
    kinds = {column.name: column for column in task.columns}
    for name in wanted:
        column = kinds[name]
        if table[name].dtype == pl.Float64 and column.kind in ("number", "integer"):  # as JSON numbers are
            columns.append(table[name])  # JSON knows no infinity
            continue
        cells = types.clean(table[name], data.missing)
        converted = types.convert(cells, column.kind, column.form)
        _refuse(converted.bad, table[name], f"is not {'an' if column.kind[0] in 'aeiou' else 'a'} {column.kind}")
        if converted.series.dtype.is_float():
            _refuse(converted.series.is_infinite().fill_null(False), table[name], "is not finite")
        columns.append(converted.series.alias(name))
    return pl.DataFrame(columns), counts


def _moments(cells: pl.Series) -> pl.Series | None:
    """ISO 8601 with an offset as Datetime[us, UTC]; None where no cell is so, and the task has to read them.

    Raises:
        RequestError: naming a row without an offset among others that have one.
    """
    import polars as pl

    if cells.dtype != pl.String:
        return None
    texts = cells.to_list()
    known: dict[str | None, datetime | None] = {None: None}
    for text in dict.fromkeys(texts):
        if text is None or not _OFFSET.search(text):
            continue
        try:
            known[text] = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            known[text] = None
    if len(known) == 1:
        return None
    for place, text in enumerate(texts):
        if text not in known:
            where = f"row {place}, column {cells.name!r}"
            raise RequestError(
                422, f"{where}: {text!r} has no offset from UTC (Z or +09:00), other rows have one", where
            )
    return pl.Series("time", [known[text] for text in texts], dtype=pl.Datetime("us", "UTC"))


def _refuse(bad: pl.Series, cells: pl.Series, reason: str) -> None:
    place = bad.arg_max() if bad.any() else None
    if place is not None:
        where = f"row {place}, column {cells.name!r}"
        value = cells[place]
        raise RequestError(422, f"{where}: {'missing' if value is None else repr(str(value)[:80])}: {reason}", where)


def _check_span(table: pl.DataFrame, every: Every, n_columns: int) -> None:
    """Refuse rows that lie so far apart that the steps between them would fill the memory."""
    first, last = table["time"].min(), table["time"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise RequestError(422, "no row has a time that exists", "rows")
    steps = (last - first).total_seconds() * 1e6 / every.us + 1
    if steps * table["series"].n_unique() * n_columns > MOST_CELLS:
        raise RequestError(
            422,
            f"the rows span {steps:,.0f} steps of {every.text} ({first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}) and "
            f"{table['series'].n_unique():,} series, which is too much for one request. Is a time wrong?",
            "rows",
        )
