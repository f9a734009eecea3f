"""The try-it page in headless Chromium, as a user meets it. SANMARU_SCREENSHOTS names a folder to keep pictures in."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test when it logs an error or asks another host for anything."""
    context = browser.new_context(viewport=SIZES["desktop"])
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on(
        "request", lambda r: None if re.match(r"(http://127\.0\.0\.1|data:|blob:)", r.url) else problems.append(r.url)
    )
    yield page
    context.close()
    assert problems == []


def keep(page: Any, name: str) -> None:
    """Check that no page is wider than a phone, and keep pictures where the environment asks for them."""
    folder = os.environ.get("SANMARU_SCREENSHOTS")
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], size
        if folder:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.screenshot(
                    path=Path(folder) / f"{name}-{size}-{scheme}.png", full_page=True, animations="disabled"
                )


def test_a_form_is_filled_and_answered(page: Any, server: Callable, income: Path) -> None:
    service = server(str(income))
    service.wait_ready()
    page.goto(service.url + "/")
    keep(page, "card")
    page.set_viewport_size(SIZES["desktop"])
    page.click("text=Try it >> nth=0")
    # The form comes filled with an example, so that one click shows an answer.
    example = page.evaluate("JSON.parse(document.getElementById('data').textContent).examples")
    assert page.input_value("label:has-text('age') + input") == str(example["age"])
    assert page.input_value("label:has-text('joined') + input") == example["joined"]
    row = {"age": 70, "hours": 55.5, "city": "Busan", "member": False, "joined": "2019-03-04"}
    page.fill("label:has-text('age') + input", "70")
    page.fill("label:has-text('hours') + input", "55.5")
    page.select_option("label:has-text('city') + select", "Busan")
    page.select_option("label:has-text('member') + select", label="no")
    page.fill("label:has-text('joined') + input", "2019-03-04")
    page.click("#predict")
    page.wait_for_selector("#result:not([hidden]) .value")
    expected = httpx.post(service.url + "/predict", json=row).json()
    prediction = expected["predictions"][0]
    assert page.inner_text("#result .value") == prediction["income"]
    assert page.inner_text(".bar.first .label") == prediction["income"]
    share = max(prediction["probabilities"].values())
    assert page.inner_text(".bar.first .share") == f"{share * 100:.1f} %"
    assert f"version {expected['version']}" in page.inner_text("#meta")
    assert re.search(r"[\d.]+\sms$", page.inner_text("#meta"))
    keep(page, "form")


def test_missing_values_and_errors_are_shown(page: Any, server: Callable, price: Path) -> None:
    service = server(str(price), environment={"SANMARU_API_KEYS": "secret"})
    service.wait_ready()
    page.goto(service.url + "/try")
    page.click("#predict")
    page.wait_for_selector("#error:not([hidden])")
    assert "API key" in page.inner_text("#error")
    page.fill("#key", "secret")
    page.click("#clear")
    page.fill("label:has-text('age') + input", "40")
    page.click("#predict")
    page.wait_for_selector("#result:not([hidden]) .value")
    assert page.is_hidden("#error")
    row = {"age": 40, "hours": None, "city": None, "member": None, "joined": None}
    answer = httpx.post(service.url + "/predict", json=row, headers={"x-api-key": "secret"}).json()
    shown = float(page.inner_text("#result .value").replace(",", ""))
    assert shown == pytest.approx(answer["predictions"][0]["price"], rel=1e-4)
    keep(page, "number")
    # What is no number is told where it stands, without asking the service.
    page.focus("label:has-text('age') + input")
    page.keyboard.press("Control+A")
    page.keyboard.type("-")
    page.click("#predict")
    page.wait_for_selector("#error:not([hidden])")
    assert "age: this is not a number" in page.inner_text("#error")


def test_a_picture_is_dropped_and_answered(page: Any, server: Callable, pictures: Path, picture: Callable) -> None:
    service = server(str(pictures))
    service.wait_ready()
    page.goto(service.url + "/try")
    keep(page, "picture-empty")
    page.set_viewport_size(SIZES["desktop"])
    for grey, expected in ((235, "bright"), (15, "dark")):
        data = list(picture(grey, 64))
        transfer = page.evaluate_handle(
            """(data) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(data)], "face.png", {type: "image/png"}));
                return transfer;
            }""",
            data,
        )
        page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})
        page.wait_for_function(
            "(label) => document.querySelector('#result .value')?.textContent === label", arg=expected
        )
        assert page.is_visible(".drop img")
        assert "face.png" in page.inner_text(".file-name")
    assert page.inner_text(".bar.first .label") == "dark"
    keep(page, "picture")


def test_a_file_is_chosen_and_a_broken_one_explained(
    page: Any, server: Callable, pictures: Path, picture: Callable
) -> None:
    service = server(str(pictures))
    service.wait_ready()
    page.goto(service.url + "/try")
    page.set_input_files("input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": picture(240)})
    page.wait_for_selector("#result:not([hidden]) .value")
    assert page.inner_text("#result .value") == "bright"
    page.set_input_files("input[type=file]", {"name": "b.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#error:not([hidden])")
    assert "not a picture" in page.inner_text("#error")
    assert page.is_hidden("#result")
