import base64
import json
import math
from collections.abc import Callable
from pathlib import Path

import httpx
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from sanmaru.packages.package import Package
from sanmaru.serving.keys import Keys, new_key
from sanmaru.serving.settings import Settings

ROW = {"age": 60, "hours": 50.5, "city": "Seoul", "member": True, "joined": "2015-05-01"}


def predicted(folder: Path, *rows: dict[str, object]) -> list[dict[str, object]]:
    package = Package.load(folder)
    frame = package.predict(pl.DataFrame(rows))
    return frame.to_dicts()


@pytest.mark.parametrize("body", [ROW, [ROW], {"rows": [ROW]}], ids=["object", "list", "rows"])
def test_a_row_is_answered_as_the_package_predicts_it(income_client: TestClient, income: Path, body: object) -> None:
    answer = income_client.post("/predict", json=body)
    assert answer.status_code == 200
    content = answer.json()
    expected = predicted(income, ROW)[0]
    assert content["predictions"][0]["income"] == expected["income"]
    probabilities = content["predictions"][0]["probabilities"]
    assert list(probabilities.values()) == pytest.approx(expected["income.probs"], abs=1e-6)
    assert math.isclose(sum(probabilities.values()), 1, abs_tol=1e-6)


def test_every_answer_carries_name_and_version(income_client: TestClient) -> None:
    good, bad = income_client.post("/predict", json=ROW), income_client.post("/predict", json={"age": "old"})
    assert good.json()["model"] == "people <&> co"
    assert good.json()["version"] == income_client.get("/ready").json()["version"]
    for answer in (good, bad):
        assert answer.headers["x-model"] == "people%20%3C%26%3E%20co@" + good.json()["version"]


def test_many_rows_come_back_in_order_through_the_thread(income_client: TestClient, income: Path) -> None:
    rows = [{**ROW, "age": 18 + n % 60, "hours": 20 + n % 45} for n in range(400)]
    answers = income_client.post("/predict", json={"rows": rows}).json()["predictions"]
    expected = [row["income.probs"] for row in predicted(income, *rows)]
    assert [list(answer["probabilities"].values()) for answer in answers] == [
        pytest.approx(probabilities, abs=1e-6) for probabilities in expected
    ]


def test_numbers_are_answered_as_numbers(serving: Callable, price: Path) -> None:
    with serving(price) as client:
        answer = client.post("/predict", json=ROW).json()["predictions"]
    assert answer == [{"price": pytest.approx(predicted(price, ROW)[0]["price"], rel=1e-6)}]


def test_a_row_may_hold_more_than_the_model_needs_and_lack_what_may_be_missing(income_client: TestClient) -> None:
    assert income_client.post("/predict", json={**ROW, "id": 7, "income": "?", "note": "x"}).status_code == 200
    assert income_client.post("/predict", json={"age": 30, "hours": None}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "says", "where"),
    [
        (b'{"rows": [{"age": 1,}]}', 400, "not JSON", "line 1, column 20"),
        (b"", 400, "empty", "body"),
        (b"\xff\xfe", 400, "not JSON", "line 1"),
        (b"3", 422, "list of objects, got a number", "body"),
        (b'{"rows": {"age": 3}}', 422, "got an object", "rows"),
        (b'{"rows": [{"age": 3}, 5]}', 422, "row 1 must be an object", "row 1"),
        (b'{"rows": []}', 422, "no rows", "rows"),
        (b'{"rows": [], "threshold": 1}', 422, "'threshold'", "body"),
        (b'[{"age": 3}, {"age": "old"}]', 422, "expected a number, got 'old'", "row 1, column 'age'"),
        (b'{"age": [3]}', 422, "expected a number", "row 0, column 'age'"),
        (b'{"joined": "soon"}', 422, "expected a date", "row 0, column 'joined'"),
        (b'{"agee": 3, "hours": 3}', 422, "Did you mean 'age'", None),
        (b"[" + b'{"age":1},' * 500 + b'{"age":1}]', 413, "501 rows", "rows"),
        (b"[" * 2000, 400, "not JSON", None),
    ],
)
def test_malformed_bodies_get_one_clear_message(
    income_client: TestClient, body: bytes, status: int, says: str, where: str | None
) -> None:
    answer = income_client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "where"}
    assert says in answer.json()["error"]
    if where is not None:
        assert answer.json()["where"].startswith(where)


def test_other_kinds_of_body_are_refused_with_advice(income_client: TestClient) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", "text/csv"):
        answer = income_client.post("/predict", content=b"a=1", headers={"content-type": kind})
        assert answer.status_code == 415
        assert "send application/json" in answer.json()["error"]


