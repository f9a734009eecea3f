"""What the nearest training rows by coordinates hold, and how far they are.

Latitudes and longitudes are points on a sphere, whose straight-line distances order as those on the ground; other
coordinates are scaled by their spread. Training rows look among the rows of the other inner folds, new rows among all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tables.propose_features import coordinates
from sanmaru.tasks.tabular.features.config import NeighboursConfig
from sanmaru.tasks.tabular.features.rows import Known, Places

EARTH_KM = 6371.0088


class Neighbours:
    """The columns of `NeighboursConfig`."""

    def __init__(self, config: NeighboursConfig, places: Places) -> None:
        ranges = {n: (one.low, one.high) for n, one in places.features.items() if one.kind == "number"}
        names = config.columns or coordinates(ranges)
        if names is None:
            raise DataError(
                "features: neighbours found no columns called latitude and longitude. Name the coordinates, e.g. "
                "{neighbours: {columns: [x, y]}}"
            )
        self._coordinates = np.array([places.number(name) for name in names], dtype=np.int64)
        sphere = len(names) == 2 and coordinates({name: ranges.get(name, (None, None)) for name in names})
        self._sphere = [list(names).index(name) for name in sphere] if sphere else None
        self._of = None if config.of == "target" else np.array([places.number(n) for n in config.of], dtype=np.int64)
        self._of_names = () if config.of == "target" else config.of
        self._k, self._parts = config.k, config.parts
        self._where = ", ".join(names)
        self._scale = np.ones(len(names))
        self._points = np.empty((0, len(names)))
        self._values = np.empty((0, 0))
        self._tree: Any = None
        self.columns: tuple[str, ...] = ()

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        names = known.names if self._of is None else self._of_names
        unit = "km" if self._sphere else "scaled"
        self.columns = tuple(
            column
            for k in self._k
            for column in (
                *(f"{k} nearest: {name} ({self._where})" for name in names),
                f"{k} nearest: distance ({self._where}, {unit})",
            )
        )
        if not self._sphere:
            spread = np.nanstd(matrix[:, self._coordinates], axis=0)
            self._scale = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
        points = self._place(matrix)
        values = known.targets if self._of is None else matrix[:, self._of]
        parts = known.parts(self._parts)
        usable = ~np.isnan(points).any(axis=1)
        out = np.full((len(matrix), len(self.columns)), np.nan)
        for part in range(self._parts):
            rest, own = usable & (parts != part), parts == part
            if rest.any() and own.any():
                out[own] = self._look(_tree(points[rest]), values[rest], points[own])
        self._points, self._values = points[usable], values[usable]
        self._tree = _tree(self._points)
        return out

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        return self._look(self._tree, self._values, self._place(matrix))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        return {"points": self._points, "values": self._values, "scale": self._scale}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what was learned."""
        self._points, self._values, self._scale = arrays["points"], arrays["values"], arrays["scale"]
        self._tree = _tree(self._points)

    def _place(self, matrix: np.ndarray) -> np.ndarray:
        """Points in which straight-line distances are those wanted, float64 (n, 2 or 3 ...)."""
        found = matrix[:, self._coordinates]
        if not self._sphere:
            return np.asarray(found / self._scale)
        latitude, longitude = np.radians(found[:, self._sphere[0]]), np.radians(found[:, self._sphere[1]])
        flat = np.cos(latitude)
        ball = [flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)]
        return np.stack(ball, axis=1) * EARTH_KM

    def _look(self, tree: Any, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Means over the nearest and their mean distance, NaN where a coordinate is missing."""
        out = np.full((len(points), len(self._k) * (values.shape[1] + 1)), np.nan)
        there = np.flatnonzero(~np.isnan(points).any(axis=1))
        if not len(there) or not len(values):
            return out
        most = min(max(self._k), len(values))
        distances, found = tree.query(points[there], k=np.arange(1, most + 1))
        place = 0
        for k in self._k:
            near = values[found[:, :k]]
            count = (~np.isnan(near)).sum(axis=1)
            means = np.where(np.isnan(near), 0.0, near).sum(axis=1) / np.maximum(count, 1)
            out[there, place : place + values.shape[1]] = np.where(count > 0, means, np.nan)
            place += values.shape[1]
            out[there, place] = distances[:, :k].mean(axis=1)
            place += 1
        return out


def _tree(points: np.ndarray) -> Any:
    from scipy.spatial import cKDTree

    return cKDTree(points) if len(points) else None
