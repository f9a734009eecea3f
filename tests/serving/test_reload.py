import gc
import shutil
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sanmaru.errors import RegistryError
from sanmaru.packages.package import Package
from sanmaru.serving.app import Service, create_app
from sanmaru.serving.model import INLINE_MS, Warmth, breaks, warm
from sanmaru.serving.settings import Settings
from sanmaru.serving.source import FolderSource
from sanmaru.tables.contract import Column


@pytest.fixture
def source(pointed: type, price: Path) -> Any:
    return pointed(price)


@pytest.fixture
def service(source: Any) -> Service:
    made = create_app(source, Settings(retry_s=0.1))
    assert made.poller.step()
    return made


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_nothing_happens_while_the_alias_rests(service: Service, source: Any) -> None:
    model = service.slot.current
    assert not service.poller.step()
    assert service.slot.current is model
    assert source.loads == 1


def test_a_new_version_is_swapped_in_and_the_old_one_released(
    service: Service, source: Any, price: Path, tmp_path: Path
) -> None:
    source.point(copy_of(price, tmp_path / "2"), 2)
    in_flight = service.slot.current
    old = weakref.ref(in_flight)
    assert service.poller.step()
    assert service.slot.current.version == 2
    assert old().version == 1  # a request that started with it keeps it
    del in_flight
    gc.collect()
    assert old() is None
    assert service.metrics.reloads == 1


def corrupt(folder: Path) -> str:
    with (folder / "card.json").open("a") as handle:
        handle.write(" ")
    return "card.json"


def gone(folder: Path) -> str:
    shutil.rmtree(folder)
    return "manifest"


@pytest.mark.parametrize("spoil", [corrupt, gone])
def test_a_bad_version_never_replaces_a_good_one(
    service: Service, source: Any, price: Path, tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    bad = copy_of(price, tmp_path / "2")
    says = spoil(bad)
    source.point(bad, 2)
    assert not service.poller.step()
    assert service.slot.current.version == 1
    assert says in service.slot.refusal.reason
    assert service.metrics.refused_versions == 1
    # The alias moves back: all is well again.
    source.point(price, 1)
    service.poller.step()
    assert service.slot.refusal is None


def test_a_golden_mismatch_is_refused(
    service: Service, source: Any, price: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sanmaru.errors import PackageError

    def mismatch(self: Package, tolerance: float = 1e-4) -> float:
        raise PackageError("golden row 3 gives 5.0 instead of 4.0")

    monkeypatch.setattr(Package, "golden_test", mismatch)
    source.point(copy_of(price, tmp_path / "2"), 2)
    assert not service.poller.step()
    assert "golden row 3" in service.slot.refusal.reason


def test_another_signature_is_refused(service: Service, source: Any, income: Path) -> None:
    source.point(income, 2)
    assert not service.poller.step()
    assert "'price' (regression) is gone" in service.slot.refusal.reason
    assert service.slot.current.version == 1


def test_a_refused_version_is_tried_again_only_after_a_while(
    service: Service, source: Any, price: Path, tmp_path: Path
) -> None:
    late = tmp_path / "2"
    source.point(late, 2)
    service.poller.step()
    refusal = service.slot.refusal
    assert refusal.next_try == pytest.approx(time.monotonic() + 0.1, abs=0.1)
    service.slot.refusal = replace(refusal, next_try=refusal.next_try + 60)
    for _ in range(5):
        service.poller.step()
    assert source.loads == 2
    assert service.slot.refusal.attempts == 1
    copy_of(price, late)
    service.slot.refusal = refusal
    time.sleep(max(0.0, refusal.next_try - time.monotonic()))
    assert service.poller.step()
    assert service.slot.current.version == 2


def test_the_wait_between_tries_doubles(service: Service, source: Any, tmp_path: Path) -> None:
    source.point(tmp_path / "absent", 2)
    waits = []
    for _ in range(4):
        before = time.monotonic()
        service.poller.step()
        now, until = time.monotonic(), service.slot.refusal.next_try
        waits.append((until - now, until - before))  # counted from some moment in between
        service.slot.refusal = replace(service.slot.refusal, next_try=0)
    assert all(low <= wait <= high for (low, high), wait in zip(waits, [0.1, 0.2, 0.4, 0.8], strict=True))


def test_a_registry_that_is_away_changes_nothing(service: Service, source: Any) -> None:
    for error in (OSError("database is locked"), RegistryError("no version holds the alias")):
        source.away = error
        assert not service.poller.step()
        assert str(error) in service.slot.source_error
        assert service.slot.current.version == 1
    source.away = None
    service.poller.step()
    assert service.slot.source_error is None


def test_the_polling_thread_survives_defects(serving: Callable, source: Any, price: Path, tmp_path: Path) -> None:
    with serving(source, Settings(poll_s=0.02)) as client:
        source.away = ValueError("a defect")
        deadline = time.monotonic() + 5
        while client.get("/ready").json()["registry"] != "ValueError: a defect":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        source.away = None
        source.point(copy_of(price, tmp_path / "2"), 2)
        deadline = time.monotonic() + 5
        while client.get("/ready").json()["version"] != 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert 'sanmaru_model_info{name="people",version="2"} 1.0' in client.get("/metrics").text


def test_a_folder_is_named_by_its_content(price: Path, tmp_path: Path) -> None:
    source = FolderSource(price)
    assert source.resolve() == source.resolve()
    assert source.resolve().version == FolderSource(copy_of(price, tmp_path / "x")).resolve().version
    assert source.name == "people <&> co"


def test_warming_decides_where_a_model_runs(price: Path) -> None:
    warmth = warm(Package.load(price))
    assert 0 < warmth.row_ms < INLINE_MS
    assert warmth.inline_rows() >= 1
    assert Warmth(first_ms=9, row_ms=0.0, many_ms=31 * 0.0625).inline_rows() == 33  # 2 ms at 1/16 ms a row
    assert Warmth(first_ms=9, row_ms=INLINE_MS * 1.01, many_ms=9).inline_rows() == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda inputs: inputs[1:], None),
        (lambda inputs: (*inputs, Column(name="new", kind="number")), None),
        (lambda inputs: (replace(inputs[0], kind="number"), *inputs[1:]), None),
        (lambda inputs: (*inputs, Column(name="new", kind="number", required=True)), "new input 'new'"),
        (lambda inputs: (replace(inputs[0], required=True), *inputs[1:]), "may no longer be missing"),
        (lambda inputs: (replace(inputs[0], kind="date"), *inputs[1:]), "is date, not integer"),
    ],
)
def test_which_changes_of_the_inputs_break_callers(price: Path, change: Callable, says: str | None) -> None:
    signature = Package.load(price).signature
    found = breaks(signature, replace(signature, inputs=change(signature.inputs)))
    assert found is None if says is None else says in found
