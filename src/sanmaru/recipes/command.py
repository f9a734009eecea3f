"""The one command of a recipe: `python recipes/<name>/run.py [--tiny] [--folder DIR] [--write-readme]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sanmaru.errors import UserError
from sanmaru.recipes.course import RESULTS, Recipe, walk
from sanmaru.recipes.readme import lines_of, write_block


def run(recipe: Recipe, arguments: Sequence[str] | None = None, *, about: str | None = None) -> int:
    """Read the command line, walk the recipe, and print its figures.

    Args:
        recipe: The recipe.
        arguments: In place of the command line's.
        about: What `--help` says.

    Returns:
        The exit status: 1 after a mistake that the user can mend, told in one line.
    """
    name = recipe.home.name
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="few rows and epochs: does it run? (figures mean nothing)")
    parser.add_argument("--folder", type=Path, default=Path("build/recipes") / name, help="where everything is kept")
    parser.add_argument("--write-readme", action="store_true", help="put the figures into the recipe's README")
    given = parser.parse_args(arguments)
    try:
        if given.tiny and given.write_readme:
            raise UserError("figures of a --tiny run mean nothing, so they are not put into a README.")
        results = walk(recipe, given.folder.resolve(), tiny=given.tiny, say=_say)
        lines = lines_of(results)
        _say("\n" + "\n".join(lines))
        _say(f"\nfigures: {given.folder / RESULTS}")
        if given.write_readme:
            write_block(recipe.home / "README.md", lines)
            _say(f"written into {recipe.home / 'README.md'}")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
