"""What a service remembers of the versions it trained: until when their data reached, and how much it was."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import RegistryError
from sanmaru.files import read_json, write_json
from sanmaru.steps.history import SERVICE

if TYPE_CHECKING:
    from sanmaru.project import Project
    from sanmaru.registry.store import Version


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One version that the service trained."""

    version: int
    run: str
    kind: str
    """`model.kind`."""
    interval: str
    """The data interval whose decision had it trained."""
    until: datetime
    """End of the rows it learned from."""
    rows: int
    """Rows it learned from in which a target is known."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "until": self.until.isoformat()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Trained:
        """Rebuild from `to_json`."""
        return cls(**{**value, "until": datetime.fromisoformat(value["until"])})


def remember(folder: Path, trained: Trained) -> None:
    """Keep what is known of a version. Written again by a repeated step, with the same content."""
    write_json(_folder(folder) / f"{trained.version}.json", trained.to_json())


def known_versions(folder: Path) -> dict[int, Trained]:
    """Return what the service remembers, by version number."""
    found = [Trained.from_json(read_json(path)) for path in _folder(folder).glob("*.json")]
    return {one.version: one for one in sorted(found, key=lambda one: one.version)}


def holder(project: Project, alias: str) -> Version | None:
    """Return the version that holds an alias, or None; also where nothing was registered yet."""
    from sanmaru.registry.models import resolve

    try:
        return resolve(project, project.name, alias)
    except RegistryError:
        return None


def _folder(folder: Path) -> Path:
    return folder / SERVICE / "versions"
