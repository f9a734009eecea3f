"""Items on Ray: started on this machine, or a cluster that runs elsewhere.

Files named by the items must lie at the same path on every node (a shared file system), and Sanmaru must be
installed there.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sanmaru.cluster.base import OnResult, Outcome, Plan, attempt, died, thread_environment
from sanmaru.errors import UserError, import_extra

CLIENT_PORT = 10001
"""Where a Ray head node listens for clients unless told otherwise."""


def run(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    planned: Plan,
    on_result: OnResult | None,
    retries: int,
    *,
    address: str,
    limited: bool,
) -> list[Any]:
    """Return the result of every item; see `sanmaru.cluster.map`.

    Args:
        function: As in `map`.
        items: As in `map`.
        planned: Cores per item; and items at once where `limited`.
        on_result: As in `map`.
        retries: As in `map`; Ray itself runs the item again.
        address: ``ray``, ``ray://auto`` or ``ray://host:port``.
        limited: Whether `planned.workers` bounds what is in flight; else Ray's own room does.
    """
    ray = import_extra("ray", "ray")
    results: list[Any] = [None] * len(items)
    waiting = deque(range(len(items)))
    flying: dict[Any, int] = {}
    with _joined(ray, address, planned):
        remote = ray.remote(attempt).options(
            num_cpus=planned.threads,
            max_retries=retries,
            runtime_env={"env_vars": thread_environment(planned.threads)},
        )
        at_once = planned.workers if limited else len(items)
        try:
            while waiting or flying:
                while waiting and len(flying) < at_once:
                    index = waiting.popleft()
                    flying[remote.remote(function, items[index])] = index
                [reference], _ = ray.wait(list(flying), num_returns=1)
                index = flying.pop(reference)
                results[index] = _outcome(ray, reference, items[index], index, retries).unwrap(items[index], index)
                if on_result is not None:
                    on_result(index, results[index])
        except BaseException:
            for reference in flying:
                with contextlib.suppress(Exception):
                    ray.cancel(reference, force=True)
            raise
    return results


def _outcome(ray: Any, reference: Any, item: Any, index: int, retries: int) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except ray.exceptions.RayTaskError as error:  # raised while Ray read the function or the item, or sent the result
        return Outcome(text=f"{type(error.cause).__name__}: {error.cause}", traceback_text=str(error))
    except ray.exceptions.RayError as error:
        raise died(item, index, str(error).strip().splitlines()[0], retries + 1) from error


@contextlib.contextmanager
def _joined(ray: Any, address: str, planned: Plan) -> Iterator[None]:
    """Join or start Ray, and leave it as it was found."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    target = address.removeprefix("ray://") if address != "ray" else "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if target == "local":
        options |= {"num_cpus": planned.workers * planned.threads, "include_dashboard": False}
    elif target != "auto":
        target = f"ray://{target if ':' in target else f'{target}:{CLIENT_PORT}'}"
    try:
        _init(ray, target, options)
    except (ConnectionError, TimeoutError) as error:
        raise UserError(
            f"no Ray cluster answers at {address!r} ({error}). Start one there with `ray start --head`, or use "
            "cluster.kind=ray to start one on this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _init(ray: Any, target: str, options: dict[str, Any]) -> None:
    """Call `ray.init`; once more where the head was reached and failed to start a server for this client.

    Ray 2.60 starts that server by forking a process with busy gRPC threads, and now and then the fork dies.
    """
    for last in (False, False, True):
        try:
            ray.init(address=target, **options)
            return
        except ConnectionError as error:
            ray.shutdown()
            if last or "Starting Ray client server failed" not in str(error):
                raise
