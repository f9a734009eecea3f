"""What every model for tables shares: rows to a matrix, the target's own scale, raw scores to outputs, saving.

A model sees matrices only. `fit` makes `Rows` of tables and hands them to `fit_rows`, which a model writes; feature
steps widen the matrix in between and say so in `columns`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np

from sanmaru.errors import DataError
from sanmaru.files import read_json, write_json
from sanmaru.tasks.tabular.config import Transform
from sanmaru.tasks.tabular.schema import Encoded
from sanmaru.tasks.tabular.target import PLAIN, Scale, choose_scale, single
from sanmaru.training.config import TrainConfig

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.task import Tabular

Problem = Literal["regression", "binary", "multiclass"]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Encoded rows with their target."""

    matrix: np.ndarray
    """float64 (n, n_columns)."""
    truth: np.ndarray
    """int64 class codes (n,) or float64 numbers (n,), in the target's own unit."""
    groups: np.ndarray | None = None
    """int64 (n,), where the data has groups: rows of one may not be torn apart."""

    def __len__(self) -> int:
        return len(self.truth)

    def __add__(self, other: Rows) -> Rows:
        """The rows of both. Groups are counted apart, for the codes of two tables say nothing of each other."""
        groups = None
        if self.groups is not None and other.groups is not None:
            groups = np.concatenate([self.groups, other.groups + self.groups.max(initial=-1) + 1])
        return Rows(
            matrix=np.concatenate([self.matrix, other.matrix]),
            truth=np.concatenate([self.truth, other.truth]),
            groups=groups,
        )


class BaseTabularEstimator(abc.ABC):
    """A model for tables. Subclasses write `fit_rows`, `scores`, `_save` and `_restore`."""

    kind: ClassVar[str]
    """`model.kind` of the project file."""
    heavy_tails: ClassVar[bool] = False
    """Whether `target_transform: auto` takes the logarithm of a target with a heavy tail, whatever the metric."""

    def __init__(self, task: Tabular, config: Any, train: TrainConfig) -> None:
        self.task = task
        self.config = config
        self.train = train
        self.encoder = task.encoder
        self.encoding = task.encoding
        self.columns: tuple[Encoded, ...] = task.schema.encoded
        """What the matrix holds; feature steps add theirs before `fit_rows`."""
        self.scale: Scale = PLAIN
        """How the target is turned before it is learned; regression only."""
        self.threads = 1
        """Cores used to predict large batches."""
        self._details: dict[str, Any] = {}

    @property
    def problem(self) -> Problem:
        """What kind of target is learned."""
        output = self.task.output
        if output.kind == "regression":
            return "regression"
        return "binary" if len(output.classes) == 2 else "multiclass"

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from `train`; `valid`, where given, only selects.

        Raises:
            DataError: when `train` has no rows or holds a value of the wrong type.
        """
        selecting = self.rows(valid) if valid is not None and len(valid) else None
        self.fit_rows(self.rows(train), selecting, context)

    def rows(self, table: pl.DataFrame) -> Rows:
        """Encode a table with its target and groups."""
        group = self.task.roles.group
        groups = table[group].rank("dense").fill_null(0).to_numpy().astype(np.int64) if group in table.columns else None
        return Rows(matrix=self.encode(table), truth=self.task.truth(table), groups=groups)

    @abc.abstractmethod
    def fit_rows(self, train: Rows, valid: Rows | None, context: FitContext) -> None:
        """As `fit`, on rows whose columns are `self.columns`."""

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Turn rows into a float64 matrix."""
        return self.encoder.encode(table)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, from a list of mappings; a missing key is a missing value.

        Raises:
            DataError: naming the row and column of a value of the wrong type.
        """
        return self.encoder.encode_rows(rows)

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n_rows, n_outputs). A binary model's logits are (0, log odds)."""
        scores = self.scores(array)
        if self.problem == "regression":
            return self.scale.back(scores)
        if scores.shape[1] > 1:
            return single(scores)
        outputs = np.zeros((len(scores), 2), dtype=np.float32)
        outputs[:, 1] = single(scores[:, 0])
        return outputs

    @abc.abstractmethod
    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return raw scores (n, n_scores): log odds of class 1, logits, or numbers on the scale that was learned."""

    def contributions(self, matrix: np.ndarray) -> np.ndarray | None:
        """What each column adds to each raw score, float64 (n, n_scores, n_columns); None where that is not known."""
        return None

    def save(self, folder: Path) -> None:
        """Write `estimator.json` and the model's own files."""
        folder.mkdir(parents=True, exist_ok=True)
        own = self._save(folder)
        content = {
            "kind": self.kind,
            "config": self.config.model_dump(mode="json"),
            "encoding": self.encoding,
            "columns": [asdict(column) for column in self.columns],
            "scale": self.scale.to_json(),
        }
        write_json(folder / "estimator.json", {**content, **own, "details": self._details})

    @classmethod
    def load(cls, task: Tabular, folder: Path) -> Self:
        """Read what `save` wrote."""
        from sanmaru.tasks.tabular.models import config_of

        content = read_json(folder / "estimator.json")
        estimator = cls(task, config_of(content["kind"])(**content["config"]), TrainConfig())
        estimator.columns = tuple(Encoded(**column) for column in content["columns"])
        estimator.scale = Scale(**content["scale"])
        estimator._details = content["details"]
        estimator._restore(folder, content)
        return estimator

    def details(self) -> dict[str, Any]:
        """Return what is worth keeping of the fit: sizes, what was chosen, and the importance of each column."""
        return self._details

    @abc.abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """Write what was learned; return plain values to keep in `estimator.json`."""

    @abc.abstractmethod
    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Read what `_save` wrote and returned."""

    def _begin(self, train: Rows, context: FitContext) -> None:
        """Check the rows and choose the target's scale.

        Raises:
            DataError: when there are no rows, or the target does not allow the scale that the project file names.
        """
        if not len(train):
            raise DataError("there are no rows to train on.")
        if self.problem == "regression":
            wanted: Transform = getattr(self.config, "target_transform", "none")
            self.scale = choose_scale(wanted, train.truth, context.metric.name, heavy_tails=self.heavy_tails)

    def _targets(self, rows: Rows) -> np.ndarray:
        """The target as it is learned: class codes, or numbers on the scale."""
        return self.scale.forth(rows.truth) if self.problem == "regression" else rows.truth

    def _weights(self, rows: Rows) -> np.ndarray | None:
        """Weights float64 (n,) that balance the classes, where the config asks for it."""
        from sanmaru.tasks.tabular.classes import balanced_weights

        if self.problem == "regression" or getattr(self.config, "class_weights", "none") != "balanced":
            return None
        return balanced_weights(rows.truth, len(self.task.output.classes))

    def _value(self, rows: Rows, outputs: np.ndarray, context: FitContext) -> float:
        """The named metric of outputs float32 (n, n_outputs)."""
        from sanmaru.tasks.outputs import softmax

        if self.problem == "regression":
            return context.metric(rows.truth, outputs[:, 0].astype(np.float64))
        return context.metric(rows.truth, softmax(outputs))


def shares(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """Return each column's share of the sum, largest first."""
    total = float(values.sum()) or 1.0
    named = zip(names, values.tolist(), strict=True)
    return {name: cast(float, value) / total for name, value in sorted(named, key=lambda pair: -pair[1])}
