"""Runs a service under uvicorn, in this process or in several."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import UserError
from sanmaru.serving.settings import Settings

if TYPE_CHECKING:
    from sanmaru.serving.app import Service
    from sanmaru.serving.source import ModelSource

ENVIRONMENT = "SANMARU_SERVE"
"""How worker processes are told what to serve: the options as JSON."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What to serve and where."""

    name: str
    """A registered model, or the folder of a package."""
    alias: str = "production"
    project: Path = Path()
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes any free one; the log says which."""
    workers: int = 1
    keys: Path | None = None
    site: Path | None = None
    """Folder of a published forecast page."""
    log: str | None = None
    """URL of the database of the prediction log; a relative SQLite file lies in the project's folder."""
    log_days: float | None = None
    """Days after which the log's rows of this model are deleted; never where absent."""
    settings: Settings = field(default_factory=Settings)
    metrics_folder: Path | None = None

    def to_text(self) -> str:
        """Return a text that `from_text` takes back."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_text(cls, text: str) -> ServeOptions:
        """Rebuild options from `to_text`."""
        value: dict[str, Any] = json.loads(text)
        value["settings"] = Settings(**value["settings"])
        value["project"] = Path(value["project"])
        for name in ("keys", "site", "metrics_folder"):
            value[name] = None if value[name] is None else Path(value[name])
        return cls(**value)

    def source(self) -> ModelSource:
        """Return where the model comes from.

        Raises:
            UserError: when the folder is no package or the project cannot be read.
        """
        from sanmaru.serving.source import FolderSource, RegistrySource

        folder = Path(self.name)
        if (folder / "manifest.json").is_file():
            return FolderSource(folder)
        if os.sep in self.name or self.name in (".", ".."):
            raise UserError(
                f"{self.name} is not a model package: it has no manifest.json. Give such a folder or a name."
            )
        from sanmaru.project import Project

        return RegistrySource(Project.load(self.project), self.name, self.alias)


def serve(options: ServeOptions, *, wait: bool = False, announce: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are finished first.

    Args:
        options: What to serve and where.
        wait: Start although the model does not exist yet, and be ready once it does.
        announce: Called once it is known that there is something to serve.

    Raises:
        UserError: when there is nothing to serve, a limit makes no sense, or the keys file, the site or
            the log cannot be used.
    """
    import uvicorn

    from sanmaru.serving.keys import Keys
    from sanmaru.serving.prediction_log import PredictionLog
    from sanmaru.serving.site import Site

    source = options.source()
    Keys.from_environment(options.keys)
    if options.site is not None:
        Site(options.site)
    if options.log is not None:
        PredictionLog(options.log, options.project).stop()
    elif options.log_days is not None:
        raise UserError("--log-days says how long the prediction log keeps its rows: give --log with it.")
    if not wait:
        source.resolve()
    if announce is not None:
        announce()
    # After its own orderly end uvicorn raises the signal again, which would end the process before the folder below is
    # removed, and with a status as if something were wrong.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="sanmaru-metrics-") as folder:
        if options.workers > 1:
            options = ServeOptions(**{**vars(options), "metrics_folder": Path(folder)})
        os.environ[ENVIRONMENT] = options.to_text()
        uvicorn.run(
            "sanmaru.serving.run:app_from_environment",
            factory=True,
            host=options.host,
            port=options.port,
            workers=options.workers,
            http="sanmaru.serving.protocol:PredictProtocol",
            access_log=False,
            proxy_headers=False,  # the service looks at them itself, for its pages only
            server_header=False,
            log_config=LOG_CONFIG,
            timeout_graceful_shutdown=int(options.settings.timeout_s) + 1,
        )


def app_from_environment() -> Service:
    """Make the application that the environment describes; each worker process calls this."""
    from sanmaru.serving.app import create_app
    from sanmaru.serving.keys import Keys
    from sanmaru.serving.prediction_log import PredictionLog
    from sanmaru.serving.site import Site

    options = ServeOptions.from_text(os.environ[ENVIRONMENT])
    logging.getLogger("sanmaru").setLevel(logging.INFO)
    source = options.source()
    keeper = None
    if options.log is not None:
        keeper = PredictionLog(options.log, options.project, keep_days=options.log_days, model=source.name)
    return create_app(
        source,
        options.settings,
        Keys.from_environment(options.keys),
        metrics_folder=options.metrics_folder,
        site=None if options.site is None else Site(options.site),
        prediction_log=keeper,
    )


LOG_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s [%(process)d] %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "sanmaru": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
