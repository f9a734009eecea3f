"""The client against a server with bad days; every attempt is kept, and the key is nowhere."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.collect.answering import KEY, NOW, Reply, Server, air_item, envelope, gateway_error

from sanmaru.collect.base import CollectError, Request
from sanmaru.collect.client import Client, retry_after
from sanmaru.collect.clock import SetClock
from sanmaru.collect.config import AirKoreaConfig
from sanmaru.collect.keys import Scrubber
from sanmaru.collect.sources.airkorea import AirKorea
from sanmaru.collect.store import RawStore
from sanmaru.pipelines.context import NotReady

GOOD = Reply(envelope([air_item(NOW)]), headers={"Content-Type": "application/json"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RawStore]:
    with RawStore(tmp_path / "collected") as one:
        yield one


class Asking:
    """A client of the AirKorea source on a set clock."""

    def __init__(self, store: RawStore, server: Server, **fields: Any) -> None:
        content = {"kind": "airkorea", "stations": ["중구"], "url": server.url, "per_s": 100, "burst": 50, **fields}
        self.config = TypeAdapter(AirKoreaConfig).validate_python(content)
        self.clock = SetClock(NOW)
        self.client = Client("air", AirKorea(self.config), self.config, store, self.clock, seed=7)
        self.request = Request(url=f"{server.url}/getMsrstnAcctoRltmMesureDnsty", params={"stationName": "중구"})

    def ask(self) -> Any:
        try:
            return self.client.ask(self.request, 1)
        finally:
            self.client.close()


@pytest.fixture
def asking(store: RawStore, server: Server, service_key: str) -> Any:
    def make(**fields: Any) -> Asking:
        return Asking(store, server, **fields)

    return make


def problems(store: RawStore) -> list[str | None]:
    return [row["problem"] for row in store.catalogue.rows("SELECT problem FROM attempts ORDER BY id")]


def test_an_answer_is_kept_as_it_came(asking: Any, store: RawStore, server: Server) -> None:
    server.say(GOOD)
    answer = asking().ask()
    assert answer.body == GOOD.data
    assert store.good("air", answer.request).body == GOOD.data  # type: ignore[union-attr]
    assert server.asked[0].params["serviceKey"] == KEY  # decoded once: the server sees the very key
    assert server.asked[0].headers["user-agent"].startswith("sanmaru (")


def test_429_waits_as_long_as_the_server_wants(asking: Any, store: RawStore, server: Server) -> None:
    server.say(Reply(status=429, headers={"Retry-After": "17"}), GOOD)
    one = asking()
    one.ask()
    assert max(one.clock.slept) == 17
    assert problems(store) == ["retry: HTTP 429", None]


def test_a_server_that_wants_to_be_left_alone_for_long_is(asking: Any, server: Server) -> None:
    server.say(Reply(status=503, headers={"Retry-After": "7200"}), GOOD)
    one = asking()
    with pytest.raises(NotReady, match=r"left alone until 2026-11-21 11:00:00 UTC"):
        one.ask()
    assert one.clock.slept == []
    with pytest.raises(NotReady, match="left alone"):  # the next one, in whatever process, does not even ask
        asking().ask()
    assert len(server.asked) == 1


def test_errors_are_tried_again_with_full_jitter_that_a_seed_decides(asking: Any, server: Server) -> None:
    waits = []
    for hour in range(2):
        server.say(Reply("oops", status=500), Reply("oops", status=502), Reply("oops", status=504), GOOD)
        one = asking(http={"backoff_s": 2})
        one.clock.moment += timedelta(hours=hour)
        one.ask()
        waits.append(one.clock.slept)
    assert waits[0] == waits[1]
    assert len(waits[0]) == 3
    assert all(0 <= wait <= 2 * 2**n for n, wait in enumerate(waits[0]))


def test_after_all_tries_the_error_says_what_came(asking: Any, store: RawStore, server: Server) -> None:
    server.say(Reply("<html><head><title>점검 중입니다</title></head></html>"))
    with pytest.raises(CollectError, match=r"Dnsty failed 3 times, last: a page instead of data: '점검"):
        asking(http={"retries": 2}).ask()
    assert len(problems(store)) == 3
    (bodies,) = store.catalogue.rows("SELECT count(DISTINCT body) AS n FROM attempts")
    assert bodies["n"] == 1  # equal answers are kept once


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_body_that_ends_early_is_no_answer(asking: Any, store: RawStore, server: Server, cut: int) -> None:
    server.say(Reply(GOOD.body, cut=cut), GOOD)
    assert asking().ask().body == GOOD.data
    assert problems(store)[0].startswith("retry: RemoteProtocolError")  # type: ignore[union-attr]


def test_a_silent_server_is_given_up(asking: Any, store: RawStore, server: Server) -> None:
    server.say(Reply("", wait_s=1.0), GOOD)
    assert asking(http={"timeout_s": 0.2}).ask().body == GOOD.data
    assert problems(store)[0].startswith("retry: ReadTimeout")  # type: ignore[union-attr]


def test_a_dripping_server_is_given_up(asking: Any, store: RawStore, server: Server) -> None:
    server.say(Reply(b"x" * 200, drip_s=0.05), GOOD)
    assert asking(http={"timeout_s": 1, "total_s": 0.3}).ask().body == GOOD.data
    assert "longer than 0.3 s" in str(problems(store)[0])


def test_an_answer_without_end_is_cut_off(asking: Any, store: RawStore, server: Server) -> None:
    server.say(Reply(b"x" * 200_000))
    with pytest.raises(CollectError, match=r"longer than 1,000 bytes \(http.max_bytes\)"):
        asking(http={"max_bytes": 1000}).ask()
    assert len(server.asked) == 1


def test_nobody_listens(asking: Any, server: Server) -> None:
    server.close()
    with pytest.raises(CollectError, match="ConnectError"):
        asking(http={"retries": 1}).ask()


@pytest.mark.parametrize(
    ("body", "error", "match"),
    [
        (gateway_error("30", "SERVICE_KEY_IS_NOT_REGISTERED_ERROR"), CollectError, "code 30 .*not registered"),
        (gateway_error("22", "LIMITED_NUMBER_OF_SERVICE_REQUESTS_EXCEEDS_ERROR"), NotReady, "code 22 .*used up"),
        (envelope([], code="03", message="NO_DATA"), NotReady, "code 03 .*no data"),
        (envelope([], code="99", message="전날 자료까지 제공됩니다."), NotReady, "code 99 .*not there yet"),
        (envelope([], code="10", message="INVALID_REQUEST_PARAMETER_ERROR"), CollectError, "code 10"),
    ],
)
def test_errors_inside_status_200_are_told(
    asking: Any, server: Server, body: str, error: type[Exception], match: str
) -> None:
    server.say(Reply(body))
    with pytest.raises(error, match=match):
        asking().ask()
    assert len(server.asked) == 1  # asking again would not help


def test_errors_that_pass_are_tried_again(asking: Any, server: Server) -> None:
    server.say(Reply(gateway_error("04", "HTTP_ERROR")), Reply(envelope([], code="02", message="DB_ERROR")), GOOD)
    assert asking().ask().body == GOOD.data


def test_status_403_with_the_gateways_reason_says_the_reason(asking: Any, server: Server) -> None:
    server.say(Reply(gateway_error("20", "SERVICE_ACCESS_DENIED_ERROR"), status=403))
    with pytest.raises(CollectError, match=r"HTTP 403: code 20 .*apply for this service"):
        asking().ask()


def test_the_days_requests_are_counted_and_not_exceeded(asking: Any, store: RawStore, server: Server) -> None:
    server.say(GOOD)
    for _ in range(3):
        asking(daily=3).ask()
    with pytest.raises(NotReady, match=r"day's 3 requests .* begins at 2026-11-21 15:00 UTC"):  # midnight in Seoul
        asking(daily=3).ask()
    assert len(server.asked) == 3
    tomorrow = asking(daily=3)
    tomorrow.clock.moment = NOW + timedelta(hours=6)
    tomorrow.ask()


def test_the_key_is_in_no_log_no_error_and_no_file(
    asking: Any, store: RawStore, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forms = (KEY, "a%2Bsecret%2Fkey%3D%3D", "a%2bsecret%2fkey%3d%3d", "a+secret%2Fkey%3D%3D", "secret")
    echo = " ".join(forms[:4])
    server.say(
        Reply(f"<html><title>{echo}</title>", status=500), Reply(gateway_error("30", echo), headers={"ETag": echo})
    )
    with pytest.raises(CollectError) as caught:
        asking().ask()
    assert "***" in str(caught.value)
    assert any(record.name == "httpx" for record in caplog.records)
    told = [str(caught.value), caplog.text, *("\n".join(sqlite3.connect(store.folder / "catalogue.db").iterdump()),)]
    (rows,) = [store.catalogue.rows("SELECT body FROM attempts")]
    told += [store.get(row["body"]).decode() for row in rows]
    for text in told:
        assert not [form for form in forms if form in text]
    assert all(KEY.encode() not in path.read_bytes() for path in store.folder.rglob("*") if path.is_file())


def test_a_missing_key_says_which_variable(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_GO_KR_KEY")
    with pytest.raises(CollectError, match="DATA_GO_KR_KEY holds no key"):
        asking().ask()


def test_what_did_not_change_is_not_sent_again(asking: Any, store: RawStore, server: Server) -> None:
    def answer(asked: Any, n: int) -> Reply:
        if asked.headers.get("if-none-match") == '"7"':
            return Reply(status=304)
        return Reply(GOOD.body, headers={"ETag": '"7"'})

    server.answer = answer
    asking().ask()
    again = asking()
    again.clock.sleep(60)
    answer_again = again.ask()
    assert answer_again.body == GOOD.data
    assert answer_again.fetched_at == NOW + timedelta(seconds=60)
    assert len(server.asked) == 2


def test_pace_is_shared_and_kept(asking: Any, server: Server) -> None:
    server.say(GOOD)
    clock = None
    for _ in range(6):
        one = asking(per_s=2, burst=2)
        clock = one.clock = clock or one.clock
        one.client._clock = clock
        one.ask()
    # two at once, then one each half second
    assert clock.slept == pytest.approx([0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_scrubbing_takes_the_longest_form_first() -> None:
    assert Scrubber({"k": "a b"}).text("a%20b a+b a b") == "*** *** ***"
    assert Scrubber({"k": "000%"}).text("<000%25>") == "<***>"
    assert Scrubber({"k": ""}).text("a") == "a"


@given(st.text(st.characters(codec="utf-8"), min_size=4, max_size=20), st.data())
def test_no_mixture_of_encodings_gets_through(secret: str, data: st.DataObject) -> None:
    encoded = {c: f"%{'%'.join(f'{byte:02X}' for byte in c.encode())}" for c in secret}
    mixed = "".join(data.draw(st.sampled_from([c, encoded[c], encoded[c].lower()])) for c in secret)
    assert Scrubber({"k": secret}).text(f"<{mixed}>") == "<***>"
    assert Scrubber({"k": secret}).data(f"<{mixed}>".encode()) == b"<***>"
