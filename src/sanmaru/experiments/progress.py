"""How far a run is, told to whoever watches: the folds' event files are read as they grow.

Files rather than callbacks, so that it works the same in this process, in worker processes and on Ray.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sanmaru.experiments.events import FILE_NAME, read_events
from sanmaru.experiments.runs import Run

EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a run."""

    kind: str
    """`run` (it begins; facts `run`, `folder`, `rows`, `quarantined`, `quarantine_rules`,
    `folds`, `metric`, `notes`, `resumed`), `progress`, `metrics` and
    `note` (of a fold, as `FitContext` tells them), `fold` (one is finished; the fields of `FoldResult` and `metric`),
    `stage` (`name`: what happens now), `score` (the fields of `Score`), `baseline`
    (`text`: a naive forecast beside a forecaster), `warning` (`text`), `done` (`run`,
    `folder`, `report`: whether it was written)."""
    fold: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


Watch = Callable[[Event], None]


@contextlib.contextmanager
def followed(run: Run, folds: range, watch: Watch) -> Iterator[None]:
    """Tell `watch` of new events of the folds while inside, from a thread.

    What was told before (by a run that was cut short) is passed over.
    """
    offsets = {fold: read_events(run.fold_folder(fold) / FILE_NAME)[1] for fold in folds}
    ended = threading.Event()

    def look() -> None:
        for fold in folds:
            found, offsets[fold] = read_events(run.fold_folder(fold) / FILE_NAME, offsets[fold])
            for event in found:
                facts = {name: value for name, value in event.items() if name != "kind"}
                watch(Event(kind=event["kind"], fold=fold, facts=facts))

    def follow() -> None:
        while not ended.wait(EVERY_S):
            look()

    thread = threading.Thread(target=follow, daemon=True, name="sanmaru-progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        look()