def test_json_may_name_its_encoding(income_client: TestClient) -> None:
    answer = income_client.post(
        "/predict", content=json.dumps(ROW), headers={"content-type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 200


def test_only_post_predicts(income_client: TestClient) -> None:
    answer = income_client.get("/predict")
    assert answer.status_code == 405
    assert "POST" in answer.json()["error"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CELLS = st.dictionaries(st.sampled_from([*ROW, "id", "x"]), JSON_VALUES, max_size=6)
BODIES = (
    st.binary(max_size=60)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.lists(CELLS, max_size=3).map(lambda rows: json.dumps({"rows": rows}).encode())
    | st.tuples(CELLS, st.integers(0, 200)).map(lambda both: json.dumps(both[0]).encode()[: both[1]])
)
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=250, **QUIET)
@example(body=b'{"rows":[{"age":100e38}]}')  # beyond what a single float holds
@given(body=BODIES)
def test_no_body_is_a_defect_of_the_server(income_client: TestClient, body: bytes) -> None:
    answer = income_client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 413, 422)
    assert answer.json().keys() >= ({"predictions"} if answer.status_code == 200 else {"error", "where"})


@settings(max_examples=150, **QUIET)
@given(
    body=BODIES | st.binary(max_size=80).map(lambda b: b'--x\r\nContent-Disposition: form-data; name="file"' + b),
    kind=st.sampled_from(
        ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "image/png", ""]
    ),
)
def test_no_body_with_pictures_is_a_defect_either(pictures_client: TestClient, body: bytes, kind: str) -> None:
    answer = pictures_client.post("/predict", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 413, 415, 422)
    assert set(answer.json()) == {"error", "where"}


def test_pictures_arrive_in_four_ways(pictures_client: TestClient, picture: Callable[..., bytes]) -> None:
    bright, dark = picture(230), picture(20)
    text = base64.b64encode(bright).decode()
    ways = {
        "one file": {"files": {"file": ("a.png", bright, "image/png")}},
        "by the column's name": {"files": {"picture": ("a.png", bright, "image/png")}},
        "raw": {"content": bright, "headers": {"content-type": "image/png"}},
        "base64": {"json": {"rows": [{"picture": text}]}},
        "data URL": {"json": {"picture": f"data:image/png;base64,{text}"}},
    }
    for way, request in ways.items():
        answer = pictures_client.post("/predict", **request)
        assert answer.status_code == 200, (way, answer.text)
        assert [p["light"] for p in answer.json()["predictions"]] == ["bright"], way
    several = [("file", ("a.png", dark)), ("file", ("b.png", bright)), ("file", ("c.png", dark))]
    answer = pictures_client.post("/predict", files=several)
    assert [p["light"] for p in answer.json()["predictions"]] == ["dark", "bright", "dark"]


def test_a_text_in_a_picture_column_is_never_a_path(
    pictures_client: TestClient, tmp_path: Path, picture: Callable
) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    answer = pictures_client.post("/predict", json={"picture": str(tmp_path / "secret.png")})
    assert answer.status_code == 422
    assert "base64" in answer.json()["error"]


@pytest.mark.parametrize(
    ("row", "says"),
    [({}, "required column 'picture'"), ({"picture": None}, "required"), ({"picture": 3}, "base64 text, got a number")],
)
def test_a_missing_picture_is_named(pictures_client: TestClient, row: dict[str, object], says: str) -> None:
    answer = pictures_client.post("/predict", json={"rows": [row]})
    assert answer.status_code == 422
    assert says in answer.json()["error"]
    assert answer.json()["where"] == "row 0, column 'picture'"


def test_one_bad_picture_spoils_only_its_own_request(
    pictures_client: TestClient, picture: Callable[..., bytes]
) -> None:
    bad = pictures_client.post("/predict", files=[("file", ("a.png", picture())), ("file", ("b.png", b"no picture"))])
    assert bad.status_code == 422
    assert "row 1" in bad.json()["error"]


def test_a_decompression_bomb_is_refused_from_its_header(pictures_client: TestClient) -> None:
    import io
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bomb = io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    answer = pictures_client.post("/predict", files={"file": ("bomb.png", bomb)})
    assert answer.status_code == 422
    assert "pixels" in answer.json()["error"]


def test_unknown_form_fields_and_cut_multipart_are_refused(pictures_client: TestClient, picture: Callable) -> None:
    unknown = pictures_client.post("/predict", files={"photo": ("a.png", picture())})
    assert (unknown.status_code, "'photo'" in unknown.json()["error"]) == (422, True)
    request = httpx.Request("POST", "http://x/predict", files={"file": ("a.png", picture())})
    cut = pictures_client.post(
        "/predict", content=request.read()[:-20], headers={"content-type": request.headers["content-type"]}
    )
    assert cut.status_code == 400
    assert "cut off" in cut.json()["error"]


def test_large_bodies_are_refused_with_and_without_a_length(serving: Callable, income: Path) -> None:
    with serving(income, Settings(max_body_bytes=1000)) as client:
        for content in (b"x" * 5000, iter([b"x" * 600] * 5)):
            answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
            assert answer.status_code == 413
            assert "at most 1,000" in answer.json()["error"]
        assert client.post("/predict", json=ROW).status_code == 200
        assert 'sanmaru_rejected_total{reason="too-large"} 2.0' in client.get("/metrics").text


def test_keys_open_the_prediction(serving: Callable, income: Path, tmp_path: Path) -> None:
    key, line = new_key("phone")
    file = tmp_path / "keys.txt"
    file.write_text(f"# keys\n{line}\n")
    with serving(income, keys=Keys(file)) as client:
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert client.post("/predict", json=ROW, headers=headers).status_code == 200
        for headers in ({}, {"x-api-key": "no"}, {"authorization": key}, {"authorization": f"Basic {key}"}):
            answer = client.post("/predict", json=ROW, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "API key" in answer.json()["error"]
        assert client.get("/health").status_code == 200
