"""`sanmaru predict`: a file in, a file of predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sanmaru.packages.package import Package


def predict(
    model: Annotated[
        str, typer.Argument(help="A run (its id, a part of it, `last`), NAME@ALIAS, NAME@VERSION, or a package folder.")
    ],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="csv, tsv, jsonl, parquet or a folder of pictures.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: csv, tsv, jsonl or parquet.")],
    sample: Annotated[
        Path | None, typer.Option(help="Sample submission; the output takes its columns, ids, order and types.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder that the paths of pictures are relative to.")] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add a column per class; with a sample, fill it with probabilities.")
    ] = False,
    round_numbers: Annotated[
        bool, typer.Option("--round", help="Round predicted numbers where the sample holds whole ones.")
    ] = False,
    batch_rows: Annotated[
        int | None, typer.Option(min=1, help="Rows held in memory at once; 20000, or 256 pictures.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of text files, e.g. cp949.")] = "utf-8",
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a forecaster: a time to forecast from, for every series; the last observed where absent."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = 1,
    project: Annotated[Path, typer.Option(help="Project folder; not needed for a package folder.")] = Path(),
) -> None:
    """Predict a file with a run or a registered model, streaming.

    Rows that cannot be used are counted and written to OUTPUT.quarantine.csv. With --sample nothing is written
    unless the output matches the sample.

    sanmaru predict last test.csv -o out.csv --sample sample_submission.csv

    sanmaru predict houses@production new.parquet -o prices.parquet

    A forecaster takes a long table with the history of each series and writes one row per series and step ahead.

    sanmaru predict air@production history.csv -o forecast.csv --origin 2026-11-21T08:00
    """
    from sanmaru.packages.batch import predict_file
    from sanmaru.packages.sink import check_extension

    # Before anything slow: what is surely wrong is told at once.
    check_source(source)
    check_extension(output)
    package = _package(model, project, threads)
    from sanmaru.packages.forecast import forecasts

    if forecasts(package):
        _forecast(package, source, output, origin, encoding)
        return
    if origin:
        from sanmaru.errors import DataError

        raise DataError("--origin is for forecasters, and this model predicts rows. Leave it out.")
    progress = _Progress()
    report = predict_file(
        package,
        source,
        output,
        sample=sample,
        images=images,
        probabilities=probabilities,
        round_numbers=round_numbers,
        batch_rows=batch_rows,
        encoding=encoding,
        watch=progress.show,
    )
    progress.end()
    if report.quarantined:
        reasons = ", ".join(f"{rule} {count}" for rule, count in sorted(report.reasons.items()))
        typer.echo(
            f"{report.quarantined} rows could not be used ({reasons}); they are listed in {report.quarantine_file}",
            err=True,
        )
    typer.echo(f"predicted {report.rows} rows into {report.output}")


def _forecast(package: Package, source: Path, output: Path, origins: list[str] | None, encoding: str) -> None:
    from sanmaru.packages.forecast import forecast_file

    report = forecast_file(package, source, output, origins=origins or None, encoding=encoding)
    if report.quarantined:
        reasons = ", ".join(f"{rule} {count}" for rule, count in sorted(report.reasons.items()))
        typer.echo(
            f"{report.quarantined} rows could not be used ({reasons}); they are listed in {report.quarantine_file}",
            err=True,
        )
    typer.echo(f"forecast {report.rows} rows for {report.windows} series and origins into {report.output}")


def check_source(source: Path) -> None:
    """Refuse an input that is not there.

    Raises:
        DataError: naming it.
    """
    from sanmaru.errors import DataError

    if not source.exists():
        raise DataError(f"there is no file or folder {source} to predict.")


def _package(model: str, project: Path, threads: int) -> Package:
    from sanmaru.packages.manifest import NAME
    from sanmaru.packages.package import Package

    if (Path(model) / NAME).is_file():
        return Package.load(model, threads=threads)
    from sanmaru.errors import RunError
    from sanmaru.experiments.runs import Run
    from sanmaru.project import Project

    loaded = Project.load(project)
    if "@" in model:
        from sanmaru.registry.models import load_model

        return load_model(model, loaded, threads=threads)
    run = Run.load(loaded, model)
    if run.status != "done":
        raise RunError(f"run {run.id} is {run.status}, not done. Finish it with: sanmaru train --resume {run.id}")
    return Package.load(run.package_folder, threads=threads)


class _Progress:
    """Rows done and rows per second, on one line of a terminal."""

    def __init__(self) -> None:
        import sys
        import time

        self._clock = time.monotonic
        self._start = self._last = self._clock()
        self._terminal = sys.stderr.isatty()
        self._shown = False

    def show(self, rows: int) -> None:
        now = self._clock()
        if self._terminal and now - self._last > 0.2:
            rate = rows / max(now - self._start, 1e-9)
            typer.echo(f"\r{rows:,} rows, {rate:,.0f} rows/s   ", nl=False, err=True)
            self._last, self._shown = now, True

    def end(self) -> None:
        if self._shown:
            typer.echo("\r" + " " * 40 + "\r", nl=False, err=True)
