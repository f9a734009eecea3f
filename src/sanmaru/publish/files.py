"""Forecasts as files: a version in storage with table, figures and page, and the page at an address that stays."""

from __future__ import annotations

import io
from typing import Any

from sanmaru.publish.page import FIGURES, PAGE, draw_page, figures_text
from sanmaru.publish.payload import make_payload
from sanmaru.publish.state import ForecastState
from sanmaru.storage import Manifest, Storage

TABLE_FILE = "forecast.parquet"


def publish_files(storage: Storage, state: ForecastState, *, name: str = "forecast", **meta: Any) -> Manifest:
    """Commit `forecast.parquet`, `forecast.json` and `index.html` as the next version of a name.

    The same state again is the same version. After the commit the page and its figures are copied to `NAME/index.html`
    and `NAME/forecast.json`, where people find the newest; programs read `NAME/latest.json` or the manifests.

    Args:
        storage: From `sanmaru.storage.open_storage`.
        state: What is published.
        name: In the storage.
        meta: Kept in the manifest beside model, version and origin; plain JSON.

    Raises:
        StorageError: when the storage does not take it; what was published before then stays.
    """
    payload = make_payload(state)
    table = io.BytesIO()
    state.forecast.write_parquet(table, compression="zstd")
    page, figures = draw_page(payload).encode(), figures_text(payload).encode()
    model = payload["model"]
    said = {
        "model": model["name"] if model else None,
        "version": model["version"] if model else None,
        "origin": max((one["forecast"]["origin"] for one in payload["series"] if one["forecast"]), default=None),
        "generated_at": payload["generated_at"],
        **meta,
    }
    files = {TABLE_FILE: table.getvalue(), FIGURES: figures, PAGE: page}
    manifest = storage.commit(name, files, meta=said)
    storage.objects.put(f"{name}/{FIGURES}", figures)
    storage.objects.put(f"{name}/{PAGE}", page)
    return manifest
