"""A published forecast page beside the model: tags, 304, and a folder that is replaced while it is read."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from sanmaru.errors import DataError
from sanmaru.files import whole
from sanmaru.serving.app import create_app
from sanmaru.serving.site import FILES, Site, matches


def publish(folder: Path, text: str) -> None:
    with whole(folder) as beside:
        beside.mkdir()
        (beside / "index.html").write_text(f"<!doctype html><p>{text}</p>")
        (beside / "forecast.json").write_text(f'{{"text": "{text}"}}')
        (beside / "secret.txt").write_text("secret")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish(tmp_path / "site", "one")
    return tmp_path / "site"


@pytest.fixture
def client(folder: Path, pointed: type) -> Iterator[TestClient]:
    with TestClient(create_app(pointed(folder / "absent"), site=Site(folder))) as client:
        yield client


def test_page_and_json_have_tags_and_must_be_asked_about_again(client: TestClient) -> None:
    page, data = client.get("/forecast"), client.get("/forecast.json")
    assert page.text == "<!doctype html><p>one</p>"
    assert data.json() == {"text": "one"}
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert data.headers["content-type"] == "application/json"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for answer in (page, data):
        assert answer.headers["cache-control"] == "no-cache"
        assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["etag"])
        assert answer.headers["last-modified"].endswith("GMT")
    assert page.headers["etag"] != data.headers["etag"]
    head = client.head("/forecast")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", page.headers["etag"])
    assert {"/forecast", "/forecast.json"} <= set(client.get("/openapi.json").json()["paths"])


def test_what_is_known_is_not_sent_again_until_it_changes(client: TestClient, folder: Path) -> None:
    tag = client.get("/forecast.json").headers["etag"]
    for given_tag in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get("/forecast.json", headers={"if-none-match": given_tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert answer.headers["cache-control"] == "no-cache"
    assert client.get("/forecast.json", headers={"if-none-match": '"other"'}).status_code == 200
    publish(folder, "two")
    answer = client.get("/forecast.json", headers={"if-none-match": tag})
    assert (answer.status_code, answer.json()) == (200, {"text": "two"})


def test_between_the_old_folder_and_the_new_one_the_old_page_is_shown(client: TestClient, folder: Path) -> None:
    assert client.get("/forecast").status_code == 200
    folder.rename(folder.with_name("old"))
    assert client.get("/forecast").text == "<!doctype html><p>one</p>"
    assert client.get("/forecast.json").status_code == 404  # was never read


def test_nothing_but_the_two_files_can_be_reached(client: TestClient, folder: Path) -> None:
    (folder.parent / "outside.txt").write_text("secret")
    for path in (
        "/forecast/../secret.txt",
        "/forecast/secret.txt",
        "/forecast%2f..%2fsecret.txt",
        "/forecast.json/../../outside.txt",
        "/..%2f..%2foutside.txt",
        "/secret.txt",
        "/forecast/",
    ):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code in (307, 404), path
        assert "secret" not in answer.text


def test_without_a_page_the_answer_says_so(tmp_path: Path, pointed: type) -> None:
    with TestClient(create_app(pointed(tmp_path), site=Site(tmp_path / "absent"))) as client:
        answer = client.get("/forecast")
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
        assert "no forecast is published yet" in answer.json()["error"]
    with TestClient(create_app(pointed(tmp_path))) as client:
        assert client.get("/forecast").status_code == 404


def test_a_site_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is no folder"):
        Site(tmp_path / "file")


def test_readers_see_one_whole_page_while_it_is_replaced_again_and_again(folder: Path) -> None:
    site = Site(folder)
    assert site.answer("/forecast").status == 200
    assert site.answer("/forecast.json").status == 200
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            for path in FILES:
                answer = site.answer(path)
                if answer.status != 200 or not re.search(rb"one|page \d+ x{5000}", answer.content):
                    wrong.append(answer)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        publish(folder, f"page {number} {'x' * 5000}")
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert b"page 59" in site.answer("/forecast").content


def test_a_real_server_shows_the_page(server: Callable, price: Path, folder: Path) -> None:
    service = server(str(price), "--site", str(folder))
    service.wait_ready()
    assert httpx.get(service.url + "/forecast").text == "<!doctype html><p>one</p>"


@given(st.lists(st.text("abc", max_size=3), max_size=4), st.text("abc", max_size=3), st.booleans())
def test_a_tag_is_found_in_a_list_exactly_where_it_stands(tags: list[str], wanted: str, weak: bool) -> None:
    header = ", ".join(f'{"W/" if weak else ""}"{tag}"' for tag in tags)
    assert matches(header, f'"{wanted}"') == (wanted in tags)
