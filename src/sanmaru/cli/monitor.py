"""`sanmaru monitor`: look at everything that is watched, tell whoever is to be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanmaru.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.monitoring.config import MonitorConfig
    from sanmaru.monitoring.report import MonitorReport

ALARM = 3
"""Exit status where an alarm stands."""


def monitor(
    reference: Annotated[
        Path | None, typer.Option(help="Table of the undisturbed period, in place of monitor.reference.")
    ] = None,
    current: Annotated[Path | None, typer.Option(help="Table of what came since, in place of monitor.current.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    send: Annotated[bool, typer.Option("--send/--no-send", help="Send the alerts that wait.")] = True,
    textbook: Annotated[
        bool, typer.Option("--textbook", help="Show textbook thresholds; nothing is remembered or sent.")
    ] = False,
    project: Annotated[Path, typer.Option("--project", help="Project folder or file.")] = Path(),
) -> None:
    """Compare what came since with the reference; tell of alarms that begin or end.

    Ends with status 0 where no alarm stands, 3 where one does, 1 where it could not look.

    \b
    sanmaru monitor
    sanmaru monitor --html monitor.html
    sanmaru monitor --current data/november.parquet --json
    """
    from dataclasses import replace

    from sanmaru.database import open_engine
    from sanmaru.monitoring.deliver import deliver
    from sanmaru.monitoring.page import write_page
    from sanmaru.monitoring.state import MonitorState
    from sanmaru.monitoring.watch import watch
    from sanmaru.project import Project

    loaded = Project.load(project)
    config = loaded.file.monitor
    if config is None:
        raise UserError(f"the project file of {loaded.name} has no monitor: section. See docs/stages/monitor.md.")
    if textbook:
        config = config.model_copy(update={"thresholds": "textbook"})
    before = _table(loaded.folder, reference, config.reference, "reference")
    since = _table(loaded.folder, current, config.current, "current")
    requests = _requests(loaded.folder, config)
    state = None if textbook else MonitorState(open_engine(config.state, loaded.folder, "monitor.state"))
    report = watch(before, since, config, state, requests=requests)
    if state is not None:
        if send:
            deliver(state, config.alerts, loaded.folder)
        late = [one for one in state.outgoing("waiting", "failed") if one.error]
        texts = tuple(f"{one.body['text']} by {one.channel}, {one.state}: {one.error}" for one in late)
        report = replace(report, undelivered=texts)
        state.engine.dispose()
    if html is not None:
        write_page(report, html, loaded.name)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        _print(report, html)
    if report.alarms:
        raise typer.Exit(ALARM)


def _table(folder: Path, given: Path | None, named: str | None, which: str) -> pl.DataFrame:
    import polars as pl

    if given is None and named is None:
        raise UserError(f"no {which} table: set monitor.{which} in the project file, or pass --{which} FILE.")
    path = given if given is not None else folder / Path(named or "").expanduser()
    if not path.is_file():
        raise UserError(f"the {which} table {path} is no file.")
    try:
        match path.suffix.lower():
            case ".parquet":
                return pl.read_parquet(path)
            case ".csv" | ".tsv":
                separator = "\t" if path.suffix.lower() == ".tsv" else ","
                missing = ["", "-", "NA"]
                return pl.read_csv(path, separator=separator, null_values=missing, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"the {which} table {path} cannot be read: {error}") from error
    raise UserError(f"the {which} table {path} should end with .parquet, .csv or .tsv.")


def _requests(folder: Path, config: MonitorConfig) -> pl.DataFrame | None:
    """Read the log of requests: a file, or the newest window of the server's log of answers in a database."""
    if config.requests is None or "://" not in config.requests:
        return None if config.requests is None else _table(folder, None, config.requests, "requests")
    import time

    import polars as pl
    import sqlalchemy as sa

    from sanmaru.database import open_engine
    from sanmaru.monitoring.config import hours
    from sanmaru.serving.prediction_log import PREDICTIONS

    engine = open_engine(config.requests, folder, "monitor.requests")
    chosen = PREDICTIONS.c.at, PREDICTIONS.c.latency_ms, PREDICTIONS.c.version
    since = time.time() - 3600 * hours(config.window)
    try:
        with engine.connect() as connection:
            found = connection.execute(sa.select(*chosen).where(PREDICTIONS.c.at >= since))
            rows = [tuple(row) for row in found]
    except sa.exc.DBAPIError as error:
        raise UserError(f"monitor.requests: {PREDICTIONS.name} cannot be read there: {error.orig}") from None
    finally:
        engine.dispose()
    table = pl.DataFrame(rows, schema={"at": pl.Float64, "latency_ms": pl.Float64, "version": pl.String}, orient="row")
    at = (pl.col("at") * 1e6).cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return table.select(at.alias(config.time), "latency_ms", "version")


def _print(report: MonitorReport, html: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from sanmaru.html.numbers import short
    from sanmaru.monitoring.page import STATES, stated_text, watched_rows

    # In a narrow window, or read by a program, the table is rather too wide than cut.
    console = Console(highlight=False, soft_wrap=True, width=max(Console().width, 120))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("watched", "statistic", "value", "threshold", "false alarms/y", "finds a shift of", "state"):
        table.add_column(name, justify="left" if name in ("watched", "statistic", "state") else "right", no_wrap=True)
    before = None
    for key, kind, state, statistic, *numbers in watched_rows(report):
        value, threshold, shift, _, per_year, _ = (short(float(one)) for one in numbers)  # type: ignore[arg-type]
        style = "bold red" if state == STATES["alarm"] else "yellow" if state == STATES["beyond"] else ""
        shown = f"[{style}]{state}[/]" if style else str(state)
        again = key == before
        head = ("", "", "") if again else (escape(f"{key} ({kind})"), shift, shown)
        table.add_row(head[0], str(statistic), value, threshold, per_year, *head[1:])
        before = key
    console.print(table)
    for figure in report.service:
        limit = "" if figure.limit is None else f", at most {short(figure.limit)}"
        console.print(f"{figure.name}: {short(figure.value)}{limit}{'  [bold red]ALARM[/]' if figure.alarm else ''}")
    if report.estimates is not None and report.estimates.rows:
        last = report.estimates.rows[-1]
        truth = "" if last["realised"] is None else f"; it was {short(last['realised'])}"
        console.print(
            f"{report.estimates.name}, estimated: {short(last['estimated'])} "
            f"({short(last['low'])} to {short(last['high'])}){truth}"
        )
    console.print(stated_text(report))
    for text in report.notes:
        console.print(text)
    for alert in report.alerts[-5:]:
        console.print(f"{alert.body()['at']}  {alert.event}: {escape(alert.text)}")
    for text in report.undelivered:
        console.print(f"not delivered: {escape(text)}")
    if html is not None:
        console.print(str(html.resolve()))
