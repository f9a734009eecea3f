"""An example request for a model that forecasts: the rows behind a golden window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.serving.forecasts import ISO, task_of

if TYPE_CHECKING:
    from sanmaru.packages.package import Package


def example_rows(package: Package) -> list[dict[str, Any]]:
    """Return the rows that make the golden window with the fewest gaps: its history, and what is known in advance.

    Their forecast is the golden one.
    """
    from sanmaru.packages.golden import golden_rows

    task = task_of(package)
    layout, every = task.layout, task.every
    golden = golden_rows(package)
    windows = task.encode(golden)
    history = layout.history(windows)
    targets = history[:, :, : len(layout.targets)]
    gaps = np.isnan(targets).mean(axis=(1, 2)) + 10.0 * np.isnan(targets[:, -1]).all(axis=1)
    best = int(gaps.argmin())
    past, ahead, fixed = history[best], layout.future(windows)[best], layout.statics(windows)[best]
    n_ahead = layout.horizon if task.channels.known else 0
    step = int(every.index(golden["origin"])[0][best])
    times = every.time(step + np.arange(1 - layout.lookback, n_ahead + 1)).dt.strftime(ISO).to_list()
    known = {name: place for place, name in enumerate(layout.known)}
    columns: dict[str, list[Any]] = {}
    for name in task.channels.columns:
        if name in task.channels.static:
            columns[name] = _column(name, dict(zip(layout.static, fixed[:, None], strict=True)), task) * len(times)
            continue
        columns[name] = _column(name, dict(zip(layout.channels, past.T, strict=True)), task)
        is_known = name in task.channels.known
        columns[name] += (
            _column(name, {channel: ahead[:n_ahead, place] for channel, place in known.items()}, task)
            if is_known
            else [None] * n_ahead
        )
    series = str(golden["series"][best])
    return [
        {"series": series, "time": time, **{name: values[place] for name, values in columns.items()}}
        for place, time in enumerate(times)
    ]


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Return rows as csv."""
    import polars as pl

    return pl.from_dicts(rows, infer_schema_length=None).write_csv()


def _column(name: str, channels: dict[str, np.ndarray], task: Any) -> list[Any]:
    """The values of a column from its channel, or from the one channel of its categories that is 1."""
    labels = task.channels.categories.get(name)
    if labels is None:
        # The shortest text of a float32 is what was written once: 12.3, not 12.300000190734863.
        return [None if np.isnan(value) else float(str(value)) for value in channels[name]]
    stacked = np.stack([channels[f"{name}={label}"] for label in labels])
    return [
        None if not np.nanmax(column, initial=0.0) > 0 else labels[int(np.nanargmax(column))] for column in stacked.T
    ]
