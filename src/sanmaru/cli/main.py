"""The `sanmaru` command: a table of commands, each loaded only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from sanmaru.errors import UserError, nearest

COMMANDS = {
    "new": "Look at the data and write a commented project file.",
    "explore": "Write an HTML report on the data, with findings and advice.",
    "train": "Train k folds, score the out-of-fold predictions, keep a run.",
    "compare": "Rank runs; for two, say whether one is really better.",
    "report": "Write a run's self-contained HTML report.",
    "ensemble": "Combine runs on their out-of-fold predictions into a new run.",
    "predict": "Predict a file with a run or a registered model, streaming.",
    "register": "Register a run's model package as a new version.",
    "promote": "Move a version to staging or production, if the gate lets it.",
    "rollback": "Give production back to the version that held it before.",
    "models": "List registered models, versions, aliases, or the log of moves.",
    "serve": "Serve a registered model over HTTP; notices promotions by itself.",
    "collect": "Fetch weather and air-quality sources: fetch, parse what is kept anew, status.",
    "anomalies": "Tell strange rows of series: compare detectors, fit one, score new rows.",
    "pipeline": "Run steps tied by completion: run, backfill, status, retry, schedule, watch.",
    "monitor": "Look for drift at a stated false-alarm rate; tell of alarms.",
    "schema": "Print the JSON schema of the project file, for editors.",
    "demo": "Run the whole way on data that ships with scikit-learn.",
}
"""Name -> help. `cli/<name>.py` holds a typer function of that name, or an `app` with several."""


class _LazyGroup(TyperGroup):
    _listing = False
    """While commands are only listed, their help is enough and nothing is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if self._listing:
            return typer.main.get_command(_overview_entry(cmd_name))
        module = importlib.import_module(f"sanmaru.cli.{cmd_name}")
        if hasattr(module, "app"):  # a command with commands of its own
            return typer.main.get_command(module.app)
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(name=cmd_name)(getattr(module, cmd_name))
        return typer.main.get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        try:
            super().format_commands(ctx, formatter)
        finally:
            self._listing = False

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UserError(f"unknown command {args[0]!r}. {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


def _overview_entry(name: str) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name=name, help=COMMANDS[name])(lambda: None)
    return app


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"sanmaru {version('sanmaru')}")  # noqa: T201 - what the user asked for
        raise typer.Exit


@app.callback()
def sanmaru(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """From raw data to a compared, explained, registered and served model."""


def main() -> None:
    """Run the command line; a user's mistake ends with one clear message and status 1."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before any library with OpenMP is loaded: see `openmp`
    try:
        app()
    except UserError as error:
        print(f"sanmaru: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nsanmaru: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
