"""Anomaly detection: rows that are unlike those of before, flagged under a stated budget of alarms.

`fit_detector(table, config)` makes a `Fitted`, which is kept as a folder and gives rows their verdicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sanmaru.tasks.anomalies.config import AnomalyConfig
    from sanmaru.tasks.anomalies.fitted import Fitted, fit_detector

__all__ = ["AnomalyConfig", "Fitted", "fit_detector"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"{__name__}.{'config' if name == 'AnomalyConfig' else 'fitted'}")
    return getattr(module, name)
