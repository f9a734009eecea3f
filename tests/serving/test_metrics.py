import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sanmaru.serving.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_counts_come_out_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.0004), (200, 0.0005), (422, 0.003), (200, 99.0)):
        metrics.done(status, seconds)
    metrics.reject("data")
    metrics.loaded("a", 1)
    metrics.loaded("a", 2)
    metrics.batches.add(3)
    metrics.queue_length = lambda: 7
    found = samples(metrics)
    assert found["sanmaru_requests_total", (("status", "200"),)] == 3
    assert found["sanmaru_rejected_total", (("reason", "data"),)] == 1
    # Buckets add up: a value on a bound belongs to it, one beyond the last only to +Inf.
    assert found["sanmaru_request_seconds_bucket", (("le", "0.0005"),)] == 2
    assert found["sanmaru_request_seconds_bucket", (("le", "0.005"),)] == 3
    assert found["sanmaru_request_seconds_bucket", (("le", "10.0"),)] == 3
    assert found["sanmaru_request_seconds_bucket", (("le", "+Inf"),)] == 4
    assert found["sanmaru_request_seconds_count", ()] == 4
    assert found["sanmaru_batch_rows_bucket", (("le", "4.0"),)] == 1
    assert found["sanmaru_queue_length", ()] == 7
    assert found["sanmaru_reloads_total", ()] == 1
    assert found["sanmaru_model_info", (("name", "a"), ("version", "2"))] == 1


def test_worker_processes_are_added_up(tmp_path: Path) -> None:
    own, other = Metrics(tmp_path), Metrics(tmp_path)
    other._file = tmp_path / "another-living-worker.json"
    for metrics in (own, other):
        metrics.done(200, 0.001)
        metrics.loaded("a", 1)
    other.queue_length = lambda: 2
    other.keep()
    found = samples(own)
    assert found["sanmaru_requests_total", (("status", "200"),)] == 2
    assert found["sanmaru_model_info", (("name", "a"), ("version", "1"))] == 2
    assert found["sanmaru_queue_length", ()] == 2
    assert found["sanmaru_request_seconds_count", ()] == 2


def test_what_a_dead_worker_counted_stays_counted(tmp_path: Path) -> None:
    dead = Metrics(tmp_path)
    dead._file = tmp_path / "dead.json"
    dead.done(200, 0.001)
    dead.loaded("a", 1)
    dead.keep()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead._file.write_bytes(dead._file.read_bytes().replace(str(os.getpid()).encode(), str(child).encode()))
    found = samples(Metrics(tmp_path))
    assert found["sanmaru_requests_total", (("status", "200"),)] == 1
    assert ("sanmaru_model_info", (("name", "a"), ("version", "1"))) not in found
