"""The two protocols of the house: `Task`, what is learned, and `Estimator`, one way to learn it.

Adding a task is adding one module that satisfies `Task`; adding a model is adding one `Estimator`. Neither knows
anything of folds, tracking or serving.

Predictions are tables keyed by the id column. For a classification target `t` with k classes they hold `t` (the
predicted label, in the target's own type), `t.probs` and `t.logits` (fixed-size arrays of k float32, classes in the
order of `Task.outputs`); for a regression target `t` they hold `t` (float64) and, where quantiles are asked for, one
column each: `t.q10` (float64) is what a tenth of such rows lie below. Several targets make one joint target, whose name
is `t`; each then has a column of labels besides.

Between encoding and prediction table lie *outputs*: a float32 array (n_rows, n_outputs) of logits, with
softmax(logits) the probabilities, or of numbers for regression: the prediction, then its quantiles, rising.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sanmaru.tables.contract import Column
from sanmaru.tables.roles import Roles

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.html.blocks import Section
    from sanmaru.metrics.base import Metric


@dataclass(frozen=True, kw_only=True)
class Output:
    """One predicted column."""

    name: str
    kind: str
    """`classification` or `regression`."""
    classes: tuple[str, ...] = ()
    """Labels as text, sorted or in the order that the project file gives; the order of the columns of logits and
    probabilities."""
    dtype: str = "string"
    """Type of the target in the data: `string`, `integer`, `boolean` or `float`; labels are given back in it."""
    quantiles: tuple[float, ...] = ()
    """Levels in (0, 1), rising, that a regression predicts beside its number."""

    @property
    def width(self) -> int:
        """Columns of the outputs array: one per class, or the number and its quantiles."""
        return len(self.classes) if self.kind == "classification" else 1 + len(self.quantiles)

    @property
    def quantile_names(self) -> tuple[str, ...]:
        """Columns of the quantiles in a prediction table: `t.q10` for 0.1, `t.q2.5` for 0.025."""
        return tuple(f"{self.name}.q{100 * level:.10g}" for level in self.quantiles)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        lists = {"classes": list(self.classes), "quantiles": list(self.quantiles)}
        return {"name": self.name, "kind": self.kind, "dtype": self.dtype, **lists}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Output:
        """Rebuild an output from `to_json`."""
        return cls(**{**value, "classes": tuple(value["classes"]), "quantiles": tuple(value.get("quantiles", ()))})


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a model takes and gives: enough to check a row, draw a form and describe the service."""

    task: str
    id: str
    inputs: tuple[Column, ...]
    outputs: tuple[Output, ...]
    missing: tuple[str, ...] = ()
    """Cell texts that mean "no value"."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return {
            "task": self.task,
            "id": self.id,
            "inputs": [column.to_json() for column in self.inputs],
            "outputs": [output.to_json() for output in self.outputs],
            "missing": list(self.missing),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signature:
        """Rebuild a signature from `to_json`."""
        return cls(
            task=value["task"],
            id=value["id"],
            inputs=tuple(Column.from_json(column) for column in value["inputs"]),
            outputs=tuple(Output.from_json(output) for output in value["outputs"]),
            missing=tuple(value["missing"]),
        )


@dataclass(kw_only=True)
class FitContext:
    """What an estimator needs to know of where and how it is fitted."""

    folder: Path
    """The fold's own folder; checkpoints and learning curves go here."""
    cache: Path
    """Shared by all folds and runs; holds only what can be made again."""
    seed: int
    metric: Metric
    """The named metric that selects the best epoch or number of trees."""
    threads: int = 1
    """Cores this fit may use."""
    device: str = "cpu"
    resume: bool = False
    """Whether a checkpoint in `folder`, where there is one, is continued."""
    deadline_s: float | None = None
    """`time.monotonic()` after which the fit should end with what it has."""
    _started: float = field(default_factory=time.monotonic)

    def log(self, step: int, **metrics: float) -> None:
        """Append one point of the learning curves. `step` counts epochs (or trees) from 1."""
        self._append({"kind": "metrics", "step": step, **{name: float(v) for name, v in metrics.items()}})

    def progress(self, done: int, total: int, unit: str = "epoch", **shown: float) -> None:
        """Tell a watcher how far the fit is."""
        self._append({"kind": "progress", "done": done, "total": total, "unit": unit, **shown})

    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() > self.deadline_s

    def note(self, text: str) -> None:
        """Record a sentence for the log and the report."""
        self._append({"kind": "note", "text": text})

    def _append(self, event: dict[str, Any]) -> None:
        event["at_s"] = round(time.monotonic() - self._started, 4)
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(event) + "\n")


