"""The service: FastAPI for its surface, and `POST /predict` before any routing.

app = create_app(FolderSource(Path("runs/last/package")))        # any ASGI server runs it
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sanmaru.serving.batching import Batcher
from sanmaru.serving.errors import error_body
from sanmaru.serving.keys import Keys
from sanmaru.serving.metrics import Metrics
from sanmaru.serving.openapi import components, describe_predict
from sanmaru.serving.pages import card_page, try_page
from sanmaru.serving.predict import BasePredict
from sanmaru.serving.prediction_log import PredictionLog
from sanmaru.serving.reload import Poller
from sanmaru.serving.settings import Settings
from sanmaru.serving.site import Site
from sanmaru.serving.slot import Slot
from sanmaru.serving.source import ModelSource


class Service(BasePredict):
    """One model under one name, as an ASGI application with a life of its own: poller and worker thread.

    They start and stop with the server (ASGI lifespan).
    """

    def __init__(
        self,
        source: ModelSource,
        settings: Settings,
        keys: Keys,
        *,
        metrics_folder: Path | None = None,
        site: Site | None = None,
        prediction_log: PredictionLog | None = None,
    ) -> None:
        metrics = Metrics(metrics_folder)
        super().__init__(Slot(metrics), Batcher(settings, self._count_batch), settings, keys, metrics)
        self.source = source
        self.site = site
        self.prediction_log = prediction_log
        metrics.log = prediction_log
        self.poller = Poller(source, self.slot, settings, keys)
        self.metrics.queue_length = self.batcher.__len__
        self.api = _surface(self)
        # Only the pages need to know the address that a proxy saw; uvicorn would work it out for every request.
        self.elsewhere = ProxyHeadersMiddleware(self.api)  # type: ignore[arg-type, assignment]

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Run the poller and the worker thread while the server runs."""
        self.batcher.start(asyncio.get_running_loop())
        self.poller.start()
        if self.prediction_log is not None:
            self.prediction_log.start()
        keeping = asyncio.create_task(self._keep_house())
        try:
            yield
        finally:
            keeping.cancel()
            self.poller.stop()
            self.batcher.stop()
            if self.prediction_log is not None:
                self.prediction_log.stop()

    async def _keep_house(self) -> None:
        pause_s = min(0.25, self.settings.timeout_s / 4)
        kept = 0.0
        while True:
            await asyncio.sleep(pause_s)
            self.cut_slow()
            if time.monotonic() - kept > 1.0:
                kept = time.monotonic()
                self.metrics.keep()

    def _count_batch(self, rows: int) -> None:
        self.metrics.batches.add(rows)
        self.metrics.rows += rows


def create_app(
    source: ModelSource,
    settings: Settings | None = None,
    keys: Keys | None = None,
    *,
    metrics_folder: Path | None = None,
    site: Site | None = None,
    prediction_log: PredictionLog | None = None,
) -> Service:
    """Make the service.

    Args:
        source: Says which version to serve; asked again every few seconds.
        settings: Limits; the usual ones where absent.
        keys: API keys; open to everybody where absent.
        metrics_folder: Shared by the worker processes of one service, so that `/metrics` adds them up.
        site: A published forecast page, shown at `/forecast`.
        prediction_log: Where answers are kept; nowhere where absent.

    Returns:
        An ASGI application.
    """
    return Service(
        source,
        settings or Settings(),
        keys or Keys(),
        metrics_folder=metrics_folder,
        site=site,
        prediction_log=prediction_log,
    )


def _surface(service: Service) -> FastAPI:
    api = FastAPI(
        title=f"{service.source.name}: a model served by Sanmaru",
        lifespan=service.lifespan,
        redoc_url=None,
    )

    has_site = service.site is not None

    def needs_key() -> bool:
        return service.keys.active

    @api.get("/", response_class=HTMLResponse, tags=["pages"], summary="The model's card")
    async def card(request: Request) -> HTMLResponse:
        page = card_page(service.slot, service.source, str(request.base_url), needs_key=needs_key(), has_site=has_site)
        return _page(page)

    @api.get("/try", response_class=HTMLResponse, tags=["pages"], summary="Try the model")
    async def try_it() -> HTMLResponse:
        model = service.slot.current
        if model is None:
            page = card_page(service.slot, service.source, "", needs_key=needs_key(), has_site=has_site)
            return _page(page, status=503)
        return _page(try_page(model, needs_key=needs_key(), has_site=has_site))

    @api.get("/health", tags=["operation"], summary="Whether the process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/ready", tags=["operation"], summary="Whether a warm model is loaded (503 until then)")
    async def ready() -> JSONResponse:
        content = readiness(service)
        return JSONResponse(content, status_code=200 if content["ready"] else 503)

    @api.get("/metrics", tags=["operation"], summary="Counts in Prometheus' text format")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    if service.site is not None:
        _publish(api, service.site)

    @api.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> Response:
        content = error_body(str(error.detail), None)
        return Response(content, status_code=error.status_code, headers=error.headers, media_type="application/json")

    @api.get("/predict", include_in_schema=False)
    async def wrong_method() -> None:
        raise HTTPException(405, "/predict takes POST; /try is the page to try it by hand", headers={"allow": "POST"})

    plain = api.openapi

    def openapi() -> dict[str, Any]:
        api.openapi_schema = None
        schema = plain()
        schema["paths"]["/predict"] = {"post": describe_predict(service.slot.current)}
        for kind, parts in components().items():
            schema.setdefault("components", {}).setdefault(kind, {}).update(parts)
        model = service.slot.current
        schema["info"]["version"] = "none" if model is None else str(model.version)
        return schema

    api.openapi = openapi  # type: ignore[method-assign]
    return api


def _publish(api: FastAPI, site: Site) -> None:
    def show(path: str, request: Request) -> Response:
        answer = site.answer(path, request.headers.get("if-none-match"))
        if answer.status == 404:
            told = "no forecast is published yet: the folder of --site has no such file"
            raise HTTPException(404, told, headers=answer.headers)
        return Response(answer.content, status_code=answer.status, headers=answer.headers)

    # Not async: they read a file, so they run in a thread.
    @api.head("/forecast", include_in_schema=False)
    @api.get("/forecast", tags=["forecast"], summary="The published forecast page")
    def page(request: Request) -> Response:
        return show("/forecast", request)

    @api.head("/forecast.json", include_in_schema=False)
    @api.get("/forecast.json", tags=["forecast"], summary="The published forecast")
    def data(request: Request) -> Response:
        return show("/forecast.json", request)


def readiness(service: Service) -> dict[str, Any]:
    """Return what `/ready` answers."""
    model, refusal = service.slot.current, service.slot.refusal
    return {
        "ready": model is not None,
        "model": service.source.name,
        "alias": service.source.alias or None,
        "version": None if model is None else model.version,
        "since": None if model is None else model.since,
        "path": None if model is None else ("inline" if model.inline_rows else "worker thread"),
        "row_ms": None if model is None else round(model.warmth.row_ms, 4),
        "refused": None if refusal is None else {"version": refusal.candidate.version, "reason": refusal.reason},
        "registry": service.slot.source_error or "ok",
    }


def _page(page: tuple[str, str], status: int = 200) -> HTMLResponse:
    text, policy = page
    return HTMLResponse(
        text, status_code=status, headers={"content-security-policy": policy, "cache-control": "no-store"}
    )
