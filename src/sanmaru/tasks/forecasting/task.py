"""The forecasting task: numbers of series, up to a horizon, with quantiles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sanmaru.tasks.base import Estimator
from sanmaru.tasks.forecasting.windows import Floats, Panel, WindowLayout


class Forecasting:
    """Windows of series, and what came after them."""

    name = "forecasting"

    def __init__(
        self, layout: WindowLayout, *, quantiles: Sequence[float] = (0.1, 0.5, 0.9), panel: Panel | None = None
    ) -> None:
        self.layout = layout
        self.quantiles = tuple(quantiles)
        self._panel = panel

    @property
    def panel(self) -> Panel:
        """The series in memory, that `series_code` and `at` of a windows table point into."""
        assert self._panel is not None
        return self._panel

    @cached_property
    def encoding(self) -> str:
        """Name of what windows look like; equal for every fold and model of a run."""
        text = json.dumps([self.layout.to_json(), self.quantiles], sort_keys=True)
        return f"windows-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def encode(self, table: pl.DataFrame) -> Floats:
        """Return windows float32 (n, layout.width) of a windows table."""
        if "values" in table.columns:
            return np.asarray(table["values"].to_numpy(), dtype=np.float32).reshape(len(table), self.layout.width)
        return self.panel.gather(_indexes(table["series_code"]), _indexes(table["at"]))

    def target(self, table: pl.DataFrame) -> Floats:
        """Return what came after each window's origin, float32 (n, horizon, targets); NaN where missing."""
        return self.panel.target(_indexes(table["series_code"]), _indexes(table["at"]))

    def estimator(self, model: Any, train: Any) -> Estimator:
        """Make an unfitted estimator from a model config and a train config."""
        from sanmaru.tasks.forecasting.models import make_model

        return make_model(self, model, train)

    def load_estimator(self, folder: Path) -> Estimator:
        """Read what `Estimator.save` wrote."""
        from sanmaru.tasks.forecasting.models import load_model

        return load_model(self, folder)


def _indexes(column: pl.Series) -> np.ndarray:
    return column.to_numpy().astype(np.int64)
