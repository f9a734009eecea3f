"""What the steps of a service share: the project, its collected rows up to a moment, and files named by their interval.

All sources of `collect:` are one long table: joined on series and time, values that break the contract taken out. Rows
of a time are those that are known now; a step never sees a time at or after the end of its interval.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sanmaru.errors import ProjectFileError
from sanmaru.files import whole
from sanmaru.pipelines.context import StepContext

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.project import Project

SERVICE = "service"
"""Folder of the project in which the built-in steps keep what they make."""
VERDICTS = "verdicts"
"""Collected table of what the anomaly detector said."""
VERDICT_COLUMNS = ("anomaly", "anomaly.score", "anomaly.reason")


def project_of(context: StepContext) -> Project:
    """Return the project whose pipeline the step belongs to."""
    from sanmaru.project import Project

    return Project.load(context.folder)


def zone_of(project: Project) -> str:
    """Return the time zone in which the project's days begin."""
    return project.file.forecast.zone if hasattr(project.file, "forecast") else "UTC"


def place_of(context: StepContext, suffix: str, kind: str | None = None) -> Path:
    """Return the path of a file that a step makes for its interval, in a folder per month."""
    stem = context.start.strftime("%Y-%m-%dT%H%MZ")
    return context.folder / SERVICE / (kind or context.step) / stem[:7] / f"{stem}{suffix}"


def keep_table(path: Path, table: pl.DataFrame) -> Path:
    """Write a table as Parquet, whole or not at all; equal tables give equal bytes."""
    with whole(path) as beside:
        table.write_parquet(beside, compression="zstd", statistics=False)
    return path


def collected(project: Project, start: datetime | None, end: datetime) -> pl.DataFrame:
    """Return the rows of all sources up to, and without, `end`; values that break the contract are missing.

    Raises:
        ProjectFileError: when the project has no sources.
    """
    from sanmaru.collect import table
    from sanmaru.tables.rules import apply_rules

    if not project.file.collect:
        raise ProjectFileError("the project file has no collect: section, so there is nothing to work on.")
    tables = project.collected_folder / "tables"
    parts = [table.read(tables / name, start, end) for name in project.file.collect]
    return apply_rules(joined(parts), project.file.contract)[0]


def joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Join long tables on series and time; of a column that several have, the first with a value counts."""
    import polars as pl

    out = parts[0]
    for part in parts[1:]:
        twice = [name for name in part.columns if name in out.columns and name not in ("series", "time")]
        out = out.join(part, on=["series", "time"], how="full", coalesce=True, suffix="__other")
        out = out.with_columns(pl.coalesce(name, f"{name}__other").alias(name) for name in twice)
        out = out.drop([f"{name}__other" for name in twice])
    return out.sort("series", "time")


def with_verdicts(project: Project, rows: pl.DataFrame) -> pl.DataFrame:
    """Add the verdicts of the anomaly detector to rows; null where it has not looked."""
    import polars as pl

    from sanmaru.collect import table

    empty = {"anomaly": pl.Boolean, "anomaly.score": pl.Float64, "anomaly.reason": pl.String}
    if rows.is_empty():
        return rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in empty.items())
    span = rows["time"].min(), rows["time"].max()
    found = table.read(project.collected_folder / "tables" / VERDICTS, span[0])  # type: ignore[arg-type]
    if found.is_empty():
        return rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in empty.items())
    kept = found.select("series", "time", *(name for name in VERDICT_COLUMNS if name in found.columns))
    out = rows.join(kept, on=["series", "time"], how="left", maintain_order="left")
    absent = {name: kind for name, kind in empty.items() if name not in out.columns}
    return out.with_columns(pl.lit(None, kind).alias(name) for name, kind in absent.items())


def rows_of_inputs(context: StepContext, name: str = "rows") -> list[pl.DataFrame]:
    """Return the Parquet files that the needed steps named `name` for this very interval."""
    import polars as pl

    found = []
    for step in context.inputs.values():
        outputs = step.get(context.interval, {})
        if isinstance(outputs.get(name), str):
            found.append(pl.read_parquet(context.folder / outputs[name]))
    return found