class Estimator(Protocol):
    """One way to solve a task. Constructed by `Task.estimator`, or from a folder by `Task.load_estimator`."""

    encoding: str
    """Estimators with equal encodings turn a row into the same array, so that k folds encode it once."""

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from `train`; `valid`, where given, only selects (best epoch, number of trees)."""
        ...

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Turn rows into the array that `forward` takes. Targets need not be there."""
        ...

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n_rows, n_outputs)."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything `Task.load_estimator` needs. Nothing is pickled."""
        ...

    def details(self) -> dict[str, Any]:
        """Plain values worth keeping with the run: parameters counted, best step, honest fraction, importance."""
        ...


@runtime_checkable
class RowEncoder(Protocol):
    """An estimator that also encodes plain rows without making a table first: the online path."""

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, from a list of mappings; a missing key is a missing value.

        Raises:
            DataError: naming the row and column of a value of the wrong type.
        """
        ...


class Task(Protocol):
    """What is learned: how rows become samples, how predictions are scored and shown."""

    name: str
    roles: Roles
    metrics: tuple[str, ...]
    """Names of the metrics that `score` gives, the usual main one first."""
    outputs: tuple[Output, ...]

    @classmethod
    def open(cls, table: pl.DataFrame, roles: Roles, **options: Any) -> Task:
        """Learn from the training table what every fold must agree on: classes, kinds of features.

        Raises:
            DataError: when the target cannot be learned from (missing, one class, not numbers ...).
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which `from_json` makes the same task."""
        ...

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Task:
        """Rebuild a task from `to_json`."""
        ...

    def signature(self) -> Signature:
        """Say what a model of this task takes and gives."""
        ...

    def estimator(self, model: Any, train: Any) -> Estimator:
        """Make an unfitted estimator from a model config and a train config."""
        ...

    def load_estimator(self, folder: Path) -> Estimator:
        """Read what `Estimator.save` wrote."""
        ...

    def truth(self, table: pl.DataFrame) -> np.ndarray:
        """Return the target: int64 class codes (n,) or float64 numbers (n,)."""
        ...

    def scored(self, predictions: pl.DataFrame) -> np.ndarray:
        """Return what metrics take: probabilities float64 (n, n_classes), or numbers float64 (n,)."""
        ...

    def predictions(self, ids: pl.Series, outputs: np.ndarray) -> pl.DataFrame:
        """Make a prediction table from outputs (see the module's first lines)."""
        ...

    def outputs_of(self, predictions: pl.DataFrame) -> np.ndarray:
        """Return the outputs, float32 (n, n_outputs), from which a prediction table was made."""
        ...

    def combine(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Average the outputs of several models: mean probabilities (as logits) or mean numbers."""
        ...

    def score(self, table: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, float]:
        """Return every metric of `metrics`. Rows are matched by id.

        Raises:
            DataError: when ids do not match, with counts.
        """
        ...

    def explore(self, table: pl.DataFrame, test: pl.DataFrame | None) -> Iterable[Section]:
        """What the data report shows for this task beyond what every table gets."""
        ...

    def diagnose(self, table: pl.DataFrame, predictions: pl.DataFrame) -> Iterable[Section]:
        """Error analysis: confusion, calibration, worst mistakes. `predictions` are out-of-fold."""
        ...
