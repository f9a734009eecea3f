"""Items one after the other in this process: no start-up, nothing is copied, a debugger works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sanmaru.cluster.base import OnResult, Plan, attempt, limited


def run(function: Callable[[Any], Any], items: Sequence[Any], planned: Plan, on_result: OnResult | None) -> list[Any]:
    """Return the result of every item; see `sanmaru.cluster.map`."""
    results = []
    for index, item in enumerate(items):
        with limited(planned.threads):
            outcome = attempt(function, item)
        results.append(outcome.unwrap(item, index))
        if on_result is not None:
            on_result(index, results[-1])
    return results
