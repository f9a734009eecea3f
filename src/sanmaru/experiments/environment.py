"""What a run was made with: versions, machine, commit, and what was overridden."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from sanmaru.errors import ProjectFileError
from sanmaru.project import FILE_NAME, Project

LIBRARIES = (
    "sanmaru",
    "numpy",
    "polars",
    "scikit-learn",
    "lightgbm",
    "torch",
    "transformers",
    "opencv-python-headless",
)


def environment() -> dict[str, Any]:
    """Return versions (read from the installation, importing nothing), platform and cores."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        **versions,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }


def git_commit(folder: Path) -> str | None:
    """Return the commit of the repository that holds `folder`, with `+changes` where files differ; None outside one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+changes" if git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys.

    >>> flat({"split": {"kind": "random", "folds": 5}})
    {'split.kind': 'random', 'split.folds': 5}
    """
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def overrides(project: Project) -> dict[str, Any]:
    """Return the fields in which a project differs from its own file, by dotted key."""
    if not (project.folder / FILE_NAME).is_file():
        return {}
    try:
        written = flat(Project.load(project.folder).to_dict())
    except ProjectFileError:  # the file was changed meanwhile into one that cannot be read
        return {}
    return {key: value for key, value in flat(project.to_dict()).items() if key not in written or written[key] != value}
