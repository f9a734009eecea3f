"""From a config to the source it describes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sanmaru.collect.base import BaseSource
from sanmaru.collect.catalogue import stamp, unstamp
from sanmaru.collect.config import AirKoreaConfig, AsosConfig, CityCsvConfig, OpenMeteoConfig, SourceConfig
from sanmaru.collect.store import RawStore


def open_source(name: str, config: SourceConfig, store: RawStore, project: Path) -> BaseSource:
    """Return the source of a config.

    Args:
        name: Of the source in the project file.
        config: Its config there.
        store: Where a replay notes when it began.
        project: Folder against which paths are resolved.
    """
    match config:
        case OpenMeteoConfig():
            from sanmaru.collect.sources.open_meteo import OpenMeteo

            return OpenMeteo(config)
        case AsosConfig():
            from sanmaru.collect.sources.asos import Asos

            return Asos(config)
        case AirKoreaConfig():
            from sanmaru.collect.sources.airkorea import AirKorea

            return AirKorea(config)
        case CityCsvConfig():
            from sanmaru.collect.sources.city_csv import CityCsv

            return CityCsv(config, project)
        case _:
            from sanmaru.collect.sources.replay import Replay

            def began(now: datetime) -> datetime:
                return unstamp(store.catalogue.note(f"{name}: replay began", stamp(now)))

            return Replay(config, project, began)
