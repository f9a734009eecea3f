"""Forecasts by a package: a long table in, a long table of forecasts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.packages.package import Package
    from sanmaru.tables.contract import Quarantine
    from sanmaru.tables.raw import Raw


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Forecasts, and what of the history could not be used."""

    table: pl.DataFrame
    """`series`, `origin`, `horizon`, `time`, and per target `t`, `t.q10` and so on."""
    quarantine: Quarantine
    """Rows without series or time, or beside the steps."""
    counts: dict[str, int]
    """What else was odd: identical or revised rows, hour 24, changes of clocks, unreadable cells."""


@dataclass(kw_only=True)
class ForecastReport:
    """What forecasting a file did."""

    output: Path
    rows: int
    """Rows written: series times origins times steps ahead."""
    windows: int
    """Series times origins."""
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Violations per rule."""
    quarantine_file: Path | None = None


def forecasts(package: Package) -> bool:
    """Whether a package forecasts series, rather than predicting rows."""
    return package.signature.task == "forecasting"


def forecast(package: Package, frame: pl.DataFrame | Raw, origins: Any = None) -> Forecast:
    """Forecast every series of a long table.

    Args:
        package: A model of series.
        frame: The columns of the signature, or a long table's own `series` and `time` for its keys. At least a lookback
            of history per series, and future rows where the model knows columns in advance.
        origins: Moments to forecast from, of every series; each series' last observed step where None.

    Raises:
        DataError: when the package forecasts nothing, or the table does not fit (see `online.windows_of`).
    """
    if not forecasts(package):
        raise DataError(f"this package is of task {package.signature.task!r} and forecasts nothing; use predict.")
    from sanmaru.tasks.forecasting.online import forecast_table, windows_of

    task: Any = package.task
    made = windows_of(task, frame, origins)
    outputs = package.outputs(made.windows)
    table = forecast_table(task, made.windows, outputs)
    return Forecast(table=table, quarantine=made.quarantine, counts=made.counts)


def forecast_file(
    package: Package, source: Path, output: Path, *, origins: Any = None, encoding: str = "utf-8"
) -> ForecastReport:
    """Forecast every series of a file and write the forecasts, whole or not at all.

    Rows that cannot be used are written to `<output>.quarantine.csv`, with the reason.

    Raises:
        DataError: when the file cannot be read or does not fit; nothing is written then.
    """
    import polars as pl

    from sanmaru.files import whole
    from sanmaru.packages.sink import check_extension, open_sink
    from sanmaru.tables.raw import read_raw

    check_extension(output)
    try:
        found = forecast(package, read_raw(source, encoding=encoding), origins)
    except DataError as error:
        raise error if str(source) in str(error) else DataError(f"{source}: {error}") from error
    with open_sink(output) as sink:
        sink.write(found.table)
    windows = found.table.select("series", "origin").unique().height
    report = ForecastReport(output=output, rows=found.table.height, windows=windows)
    report.quarantined, report.reasons = len(found.quarantine), found.quarantine.counts()
    aside = output.with_name(output.name + ".quarantine.csv")
    aside.unlink(missing_ok=True)
    if report.quarantined:
        names = ("row", "id", "column", "value", "rule", "reason")
        rows = [{name: getattr(one, name) for name in names} for one in found.quarantine.violations]
        with whole(aside) as beside:
            pl.DataFrame(rows, infer_schema_length=None).write_csv(beside)
        report.quarantine_file = aside
    return report
