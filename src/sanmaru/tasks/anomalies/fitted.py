"""A detector with what is usual and its threshold: fit on past rows, kept as a folder, asked for verdicts."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.files import read_json, whole, write_json
from sanmaru.tasks.anomalies import store
from sanmaru.tasks.anomalies.blocks import Parts, divide
from sanmaru.tasks.anomalies.config import AnomalyConfig
from sanmaru.tasks.anomalies.detectors.base import RESTORE_ERROR, Detector
from sanmaru.tasks.anomalies.detectors.find import make_detector
from sanmaru.tasks.anomalies.features import LOOK_BACK, Features, make_features
from sanmaru.tasks.anomalies.reference import Reference, learn_reference
from sanmaru.tasks.anomalies.series import SERIES, TIME, Floats, Indexes, keyed, series_rows, watched
from sanmaru.tasks.anomalies.threshold import Scored, Threshold, set_threshold
from sanmaru.tasks.base import FitContext

FLAG, SCORE, REASON = "anomaly", "anomaly.score", "anomaly.reason"
_NAMED = 3
"""Columns that a reason names at most."""
_SHARE = 0.5
"""A reason names columns until they make up this share of the contributions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fitted detector. Example: `Fitted.load(folder).verdicts(batch, context_rows)`."""

    config: AnomalyConfig
    reference: Reference
    detector: Detector
    threshold: Threshold
    fingerprint: str = ""
    """Of the folder it was loaded from; names the version of the verdicts."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are watched."""
        return self.reference.channels

    @property
    def context(self) -> int:
        """Rows of each series before a batch that its scores may depend on; more do not change them."""
        return LOOK_BACK + self.detector.window - 1

    def verdicts(self, table: pl.DataFrame, context_rows: pl.DataFrame | None = None) -> pl.DataFrame:
        """Return the rows, all and in their order, with a verdict each.

        Args:
            table: Long table: `series`, `time` and the watched columns, and any others.
            context_rows: Rows of the same series from before, such as the last `context` of each; without them the
                first rows of a batch have nothing before them to differ from.

        Returns:
            The table with `anomaly` (Boolean), `anomaly.score` (Float64, higher is stranger) and `anomaly.reason`
            (String: the columns that contribute most, or null where nothing is strange). Such columns that the table
            has already are replaced.

        Raises:
            DataError: when a column is absent or of the wrong type.
        """
        features, rows = self._features(table, context_rows)
        scores = self.detector.score(features, rows) if len(rows) else np.zeros(0)
        flags = scores > self.threshold.value
        reasons: list[str | None] = [None] * len(rows)
        flagged = np.flatnonzero(flags)
        if len(flagged):
            adds = self.detector.contributions(features, rows[flagged])
            for place, row in zip(flagged, adds, strict=True):
                reasons[place] = _reason(row, features.channels)
        return table.drop(FLAG, SCORE, REASON, strict=False).with_columns(
            pl.Series(FLAG, flags, dtype=pl.Boolean),
            pl.Series(SCORE, scores, dtype=pl.Float64),
            pl.Series(REASON, reasons, dtype=pl.String),
        )

    def scores(self, table: pl.DataFrame, context_rows: pl.DataFrame | None = None) -> Floats:
        """Return only the scores, float64 (n,), in the order of the table."""
        features, rows = self._features(table, context_rows)
        return self.detector.score(features, rows) if len(rows) else np.zeros(0)

    def save(self, folder: Path) -> None:
        """Write the detector; the folder appears whole or not at all, and its manifest hashes every file."""
        with whole(folder) as beside:
            (beside / "detector").mkdir(parents=True)
            plain = self.reference.save(beside)
            self.detector.save(beside / "detector")
            content = {
                "config": self.config.model_dump(mode="json"),
                "reference": plain,
                "threshold": self.threshold.to_json(),
            }
            write_json(beside / "fitted.json", content)
            store.seal(beside)

    @classmethod
    def load(cls, folder: Path) -> Fitted:
        """Read what `save` wrote, wherever the folder now lies.

        Raises:
            PackageError: when a file is missing or altered.
        """
        fingerprint = store.check(folder)
        content = read_json(folder / "fitted.json")
        config = AnomalyConfig.model_validate(content["config"])
        detector = make_detector(config.model, config.train)
        detector.load(folder / "detector")
        return cls(
            config=config,
            reference=Reference.load(folder, content["reference"]),
            detector=detector,
            threshold=Threshold(**content["threshold"]),
            fingerprint=fingerprint,
        )

    def _features(self, table: pl.DataFrame, context_rows: pl.DataFrame | None) -> tuple[Features, Indexes]:
        """Features of context and table together, and the places of the table's rows in the order of the table."""
        needed = [SERIES, TIME, *self.columns]
        for name in needed:
            if name not in table.columns:
                raise DataError(f"the detector watches {name!r}, and the rows to judge have no such column.")
        both = keyed(table.select(needed))
        before = 0
        if context_rows is not None and context_rows.height:
            missing = [name for name in needed if name not in context_rows.columns]
            if missing:
                raise DataError(f"the rows from before have no column {missing[0]!r}; give them the batch's columns.")
            tail = self._looked_back_at(both, keyed(context_rows.select(needed)))
            casts = dict.fromkeys(self.columns, pl.Float64)
            both = pl.concat([tail.cast(casts), both.cast(casts)], how="vertical_relaxed")  # type: ignore[arg-type]
            before = tail.height
        rows = series_rows(both, self.columns, zone=self.config.zone, counters=self.config.counters)
        place = np.empty(len(rows), dtype=np.int64)
        place[rows.order] = np.arange(len(rows))
        return make_features(rows, self.reference), place[before:]

    def _looked_back_at(self, batch: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
        """The rows of before that the batch's scores may depend on. A row that the batch brings anew is replaced."""
        span = batch.group_by(SERIES).agg(pl.col(TIME).min().alias("begins"), pl.col(TIME).max().alias("ends"))
        near = (
            earlier.join(span, on=SERIES)
            .filter(pl.col(TIME) < pl.col("ends"))
            .join(batch.select(SERIES, TIME), on=[SERIES, TIME], how="anti")
            .sort(TIME, maintain_order=True)
        )
        early = near.filter(pl.col(TIME) < pl.col("begins")).group_by(SERIES, maintain_order=True).tail(self.context)
        between = near.filter(pl.col(TIME) >= pl.col("begins"))
        return pl.concat([early.select(earlier.columns), between.select(earlier.columns)])


def fit_detector(table: pl.DataFrame, config: AnomalyConfig, *, threads: int = 1) -> Fitted:
    """Learn what is usual from past rows and set the threshold by the budget.

    Args:
        table: Long table of past rows: `series` (String), `time` (Datetime, UTC where it has no zone), columns of
            numbers. What is strange in it is learned from too, and so it should be rare.
        config: Columns, detector, budget, training.
        threads: Cores that may be used.

    Raises:
        DataError: when the table cannot be used or has too few rows.
    """
    channels = watched(table, config.columns)
    rows = series_rows(table, channels, zone=config.zone, counters=config.counters)
    return fit_parts(table, config, divide(rows), threads=threads)


def fit_parts(table: pl.DataFrame, config: AnomalyConfig, parts: Parts, *, threads: int = 1) -> Fitted:
    """Do what `fit_detector` does with the rows already divided."""
    channels = watched(table, config.columns)
    rows = series_rows(table, channels, zone=config.zone, counters=config.counters)
    reference = learn_reference(rows, parts.learn, zone=config.zone, counters=config.counters)
    features = make_features(rows, reference)
    detector = make_detector(config.model, config.train)
    with tempfile.TemporaryDirectory() as folder:
        context = FitContext(
            folder=Path(folder), cache=Path(folder), seed=config.seed, metric=RESTORE_ERROR, threads=threads
        )
        detector.fit(features, parts.learn, context)
    known, later = (
        Scored(scores=detector.score(features, places), place=places, first=features.first[places])
        for places in (parts.threshold, parts.check)
    )
    threshold = set_threshold(config.budget, reference.every_s, known, later)
    return Fitted(config=config, reference=reference, detector=detector, threshold=threshold)


def _reason(adds: Floats, channels: tuple[str, ...]) -> str | None:
    order = np.argsort(-adds, kind="stable")
    total = float(adds.sum())
    if not total > 0:
        return None
    named: list[str] = []
    so_far = 0.0
    for place in order[:_NAMED]:
        named.append(channels[place])
        so_far += float(adds[place])
        if so_far >= _SHARE * total:
            break
    return ", ".join(named)


def describe(fitted: Fitted) -> dict[str, Any]:
    """Return plain values that say what was fitted, for people and scripts."""
    details = getattr(fitted.detector, "details", {})
    return {
        "detector": fitted.detector.kind,
        "columns": list(fitted.columns),
        "series": len(fitted.reference.names),
        "every_s": fitted.reference.every_s,
        "context_rows": fitted.context,
        **{f"threshold_{k}" if k == "value" else k: v for k, v in fitted.threshold.to_json().items()},
        **({"details": details} if details else {}),
    }
