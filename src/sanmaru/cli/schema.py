"""`sanmaru schema`: the JSON schema of the project file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of printing.")] = None,
    form: Annotated[
        Literal["json", "markdown"], typer.Option("--format", help="json for editors, markdown for people.")
    ] = "json",
) -> None:
    """Print the JSON schema of the project file.

    Editors with the YAML language server complete and check a file whose first line is
    `# yaml-language-server: $schema=sanmaru.schema.json`.
    """
    import json

    from sanmaru.files import write_text
    from sanmaru.project import json_schema

    if form == "json":
        text = json.dumps(json_schema(), indent=2)
    else:
        from sanmaru.cli.field_page import field_page

        text = field_page(json_schema()).rstrip("\n")
    if output is None:
        typer.echo(text)
    else:
        write_text(output, text + "\n")
        typer.echo(f"wrote {output}")
