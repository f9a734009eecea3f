"""Where the registry lies: MLflow's registered models and aliases, the packages, and the log of moves."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sanmaru.errors import RegistryError, nearest
from sanmaru.experiments.tracking import client as mlflow_client
from sanmaru.project import Project
from sanmaru.registry.log import MoveLog

DEV, STAGING, PRODUCTION = "dev", "staging", "production"
ALIASES = (DEV, STAGING, PRODUCTION)
TAG = "sanmaru."


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version of a model."""

    name: str
    version: int
    folder: Path
    """Its package."""
    aliases: tuple[str, ...] = ()
    run: str = ""
    """Id of the run it came from."""
    metric: str = ""
    score: float | None = None
    fingerprint: str = ""
    """SHA-256 of the package's manifest when it was registered."""
    created: str = ""
    """UTC, ISO 8601."""
    tags: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for scripts."""
        return {
            "name": self.name,
            "version": self.version,
            "aliases": list(self.aliases),
            "run": self.run,
            "metric": self.metric,
            "score": self.score,
            "created": self.created,
            "folder": str(self.folder),
            "fingerprint": self.fingerprint,
        }


class Store:
    """The registry of one project: a thin layer on MLflow's client that speaks in `Version`s."""

    def __init__(self, tracking_uri: str, models_folder: Path) -> None:
        self.tracking_uri = tracking_uri
        self.models_folder = models_folder
        in_database = not tracking_uri.startswith(("http://", "https://", "databricks"))
        # A server shows only its own tables, and so the log lies beside the packages.
        url = tracking_uri if in_database else f"sqlite:///{models_folder / 'moves.db'}"
        self.log = MoveLog(url, head=models_folder / "moves.head.json")

    @functools.cached_property
    def client(self) -> Any:
        """MLflow's client. Made at the first use: importing MLflow takes two seconds, a first migration three."""
        prefix = "sqlite:///"
        if self.tracking_uri.startswith(prefix):
            Path(self.tracking_uri.removeprefix(prefix)).parent.mkdir(parents=True, exist_ok=True)
        return mlflow_client(self.tracking_uri)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever registered, told without making a database."""
        prefix = "sqlite:///"
        return self.tracking_uri.startswith(prefix) and not Path(self.tracking_uri.removeprefix(prefix)).is_file()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the registry while a move is made."""
        self.models_folder.mkdir(parents=True, exist_ok=True)
        if not self.empty or not self.tracking_uri.startswith("sqlite"):
            with self.log.lock():
                yield
            return
        self.client.search_registered_models(max_results=1)  # makes the database, once and before two would
        with self.log.lock():
            yield

    def folder(self, name: str, version: int) -> Path:
        """Where the package of a version lies. Told from the project, so that a moved project still finds it."""
        return self.models_folder / name / str(version)

    def names(self) -> list[str]:
        """The names of registered models, sorted."""
        if self.empty:
            return []
        found: list[str] = []
        token = None
        while True:
            page = self.client.search_registered_models(max_results=200, page_token=token)
            found += [model.name for model in page]
            token = page.token
            if not token:
                return sorted(found)

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, oldest first, with its aliases.

        Raises:
            RegistryError: when no model has this name.
        """
        aliases = self.aliases(name)
        found: list[Version] = []
        token = None
        while True:
            page = self.client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token)
            found += [self._version(record, aliases) for record in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: version.version)

    def aliases(self, name: str) -> dict[str, int]:
        """Which version each alias of a model names.

        Raises:
            RegistryError: when no model has this name.
        """
        with self._known(name):
            model = self.client.get_registered_model(name)
        return {alias: int(version) for alias, version in model.aliases.items()}

    def at(self, name: str, alias: str) -> Version | None:
        """The version under an alias, or None. One query of about a millisecond on SQLite.

        Raises:
            RegistryError: when no model has this name.
        """
        from mlflow.exceptions import MlflowException

        if not self.empty:
            try:
                return self._version(self.client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise RegistryError(f"the registry {self.tracking_uri} does not answer: {error}") from error
        self.aliases(name)
        return None

    def version(self, name: str, version: int) -> Version:
        """A version by its number.

        Raises:
            RegistryError: when the model or the version does not exist.
        """
        from mlflow.exceptions import MlflowException

        if not self.empty:
            try:
                return self._version(self.client.get_model_version(name, str(version)))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise RegistryError(f"the registry {self.tracking_uri} does not answer: {error}") from error
        known = ", ".join(str(v.version) for v in self.versions(name))
        raise RegistryError(f"{name} has no version {version}. Known: {known or 'none'}.")

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias name a version."""
        self.client.set_registered_model_alias(name, alias, str(version))

    def _version(self, record: Any, aliases: dict[str, int] | None = None) -> Version:
        from datetime import UTC, datetime

        number = int(record.version)
        tags = {key.removeprefix(TAG): value for key, value in record.tags.items() if key.startswith(TAG)}
        held = [alias for alias, v in aliases.items() if v == number] if aliases is not None else record.aliases
        return Version(
            name=record.name,
            version=number,
            folder=self.folder(record.name, number),
            aliases=tuple(sorted(held, key=lambda alias: (ALIASES.index(alias) if alias in ALIASES else 9, alias))),
            run=tags.get("run", ""),
            metric=tags.get("metric", ""),
            score=float(tags["score"]) if "score" in tags else None,
            fingerprint=tags.get("fingerprint", ""),
            created=datetime.fromtimestamp(record.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
            tags=tags,
        )

    @contextlib.contextmanager
    def _known(self, name: str) -> Iterator[None]:
        if self.empty:
            raise RegistryError(f"no model {name!r}: nothing is registered yet. Register a run: sanmaru register RUN")
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise RegistryError(f"no model {name!r} is registered. {nearest(name, self.names())}") from error
            raise RegistryError(f"the registry {self.tracking_uri} does not answer: {error}") from error


def store_of(project: Project) -> Store:
    """The registry of a project, kept for the life of the process so that polling it stays cheap."""
    return _store(project.tracking_uri, project.models_folder, os.getpid())


@functools.lru_cache(maxsize=16)
def _store(tracking_uri: str, models_folder: Path, pid: int) -> Store:
    del pid  # connections do not survive a fork
    return Store(tracking_uri, models_folder)
