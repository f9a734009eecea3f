"""One `map` over three places to run, with the same results, the same errors and the same end on Ctrl-C.

The function and the items travel to other processes as pickles, so the function stands at the top of a module and
the items are small plain values: paths and numbers rather than tables.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
OnResult = Callable[[int, Any], None]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
)


class ClusterError(Exception):
    """An item could not be done. The error of the function itself, where there was one, is the `__cause__`."""

    def __init__(self, message: str, *, item: Any, index: int, traceback_text: str = "") -> None:
        super().__init__(message)
        self.item = item
        """The item that failed, as it was given."""
        self.index = index
        """Its position among the items."""
        self.traceback_text = traceback_text
        """The traceback where the function ran, as text; empty where a worker died without one."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.args[0], self.item, self.index, self.traceback_text)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many items run at once, and how many cores each may use."""

    workers: int
    threads: int


def map(  # noqa: A001 - the field's word, always written as cluster.map
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    kind: str = "inline",
    workers: int | None = None,
    on_result: OnResult | None = None,
    retries: int = 2,
    threads: int | None = None,
) -> list[Result]:
    """Return ``[function(item) for item in items]``, in that order, worked on where `kind` says.

    The first item whose function raises ends the whole: the other workers are stopped. Ctrl-C does the same, and
    leaves no worker behind. A worker that dies (killed, out of memory) has its item run again elsewhere.

    Args:
        function: Defined at the top of a module (for other processes it is found again by its name).
        items: Values that can be pickled.
        kind: ``inline`` (in this process), ``processes``, ``ray`` (started here, or the one already joined by
            this process), ``ray://host:port`` (a cluster joined through Ray's client; port 10001 where absent),
            ``ray://auto`` (the cluster that this machine is a node of).
        workers: Items run at once; one per core, or on Ray as many as there is room for, where absent.
        on_result: Called here as ``on_result(index, result)`` as items finish, in the order in which they do.
        retries: How often an item is run again after its worker died.
        threads: Cores per item, to which OpenMP, BLAS and Polars are limited; cores // workers where absent.

    Raises:
        ClusterError: with the item, its index and the original traceback.
        TypeError: when the function or an item cannot be sent to another process.
        ValueError: for an unknown kind.
        MissingExtraError: when Ray is asked for and not installed.
    """
    given = list(items)
    if not given:
        return []
    planned = plan(kind, workers=workers, items=len(given), threads=threads)
    if kind == "inline":
        from sanmaru.cluster import inline

        return inline.run(function, given, planned, on_result)
    check_portable(function, given)
    if kind == "processes":
        from sanmaru.cluster import processes

        return processes.run(function, given, planned, on_result, retries)
    from sanmaru.cluster import on_ray

    return on_ray.run(function, given, planned, on_result, retries, address=kind, limited=workers is not None)


def plan(kind: str, *, workers: int | None, items: int, threads: int | None = None) -> Plan:
    """Divide the cores of this machine among workers, so that libraries do not start a thread per core in each.

    Raises:
        ValueError: for an unknown kind.
    """
    available = cores()
    if kind == "inline":
        return Plan(workers=1, threads=threads or available)
    if kind in ("processes", "ray") or kind.startswith("ray://"):
        at_once = max(1, min(workers or available, items))
        return Plan(workers=at_once, threads=threads or max(1, available // at_once))
    raise ValueError(f"unknown cluster {kind!r}. Known: inline, processes, ray, ray://host:port, ray://auto")


def cores() -> int:
    """Return the cores this process may use (its affinity, which containers and `taskset` narrow)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker: set before its imports, because the libraries read it only then."""
    # PASSIVE: idle OpenMP threads sleep instead of spinning on a core that another worker needs (a LightGBM fit
    # beside another went from 6.4 s back to 0.05 s).
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Limit the thread pools that are already loaded in this process (BLAS, OpenMP, torch) while inside."""
    import sys

    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 0
    with threadpool_limits(threads):
        if torch is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


def check_portable(function: Callable[..., Any], items: Sequence[Any]) -> None:
    """Raise a TypeError unless the function and every item can be sent to another process."""
    try:
        pickle.dumps(function)
    except Exception as error:
        raise TypeError(
            f"{getattr(function, '__qualname__', function)!r} cannot be sent to another process ({error}). Define it "
            "at the top of a module that can be imported there, not inside a function, as a lambda or in a notebook."
        ) from error
    for index, item in enumerate(items):
        try:
            pickle.dumps(item)
        except Exception as error:
            raise TypeError(
                f"item {index} ({type(item).__name__}) cannot be sent to another process ({error}). Give plain "
                "values, such as paths and numbers."
            ) from error


@dataclass(frozen=True)
class Outcome:
    """What came of one item where it ran: a result, or an error in a form that always travels."""

    result: Any = None
    error: BaseException | None = None
    text: str = ""
    """Type and message of the error; empty on success."""
    traceback_text: str = ""

    def unwrap(self, item: Any, index: int) -> Any:
        """Return the result.

        Raises:
            ClusterError: from the original error, naming the item.
        """
        if not self.text:
            return self.result
        raise ClusterError(
            f"item {index} ({_short(item)}) failed: {self.text}",
            item=item,
            index=index,
            traceback_text=self.traceback_text,
        ) from (self.error or RuntimeError(self.traceback_text or self.text))


def attempt(function: Callable[[Any], Any], item: Any) -> Outcome:
    """Run the function on an item; an error becomes an `Outcome` too, a KeyboardInterrupt or SystemExit does not."""
    try:
        return Outcome(result=function(item))
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> Outcome:
    """Describe an error; one that cannot be pickled and read back travels as text alone."""
    text = f"{type(error).__name__}: {error}"
    try:
        kept = type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        kept = False
    return Outcome(error=error if kept else None, text=text, traceback_text=traceback.format_exc())


def died(item: Any, index: int, how: str, times: int) -> ClusterError:
    """Return the error of an item whose worker died once too often."""
    return ClusterError(
        f"item {index} ({_short(item)}) was given up: its worker died {times} time{'s' * (times > 1)} ({how}). A "
        "worker killed by signal 9 has often run out of memory: use fewer workers, or smaller batches.",
        item=item,
        index=index,
    )


def _short(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 120 else text[:117] + "..."


def _rebuild(message: str, item: Any, index: int, traceback_text: str) -> ClusterError:
    return ClusterError(message, item=item, index=index, traceback_text=traceback_text)
