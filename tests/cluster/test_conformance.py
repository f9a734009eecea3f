"""One suite for every place that items run in. Ray's part starts Ray once for all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cluster_jobs as jobs
import numpy as np
import psutil
import pytest

from sanmaru import cluster
from sanmaru.cluster import ClusterError

KINDS = ["inline", "processes", pytest.param("ray", marks=pytest.mark.slow)]
OTHER_PROCESSES = KINDS[1:]


@pytest.fixture(scope="module")
def _ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray started once: `ray.init` takes eight seconds."""
    ray = pytest.importorskip("ray")
    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), paths])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()
    os.environ["PYTHONPATH"] = paths


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("_ray")
    return str(request.param)


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_results_stand_in_the_order_of_the_items(kind: str) -> None:
    assert cluster.map(jobs.slow_first, range(5), kind=kind, workers=2) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_large_results_arrive_whole(kind: str) -> None:
    results = cluster.map(jobs.array, [3, 4], kind=kind, workers=2)
    np.testing.assert_array_equal(np.stack(results), np.stack([jobs.array(3), jobs.array(4)]))


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_no_items_give_no_results(kind: str) -> None:
    assert cluster.map(jobs.square, [], kind=kind) == []


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_each_result_is_told_once_here(kind: str) -> None:
    told: dict[int, int] = {}
    cluster.map(jobs.square, [5, 6, 7], kind=kind, workers=2, on_result=told.__setitem__)
    assert told == {0: 25, 1: 36, 2: 49}


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_an_error_carries_the_item_and_its_cause(kind: str) -> None:
    with pytest.raises(ClusterError, match=r"item 1 \(2\) failed: ValueError: two is not wanted") as caught:
        cluster.map(jobs.fail_at_two, [1, 2, 3], kind=kind, workers=2)
    assert (caught.value.item, caught.value.index) == (2, 1)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "fail_at_two" in caught.value.traceback_text


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_an_error_that_cannot_travel_arrives_as_text(kind: str) -> None:
    with pytest.raises(ClusterError, match="RefusalError: 5 refused") as caught:
        cluster.map(jobs.refuse, [5], kind=kind)
    assert "refuse" in caught.value.traceback_text


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_libraries_keep_to_the_threads_given(kind: str) -> None:
    [(variable, most)] = cluster.map(jobs.threads, [0], kind=kind, threads=1)
    assert most == 1
    assert variable == "1"


@pytest.mark.parametrize("kind", OTHER_PROCESSES, indirect=True)
def test_an_item_whose_worker_was_killed_is_run_again(kind: str, tmp_path: Path) -> None:
    items = [str(tmp_path / name) for name in "abc"]
    assert cluster.map(jobs.die_once, items, kind=kind, workers=2) == ["survived"] * 3


@pytest.mark.parametrize("kind", OTHER_PROCESSES, indirect=True)
def test_an_item_that_kills_every_worker_is_given_up(kind: str) -> None:
    with pytest.raises(ClusterError, match=r"item 0 \(9\) was given up: its worker died 2 times") as caught:
        cluster.map(jobs.die_always, [9], kind=kind, retries=1)
    assert caught.value.item == 9


@pytest.mark.parametrize("kind", OTHER_PROCESSES, indirect=True)
def test_a_function_without_a_name_is_refused_clearly(kind: str) -> None:
    with pytest.raises(TypeError, match="Define it at the top of a module"):
        cluster.map(lambda value: value, [1], kind=kind)


@pytest.mark.parametrize("kind", OTHER_PROCESSES, indirect=True)
def test_an_item_that_cannot_be_sent_is_refused_clearly(kind: str, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as handle, pytest.raises(TypeError, match=r"item 1 \(TextIOWrapper\)"):
        cluster.map(jobs.square, [1, handle], kind=kind)  # type: ignore[list-item]


@pytest.mark.parametrize("kind", ["processes"], indirect=True)
def test_a_result_that_cannot_be_sent_back_is_that_items_error(kind: str) -> None:
    with pytest.raises(ClusterError, match=r"item 0 \(1\) failed: TypeError: its result cannot be sent back"):
        cluster.map(jobs.unsendable, [1], kind=kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_or_killed_it_leaves_no_worker_behind(kind: str, by: int, tmp_path: Path) -> None:
    if kind == "ray":
        pytest.importorskip("ray")
    here = Path(__file__).parent
    script = subprocess.Popen(
        [sys.executable, str(here / "cluster_jobs.py"), kind, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(here)},
        start_new_session=True,
    )
    expected = 1 if kind == "inline" else 2
    _until(lambda: len(list(tmp_path.iterdir())) == expected, 60)
    script.send_signal(by)
    code = script.wait(20)
    assert code == (130 if by == signal.SIGINT else -signal.SIGKILL)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    _until(lambda: not any(psutil.pid_exists(pid) for pid in workers), 20)


def _until(condition: object, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.05)
