"""What a forecasting run does that others do not: its windows come from series, which lie in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import RunError
from sanmaru.experiments.runs import FOLD, Run
from sanmaru.files import read_json, whole
from sanmaru.project import ForecastingFile, Project

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.tasks.forecasting.opening import Split
    from sanmaru.tasks.forecasting.task import Forecasting

FORECASTS = "forecasts.parquet"
"""In a run's folder: the out-of-fold forecasts as a long table, beside what came."""


def file_of(project: Project) -> ForecastingFile:
    """The project file, which the caller knows to be one of forecasting."""
    assert isinstance(project.file, ForecastingFile)
    return project.file


def prepare_series(project: Project, stored: Run | None) -> dict[str, Any]:
    """Read the series, list the windows and divide them; a stored run's are taken back from its folder.

    Raises:
        UserError: when the data cannot be used.
    """
    from sanmaru.experiments.folds import stored_folds
    from sanmaru.tables.contract import Quarantine
    from sanmaru.tasks.forecasting.opening import open_series, split_windows

    file = file_of(project)
    if stored is not None and (stored.folder / "folds.json").is_file():
        return {
            "table": stored.rows().drop(FOLD),
            "quarantine": Quarantine(),
            "quarantined": int(stored.facts["quarantined"]),
            "fingerprint": str(stored.facts["fingerprint"]),
            "task": stored.task(),
            "folds": stored_folds(stored),
            "notes": tuple(stored.facts["notes"]),
        }
    opened = open_series(file.data, file.forecast, project.folder)
    split = split_windows(opened, file.forecast, file.split)
    folds = split.folds if file.split.reuse is None else _reused(project, split)
    return {
        "table": split.windows,
        "quarantine": opened.quarantine,
        "quarantined": len(opened.quarantine),
        "fingerprint": opened.fingerprint,
        "task": split.task,
        "folds": folds,
        "notes": (*opened.notes, *split.task.notes),
    }


def _reused(project: Project, split: Split) -> Any:
    """The folds of the run that `split.reuse` names, by window."""
    import numpy as np
    import polars as pl

    run = Run.load(project, str(file_of(project).split.reuse))
    before = run.rows().select("window", FOLD)
    joined = split.windows.join(before, on="window", how="left", maintain_order="left")
    fold = joined[FOLD].fill_null(-1).to_numpy().astype(np.int32)
    judged = before.filter(pl.col(FOLD) >= 0).height
    lost = judged - int((fold >= 0).sum())
    if lost:
        raise RunError(
            f"{lost} of the {judged} windows that run {run.id} was judged on are not windows of "
            "this project file. Take its horizon, lookback and data, or leave split.reuse out."
        )
    return split.task.restore_folds(split.windows, fold, read_json(run.folder / "folds.json"))


def keep_forecasts(run: Run, task: Forecasting, predictions: pl.DataFrame) -> None:
    """Write the out-of-fold forecasts as a long table: one row per series, origin and step ahead, and what came."""
    import polars as pl

    from sanmaru.tasks.forecasting.online import forecast_table

    rows = predictions.select("window", FOLD).join(run.rows().drop(FOLD), on="window", maintain_order="left")
    table = forecast_table(task, rows, task.outputs_of(predictions))
    came = task.target(rows).reshape(len(table), -1)
    actual = [
        pl.Series(f"{name}.actual", came[:, place], dtype=pl.Float64).fill_nan(None)
        for place, name in enumerate(task.layout.targets)
    ]
    with whole(run.folder / FORECASTS) as beside:
        table.with_columns(actual).write_parquet(beside)


def package_forecaster(
    run: Run,
    task: Any,
    table: pl.DataFrame,
    predictions: pl.DataFrame,
    *,
    card: dict[str, Any],
    golden: pl.DataFrame,
    threads: int,
) -> None:
    """Write the model package of one estimator, which has seen everything where `forecast.final` says so.

    Args:
        run: With its folds done.
        task: Of the run, with its series.
        table: Every window.
        predictions: Out of fold.
        card: What the model is for and how good it is.
        golden: Some windows.
        threads: Cores the fit may use.
    """
    from sanmaru.packages.write import write_package

    validated = table.join(predictions.select("window"), on="window", how="semi", maintain_order="left")
    write_package(
        run.package_folder,
        task=task,
        estimators=[_estimator(run, task, table, threads)],
        golden=golden_windows(task, golden),
        evaluation=evaluation_of(task, validated, predictions),
        card={**card, "series": task.facts},
    )


def _estimator(run: Run, task: Any, table: pl.DataFrame, threads: int) -> Path:
    """Return the estimator of the package: fitted once more on every window, or the last fold's."""
    from sanmaru.experiments.final import fit_final

    file = file_of(run.project)
    if file.forecast.final == "last":
        return run.fold_folder(file.split.folds - 1) / "estimator"
    return fit_final(run, task, table, threads)


def golden_windows(task: Forecasting, rows: pl.DataFrame) -> pl.DataFrame:
    """Return windows that travel by themselves, of rows that point into the series."""
    import polars as pl

    values = pl.Series("values", task.encode(rows), dtype=pl.Array(pl.Float32, task.layout.width))
    return rows.select("window", "series", "origin").with_columns(values)


def evaluation_of(task: Forecasting, validated: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the out-of-fold predictions with what a package needs to be compared by: truth, block and series."""
    import polars as pl

    truth = task.target(validated)
    flat: np.ndarray = truth.reshape(len(truth), -1)
    added = validated.select(
        "window", "series", "origin", pl.col("block").alias("group"), pl.col("truth").alias("checksum")
    ).with_columns(pl.Series("truth", flat, dtype=pl.Array(pl.Float32, flat.shape[1])))
    return predictions.join(added, on="window", maintain_order="left")
