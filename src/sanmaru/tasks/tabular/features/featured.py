"""Any estimator of tables behind feature steps.

A row is encoded once for all folds, as without steps. What a fold's steps learned then makes more columns of the
encoded row, and the estimator sees all of them as a wider matrix; it knows nothing of the steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.files import read_json, whole, write_json
from sanmaru.tasks.tabular.features.rows import Known, Step
from sanmaru.tasks.tabular.features.target_encoding import inside
from sanmaru.tasks.tabular.features.tfidf import TermCounter
from sanmaru.tasks.tabular.models import load_model
from sanmaru.tasks.tabular.schema import Encoded

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.estimator import BaseTabularEstimator, Rows
    from sanmaru.tasks.tabular.task import Tabular

VERSION = 1


class Featured:
    """An estimator whose rows pass through the task's feature steps first."""

    def __init__(self, task: Tabular, inner: BaseTabularEstimator) -> None:
        self.task = task
        self.inner = inner
        """The estimator behind the steps."""
        self.counter = TermCounter([one for terms in task.steps.terms for one in terms], task.schema.missing)
        self.encoding = task.encoding + self.counter.name
        self.steps: list[Step] = []
        self.selects: bool = getattr(inner, "selects", True)
        self.names: list[tuple[str, ...]] = []
        """The columns of each step, as the inner estimator knows them."""

    @property
    def threads(self) -> int:
        """Cores used to predict large batches."""
        return self.inner.threads

    @threads.setter
    def threads(self, count: int) -> None:
        self.inner.threads = count

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn the steps and then the estimator from `train`; `valid` only selects, and passes the learned steps.

        Raises:
            DataError: when `train` has no rows or holds a value of the wrong type.
        """
        if not len(train):
            raise DataError("there are no rows to train on.")
        self.steps = self.task.steps.make(self.task.schema)
        rows = self.inner.rows(train)
        known = self._known(rows, context.seed)
        matrix = self._counted(rows.matrix, train)
        made = [_finite(step.fit(matrix, known)) for step in self.steps]
        self.name_columns([step.columns for step in self.steps])
        selecting = None
        if valid is not None and len(valid):
            held = self.inner.rows(valid)
            selecting = replace(held, matrix=self.widen(self._counted(held.matrix, valid)))
        self.inner.fit_rows(replace(rows, matrix=np.concatenate([rows.matrix, *made], axis=1)), selecting, context)

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Turn rows into a float64 matrix: the task's encoding, and counts of terms where a step asks for them."""
        return self._counted(self.task.encoder.encode(table), table)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, from a list of mappings; a missing key is a missing value.

        Raises:
            DataError: naming the row and column of a value of the wrong type.
        """
        matrix = self.task.encoder.encode_rows(rows)
        return np.concatenate([matrix, self.counter.rows(rows)], axis=1) if self.counter.width else matrix

    def widen(self, array: np.ndarray) -> np.ndarray:
        """What the inner estimator's `forward` takes, of encoded rows: the encoding and the steps' columns."""
        made = [_finite(step.apply(array)) for step in self.steps]
        return np.concatenate([array[:, : self.task.encoder.width], *made], axis=1)

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n_rows, n_outputs)."""
        return self.inner.forward(self.widen(array))

    def step_columns(self) -> list[tuple[str, range]]:
        """Each step's name, and where its columns stand in what `widen` gives."""
        out: list[tuple[str, range]] = []
        start = self.task.encoder.width
        for config, names in zip(self.task.steps.configs, self.names, strict=True):
            out.append((config.step, range(start, start + len(names))))
            start += len(names)
        return out

    def save(self, folder: Path) -> None:
        """Write `estimator.json`, `steps.npz` (plain arrays), and the inner estimator in `inner/`."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {
            f"{place}.{name}": values for place, step in enumerate(self.steps) for name, values in step.arrays().items()
        }
        with whole(folder / "steps.npz") as beside, beside.open("wb") as handle:
            np.savez(handle, **arrays)
        write_json(
            folder / "estimator.json",
            {"kind": "featured", "version": VERSION, "encoding": self.task.encoding, "columns": self.names},
        )
        self.inner.save(folder / "inner")

    @classmethod
    def load(cls, task: Tabular, folder: Path) -> Featured:
        """Read what `save` wrote."""
        content = read_json(folder / "estimator.json")
        if content["version"] != VERSION:
            raise DataError(f"{folder} was written by another version of Sanmaru ({content['version']}). Train anew.")
        estimator = cls(task, load_model(task, folder / "inner"))
        estimator.steps = task.steps.make(task.schema)
        with np.load(folder / "steps.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        for place, step in enumerate(estimator.steps):
            step.restore(inside(arrays, place))
        estimator.name_columns([tuple(names) for names in content["columns"]])
        return estimator

    def details(self) -> dict[str, Any]:
        """What the inner estimator tells, and the columns that each step made."""
        steps = [
            {"step": config.step, "columns": list(names)}
            for config, names in zip(self.task.steps.configs, self.names, strict=True)
        ]
        return {**self.inner.details(), "steps_made": steps}

    def _counted(self, matrix: np.ndarray, table: pl.DataFrame) -> np.ndarray:
        return np.concatenate([matrix, self.counter.table(table)], axis=1) if self.counter.width else matrix

    def _known(self, rows: Rows, seed: int) -> Known:
        """What the steps may learn from: for two classes whether a row is of the second, for more each class."""
        output, truth = self.task.output, rows.truth
        names: tuple[str, ...]
        if output.kind == "regression":
            targets, names = truth.astype(np.float64)[:, None], (output.name,)
        elif len(output.classes) == 2:
            targets, names = (truth == 1).astype(np.float64)[:, None], (f"share of {output.classes[1]}",)
        else:
            targets = (truth[:, None] == np.arange(len(output.classes))).astype(np.float64)
            names = tuple(f"share of {label}" for label in output.classes)
        number = output.kind == "regression"
        return Known(targets=targets, names=names, number=number, groups=rows.groups, seed=seed)

    def name_columns(self, made: Sequence[Sequence[str]]) -> None:
        """Tell the inner estimator of the columns, by names that no other column has."""
        own = self.task.schema.encoded
        taken = {column.name for column in own} | {column.source for column in own}
        self.names = []
        for names in made:
            unique: list[str] = []
            for name in names:
                while name in taken:
                    name += "'"
                taken.add(name)
                unique.append(name)
            self.names.append(tuple(unique))
        self.inner.columns = (*own, *(Encoded(name=name, source=name) for names in self.names for name in names))


def _finite(columns: np.ndarray) -> np.ndarray:
    """Infinite numbers count as missing, as in the encoding of rows."""
    return np.where(np.isfinite(columns), columns, np.nan)
