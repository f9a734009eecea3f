"""The errors a user can mend, and the two helpers that word them.

A message answers three questions: what was wrong (value, type or shape), where (file, row, column, key),
and what to do. The command line prints a `UserError` as one line and ends with status 1; anything else is a
defect of Sanmaru and keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class UserError(Exception):
    """Something the user can mend; the message says what, where and how."""


class ProjectFileError(UserError):
    """The project file, or an override of one of its fields, cannot be used."""


class DataError(UserError):
    """The data cannot be read or does not fit what the project file says of it."""


class RunError(UserError):
    """A run is missing, unfinished, or does not fit the other runs it was named with."""


class PackageError(UserError):
    """A model package is altered, unreadable, newer than this version, or does not give its golden answers."""


class RegistryError(UserError):
    """A registered model, version or alias is missing, or a gate refused a move."""


class MissingExtraError(UserError):
    """A feature was used whose optional dependency is not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``Did you mean 'target'?``, or the list of known names where nothing is near.

    >>> nearest("tarqet", ["target", "group"])
    "Did you mean 'target'?"
    """
    choices = sorted(known)
    matches = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if matches:
        return f"Did you mean {matches[0]!r}?"
    return "Known: " + ", ".join(choices) + "." if choices else "None are known."


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Args:
        module: Dotted name of the module, e.g. ``"ray"``.
        extra: Name of the extra of this package that installs it.

    Raises:
        MissingExtraError: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module!r} is not installed ({error}). Install it with: pip install 'sanmaru[{extra}]'"
        ) from error
