"""A forecaster as it runs: promotions and rollbacks while several clients ask, and its page in a browser."""

import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import sqlalchemy as sa

from sanmaru.experiments.runs import Run
from sanmaru.packages.package import Package
from sanmaru.project import Project
from sanmaru.registry.models import promote, register, resolve, rollback

Rows = list[dict[str, Any]]


def put_in_production(project: Project, version: int) -> None:
    promote(project, "air", to="production", version=version, force=True, why="a test moves it back and forth")


def wait_for(url: str, version: int) -> None:
    deadline = time.monotonic() + 60
    while (ready := httpx.get(url + "/ready", timeout=20).json())["version"] != version:
        assert time.monotonic() < deadline, ready
        time.sleep(0.02)


def test_promotions_and_rollbacks_under_load_lose_no_answer(
    air_project: Project,
    air_run: Callable[[str], Run],
    server: Callable,
    history: Callable[..., Rows],
    tmp_path: Path,
) -> None:
    found = {v.version: v for v in (register(air_run(kind)) for kind in ("seasonal-naive", "persistence", "ridge"))}
    put_in_production(air_project, 1)
    bodies = [history(48 + 6 * n, districts=(name,)) for n, name in enumerate(("Gangnam", "Jongno", "Mapo-gu"))]
    packages = {number: Package.load(version.folder) for number, version in found.items()}
    expected = {
        (number, place): package.forecast(pl.from_dicts(body, infer_schema_length=None))
        for number, package in packages.items()
        for place, body in enumerate(bodies)
    }
    log = f"sqlite:///{tmp_path}/log.db"
    service = server("air", "--project", str(tmp_path), "--poll-s", "0.1", "--log", log)
    assert service.wait_ready()["version"] == 1
    stop = threading.Event()
    seen: list[list[tuple[int, int, str, dict[str, Any]]]] = [[] for _ in range(3)]
    failed: list[BaseException] = []

    def ask(mine: list[Any], first: int) -> None:
        try:
            with httpx.Client(timeout=60) as client:
                place = first % len(bodies)
                while not stop.is_set():
                    answer = client.post(service.url + "/predict", json={"rows": bodies[place]})
                    mine.append((place, answer.status_code, answer.headers.get("x-model", ""), answer.json()))
                    place = (place + 1) % len(bodies)
        except BaseException as error:
            failed.append(error)

    clients = [threading.Thread(target=ask, args=(mine, first)) for first, mine in enumerate(seen)]
    for client in clients:
        client.start()
    for move in (2, "back", 3, 2, "back"):
        if move == "back":
            version = rollback(air_project, "air").version.version
        else:
            put_in_production(air_project, int(move))
            version = int(move)
        assert resolve(air_project, "air").version == version
        wait_for(service.url, version)
        asked = [len(mine) for mine in seen]
        deadline = time.monotonic() + 60
        while any(len(mine) < before + 2 for mine, before in zip(seen, asked, strict=True)):
            assert time.monotonic() < deadline
            assert not failed, failed
            time.sleep(0.01)
    stop.set()
    for client in clients:
        client.join()
    assert failed == []
    answers = [answer for mine in seen for answer in mine]
    assert Counter(status for _, status, _, _ in answers) == {200: len(answers)}
    assert {content["version"] for *_, content in answers} == {1, 2, 3}
    for place, _, header, content in answers:
        assert header == f"air@{content['version']}"
        table = expected[content["version"], place]
        (forecast,) = content["predictions"]
        for name in table.columns[4:]:
            # Requests predicted together are one matrix product, which may differ in the last bits of float32.
            assert [step[name] for step in forecast["forecast"]] == pytest.approx(
                table[name].to_list(), rel=1e-5, abs=1e-4
            )
    metrics = httpx.get(service.url + "/metrics").text
    assert f'sanmaru_requests_total{{status="200"}} {len(answers)}.0' in metrics
    assert "sanmaru_reloads_total 5.0" in metrics
    assert service.stop() == 0
    assert "defect" not in service.log()
    engine = sa.create_engine(log)
    with engine.connect() as connection:
        logged = connection.execute(sa.text("SELECT version, COUNT(*) FROM sanmaru_predictions GROUP BY version")).all()
    engine.dispose()
    assert dict(map(tuple, logged)) == Counter(str(content["version"]) for *_, content in answers)


@pytest.fixture
def page() -> Iterator[Any]:
    """A page that fails the test when it logs an error or asks another host for anything."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda r: None if re.match(r"(http://127\.0\.0\.1|data:)", r.url) else problems.append(r.url)
        )
        yield page
        browser.close()
        assert problems == []


@pytest.mark.browser
def test_the_try_page_draws_history_and_forecast(
    page: Any, server: Callable, forecaster: Path, history: Callable[..., Rows], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<!doctype html><title>air</title><p>published</p>")
    service = server(str(forecaster), "--site", str(site))
    service.wait_ready()
    folder = os.environ.get("SANMARU_SCREENSHOTS")

    def fits(name: str) -> None:
        for width in (400, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if folder:
                page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)

    page.goto(service.url + "/")
    fits("air-card")
    page.click("text=Try it >> nth=0")
    # The example is there, so that one click shows a forecast.
    page.click("#predict")
    page.wait_for_selector("#result:not([hidden]) svg")
    assert page.inner_text("figcaption >> nth=0").startswith("pm25")
    assert page.locator("figure").count() == 2
    assert page.locator("figure path.band").count() == 2
    expected = httpx.post(
        service.url + "/predict",
        content=page.input_value("#rows").encode(),
        headers={"content-type": "text/csv"},
    ).json()
    first = expected["predictions"][0]["forecast"][0]
    assert f": {first['pm25']:.4g} ({first['pm25.q10']:.4g} to {first['pm25.q90']:.4g})" in page.inner_text(
        ".told >> nth=0"
    )
    fits("air-forecast")
    page.click("#table summary")
    assert page.locator("#table tbody tr").count() == 24
    # Several series from a file: one is picked.
    csv = pl.from_dicts(history(), infer_schema_length=None).write_csv().encode()
    page.set_input_files("#file", {"name": "air.csv", "mimeType": "text/csv", "buffer": csv})
    page.wait_for_selector("#pick:not([hidden])")
    before = page.inner_html("#charts")
    page.select_option("#series", label="Mapo-gu")
    assert page.inner_html("#charts") != before
    fits("air-several")
    # What does not fit is told, and the forecast shown before goes.
    page.fill("#rows", "series,time\nA,2026-03-01T00:00:00Z\n")
    page.click("#predict")
    page.wait_for_selector("#error:not([hidden])")
    assert "no column 'pm25'" in page.inner_text("#error")
    assert page.is_hidden("#result")
    page.click("nav >> text=Forecast")
    assert page.inner_text("p") == "published"
