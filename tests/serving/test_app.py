import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from sanmaru.serving.app import create_app
from sanmaru.serving.settings import Settings

ROW = {"age": 60, "hours": 50.5, "city": "Seoul", "member": True, "joined": "2015-05-01"}


def test_health_and_readiness(income_client: TestClient) -> None:
    assert income_client.get("/health").json() == {"status": "ok"}
    ready = income_client.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["path"] == "inline"
    assert ready.json()["refused"] is None


def test_until_a_model_is_loaded_the_service_is_up_and_not_ready(pointed: type, tmp_path: Path) -> None:
    with TestClient(create_app(pointed(tmp_path / "absent"))) as client:
        client.app.slot.wait(0.2)
        assert client.get("/health").status_code == 200
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        answer = client.post("/predict", json=ROW)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        for page in ("/", "/try"):
            assert "Not ready" in client.get(page).text
        assert "/predict" in client.get("/openapi.json").json()["paths"]


def test_the_card_says_what_the_model_is_and_how_to_call_it(income_client: TestClient) -> None:
    answer = income_client.get("/")
    for text in (
        "people &lt;&amp;&gt; co",
        "0.9123",
        "0.88 to 0.94",
        "Who earns more?",
        "joined",
        "curl",
        "18 to 79",
    ):
        assert text in answer.text
    assert "script-src 'sha256-" in answer.headers["content-security-policy"]


def test_a_refused_version_stands_on_the_card(serving: Callable, pointed: type, price: Path, tmp_path: Path) -> None:
    source = pointed(price)
    with serving(source, Settings(poll_s=60)) as client:
        source.point(tmp_path / "absent", 2)
        client.app.poller.step()
        assert "Version 2 is refused." in client.get("/").text
        assert client.get("/ready").json()["refused"]["version"] == 2
        assert client.post("/predict", json=ROW).json()["version"] == 1
        source.away = OSError("database is locked")
        client.app.poller.step()
        assert "database is locked" in client.get("/").text
        assert "sanmaru_refused_versions_total 1.0" in client.get("/metrics").text


def test_pages_need_nothing_from_elsewhere(income_client: TestClient, pictures_client: TestClient) -> None:
    for client in (income_client, pictures_client):
        for page in ("/", "/try"):
            text = client.get(page).text
            addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
            assert len(addresses) > 3
            outside = [a for a in addresses if "//" in a and not a.startswith("data:")]
            assert outside == []


def test_the_form_follows_the_signature(income_client: TestClient) -> None:
    text = income_client.get("/try").text
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    assert [column["kind"] for column in data["inputs"]] == ["integer", "number", "category", "boolean", "date"]
    assert data["examples"]["city"] == "Seoul"
    assert text.count('type="number"') == 2
    assert text.count("<option>") == 3
    assert 'type="date"' in text


def test_a_category_cannot_break_out_of_the_page(
    serving: Callable, pointed: type, package_maker: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = package_maker(tmp_path / "package").folder
    from sanmaru.packages.package import Package

    load = Package.load
    evil = "</script><script>alert(1)</script>"

    def spoiled(*arguments: Any, **options: Any) -> Package:
        package = load(*arguments, **options)
        object.__setattr__(package.signature.inputs[2], "categories", (evil, "'\"><img src=x>"))
        object.__setattr__(package.signature.inputs[2], "example", evil)
        return package

    monkeypatch.setattr(Package, "load", spoiled)
    with serving(pointed(folder)) as client:
        for page in ("/", "/try"):
            assert "<script>alert" not in client.get(page).text
            assert "<img src=x>" not in client.get(page).text


def resolve(schema: dict[str, Any], node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def test_the_interface_is_described_from_the_signature(income_client: TestClient) -> None:
    schema = income_client.get("/openapi.json").json()
    operation = schema["paths"]["/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    row = body["schema"]["oneOf"][1]
    assert list(row["properties"]) == list(ROW)
    assert row["properties"]["age"]["type"] == ["integer", "null"]
    assert "18 to 79" in row["properties"]["age"]["description"]
    # The examples are true: the service takes the one and its answer has the shape of the other.
    for example in body["examples"].values():
        answer = income_client.post("/predict", json=example["value"])
        assert answer.status_code == 200
    described = operation["responses"]["200"]["content"]["application/json"]
    assert answer.json().keys() == described["example"].keys()
    assert answer.json()["predictions"][0].keys() == described["example"]["predictions"][0].keys()
    for status in ("400", "401", "408", "413", "415", "422", "503", "504"):
        error = resolve(schema, operation["responses"][status]["content"]["application/json"]["schema"])
        assert error["required"] == ["error", "where"]


def test_pictures_are_described_as_files_and_base64(pictures_client: TestClient) -> None:
    schema = pictures_client.get("/openapi.json").json()
    content = schema["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data", "image/*"}
    example = content["application/json"]["examples"]["one row"]["value"]
    assert pictures_client.post("/predict", json=example).status_code == 200


def test_unknown_pages_and_docs(income_client: TestClient) -> None:
    assert income_client.get("/nothing").json() == {"error": "Not Found", "where": None}
    assert "openapi.json" in income_client.get("/docs").text
