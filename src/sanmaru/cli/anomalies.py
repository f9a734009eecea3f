"""`sanmaru anomalies`: compare detectors, keep one, give new rows their verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.anomalies.compare import Comparison

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Tell strange rows of series from usual ones, under a stated budget of alarms.",
)

ProjectOption = Annotated[Path, typer.Option("--project", "-p", help="Project folder or file.")]
FormatOption = Annotated[Literal["table", "json"], typer.Option("--format", help="For people or for scripts.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the project file to override.")
]
DetectorOption = Annotated[
    Path | None,
    typer.Option("--detector", help="Folder of the detector; anomaly-detector in the project where absent."),
]


@app.command()
def compare(
    overrides: OverridesArgument = None,
    detector: Annotated[
        list[str] | None, typer.Option("--detector", "-d", help="Kind of detector; may be repeated. All where absent.")
    ] = None,
    events: Annotated[int, typer.Option(min=1, help="Faults injected of each kind.")] = 20,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; reports/anomalies.html where absent.")
    ] = None,
    format: FormatOption = "table",
    project: ProjectOption = Path(),
) -> None:
    """Compare detectors on faults injected into the last fifth of the rows.

    \b
    sanmaru anomalies compare
    sanmaru anomalies compare -d rules -d lof --events 40 budget.per=week
    """
    from sanmaru.experiments.anomalies import compare_anomalies
    from sanmaru.project import Project

    opened = Project.load(project, *(overrides or ()))
    found, path = compare_anomalies(
        opened, detector or (), events=events, output=output, told=lambda kind: typer.echo(f"fitting {kind}", err=True)
    )
    if format == "json":
        typer.echo(json.dumps({**found.to_json(), "report": str(path.resolve())}, indent=2, ensure_ascii=False))
        return
    _print(found)
    typer.echo(f"report: {path.resolve()}")


@app.command()
def fit(
    overrides: OverridesArgument = None,
    detector: DetectorOption = None,
    format: FormatOption = "table",
    project: ProjectOption = Path(),
) -> None:
    """Fit the project's detector on its past rows and keep it.

    \b
    sanmaru anomalies fit
    sanmaru anomalies fit model.kind=lof budget.alarms=2 budget.per=week
    """
    from sanmaru.experiments.anomalies import fit_anomalies
    from sanmaru.project import Project
    from sanmaru.tasks.anomalies.fitted import describe

    fitted, path = fit_anomalies(Project.load(project, *(overrides or ())), detector)
    if format == "json":
        typer.echo(json.dumps({**describe(fitted), "folder": str(path.resolve())}, indent=2, ensure_ascii=False))
        return
    threshold, budget = fitted.threshold, fitted.config.budget
    span = "1,000 rows" if budget.per == "thousand-rows" else f"{budget.per} and series"
    typer.echo(f"{fitted.detector.kind} watches {', '.join(fitted.columns)} of {len(fitted.reference.names)} series")
    typer.echo(
        f"budget {budget.alarms:g} per {span}; measured on {threshold.check_rows:,} later rows: "
        f"{threshold.check_per_span:.2f}"
    )
    typer.echo(f"a batch is judged with up to {fitted.context} rows before it")
    typer.echo(f"detector: {path.resolve()}")


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="New rows, in the form of data.train.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: csv or parquet.")],
    before: Annotated[
        Path | None, typer.Option("--before", help="Rows from before, in the same form; data.train where absent.")
    ] = None,
    detector: DetectorOption = None,
    format: FormatOption = "table",
    project: ProjectOption = Path(),
) -> None:
    """Write all rows of a file with the columns anomaly, anomaly.score and anomaly.reason. None is left out.

    \b
    sanmaru anomalies score today.csv -o verdicts.csv
    """
    from sanmaru.errors import UserError
    from sanmaru.experiments.anomalies import score_anomalies
    from sanmaru.files import whole
    from sanmaru.project import Project

    if output.suffix not in (".csv", ".parquet"):
        raise UserError(f"the output should end in .csv or .parquet, got {output.name!r}.")
    verdicts = score_anomalies(Project.load(project), file, folder=detector, before=before)
    with whole(output) as beside:
        if output.suffix == ".csv":
            verdicts.write_csv(beside)
        else:
            verdicts.write_parquet(beside)
    flagged = verdicts.filter("anomaly")
    if format == "json":
        typer.echo(json.dumps({"rows": verdicts.height, "flagged": flagged.height, "output": str(output.resolve())}))
        return
    typer.echo(f"{flagged.height:,} of {verdicts.height:,} rows flagged")
    _print_worst(flagged)
    typer.echo(f"verdicts: {output.resolve()}")


def _print(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    from sanmaru.tasks.anomalies.page import COLUMNS, kind_rows, table_rows

    console = Console(highlight=False)
    rows = table_rows(found)
    columns, recall = kind_rows(found, "recall")
    for title, names, lines in (
        ("detectors on injected faults, best ranking first", COLUMNS, rows),
        ("share of the faults found within the budget", columns, recall),
    ):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1))
        for place, name in enumerate(names):
            table.add_column(name, justify="left" if place == 0 else "right")
        for line in lines:
            table.add_row(*map(str, line))
        console.print(table)
        console.print()


def _print_worst(flagged: pl.DataFrame) -> None:
    for row in flagged.sort("anomaly.score", descending=True).head(5).iter_rows(named=True):
        typer.echo(
            f"  {row['series']}  {row['time']:%Y-%m-%d %H:%M} UTC  {row['anomaly.reason'] or 'no single column'}"
        )
