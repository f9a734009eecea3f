import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sanmaru.errors import DataError
from sanmaru.packages.package import Package
from sanmaru.serving.batching import Batcher
from sanmaru.serving.errors import RequestError
from sanmaru.serving.model import ServedModel, Warmth
from sanmaru.serving.settings import Settings
from sanmaru.serving.source import Candidate

ROW = {"age": 60, "hours": 50.5, "city": "Seoul", "member": True, "joined": "2015-05-01"}


class Held:
    """The real package, whose forward waits until the test lets it go on, and which notes its batches."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.signature = package.signature
        self.encode_rows = package.encode_rows
        self.answers = package.answers
        self.go = threading.Event()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def forward(self, encoded: Any) -> np.ndarray:
        self.batches.append(len(encoded[0]))
        self.entered.set()
        assert self.go.wait(10)
        return self.package.forward(encoded)


@pytest.fixture
def held(price: Path) -> Held:
    return Held(Package.load(price))


def served(held: Held, version: int = 1) -> ServedModel:
    candidate = Candidate(name="m", version=version, folder=held.package.folder)
    return ServedModel(held, candidate, Warmth(first_ms=1, row_ms=5, many_ms=9))  # type: ignore[arg-type]


def run(held: Held, test: Callable[[Batcher], Any], **limits: Any) -> None:
    async def inside() -> None:
        batcher = Batcher(Settings(**limits), lambda rows: None)
        batcher.start(asyncio.get_running_loop())
        try:
            await test(batcher)
        finally:
            held.go.set()
            await asyncio.to_thread(batcher.stop)

    asyncio.run(inside())


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def test_what_queued_while_a_batch_ran_is_the_next_batch(held: Held) -> None:
    async def test(batcher: Batcher) -> None:
        model = served(held)
        first = asyncio.create_task(batcher.submit(model, lambda: [ROW]))
        await until(held.entered.is_set)
        rows = [[{**ROW, "age": 20 + n}] for n in range(5)]
        others = [asyncio.create_task(batcher.submit(model, lambda own=own: own)) for own in rows]
        await until(lambda: len(batcher) == 5)
        held.go.set()
        await first
        answers = [orjson.loads(await other)["predictions"][0]["price"] for other in others]
        assert held.batches == [1, 5]
        # Everybody gets the answer to their own row.
        expected = held.package.answers(held.package.forward(held.package.encode_rows([row for [row] in rows])))
        assert answers == pytest.approx([one["price"] for one in expected])

    run(held, test)


def test_versions_are_never_mixed_in_a_batch(held: Held) -> None:
    async def test(batcher: Batcher) -> None:
        old, new = served(held, 1), served(held, 2)
        first = asyncio.create_task(batcher.submit(old, lambda: [ROW]))
        await until(held.entered.is_set)
        others = [asyncio.create_task(batcher.submit(model, lambda: [ROW])) for model in (old, old, new, new, old)]
        await until(lambda: len(batcher) == 5)
        held.go.set()
        await first
        assert [orjson.loads(await other)["version"] for other in others] == [1, 1, 2, 2, 1]
        assert held.batches == [1, 2, 2, 1]

    run(held, test)


def test_a_full_queue_says_so(held: Held) -> None:
    async def test(batcher: Batcher) -> None:
        model = served(held)
        tasks = [asyncio.create_task(batcher.submit(model, lambda: [ROW]))]
        await until(held.entered.is_set)
        tasks += [asyncio.create_task(batcher.submit(model, lambda: [ROW])) for _ in range(3)]
        await until(lambda: len(batcher) == 3)
        with pytest.raises(RequestError, match="3 requests already wait") as refused:
            await batcher.submit(model, lambda: [ROW])
        assert refused.value.status == 503
        assert (b"retry-after", b"1") in refused.value.headers()
        held.go.set()
        await asyncio.gather(*tasks)

    run(held, test, queue=3)


def test_a_slow_prediction_is_given_up_and_what_waited_is_not_predicted(held: Held) -> None:
    async def test(batcher: Batcher) -> None:
        model = served(held)
        slow = asyncio.create_task(batcher.submit(model, lambda: [ROW]))
        await until(held.entered.is_set)
        with pytest.raises(RequestError, match=r"longer than 0\.1 s") as refused:
            await batcher.submit(model, lambda: [ROW])
        assert refused.value.status == 504
        with pytest.raises(RequestError, match="longer"):
            await slow
        held.go.set()
        await batcher.submit(model, lambda: [ROW])
        assert held.batches == [1, 1]

    run(held, test, timeout_s=0.1)


def test_one_bad_request_does_not_spoil_the_batch(held: Held) -> None:
    async def test(batcher: Batcher) -> None:
        model = served(held)
        first = asyncio.create_task(batcher.submit(model, lambda: [ROW]))
        await until(held.entered.is_set)
        bad = asyncio.create_task(batcher.submit(model, lambda: [{**ROW, "age": "old"}]))
        good = asyncio.create_task(batcher.submit(model, lambda: [ROW]))
        await until(lambda: len(batcher) == 2)
        held.go.set()
        with pytest.raises(DataError, match="row 0, column 'age'"):
            await bad
        assert await good == await first

    run(held, test)


def test_a_large_request_is_predicted_in_parts(held: Held) -> None:
    held.go.set()

    async def test(batcher: Batcher) -> None:
        rows = [{**ROW, "age": 20 + n} for n in range(25)]
        answers = orjson.loads(await batcher.submit(served(held), lambda: rows))["predictions"]
        assert held.batches == [10, 10, 5]
        assert len(answers) == 25
        assert [a["price"] for a in answers] == sorted(a["price"] for a in answers)  # the price rises with age

    run(held, test, batch_rows=10)
