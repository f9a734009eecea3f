"""What comes round, as a point on a circle. Nothing is learned."""

from __future__ import annotations

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tables.propose_features import cycle_of
from sanmaru.tasks.tabular.features.auto import looks_of
from sanmaru.tasks.tabular.features.config import CyclicConfig
from sanmaru.tasks.tabular.features.rows import Known, Places

_DATE_PARTS = {"month": 12.0, "weekday": 7.0, "hour": 24.0}


class Cyclic:
    """Sine and cosine of the columns of `CyclicConfig`."""

    def __init__(self, config: CyclicConfig, places: Places) -> None:
        chosen: list[tuple[str, int, float]] = []
        lengths = config.columns if isinstance(config.columns, dict) else {}
        names = config.columns
        if names is None:
            names = tuple(n for n, one in places.features.items() if one.kind == "date" or cycle_of(looks_of(one)))
        for name in names:
            feature = places.feature(name)
            if feature.kind == "date":
                first = places.of(name)
                chosen += [
                    (f"{name} {part}", first + offset, _DATE_PARTS[part])
                    for offset, part in enumerate(feature.parts)
                    if part in _DATE_PARTS
                ]
                continue
            length = lengths.get(name) or cycle_of(looks_of(feature))
            if length is None:
                raise DataError(
                    f"features: cyclic does not know the cycle of column {name!r} ({feature.low:g} to "
                    f"{feature.high:g}). Say how long it is, e.g. {{cyclic: {{columns: {{{name}: 24}}}}}}"
                    if feature.low is not None
                    else f"features: cyclic takes dates and numbers, and column {name!r} holds a {feature.kind}."
                )
            chosen.append((name, places.number(name), length))
        self._places = np.array([place for _, place, _ in chosen], dtype=np.int64)
        self._lengths = np.array([length for _, _, length in chosen])
        self.columns = tuple(f"{name} ({curve})" for curve in ("sine", "cosine") for name, _, _ in chosen)

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        return self.apply(matrix)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        angle = matrix[:, self._places] / self._lengths * (2 * np.pi)
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back nothing."""
