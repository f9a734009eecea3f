"""Errors of a version on hours that it had not learned from: what its later errors are compared with.

A run judges a few origins a day. Its folds' estimators, each on the block that it did not learn from, are asked for
every step of the block here, so that there are as many errors as the service will make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.experiments.runs import Run

BATCH = 2048


def honest_residuals(run: Run, horizon: int) -> pl.DataFrame:
    """Return what came minus what the folds' estimators said `horizon` steps before.

    Args:
        run: A finished run of a forecasting project, with its folds.
        horizon: Steps ahead, from 1.

    Returns:
        Long table in order of series and time: `series`, `time`, and `t.residual` per target; pairs whose truth is
        missing have null.
    """
    import numpy as np
    import polars as pl

    task: Any = run.task()
    rows = run.rows()
    parts = []
    for folder in run.fold_folders():
        block = rows.filter(pl.col("fold") == int(folder.name))
        if block.is_empty():
            continue
        estimator: Any = task.load_estimator(folder / "estimator")
        steps = np.arange(int(block["at"].min()), int(block["at"].max()) + 1)  # type: ignore[arg-type]
        for code in block["series_code"].unique().sort().to_list():
            for begin in range(0, len(steps), BATCH):
                at = steps[begin : begin + BATCH]
                windows = pl.DataFrame({"series_code": np.full(len(at), code), "at": at})
                said = estimator.forward(task.encode(windows)).reshape(len(at), *task.shape)[:, horizon - 1, :, 0]
                off = task.target(windows)[:, horizon - 1] - said
                parts.append(
                    pl.DataFrame(
                        {
                            "series": [task.grid.names[code]] * len(at),
                            "time": task.every.time(at + horizon + task.grid.first).dt.cast_time_unit("us"),
                            **{
                                f"{name}.residual": off[:, n].astype(float)
                                for n, name in enumerate(task.layout.targets)
                            },
                        }
                    ).fill_nan(None)
                )
    return pl.concat(parts).unique(["series", "time"], keep="last", maintain_order=True).sort("series", "time")
