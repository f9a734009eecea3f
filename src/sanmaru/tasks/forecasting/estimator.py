"""What every model that forecasts shares: windows as rows of float32, outputs, saving.

A model sees windows (`tasks.forecasting.windows` says how they lie) and gives outputs float32
(n, horizon * targets * (1 + quantiles)), that is (n, H, T, 1 + Q) in one row: the point, then the quantiles, rising.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sanmaru.errors import DataError
from sanmaru.files import read_json, write_json
from sanmaru.tasks.forecasting.windows import Floats
from sanmaru.training.config import TrainConfig

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.task import Forecasting

BATCH = 4096
"""Windows gathered at once where not all are needed in memory."""


class BaseForecaster(abc.ABC):
    """A model that forecasts. Subclasses write `fit`, `forward`, `_save` and `_restore`."""

    kind: ClassVar[str]
    """`model.kind` of the project file."""
    selects: bool = True
    """Whether the fit chooses something (epoch, trees) on rows held back for it."""

    def __init__(self, task: Forecasting, config: Any, train: TrainConfig) -> None:
        self.task = task
        self.config = config
        self.train = train
        self.layout = task.layout
        self.quantiles = task.quantiles
        """Levels in (0, 1), rising."""
        self.encoding = task.encoding
        self.threads = 1
        """Cores used to predict."""
        self._details: dict[str, Any] = {}

    @abc.abstractmethod
    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from windows; `valid`, where given, only selects.

        Missing targets are NaN in `self.task.target` and must count for nothing.
        """

    @abc.abstractmethod
    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n, horizon * targets * (1 + quantiles)), all finite."""

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Return windows, float32 (n, layout.width)."""
        return self.task.encode(table)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, of windows that travel by themselves: mappings with `values`.

        Raises:
            DataError: when a row lacks them or has another number of them.
        """
        width = self.layout.width
        out = np.empty((len(rows), width), dtype=np.float32)
        for place, row in enumerate(rows):
            values = row.get("values")
            if values is None or len(values) != width:
                got = "none" if values is None else str(len(values))
                raise DataError(f"row {place}: a window of this model is {width} numbers in `values`, got {got}.")
            out[place] = [np.nan if value is None else value for value in values]
        return out

    def batches(self, table: pl.DataFrame, size: int = BATCH) -> Iterator[tuple[Floats, Floats]]:
        """Yield windows float32 (k, layout.width) and what came after them float32 (k, horizon, targets)."""
        for start in range(0, len(table), size):
            rows = table[start : start + size]
            yield self.encode(rows), self.task.target(rows)

    def save(self, folder: Path) -> None:
        """Write `estimator.json` and the model's own files."""
        folder.mkdir(parents=True, exist_ok=True)
        own = self._save(folder)
        content = {"kind": self.kind, "config": self.config.model_dump(mode="json"), "encoding": self.encoding}
        write_json(folder / "estimator.json", {**content, **own, "details": self._details})

    @classmethod
    def load(cls, task: Forecasting, folder: Path) -> Self:
        """Read what `save` wrote."""
        from sanmaru.tasks.forecasting.models import config_of

        content = read_json(folder / "estimator.json")
        estimator = cls(task, config_of(content["kind"])(**content["config"]), TrainConfig())
        estimator._details = content["details"]
        estimator._restore(folder, content)
        return estimator

    def details(self) -> dict[str, Any]:
        """Return what is worth keeping of the fit."""
        return self._details

    @abc.abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """Write what was learned; return plain values to keep in `estimator.json`."""

    @abc.abstractmethod
    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Read what `_save` wrote and returned."""
