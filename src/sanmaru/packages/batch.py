"""Predicting a file in constant memory: batches in, batches out, the file whole or not at all."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.images.read import UnreadablePicturesError
from sanmaru.packages.package import Package
from sanmaru.packages.sample import Places, Sample, plain_ids, read_sample
from sanmaru.packages.sink import Sink, check_extension, open_sink
from sanmaru.tables.contract import Quarantine, Violation
from sanmaru.tables.roles import ROW_ID
from sanmaru.tables.stream import stream_rows
from sanmaru.tasks.outputs import softmax

BATCH_ROWS = 20_000
BATCH_PICTURES = 256
"""Rows with a picture are a thousand times larger once decoded."""

_VIOLATION_SCHEMA = {
    "row": pl.Int64, "id": pl.String, "column": pl.String, "value": pl.String, "rule": pl.String, "reason": pl.String
}  # fmt: skip


@dataclass(kw_only=True)
class BatchReport:
    """What a batch prediction did."""

    output: Path
    rows: int = 0
    """Rows predicted."""
    quarantined: int = 0
    """Rows that could not be used."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Violations per rule."""
    quarantine_file: Path | None = None


def predict_file(
    package: Package,
    source: Path,
    output: Path,
    *,
    sample: Path | None = None,
    images: Path | None = None,
    probabilities: bool = False,
    round_numbers: bool = False,
    batch_rows: int | None = None,
    encoding: str = "utf-8",
    watch: Callable[[int], None] | None = None,
) -> BatchReport:
    """Predict every row of a file, streaming.

    Rows that cannot be used are counted and written to `<output>.quarantine.csv`, with the reason.

    Args:
        package: The model.
        source: csv, tsv, jsonl, parquet, or a folder of pictures.
        output: csv, tsv, jsonl or parquet by its extension. Holds the id and the predicted column.
        sample: A sample submission. The output then has its columns, its ids in its order, and its types.
        images: Folder that paths of pictures are relative to.
        probabilities: Add a column `<target>_<class>` per class; with a sample of one column, fill it with the
            probability of the second of two classes.
        round_numbers: Round predicted numbers where the sample holds whole ones.
        batch_rows: Rows held at once; 20,000, or 256 where they hold pictures, if not given.
        encoding: Of text files, e.g. `cp949`.
        watch: Called with the number of rows done after every batch.

    Raises:
        DataError: when the input cannot be read, or the output would not match the sample; nothing is written then.
    """
    check_extension(output)
    asked = None
    if sample is not None:
        asked = read_sample(
            sample,
            package.output,
            id_column=package.signature.id,
            probability=probabilities,
            round_numbers=round_numbers,
        )
    signature = package.signature
    if batch_rows is None:
        pictures = any(column.kind == "image" for column in signature.inputs)
        batch_rows = BATCH_PICTURES if pictures else BATCH_ROWS
    # A competition's id column need not be the one that the project file names, or it may name none.
    identifier = asked.id if asked else None if signature.id == ROW_ID else signature.id
    batches = stream_rows(
        source,
        signature.inputs,
        id=identifier,
        missing=signature.missing,
        images=images,
        batch_rows=batch_rows,
        encoding=encoding,
    )
    report = BatchReport(output=output)
    quarantine = output.with_name(output.name + ".quarantine.csv")
    with contextlib.ExitStack() as stack:
        aside = _Aside(stack, quarantine, report)
        predicted = _predicted(package, batches, aside, report, watch)
        if asked is None:
            sink = stack.enter_context(open_sink(output))
            for ids, outputs in predicted:
                sink.write(_table(package, ids, outputs, probabilities))
            if not sink.rows:
                sink.write(_table(package, pl.Series(package.signature.id, [], dtype=pl.String),
                                  package.outputs(pl.DataFrame()), probabilities))  # fmt: skip
        else:
            _write_as_sample(package, asked, predicted, report, stack, batch_rows=batch_rows)
    if report.quarantined:
        report.quarantine_file = quarantine
    else:
        quarantine.unlink(missing_ok=True)  # one of an earlier prediction would tell of other rows
    return report


class _Aside:
    """Writes quarantined rows to their own file, which is opened at the first one."""

    def __init__(self, stack: contextlib.ExitStack, path: Path, report: BatchReport) -> None:
        self._stack, self._path, self._report = stack, path, report
        self._sink: Sink | None = None

    def add(self, quarantine: Quarantine) -> None:
        if not len(quarantine):
            return
        if self._sink is None:
            self._sink = self._stack.enter_context(open_sink(self._path))
        self._sink.write(_violations(quarantine.violations))
        self._report.quarantined += len(quarantine)
        for rule, count in quarantine.counts().items():
            self._report.reasons[rule] = self._report.reasons.get(rule, 0) + count


def _violations(violations: tuple[Violation, ...]) -> pl.DataFrame:
    rows = [(v.row, v.id, v.column, v.value, v.rule, v.reason) for v in violations]
    return pl.DataFrame(rows, schema=_VIOLATION_SCHEMA, orient="row")


def _predicted(
    package: Package,
    batches: Iterator[tuple[pl.DataFrame, Quarantine]],
    aside: _Aside,
    report: BatchReport,
    watch: Callable[[int], None] | None,
) -> Iterator[tuple[pl.Series, np.ndarray]]:
    for table, quarantine in batches:
        aside.add(quarantine)
        if len(table):
            first = report.rows + report.quarantined - len(quarantine)
            rows = np.setdiff1d(np.arange(first, first + len(table) + len(quarantine)), _rows_of(quarantine))
            table, outputs, unreadable = _outputs(package, table, rows)
            aside.add(unreadable)
            yield table[table.columns[0]], outputs  # the id always stands first
            report.rows += len(table)
        if watch is not None:
            watch(report.rows + report.quarantined)


