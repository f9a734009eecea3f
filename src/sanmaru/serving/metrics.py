"""Counts for Prometheus, cheap enough for every request.

A request adds to plain integers on the event loop (prometheus_client's histogram with its locks costs several
microseconds a request); they become Prometheus' text when somebody asks. Several worker processes leave their counts as
files in one folder, and whichever is asked adds them up.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from sanmaru.files import whole

if TYPE_CHECKING:
    from sanmaru.serving.prediction_log import PredictionLog

LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """Counts per bucket, their sum, and nothing else."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """What one process counted. Written by the event loop, except where said."""

    def __init__(self, folder: Path | None = None) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.rejected: dict[str, int] = {}
        self.latency = Histogram(LATENCY_S)
        self.batches = Histogram(BATCH_ROWS)
        """Rows the model saw at once."""
        self.single_rows = 0
        """Batches of one row on the event loop: the usual request, left out of `batches` and `rows`."""
        self.rows = 0
        self.reloads = 0
        """Written by the poller."""
        self.refused_versions = 0
        """Written by the poller."""
        self.model: tuple[str, str, float] | None = None
        """Name, version and the time since which it is served."""
        self.log: PredictionLog | None = None
        self.queue_length: Callable[[], int] = lambda: 0
        self._folder = folder
        self._file = None if folder is None else folder / f"{os.getpid()}.json"

    def done(self, status: int, seconds: float, inline_rows: int = 0) -> None:
        """Count an answered request.

        Args:
            status: Of the answer.
            seconds: From the first byte to the answer.
            inline_rows: Rows that the event loop predicted itself, which makes them a batch of their own.
        """
        self.statuses[status] += 1
        latency = self.latency
        latency.counts[bisect_left(LATENCY_S, seconds)] += 1
        latency.total += seconds
        if inline_rows == 1:
            self.single_rows += 1
        elif inline_rows:
            self.rows += inline_rows
            self.batches.add(inline_rows)

    def reject(self, reason: str) -> None:
        """Count a request that never reached the model."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def loaded(self, name: str, version: int | str) -> None:
        """Note the version that is served from now on."""
        if self.model is not None:
            self.reloads += 1
        self.model = (name, str(version), time.time())

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, all worker processes added up."""
        registry = CollectorRegistry()
        registry.register(_Collector(self._all()))
        return generate_latest(registry)

    def keep(self) -> None:
        """Leave the counts for the other worker processes, where there are any."""
        if self._file is not None:
            with whole(self._file) as beside:
                beside.write_bytes(orjson.dumps(self._snapshot()))

    def _snapshot(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "rejected": self.rejected,
            "latency": [self.latency.counts, self.latency.total],
            "batches": [
                [self.batches.counts[0] + self.single_rows, *self.batches.counts[1:]],
                self.batches.total + self.single_rows,
            ],
            "rows": self.rows + self.single_rows,
            "reloads": self.reloads,
            "refused_versions": self.refused_versions,
            "logged": 0 if self.log is None else self.log.written,
            "log_dropped": 0 if self.log is None else self.log.dropped,
            "log_deleted": 0 if self.log is None else self.log.deleted,
            "model": self.model,
            "queue": self.queue_length(),
        }

    def _all(self) -> list[dict[str, Any]]:
        own = self._snapshot()
        if self._folder is None:
            return [own]
        self.keep()
        found = [orjson.loads(path.read_bytes()) for path in sorted(self._folder.glob("*.json")) if path != self._file]
        # What a worker that ended had counted stays counted, but it serves and queues nothing any more.
        for snapshot in found:
            if not _alive(snapshot["pid"]):
                snapshot["model"], snapshot["queue"] = None, 0
        return [own, *found]


class _Collector:
    def __init__(self, snapshots: list[dict[str, Any]]) -> None:
        self.snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("sanmaru_requests", "Answered requests to /predict.", labels=["status"])
        for status, count in sorted(self._sum("statuses").items()):
            requests.add_metric([status], count)
        yield requests
        rejected = CounterMetricFamily(
            "sanmaru_rejected", "Requests turned away before the model saw them.", labels=["reason"]
        )
        for reason, count in sorted(self._sum("rejected").items()):
            rejected.add_metric([reason], count)
        yield rejected
        yield self._histogram(
            "latency", LATENCY_S, "sanmaru_request_seconds", "Time from the first byte to the answer."
        )
        yield self._histogram("batches", BATCH_ROWS, "sanmaru_batch_rows", "Rows that the model saw at once.")
        for name, help_text in (
            ("rows", "Rows predicted."),
            ("reloads", "Versions swapped in after the first."),
            ("refused_versions", "Attempts to load a version that ended in a refusal."),
            ("logged", "Predictions written to the prediction log."),
            ("log_dropped", "Answered requests that the prediction log had no room for."),
            ("log_deleted", "Predictions deleted from the prediction log for their age."),
        ):
            counter = CounterMetricFamily(f"sanmaru_{name}", help_text)
            counter.add_metric([], sum(snapshot[name] for snapshot in self.snapshots))
            yield counter
        queue = GaugeMetricFamily("sanmaru_queue_length", "Requests that wait for the model.")
        queue.add_metric([], sum(snapshot["queue"] for snapshot in self.snapshots))
        yield queue
        info = GaugeMetricFamily(
            "sanmaru_model_info", "Worker processes that serve this version.", labels=["name", "version"]
        )
        loaded = GaugeMetricFamily(
            "sanmaru_model_loaded_timestamp_seconds",
            "When this version was put in service.",
            labels=["name", "version"],
        )
        serving: dict[tuple[str, str], list[float]] = {}
        for snapshot in self.snapshots:
            if snapshot["model"] is not None:
                name, version, since = snapshot["model"]
                serving.setdefault((name, version), []).append(since)
        for labels, times in sorted(serving.items()):
            info.add_metric(list(labels), len(times))
            loaded.add_metric(list(labels), max(times))
        yield info
        yield loaded

    def _sum(self, key: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for snapshot in self.snapshots:
            for name, count in snapshot[key].items():
                total[name] = total.get(name, 0) + count
        return total

    def _histogram(self, key: str, bounds: tuple[float, ...], name: str, help_text: str) -> HistogramMetricFamily:
        counts = [sum(column) for column in zip(*(snapshot[key][0] for snapshot in self.snapshots), strict=True)]
        buckets, running = [], 0
        for bound, count in zip((*bounds, float("inf")), counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), float(running)))
        family = HistogramMetricFamily(name, help_text)
        family.add_metric([], buckets, sum(snapshot[key][1] for snapshot in self.snapshots))
        return family


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
