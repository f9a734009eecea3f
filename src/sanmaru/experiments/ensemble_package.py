"""The model package of an ensemble: its members' packages and how their outputs become one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import PackageError
from sanmaru.experiments.runs import Run, Score

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.experiments.ensemble import Work


def keep_package(run: Run, work: Work, score: Score) -> None:
    """Write the package, or say in the run's facts (`package`, `package_reason`) why there is none."""
    from sanmaru.packages.write import write_ensemble_package

    foreign = [member.name for member in work.members if member.run is None]
    runs = [member.run for member in work.members if member.run is not None]
    without = [one.id for one in runs if not one.package_folder.is_dir()]
    if foreign:
        reason = f"{', '.join(foreign)} holds predictions, not a model, and so new rows cannot be predicted"
        run.update(package=False, package_reason=reason)
        return
    if without:
        run.update(package=False, package_reason=f"{', '.join(without)} has no package")
        return
    roles, rows = work.task.roles, work.common.rows
    added = [rows[roles.targets[0]].alias("truth")]
    if roles.group:
        added.append(rows[roles.group].alias("group"))
    folders = [one.package_folder for one in runs]
    evaluation = run.predictions()
    if work.task.name == "forecasting":
        from sanmaru.experiments.forecasting import evaluation_of

        forecaster: Any = work.task
        evaluation = evaluation_of(forecaster, rows, evaluation)
    else:
        evaluation = evaluation.with_columns(added)
    try:
        write_ensemble_package(
            run.package_folder,
            task=work.task,
            members=folders,
            combine=work.spec,
            golden=_golden(folders),
            evaluation=evaluation,
            card=_card(run, runs, score),
        )
    except PackageError as error:
        run.update(package=False, package_reason=str(error))
        return
    run.update(package=True)


def _golden(packages: Sequence[Path]) -> pl.DataFrame:
    """Join the members' golden rows column by column: they were taken from the same places of the same table.

    Raises:
        PackageError: when columns that members share differ, so that the rows are not the same.
    """
    import polars as pl

    columns: dict[str, pl.Series] = {}
    height = None
    for package in packages:
        rows = pl.read_parquet(package / "golden" / "rows.parquet")
        if height is not None and rows.height != height:
            raise PackageError(f"the golden rows of {package} are not those of {packages[0]}: {rows.height} rows.")
        height = rows.height
        for column in rows:
            known = columns.setdefault(column.name, column)
            if not known.equals(column, null_equal=True):
                raise PackageError(
                    f"the golden rows of {package} are not those of {packages[0]}: column {column.name!r} differs. "
                    "Train the members on one table, in one order of rows."
                )
    return pl.DataFrame(columns)


def _card(run: Run, runs: Sequence[Run], score: Score) -> dict[str, Any]:
    facts, file = run.facts, run.project.to_dict()
    return {
        "name": file["name"],
        **{key: file[key] for key in ("problem", "goal", "constraints", "baseline", "task")},
        "metric": score.metric,
        "score": {"value": score.value, "low": score.low, "high": score.high},
        "scores": dict(score.all),
        "data": {key: facts.get(key) for key in ("fingerprint", "rows", "quarantined")},
        "split": file["split"],
        "model": {
            "kind": "ensemble",
            "method": facts["method"],
            "members": [{"run": one.id, "model": one.project.to_dict()["model"]} for one in runs],
        },
        "gain": facts["gain"]["text"],
        "created": facts["created"],
        "run": run.id,
    }
