"""Showing forecasts: a page, JSON, files and database rows that appear whole or not at all."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sanmaru.publish.files import publish_files
    from sanmaru.publish.page import make_page
    from sanmaru.publish.rows import upsert_forecasts
    from sanmaru.publish.state import ForecastState, ModelInfo, Score, SeriesInfo, TargetInfo, Words

_PLACES = {
    "publish_files": "files",
    "make_page": "page",
    "upsert_forecasts": "rows",
    **dict.fromkeys(("ForecastState", "ModelInfo", "Score", "SeriesInfo", "TargetInfo", "Words"), "state"),
}

__all__ = [
    "ForecastState",
    "ModelInfo",
    "Score",
    "SeriesInfo",
    "TargetInfo",
    "Words",
    "make_page",
    "publish_files",
    "upsert_forecasts",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
