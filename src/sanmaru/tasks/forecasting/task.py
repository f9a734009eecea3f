"""The forecasting task: numbers of series, up to a horizon, with quantiles.

A sample is a window: a series and an origin. Predictions inside a run are one row per window, with an array over the
horizon per target and quantile; `forecast_table` makes the long table of it that people and databases take.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from sanmaru.errors import DataError, RunError
from sanmaru.html.blocks import Section
from sanmaru.metrics.base import find_metric
from sanmaru.metrics.forecasting import forecast_records, truth_records
from sanmaru.tables.config import DataConfig
from sanmaru.tables.contract import Column
from sanmaru.tables.every import Every
from sanmaru.tables.match import align
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import Estimator, Output, Signature
from sanmaru.tasks.forecasting.channels import Channels
from sanmaru.tasks.forecasting.grid import Grid, read_grid
from sanmaru.tasks.forecasting.origins import OriginFolds, restore_folds
from sanmaru.tasks.forecasting.windows import Floats, Panel, WindowLayout

SERIES_FILE = "series.parquet"
"""In a run's folder: the series that its windows point into."""
ROLES = Roles(id="window", targets=("truth",), group="block", time="origin")
"""Of a windows table. `truth` is a checksum of what came after the origin, `block` the week that origins share."""


class Forecasting:
    """Windows of series, and what came after them."""

    name = "forecasting"
    roles = ROLES
    row_columns: ClassVar[tuple[str, ...]] = ("series", "series_code", "at")
    """Columns of the windows table that a run keeps beside those with a role."""
    golden_columns: ClassVar[tuple[str, ...]] = ("series", "origin", "values")
    """What a window that travels by itself consists of."""

    def __init__(
        self,
        layout: WindowLayout,
        *,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        panel: Panel | None = None,
        channels: Channels | None = None,
        every: Every | None = None,
        data: DataConfig | None = None,
        columns: Sequence[Column] = (),
        scales: Mapping[str, Sequence[float | None]] | None = None,
        notes: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.layout = layout
        self.quantiles = tuple(quantiles)
        """Levels in (0, 1), rising, forecast beside the number."""
        self.channels = channels or Channels(targets=layout.targets)
        self.every = every or Every.parse("1h")
        self.data = data or DataConfig(train="", target=layout.targets, time="time", series="series")
        """Which columns of a long table are what."""
        self.columns = tuple(columns)
        """Records of the value columns."""
        self.scales = dict(scales or {})
        """Per series, in order, and target: the mean absolute error of seasonal-naive before the first origin."""
        self.notes = tuple(notes)
        self.facts = dict(facts or {})
        """Counts of what reading the series found, for reports."""
        self.outputs = tuple(
            Output(name=name, kind="regression", dtype="float", quantiles=self.quantiles) for name in layout.targets
        )
        names = ("mae", "rmse", "mase") if len(layout.targets) == 1 else ("mase", "mae", "rmse")
        self.metrics: tuple[str, ...] = (*names, "pinball", "coverage_gap") if self.quantiles else names
        self._panel = panel
        self._folder: Path | None = None

    @classmethod
    def open(cls, table: pl.DataFrame, roles: Roles, **options: Any) -> Forecasting:
        """Learn from a long table (`series`, `time`, values) what every fold must agree on, and keep its series.

        Args:
            table: One row per series and time.
            roles: `targets` names what is forecast; all other columns are past covariates.
            options: `config`, a `ForecastConfig`.

        Raises:
            DataError: when there is no target, or none can be forecast.
        """
        from sanmaru.tables.long import SERIES, TIME, to_long
        from sanmaru.tasks.forecasting.config import ForecastConfig
        from sanmaru.tasks.forecasting.opening import open_long

        config = options.get("config") or ForecastConfig()
        data = DataConfig(train="", series=SERIES, time=TIME, target=roles.targets)
        return open_long(to_long(table, data, zone=config.zone), data, config).task

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which `from_json` makes the same task, but for the series in memory."""
        return {
            "name": self.name,
            "layout": self.layout.to_json(),
            "quantiles": list(self.quantiles),
            "channels": self.channels.to_json(),
            "every": self.every.to_json(),
            "data": self.data.model_dump(mode="json"),
            "columns": [column.to_json() for column in self.columns],
            "scales": {name: list(values) for name, values in self.scales.items()},
            "notes": list(self.notes),
            "facts": self.facts,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Forecasting:
        """Rebuild a task from `to_json`; `attach` gives it its series."""
        return cls(
            WindowLayout.from_json(value["layout"]),
            quantiles=value["quantiles"],
            channels=Channels.from_json(value["channels"]),
            every=Every.from_json(value["every"]),
            data=DataConfig(**value["data"]),
            columns=[Column.from_json(column) for column in value["columns"]],
            scales=value["scales"],
            notes=value["notes"],
            facts=value["facts"],
        )

    def attach(self, folder: Path) -> None:
        """Take the series from a run's folder, when they are first needed."""
        self._folder = folder

    def keep(self, folder: Path) -> None:
        """Write the series into a run's folder."""
        self.grid.write(folder / SERIES_FILE)
        self.attach(folder)

    @cached_property
    def grid(self) -> Grid:
        """The series of the run on their grid, as they were read.

        Raises:
            RunError: when the run's folder holds none.
        """
        if self._folder is None or not (self._folder / SERIES_FILE).is_file():
            raise RunError(
                f"there is no {SERIES_FILE} in {self._folder}: the run's windows point into it. Train a new run."
            )
        return read_grid(self._folder / SERIES_FILE, self.every, self.channels.columns, tuple(self.scales))

    @property
    def panel(self) -> Panel:
        """The series in memory, that `series_code` and `at` of a windows table point into."""
        if self._panel is None:
            self._panel = self.channels.panel(self.grid, self.layout)
        return self._panel

    @property
    def shown_roles(self) -> dict[str, str | None]:
        """What is what, for reports."""
        channels = self.channels
        return {
            "target": ", ".join(channels.targets),
            "series": self.data.series,
            "time": ", ".join(self.data.time_columns),
            "known in advance": ", ".join((*channels.known, *(f"clock: {name}" for name in channels.clock))),
            "past covariates": ", ".join(channels.past),
            "static": ", ".join(channels.static),
        }

    @property
    def output(self) -> Output:
        """The first target."""
        return self.outputs[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Horizon, targets, and the point with its quantiles: what a row of outputs is."""
        return self.layout.horizon, len(self.layout.targets), 1 + len(self.quantiles)

    @property
    def output_width(self) -> int:
        """Numbers in a row of outputs."""
        return int(np.prod(self.shape))

    @cached_property
    def encoding(self) -> str:
        """Name of what windows look like; equal for every fold and model of a run."""
        text = json.dumps([self.layout.to_json(), self.quantiles], sort_keys=True)
        return f"windows-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def encode(self, table: pl.DataFrame) -> Floats:
        """Return windows float32 (n, layout.width) of a windows table.

        Raises:
            DataError: when windows that travel by themselves have another width.
        """
        if "values" not in table.columns:
            return self.panel.gather(_indexes(table["series_code"]), _indexes(table["at"]))
        width = self.layout.width
        values = table["values"]
        if isinstance(values.dtype, pl.List) and bool((values.list.len() == width).all()):
            values = values.list.to_array(width)
        if not isinstance(values.dtype, pl.Array) or values.dtype.size != width or values.null_count():
            raise DataError(
                f"a window of this model is {width} numbers, got {values.dtype}. Make it with its own task."
            )
        return np.asarray(values.cast(pl.Array(pl.Float32, width)).to_numpy()).reshape(len(table), width)

    def target(self, table: pl.DataFrame) -> Floats:
        """Return what came after each window's origin, float32 (n, horizon, targets); NaN where missing."""
        if isinstance(table.schema.get("truth"), pl.Array):
            horizon, targets, _ = self.shape
            return np.asarray(table["truth"].to_numpy(), dtype=np.float32).reshape(len(table), horizon, targets)
        return self.panel.target(_indexes(table["series_code"]), _indexes(table["at"]))

    def truth(self, table: pl.DataFrame) -> np.ndarray:
        """Return what came, with the scale of each series: records (n,) of `metrics.forecasting`."""
        nothing = [None] * len(self.layout.targets)
        scale = [self.scales.get(name, nothing) for name in table["series"].to_list()]
        return truth_records(self.target(table), np.array(scale, dtype=np.float64).reshape(len(table), -1))

    def predictions(self, ids: pl.Series, outputs: np.ndarray) -> pl.DataFrame:
        """Make a prediction table from outputs float32 (n, horizon * targets * (1 + quantiles)).

        Per target `t` it holds `t` and `t.q10` and so on, arrays of float32 over the horizon.

        Raises:
            DataError: when an output is not finite, with the number of windows and the first.
        """
        finite = np.isfinite(outputs).all(axis=1)
        if not finite.all():
            first = ids[int(np.flatnonzero(~finite)[0])]
            raise DataError(
                f"the model gave values that are not finite for {int((~finite).sum())} of {len(ids)} windows (first "
                f"{first!r}). Training may have diverged: try a smaller learning rate."
            )
        values = np.asarray(outputs, dtype=np.float32).reshape(len(ids), *self.shape)
        array = pl.Array(pl.Float32, self.layout.horizon)
        columns = [
            pl.Series(name, np.ascontiguousarray(values[:, :, target, place]), dtype=array)
            for target, output in enumerate(self.outputs)
            for place, name in enumerate((output.name, *output.quantile_names))
        ]
        return pl.DataFrame([ids, *columns])

    def outputs_of(self, predictions: pl.DataFrame) -> np.ndarray:
        """Return the outputs, float32 (n, n_outputs), from which a prediction table was made.

        Raises:
            DataError: when a column is absent or of another horizon.
        """
        horizon = self.layout.horizon
        out = np.empty((len(predictions), *self.shape), dtype=np.float32)
        for target, output in enumerate(self.outputs):
            for place, name in enumerate((output.name, *output.quantile_names)):
                found = predictions.schema.get(name)
                if not isinstance(found, pl.Array) or found.size != horizon:
                    raise DataError(f"column {name!r} of the predictions should hold {horizon} numbers, got {found}.")
                out[:, :, target, place] = predictions[name].to_numpy().reshape(len(predictions), horizon)
        return out.reshape(len(predictions), -1)

    def answers(self, outputs: np.ndarray) -> list[dict[str, Any]]:
        """Return per window the numbers of the horizon: `{"pm10": [...], "pm10.q10": [...]}`."""
        values = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), *self.shape)
        return [
            {
                name: window[:, target, place].tolist()
                for target, output in enumerate(self.outputs)
                for place, name in enumerate((output.name, *output.quantile_names))
            }
            for window in values
        ]

    def scored(self, predictions: pl.DataFrame) -> np.ndarray:
        """Return the forecasts as records (n,) of `metrics.forecasting`."""
        outputs = self.outputs_of(predictions).reshape(len(predictions), *self.shape)
        return forecast_records(outputs, self.quantiles)

    def combine(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Average the numbers and the quantiles of several models."""
        return np.asarray(np.mean(np.stack(outputs), axis=0, dtype=np.float64), dtype=np.float32)

    def score(self, table: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, float]:
        """Return every metric of `metrics`. Windows are matched by id, pairs without a known target are left out.

        Raises:
            DataError: when ids do not match, with counts.
        """
        name = self.roles.id
        places = align(table[name], predictions[name], left_name="the windows", right_name="the predictions")
        truth, scored = self.truth(table), self.scored(predictions)[places]
        return {name: find_metric(name)(truth, scored) for name in self.metrics}

    def restore_folds(self, rows: pl.DataFrame, fold: np.ndarray, value: Mapping[str, Any]) -> OriginFolds:
        """Rebuild the folds of a run from its rows."""
        return restore_folds(rows, fold, value, self.layout.horizon)

    def inner(self, train: pl.DataFrame, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Divide a fold's windows into those to fit on and the last ones, which select; their targets do not overlap.

        Raises:
            DataError: when the windows span too little time to be divided.
        """
        at = _indexes(train["at"])
        cut = int(np.quantile(at, 1 - fraction, method="lower"))
        fit = np.flatnonzero(at + self.layout.horizon <= cut)
        if not len(fit):
            raise DataError(
                f"the {len(at):,} windows before a fold span too little time to select with. Set train.selection: none."
            )
        return fit, np.flatnonzero(at >= cut)

    def signature(self) -> Signature:
        """Say which long table a model of this task takes: a time, a series, targets and covariates."""
        keys = self.data.time_columns or ("time",)
        wanted = set(self.channels.columns)
        times = [Column(name=name, kind="date" if len(keys) == 1 else "category", required=True) for name in keys]
        series = [Column(name=self.data.series, kind="category", required=True)] if self.data.series else []
        return Signature(
            task=self.name,
            id=self.roles.id,
            inputs=(*series, *times, *(column for column in self.columns if column.name in wanted)),
            outputs=self.outputs,
            missing=self.data.missing,
        )

    def estimator(self, model: Any, train: Any) -> Estimator:
        """Make an unfitted estimator from a model config and a train config."""
        from sanmaru.tasks.forecasting.models import make_model

        return make_model(self, model, train)

    def load_estimator(self, folder: Path) -> Estimator:
        """Read what `Estimator.save` wrote."""
        from sanmaru.tasks.forecasting.models import load_model

        return load_model(self, folder)

    def explore(self, table: pl.DataFrame, test: pl.DataFrame | None) -> Iterable[Section]:
        """Show the series: their range, gaps, season, and where values are missing."""
        from sanmaru.tasks.forecasting.explore import explore

        del table, test
        return explore(self)

    def diagnose(self, table: pl.DataFrame, predictions: pl.DataFrame) -> Iterable[Section]:
        """Show scores by horizon, hour, season and series, coverage, and some forecasts with their bands."""
        from sanmaru.tasks.forecasting.diagnose import diagnose

        return diagnose(self, table, predictions)


def _indexes(column: pl.Series) -> np.ndarray:
    return column.to_numpy().astype(np.int64)
