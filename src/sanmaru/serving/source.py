"""Where the served model comes from: the registry's alias, or one package folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sanmaru.errors import DataError
from sanmaru.files import sha256

if TYPE_CHECKING:
    from sanmaru.packages.package import Package
    from sanmaru.project import Project


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The version that should be served, as the source names it now."""

    name: str
    version: int | str
    """The registry's number; for a folder, the first digits of the fingerprint of its manifest."""
    folder: Path


class ModelSource(Protocol):
    """Says which version should be served, and loads it."""

    name: str
    alias: str
    """Empty where the source has none."""

    def resolve(self) -> Candidate:
        """Return the version to serve now. Any exception means that the source cannot be asked."""
        ...

    def load(self, candidate: Candidate) -> Package:
        """Load a version's package. Any exception means that the version cannot be served."""
        ...


class RegistrySource:
    """The version under an alias of the project's registry."""

    def __init__(self, project: Project, name: str, alias: str = "production") -> None:
        self.project = project
        self.name = name
        self.alias = alias

    def resolve(self) -> Candidate:
        """Ask the registry.

        Raises:
            UserError: when the model or the alias does not exist.
        """
        from sanmaru.registry.models import resolve

        version = resolve(self.project, self.name, self.alias)
        return Candidate(name=version.name, version=version.version, folder=version.folder)

    def load(self, candidate: Candidate) -> Package:
        """Load the package; its manifest is checked."""
        from sanmaru.packages.package import Package

        return Package.load(candidate.folder, threads=1)


class FolderSource:
    """One package folder: no registry, no reload."""

    alias = ""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise DataError(f"{folder} is not a model package: it has no manifest.json.")
        self.name = name or _package_name(folder)
        self._candidate = Candidate(name=self.name, version=sha256(manifest)[:12], folder=folder.resolve())

    def resolve(self) -> Candidate:
        """Return the folder; always the same."""
        return self._candidate

    def load(self, candidate: Candidate) -> Package:
        """Load the package; its manifest is checked."""
        from sanmaru.packages.package import Package

        return Package.load(candidate.folder, threads=1)


def _package_name(folder: Path) -> str:
    """The card's name; else the folder's own, where `runs/ID/package` is called after the run."""
    from sanmaru.files import read_json

    card = folder / "card.json"
    if card.is_file():
        name = read_json(card).get("name")
        if isinstance(name, str) and name:
            return name
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "package" else resolved.name


_registry: type[ModelSource] = RegistrySource
_folder: type[ModelSource] = FolderSource
