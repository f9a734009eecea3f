"""Sanmaru: one project file and one set of commands from raw data to a served model.

The same words as on the command line:

    >>> from sanmaru import Project, train, compare, load_model            # doctest: +SKIP
    >>> project = Project.load("my-project")                               # doctest: +SKIP
    >>> run = train(project)                                               # doctest: +SKIP
    >>> load_model("my-project@production").predict(frame)                 # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sanmaru.errors import DataError, ProjectFileError, RunError, UserError
    from sanmaru.experiments.compare import compare
    from sanmaru.experiments.ensemble import ensemble
    from sanmaru.experiments.explore import explore
    from sanmaru.experiments.report import report
    from sanmaru.experiments.runs import Run
    from sanmaru.experiments.train import train
    from sanmaru.packages.package import Package
    from sanmaru.project import Project
    from sanmaru.registry.models import load_model, promote, register, rollback

_WHERE = {
    "DataError": "sanmaru.errors",
    "Package": "sanmaru.packages.package",
    "Project": "sanmaru.project",
    "ProjectFileError": "sanmaru.errors",
    "Run": "sanmaru.experiments.runs",
    "RunError": "sanmaru.errors",
    "UserError": "sanmaru.errors",
    "compare": "sanmaru.experiments.compare",
    "ensemble": "sanmaru.experiments.ensemble",
    "explore": "sanmaru.experiments.explore",
    "load_model": "sanmaru.registry.models",
    "promote": "sanmaru.registry.models",
    "register": "sanmaru.registry.models",
    "report": "sanmaru.experiments.report",
    "rollback": "sanmaru.registry.models",
    "train": "sanmaru.experiments.train",
}

__all__ = [
    "DataError",
    "Package",
    "Project",
    "ProjectFileError",
    "Run",
    "RunError",
    "UserError",
    "compare",
    "ensemble",
    "explore",
    "load_model",
    "promote",
    "register",
    "report",
    "rollback",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        # Importing sanmaru.explore, the package, would otherwise hide sanmaru.explore, the function.
        globals()[name] = value
        return value
    raise AttributeError(f"module 'sanmaru' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
