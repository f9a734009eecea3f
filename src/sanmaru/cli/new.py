"""`sanmaru new`: a commented project file, made by looking at the data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sanmaru.tables.propose import Proposal


def new(
    data: Annotated[
        Path, typer.Option("--data", help="Table (csv, tsv, parquet, jsonl) or folder with a sub-folder per class.")
    ],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="Column to predict, guessed where left out; several of --task forecasting."),
    ] = None,
    test: Annotated[Path | None, typer.Option("--test", help="Rows to predict, in the same form.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder that the pictures' paths are relative to.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="`forecasting` for a table of series; told from the data otherwise.")
    ] = None,
    zone: Annotated[
        str, typer.Option("--zone", help="Of --task forecasting: zone of times without one, e.g. Asia/Seoul.")
    ] = "UTC",
    name: Annotated[str | None, typer.Option("--name", help="Name of the project and of its models.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Project folder to write to.")] = Path("."),
    encoding: Annotated[str, typer.Option("--encoding", help="Of text files, e.g. cp949.")] = "utf-8",
    force: Annotated[bool, typer.Option("--force", help="Replace a project file that is there.")] = False,
) -> None:
    """Look at the data and write a commented project file with roles, task, split, model and metric.

    \b
    sanmaru new --data train.csv --target price
    sanmaru new --data photos/ --output photo-project
    sanmaru new --data train.csv --test test.csv --name churn
    sanmaru new --data hourly.csv --task forecasting --target pm10 --target pm25 --zone Asia/Seoul
    """
    import json

    from sanmaru.errors import ProjectFileError
    from sanmaru.files import write_text
    from sanmaru.project import FILE_NAME, Project, json_schema
    from sanmaru.tables.project_text import SCHEMA_NAME, project_text
    from sanmaru.tables.propose import propose

    file = output / FILE_NAME
    if file.exists() and not force:
        raise ProjectFileError(f"{file} is there already. Replace it with --force, or choose another --output folder.")
    if task == "forecasting":
        from sanmaru.tables.propose_series import propose_series

        if test is not None or images is not None:
            raise ProjectFileError("--test and --images mean nothing to --task forecasting. Leave them out.")
        proposal = propose_series(
            data, targets=target or (), name=name, folder=output.resolve(), zone=zone, encoding=encoding
        )
    elif task is not None:
        raise ProjectFileError(
            f"--task {task!r} cannot be asked for; other tasks are told from the data. Leave it out."
        )
    else:
        if target is not None and len(target) > 1:
            raise ProjectFileError(
                f"--target is given {len(target)} times ({', '.join(target)}). Several columns are proposed for --task "
                "forecasting; for other tasks give one, and list the others under data.target of the file it writes."
            )
        proposal = propose(
            data,
            target=target[0] if target else None,
            test=test,
            images=images,
            name=name,
            folder=output.resolve(),
            encoding=encoding,
        )
    Project.from_dict(output, proposal.content)  # refuses e.g. a name that cannot be one, before anything is written
    write_text(output / SCHEMA_NAME, json.dumps(json_schema(), indent=2) + "\n")
    write_text(file, project_text(proposal))
    _show(proposal, data, file)


def _show(proposal: Proposal, data: Path, file: Path) -> None:
    """Print what was found, what to look at, and what to do next."""
    import shlex

    from rich.console import Console
    from rich.text import Text

    from sanmaru.tables.project_text import told

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"{data}: {proposal.source}", style="bold"))
    for label, found in proposal.summary:
        console.print(Text.assemble((f"  {label:<8}", "dim"), found))
    for title, dropped in (("left out", True), ("worth a look", False)):
        sentences = told(proposal, dropped=dropped)
        if sentences:
            console.print(Text(title, style="bold"))
        for sentence in sentences[:8]:
            console.print(Text(f"  {sentence}"))
        if len(sentences) > 8:
            console.print(Text(f"  and {len(sentences) - 8} more, named in the file", style="dim"))
    if proposal.set_aside:
        counts = ", ".join(f"{count:,} {rule}" for rule, count in proposal.set_aside.items())
        console.print(Text(f"rows to be set aside: {counts}"))
    console.print(Text(f"wrote {file}", style="green"))
    steps = ["sanmaru explore", "sanmaru train"]
    if file.parent != Path("."):
        steps.insert(0, f"cd {shlex.quote(str(file.parent))}")
    console.print(Text("next: " + "; ".join(steps)))