def _rows_of(quarantine: Quarantine) -> list[int]:
    return [violation.row for violation in quarantine.violations]


def _outputs(package: Package, table: pl.DataFrame, rows: np.ndarray) -> tuple[pl.DataFrame, np.ndarray, Quarantine]:
    """Predict a batch. That a picture cannot be read shows only now; its row is set aside and the others go on.

    Args:
        package: The model.
        table: The batch.
        rows: Position of each row in the source, (n,).
    """
    violations: list[Violation] = []
    while True:
        try:
            return table, package.outputs(table), Quarantine(tuple(violations))
        except UnreadablePicturesError as error:
            for place, reason in sorted(error.rows.items()):
                value = table[error.column][place]
                violations.append(
                    Violation(
                        row=int(rows[place]) if place < len(rows) else place,
                        id=str(table[table.columns[0]][place]),
                        column=error.column,
                        value=value[:200] if isinstance(value, str) else f"{len(value)} bytes",
                        rule="unreadable-image",
                        reason=reason,
                    )
                )
            keep = np.setdiff1d(np.arange(len(table)), list(error.rows))
            table, rows = table[keep], rows[keep[keep < len(rows)]]


def _table(package: Package, ids: pl.Series, outputs: np.ndarray, probabilities: bool) -> pl.DataFrame:
    """One batch as it is written: id, prediction (of several targets each), and a column per class where asked for."""
    output = package.output
    names = (ids.name, output.name, *package.task.roles.parts, *output.quantile_names)
    table = package.task.predictions(ids, outputs).select(names)
    if output.kind == "regression":
        # The 32 bits that it was computed with: a text file then holds 0.1 and not 0.10000000149.
        table = table.with_columns(pl.col(output.name, *output.quantile_names).cast(pl.Float32))
    if probabilities and output.kind == "classification":
        chances = softmax(outputs)
        table = table.with_columns(
            pl.Series(f"{output.name}_{label}", chances[:, code].astype(np.float32))
            for code, label in enumerate(output.classes)
        )
    return table


def _write_as_sample(
    package: Package,
    sample: Sample,
    predicted: Iterator[tuple[pl.Series, np.ndarray]],
    report: BatchReport,
    stack: contextlib.ExitStack,
    *,
    batch_rows: int,
) -> None:
    """Put predictions where the sample has their ids, then write them in the sample's order.

    They wait on disk, in a file of the shape (ids, predicted columns), so that memory holds only the ids.
    """
    parent = report.output.parent
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".predict-", dir=parent)))
    shape = (len(sample.ids), len(sample.predicted))
    held = np.lib.format.open_memmap(folder / "values.npy", mode="w+", dtype=np.float64, shape=shape)
    places = Places(sample)
    for ids, outputs in predicted:
        where = places.of(ids)
        held[where[where >= 0]] = _values(package, sample, ids, outputs)[where >= 0]
    reasons = ", ".join(f"{rule} {count}" for rule, count in sorted(report.reasons.items()))
    places.check(report.quarantined, reasons)
    sink = stack.enter_context(open_sink(report.output))
    ids = sample.ids if sample.types else plain_ids(sample.ids)
    for start in range(0, shape[0], batch_rows):
        part = ids.slice(start, batch_rows)
        sink.write(_as_sample(package, sample, part, held[start : start + batch_rows]))


def _values(package: Package, sample: Sample, ids: pl.Series, outputs: np.ndarray) -> np.ndarray:
    """What to keep of a batch, float64 (n, predicted columns): numbers, probabilities or class codes."""
    package.task.predictions(ids, outputs)  # refuses outputs that are not finite
    match sample.form:
        case "number":
            return outputs[:, :1].astype(np.float64)
        case "label":
            return np.asarray(outputs.argmax(axis=1)[:, None], dtype=np.float64)
        case "probability":
            return softmax(outputs)[:, 1:]
        case "probabilities":
            return softmax(outputs)[:, list(sample.classes)]


def _as_sample(package: Package, sample: Sample, ids: pl.Series, values: np.ndarray) -> pl.DataFrame:
    from sanmaru.tasks.targets import labels_of

    columns = {sample.id: ids.rename(sample.id)}
    for number, name in enumerate(sample.predicted):
        found = values[:, number]
        if sample.form == "label":
            column = labels_of(found.astype(np.int64), package.output)
            if sample.true_text is not None:
                column = _spelled(column, sample.true_text)
        elif sample.whole_numbers:
            column = pl.Series(found.round(), dtype=pl.Int64, strict=False)
        else:
            column = pl.Series(found.astype(np.float32))
        columns[name] = column.rename(name)
    table = pl.DataFrame([columns[name] for name in sample.columns])
    return table.cast(sample.types) if sample.types else table  # type: ignore[arg-type]


def _spelled(column: pl.Series, true_text: str) -> pl.Series:
    """Write booleans as texts, in the spelling of the sample."""
    false_text = {"true": "false", "TRUE": "FALSE"}.get(true_text, "False")
    return column.replace_strict([True, False], [true_text, false_text], return_dtype=pl.String)
