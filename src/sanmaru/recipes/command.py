"""The one command of a recipe: `python recipes/<name>/run.py [--tiny] [--folder DIR] [--write-readme]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sanmaru.errors import UserError
from sanmaru.recipes.course import RESULTS, Recipe, Say, walk
from sanmaru.recipes.readme import lines_of, write_block

Walk = Callable[[Path, bool, Say], dict[str, Any]]
"""Goes the whole way in a folder, with few rows where the second argument is true, and returns its figures."""


def run(recipe: Recipe, arguments: Sequence[str] | None = None, *, about: str | None = None) -> int:
    """Read the command line, walk the recipe, and print its figures.

    Args:
        recipe: The recipe.
        arguments: In place of the command line's.
        about: What `--help` says.

    Returns:
        The exit status: 1 after a mistake that the user can mend, told in one line.
    """
    return command(
        recipe.home,
        lambda folder, tiny, say: walk(recipe, folder, tiny=tiny, say=say),
        lines_of,
        arguments,
        about=about,
    )


def command(
    home: Path,
    walk: Walk,
    lines: Callable[[dict[str, Any]], list[str]],
    arguments: Sequence[str] | None = None,
    *,
    about: str | None = None,
) -> int:
    """Read the command line of any recipe, walk it, and print its figures.

    Args:
        home: The recipe's folder, with `README.md`.
        walk: Goes the whole way and writes the figures into the folder.
        lines: Writes figures as Markdown.
        arguments: In place of the command line's.
        about: What `--help` says.

    Returns:
        The exit status, as of `run`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="few rows and epochs: does it run? (figures mean nothing)")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/recipes") / home.name, help="where everything is kept"
    )
    parser.add_argument("--write-readme", action="store_true", help="put the figures into the recipe's README")
    given = parser.parse_args(arguments)
    try:
        if given.tiny and given.write_readme:
            raise UserError("figures of a --tiny run mean nothing, so they are not put into a README.")
        told = lines(walk(given.folder.resolve(), given.tiny, _say))
        _say("\n" + "\n".join(told))
        _say(f"\nfigures: {given.folder / RESULTS}")
        if given.write_readme:
            write_block(home / "README.md", told)
            _say(f"written into {home / 'README.md'}")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
