"""`sanmaru models`: what is registered, where it stands, and how it came there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sanmaru.html.numbers import short


class _Format(StrEnum):
    table = "table"
    json = "json"


def models(
    name: Annotated[str | None, typer.Argument(help="One model; all where absent.")] = None,
    log: Annotated[bool, typer.Option("--log", help="List the moves instead of the versions.")] = False,
    format: Annotated[_Format, typer.Option(help="How to print.")] = _Format.table,
    project: Annotated[Path, typer.Option(help="Project folder.")] = Path(),
) -> None:
    """List registered models, versions and aliases, or the log of moves.

    sanmaru models

    sanmaru models houses --log
    """
    from sanmaru.project import Project
    from sanmaru.registry import models as registry

    loaded = Project.load(project)
    if name is not None:
        registry.versions(loaded, name)  # refuses an unknown name, also for the log
    if log:
        entries = registry.log(loaded, name)
        rows = [_move(entry) for entry in entries]
        values: list[dict[str, Any]] = [_plain(entry) for entry in entries]
    else:
        wanted = [name] if name is not None else registry.names(loaded)
        found = [version for each in wanted for version in reversed(registry.versions(loaded, each))]
        values = [version.to_json() for version in found]
        rows = [
            {
                "model": version.name,
                "version": str(version.version),
                "alias": ", ".join(version.aliases),
                "score": "" if version.score is None else f"{version.metric} {short(version.score)}",
                "run": version.run,
                "registered": version.created[:16].replace("T", " "),
            }
            for version in found
        ]
    if format is _Format.json:
        import json

        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    elif rows:
        _print(rows)
    else:
        typer.echo("nothing is registered yet. Register a run with: sanmaru register RUN", err=True)


def _plain(entry: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(entry)


def _move(entry: Any) -> dict[str, str]:
    failed = [check for check in entry.checks if not check["passed"]]
    before = "-" if entry.previous is None else str(entry.previous)
    return {
        "#": str(entry.seq),
        "when (UTC)": entry.at[:19].replace("T", " "),
        "who": entry.who,
        "move": entry.kind + (" (forced)" if entry.forced else ""),
        "model": entry.name,
        "alias": entry.alias,
        "from > to": f"{before} > {entry.version}",
        "why": "; ".join(filter(None, (entry.why, *(check["name"] for check in failed)))),
    }


def _print(rows: list[dict[str, str]]) -> None:
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    typer.echo("  ".join(key.ljust(width) for key, width in widths.items()).rstrip())
    for row in rows:
        typer.echo("  ".join(row[key].ljust(width) for key, width in widths.items()).rstrip())
