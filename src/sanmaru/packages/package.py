"""A model package: a folder that predicts without the project it came from.

  manifest.json         format, version of Sanmaru, SHA-256 of every other file
  signature.json        what goes in and what comes out
  task.json             classes and kinds of features
  card.json             what the model is for and how good it is
  combine.json          how the outputs of estimators (or members) become one
  estimators/0 ..       one per fold, or
  members/0 ..          packages, in an ensemble
  golden/               a few input rows and the outputs they must give
  evaluation.parquet    id, truth, fold and out-of-fold predictions, for comparison at promotion

Nothing in it is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError, PackageError
from sanmaru.packages.combine import combine
from sanmaru.packages.manifest import verify
from sanmaru.packages.rows import check_names, table_of_rows, typed_table
from sanmaru.tables.roles import ROW_ID
from sanmaru.tasks.base import Estimator, Output, RowEncoder, Signature, Task
from sanmaru.tasks.find import task_from_json
from sanmaru.tasks.outputs import softmax
from sanmaru.tasks.targets import typed_classes

Encoded = tuple[np.ndarray, ...]
"""Rows ready for `forward`: one array per distinct encoding, all with the same first dimension."""

Forward = Callable[[Encoded], np.ndarray]


class Package:
    """A loaded model package. It holds no state that predicting changes.

    Example:
        >>> package = Package.load("runs/20261121-024500-brave-otter/package")      # doctest: +SKIP
        >>> package.predict(frame)                                                  # doctest: +SKIP
    """

    def __init__(self, folder: Path, *, fingerprint: str, threads: int, encoders: dict[str, Estimator]) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        """SHA-256 of the manifest, which holds the hash of every file."""
        self.signature = Signature.from_json(_read(folder / "signature.json"))
        self.card: dict[str, Any] = _read(folder / "card.json")
        self.task: Task = task_from_json(_read(folder / "task.json"))
        self.combination: dict[str, Any] = _read(folder / "combine.json")
        self.members: tuple[Package, ...] = ()
        self.estimators: tuple[Estimator, ...] = ()
        self._encoders = encoders
        """The first estimator of each distinct encoding, shared with the members of an ensemble."""
        self.row_columns: tuple[str, ...] = getattr(
            self.task, "golden_columns", tuple(column.name for column in self.signature.inputs)
        )
        """Columns of a row: the inputs, or for a model of series those of a window that travels by itself."""
        self._names = frozenset(self.row_columns)
        members = numbered(folder / "members")
        if members:
            self.members = tuple(
                Package(member, fingerprint=fingerprint, threads=threads, encoders=encoders) for member in members
            )
            self._parts: list[Forward] = [member.forward for member in self.members]
        else:
            self.estimators = tuple(self.task.load_estimator(part) for part in numbered(folder / "estimators"))
            self._parts = [self._part(estimator, threads) for estimator in self.estimators]
        if not self._parts:
            raise PackageError(f"{folder} holds neither estimators nor members.")
        # Looked up once: asking a protocol takes longer than encoding a row.
        self._row_encoders = [e.encode_rows if isinstance(e, RowEncoder) else None for e in encoders.values()]
        self._labels = typed_classes(self.output).to_list() if self.output.kind == "classification" else []

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1) -> Package:
        """Read a package after checking that every file is as it was written.

        Args:
            folder: The package.
            threads: Cores that a prediction may use.

        Raises:
            PackageError: when the folder is no package, is altered, or was written by a newer version.
        """
        folder = Path(folder)
        return cls.open(folder, fingerprint=verify(folder), threads=threads)

    @classmethod
    def open(cls, folder: Path, *, fingerprint: str, threads: int = 1) -> Package:
        """Read a package whose files the caller has just checked or written.

        Raises:
            PackageError: when a file is missing or unreadable.
        """
        try:
            return cls(folder, fingerprint=fingerprint, threads=threads, encoders={})
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{folder} cannot be read as a model package: {type(error).__name__}: {error}"
            raise PackageError(message) from error

    @property
    def output(self) -> Output:
        """The predicted column."""
        return self.signature.outputs[0]

    def evaluation(self) -> pl.DataFrame:
        """Out-of-fold predictions with `truth` and `fold` of every row that was validated."""
        return pl.read_parquet(self.folder / "evaluation.parquet")

    def predict(self, frame: Any) -> Any:
        """Predict every row of a table.

        Args:
            frame: A polars or pandas frame with the columns of the signature; pictures as paths or bytes. Other
                columns are ignored. Rows are named by the id column, or numbered where the frame has none.

        Returns:
            The predictions in the order of the rows, the same kind of frame: id and predicted column, for classes
            also `<target>.probs` and `<target>.logits`, and for quantiles `<target>.q10` and so on.

        Raises:
            DataError: when a column is missing, or rows do not fit the signature (with counts and examples).
        """
        from sanmaru.packages.forecast import forecasts
        from sanmaru.tables.frames import like, to_polars

        if forecasts(self):
            raise DataError("this package forecasts series: use forecast, with the history of each series.")
        table = to_polars(frame)
        typed, quarantine = typed_table(table, self.signature)
        if len(quarantine):
            raise DataError(
                f"{len(quarantine)} of {len(table)} rows do not fit the model's signature: "
                + "; ".join(f"row {v.row}, {v.column} {v.value!r}: {v.reason}" for v in quarantine.violations[:5])
                + ". Mend or leave out these rows."
            )
        return like(frame, self.predict_table(typed))

    def forecast(self, frame: Any, origins: Any = None) -> Any:
        """Forecast every series of a long table.

        Args:
            frame: A polars or pandas frame with the columns of the signature, or with a long table's own `series` and
                `time`: at least a lookback of history per series, and where the model takes columns that are known in
                advance also the rows of the horizon, targets left empty. Times without a zone are local to the model's.
            origins: A moment or several to forecast from, for every series; each series' last observed step where None.

        Returns:
            The same kind of frame, one row per series, origin and step ahead: `series`, `origin`, `horizon` (from 1),
            `time` (UTC) and per target `t` the number, `t.q10` and so on.

        Raises:
            DataError: when the package is not of task forecasting, a column is missing, rows do not fit (with counts),
                a history is too short (naming the series) or columns known in advance are missing after the origin.
        """
        from sanmaru.packages.forecast import forecast
        from sanmaru.tables.frames import like, to_polars

        found = forecast(self, to_polars(frame), origins)
        if len(found.quarantine):
            raise DataError(
                f"{len(found.quarantine)} rows do not fit the model's series: "
                + "; ".join(f"row {v.row}, {v.column} {v.value!r}: {v.reason}" for v in found.quarantine.violations[:5])
                + ". Mend or leave out these rows."
            )
        return like(frame, found.table)

    def predict_table(self, table: pl.DataFrame) -> pl.DataFrame:
        """Predict rows that already have the types of the signature, as `stream_rows` gives them."""
        name = self.signature.id
        ids = table[name] if name in table.columns else pl.Series(ROW_ID, np.arange(len(table)), dtype=pl.Int64)
        return self.task.predictions(ids, self.outputs(table))

    def outputs(self, table: pl.DataFrame) -> np.ndarray:
        """Return outputs float32 (n, n_outputs) of rows that have the types of the signature."""
        if not len(table):
            return np.empty((0, getattr(self.task, "output_width", self.output.width)), dtype=np.float32)
        return self.forward(tuple(estimator.encode(table) for estimator in self._encoders.values()))

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Encoded:
        """Turn plain rows into what `forward` takes: the online path.

        A row lacking an input is taken as missing that value, unless one of its other keys looks like a slip for it.

        Raises:
            DataError: naming the row and column of a value that does not fit.
        """
        for row in rows:
            if not row.keys() >= self._names:
                check_names(row, self.signature)
        arrays: list[np.ndarray] = []
        table: pl.DataFrame | None = None
        for encode, estimator in zip(self._row_encoders, self._encoders.values(), strict=True):
            if encode is not None:
                arrays.append(encode(rows))
                continue
            if table is None:
                table = table_of_rows(rows, self.signature)
            arrays.append(estimator.encode(table))
        return tuple(arrays)

    def forward(self, encoded: Encoded) -> np.ndarray:
        """Return outputs float32 (n, n_outputs): logits, or numbers for regression."""
        return combine(self.combination, [part(encoded) for part in self._parts], self.output.kind)

    def answers(self, outputs: np.ndarray) -> list[dict[str, Any]]:
        """Return one answer per row, ready to be written as JSON.

        `{"income": ">50K", "probabilities": {"<=50K": 0.1, ">50K": 0.9}}` for classes, `{"price": 12.3}` for
        numbers, with `"price.q10": 9.8` beside it for each quantile. A joint class of several targets is followed by
        the label of each target, by its own probabilities.
        """
        output = self.output
        own = getattr(self.task, "answers", None)
        if own is not None:
            found: list[dict[str, Any]] = own(outputs)
            return found
        if output.kind == "regression":
            if not output.quantiles:
                return [{output.name: value} for value in outputs[:, 0].astype(np.float64).tolist()]
            names = (output.name, *output.quantile_names)
            return [dict(zip(names, values, strict=True)) for values in outputs.astype(np.float64).tolist()]
        probabilities = softmax(outputs)
        labels = self._labels
        answers = [
            {output.name: labels[code], "probabilities": dict(zip(output.classes, row, strict=True))}
            for code, row in zip(probabilities.argmax(axis=1).tolist(), probabilities.tolist(), strict=True)
        ]
        joint = self.task.roles.joint
        if joint is not None and self.task.roles.parts:
            own = [marginal.argmax(axis=1) for marginal in joint.marginals(probabilities)]
            columns = [target.labels_of(codes).to_list() for target, codes in zip(joint.targets, own, strict=True)]
            for answer, told in zip(answers, zip(*columns, strict=True), strict=True):
                answer.update(zip(joint.names, told, strict=True))
        return answers

    def golden_test(self, tolerance: float = 1e-4) -> float:
        """Predict the golden rows by both paths and compare with what they gave when the package was written.

        Args:
            tolerance: Largest difference allowed, in probability or, for numbers, relative to their size.

        Returns:
            The largest difference found.

        Raises:
            PackageError: when an answer differs by more, naming the row.
        """
        from sanmaru.packages.golden import compare_golden

        return compare_golden(self, tolerance)

    def _part(self, estimator: Estimator, threads: int) -> Forward:
        if hasattr(estimator, "threads"):
            estimator.threads = threads
        self._encoders.setdefault(estimator.encoding, estimator)
        position = list(self._encoders).index(estimator.encoding)
        return lambda encoded: estimator.forward(encoded[position])


def numbered(folder: Path) -> list[Path]:
    """The folders 0, 1, 2 ... below `folder`, in order."""
    return sorted((path for path in folder.glob("[0-9]*") if path.is_dir()), key=lambda path: int(path.name))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
