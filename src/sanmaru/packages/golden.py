"""Golden rows: inputs kept in the package with the outputs they gave when it was written.

A package that gives other answers on another machine, with other library versions or after a bad copy, is told
from a good one before it answers anybody.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.errors import PackageError
from sanmaru.tasks.outputs import softmax

if TYPE_CHECKING:
    from sanmaru.packages.package import Package

MOST_ROWS = 16


def write_golden(package: Package, rows: pl.DataFrame) -> None:
    """Keep at most 16 rows, pictures as bytes, and the outputs that the package gives for them.

    Raises:
        PackageError: when there is no row, or a column of the signature is absent.
    """
    names = list(package.row_columns)
    absent = [name for name in names if name not in rows.columns]
    if not len(rows) or absent:
        told = f"lack {', '.join(absent)}" if absent else "are empty"
        raise PackageError(f"the golden rows {told}; give up to {MOST_ROWS} rows as the model was trained on.")
    rows = rows.head(MOST_ROWS).select(names)
    for column in package.signature.inputs:
        if column.kind == "image" and rows[column.name].dtype != pl.Binary:
            pictures = [Path(path).read_bytes() for path in rows[column.name].to_list()]
            rows = rows.with_columns(pl.Series(column.name, pictures, dtype=pl.Binary))
    folder = package.folder / "golden"
    folder.mkdir()
    rows.write_parquet(folder / "rows.parquet")
    outputs = package.outputs(rows)
    width = outputs.shape[1]
    pl.DataFrame({"outputs": pl.Series(outputs, dtype=pl.Array(pl.Float32, width))}).write_parquet(
        folder / "outputs.parquet"
    )


def golden_rows(package: Package) -> pl.DataFrame:
    """The golden input rows: usable as examples for a form, or to warm a model up."""
    return pl.read_parquet(package.folder / "golden" / "rows.parquet")


def compare_golden(package: Package, tolerance: float) -> float:
    """Recompute the golden rows as a table and as plain rows; return the largest difference found.

    Raises:
        PackageError: when it is above `tolerance`, or the rows can no longer be predicted.
    """
    rows = golden_rows(package)
    stored = pl.read_parquet(package.folder / "golden" / "outputs.parquet")["outputs"].to_numpy()
    paths = {
        "as a table": package.outputs(rows),
        "as single rows": package.forward(package.encode_rows(rows.to_dicts())),
    }
    worst = 0.0
    for path, outputs in paths.items():
        difference = _difference(package, np.asarray(stored).reshape(len(rows), -1), outputs)
        row = int(difference.argmax())
        if not difference[row] <= tolerance:
            raise PackageError(
                f"the package {package.folder} does not give its golden answers: golden row {row} predicted {path} "
                f"is off by {difference[row]:.3g}, allowed is {tolerance:g}. The libraries or the machine may differ "
                "from those it was trained with; compare their versions, or train again here."
            )
        worst = max(worst, float(difference[row]))
    return worst


def _difference(package: Package, stored: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Largest difference per row (n,): in probability, or relative for numbers (absolute below 1)."""
    if stored.shape != found.shape:
        raise PackageError(
            f"the package {package.folder} gives outputs of shape {found.shape} for its golden rows, "
            f"{stored.shape} were stored."
        )
    if package.output.kind == "classification":
        return np.asarray(np.abs(softmax(stored) - softmax(found)).max(axis=1))
    return np.asarray((np.abs(stored - found) / np.maximum(np.abs(stored), 1.0)).max(axis=1))
