"""`sanmaru collect`: fetch the project's sources, read what is kept once more, see how they stand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanmaru.errors import UserError, nearest

if TYPE_CHECKING:
    from sanmaru.collect.config import SourceConfig
    from sanmaru.project import Project

WAITING = 75
"""Exit status where data is not there yet, as a pipeline's `command:` understands it."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Fetch the sources of the project file; every answer is kept before it is read.",
)

SourcesArgument = Annotated[list[str] | None, typer.Argument(help="Names of sources; all of them where absent.")]
ProjectOption = Annotated[Path, typer.Option("--project", help="Folder of the project.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command()
def fetch(
    sources: SourcesArgument = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Start of what is fetched (a date or time, UTC unless it says); one step before the end where absent.",
        ),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="End of it; the last full step where absent.")] = None,
    as_json: JsonOption = False,
    project: ProjectOption = Path(),
) -> None:
    """Fetch, keep, read and merge what a span of time brought.

    A collection that broke off goes on where it was. Ends with status 75 where data is not there yet.

    Examples:
      sanmaru collect fetch
      sanmaru collect fetch air --from 2026-11-20 --to 2026-11-21
    """
    opened = _project(project)
    found = [_fetch(opened, name, config, since, until) for name, config in _chosen(opened, sources)]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        for one in found:
            typer.echo(_told(one))
    states = {one["state"] for one in found}
    if "failed" in states:
        raise typer.Exit(1)
    if "waiting" in states:
        raise typer.Exit(WAITING)


@app.command()
def parse(sources: SourcesArgument = None, as_json: JsonOption = False, project: ProjectOption = Path()) -> None:
    """Make the collected tables anew from the answers that are kept, without a network.

    Example:
      sanmaru collect parse air
    """
    from dataclasses import asdict

    from sanmaru.collect.again import parse_again

    opened = _project(project)
    found = {
        name: asdict(parse_again(name, config, opened.collected_folder, project=opened.folder))
        for name, config in _chosen(opened, sources)
    }
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, report in found.items():
        typer.echo(
            f"{name}: {report['answers']:,} answers, {report['rows']:,} rows read, {report['set_aside']:,} set aside, "
            f"{report['table']:,} in the table"
        )


@app.command()
def status(sources: SourcesArgument = None, as_json: JsonOption = False, project: ProjectOption = Path()) -> None:
    """Show what was asked, what came, what was set aside and why, and how far the tables reach."""
    from sanmaru.collect.again import status as status_of

    opened = _project(project)
    found = [status_of(name, opened.collected_folder) for name, _ in _chosen(opened, sources)]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        reach = f"{one['first']} to {one['last']}, known until {one['last_known']}" if one["rows"] else "no rows yet"
        typer.echo(
            f"{one['source']}\n  {one['attempts']:,} attempts, {one['good']:,} good, "
            f"{one['distinct_answers']:,} different answers\n"
            f"  {one['rows']:,} rows of {one['series']:,} series: {reach}"
        )
        for rule, rows in one["set_aside"].items():
            typer.echo(f"  {rows:,} rows set aside: {rule}")
        for problem in one["problems"]:
            typer.echo(f"  {problem['at']}  {problem['problem']}")


def _fetch(opened: Project, name: str, config: SourceConfig, since: str | None, until: str | None) -> dict[str, Any]:
    from sanmaru.collect.base import CollectError
    from sanmaru.collect.interval import collect_interval
    from sanmaru.pipelines.context import NotReady

    start, end = _span(config, since, until)
    base = {"source": name, "from": start.isoformat(), "to": end.isoformat()}
    try:
        done = collect_interval(name, config, start, end, opened.collected_folder, project=opened.folder)
    except NotReady as why:
        return {**base, "state": "waiting", "reason": str(why)}
    except CollectError as error:
        return {**base, "state": "failed", "reason": str(error)}
    counts = {key: getattr(done.merged, key) for key in ("added", "revised", "unchanged", "duplicates")}
    outputs = {key: str(value) if isinstance(value, Path) else value for key, value in done.outputs.items()}
    return {
        **base,
        "state": "complete",
        "reason": "",
        **counts,
        "set_aside": done.set_aside,
        "missing": done.missing,
        "outputs": outputs,
    }


def _told(one: dict[str, Any]) -> str:
    if one["state"] != "complete":
        return f"{one['source']}: {one['state']}: {one['reason']}"
    return (
        f"{one['source']}: {one['added']:,} rows added, {one['revised']:,} revised, {one['unchanged']:,} unchanged, "
        f"{one['set_aside']:,} set aside, {one['missing']:,} missing; {one['outputs']['rows']}"
    )


def _span(config: SourceConfig, since: str | None, until: str | None) -> tuple[datetime, datetime]:
    from sanmaru.pipelines.intervals import Every, parse_moment

    every = Every.parse(config.every)
    try:
        end = every.at(datetime.now(UTC)).start if until is None else parse_moment(until).astimezone(UTC)
        start = (
            every.at(end - timedelta(microseconds=1)).start if since is None else parse_moment(since).astimezone(UTC)
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    if start >= end:
        raise UserError(f"--from {since} lies not before --to {until or f'{end:%Y-%m-%dT%H:%M}'}.")
    return start, end


def _project(folder: Path) -> Project:
    from sanmaru.project import Project

    opened = Project.load(folder)
    if not opened.file.collect:
        raise UserError(f"the project file of {opened.name} has no collect: with sources. See docs/stages/collect.md.")
    return opened


def _chosen(opened: Project, names: list[str] | None) -> list[tuple[str, SourceConfig]]:
    known = opened.file.collect
    for name in names or ():
        if name not in known:
            raise UserError(f"there is no source {name!r} (collect). {nearest(name, known)}")
    return [(name, known[name]) for name in names or known]
