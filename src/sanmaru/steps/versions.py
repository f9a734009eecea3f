"""What a service remembers of the versions it trained: until when their data reached, and how much it was."""

from __future__ import annotations

from collections.abc import Callable
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


def remember_untrained(folder: Path, interval: str, reason: str) -> None:
    """Keep that the training which an interval asked for has ended without a version, and why."""
    write_json(_untrained(folder) / f"{interval.replace(':', '')}.json", {"interval": interval, "reason": reason})


def untrained(folder: Path) -> set[str]:
    """Return the intervals whose training ended without a version."""
    return {str(read_json(path)["interval"]) for path in _untrained(folder).glob("*.json")}


def holder(project: Project, alias: str) -> Version | None:
    """Return the version that holds an alias, or None; also where nothing was registered yet."""
    from sanmaru.registry.models import resolve

    try:
        return resolve(project, project.name, alias)
    except RegistryError:
        return None


def champion_of(project: Project, interval: str, *, before: bool = False) -> Version | None:
    """Return the version in production, as far as an interval may know it; None where there was none.

    A version that a later interval had trained has seen what came after this one. Work that is done late, or once
    more, takes the version that was in production before it.

    Args:
        project: The project.
        interval: Name of the data interval.
        before: Leave out the versions that this very interval had trained, too.
    """
    known = known_versions(project.folder)

    def early(number: int) -> bool:
        facts = known.get(number)  # None where somebody registered it by hand
        return facts is None or facts.interval < interval or (not before and facts.interval == interval)

    return newest_in_production(project, early)


def newest_in_production(project: Project, wanted: Callable[[int], bool]) -> Version | None:
    """Return the version in production if it is wanted, else the wanted one that held that place last."""
    from sanmaru.registry.models import log, resolve

    current = holder(project, "production")
    if current is None or wanted(current.version):
        return current
    for entry in reversed(log(project, project.name)):
        moved = entry.alias == "production" and entry.kind in ("promote", "rollback", "found")
        if moved and entry.version is not None and wanted(entry.version):
            return resolve(project, project.name, entry.version)
    return None


def _untrained(folder: Path) -> Path:
    return folder / SERVICE / "untrained"


def _folder(folder: Path) -> Path:
    return folder / SERVICE / "versions"


def contest_of(folder: Path, version: int) -> dict[str, Any] | None:
    """Return what was written of the newest contest of a version, or None where it has had none."""
    for path in sorted((folder / SERVICE / "judge").glob("*/*.json"), reverse=True):
        content: dict[str, Any] = read_json(path)
        if content.get("version") == version:
            return content
    return None
