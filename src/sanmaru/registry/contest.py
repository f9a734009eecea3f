"""A contest on a recent window: may the challenger take the champion's place?

The champion was judged out of fold when it was trained, perhaps half a year ago, on rows that the challenger learned
from. So both, and the baselines, answer the same recent window that none of them has seen, and the challenger has to be
shown better than every one of them: the 95 % interval of the paired difference lies on its side of zero. "Not shown"
counts as "no", for a change of champion has a cost and the data of the window is few.

Where there is no champion yet, the baselines are the contest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from sanmaru.errors import RegistryError
from sanmaru.registry.gates import Check

if TYPE_CHECKING:
    import numpy as np

    from sanmaru.metrics.base import Metric
    from sanmaru.metrics.bootstrap import Paired

FEWEST_UNITS = 7
"""Of independent units (days of origins, groups, rows). With fewer, an interval says nothing."""
FEWEST_BLOCKS, MOST_BLOCKS = 5, 10
"""Of an interval over blocks of time: fewer make Student's quantile large, more make blocks short."""
UNITS_PER_BLOCK = 4
"""Days of a block, where there are days enough; weather remembers a few."""


@dataclass(frozen=True, kw_only=True)
class Duel:
    """The challenger against one opponent."""

    opponent: str
    challenger_score: float
    opponent_score: float
    difference: float
    """Challenger minus opponent, in the metric's unit."""
    low: float
    high: float
    won: bool

    @property
    def text(self) -> str:
        """One sentence."""
        how = "better" if self.won else "not shown better"
        return (
            f"{how} than {self.opponent}: {self.challenger_score:.4g} against {self.opponent_score:.4g}, difference "
            f"{self.difference:+.3g} (95 % interval {self.low:+.3g} to {self.high:+.3g})"
        )


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What the window said."""

    metric: str
    """As people write it."""
    challenger: str
    rows: int
    """Predictions compared."""
    left_out: int
    """Predictions whose truth, or whose prediction by one of the models, is missing."""
    units: int
    """Independent units among them."""
    duels: tuple[Duel, ...]
    refusal: str = ""
    """Why nothing could be said; the challenger has not won then."""

    @property
    def won(self) -> bool:
        """Whether the challenger was shown better than everyone."""
        return not self.refusal and bool(self.duels) and all(duel.won for duel in self.duels)

    @property
    def reason(self) -> str:
        """Sentences for the log."""
        if self.refusal:
            return self.refusal
        told = "; ".join(duel.text for duel in self.duels)
        return f"{self.metric} on {self.rows:,} recent predictions ({self.units} units): {told}"

    def check(self, *, asked: bool = True) -> Check:
        """Return it as a check of the promotion gate; where winning is not asked for, as a note that passes."""
        return Check("better on the recent window", self.won or not asked, self.reason)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "won": self.won, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contest:
        """Rebuild from `to_json`; what others have added is passed over."""
        named = {one.name: value[one.name] for one in fields(cls)}
        return cls(**{**named, "duels": tuple(Duel(**duel) for duel in value["duels"])})


def contest(
    metric: Metric,
    truth: np.ndarray,
    scored: Mapping[str, np.ndarray],
    *,
    challenger: str,
    units: np.ndarray | None = None,
    in_time: bool = False,
    seed: int = 0,
) -> Contest:
    """Compare a challenger with every other model on the same rows.

    Args:
        metric: What counts.
        truth: (n,) as `Task.truth` gives it. For numbers, NaN is a truth that is not known: its rows are left out.
        scored: What each model says, (n,) or (n, n_classes), as `Task.scored` gives it, by name. Rows where one of
            them says NaN are left out for all.
        challenger: Whose name in `scored` wants to win.
        units: What belongs together, (n,): the day of a forecast's origin, a group. Each row by itself where absent.
        in_time: Whether units are in the order of time, and so neighbours resemble each other. They then make a few
            long blocks, and the interval is Student's over the blocks (`blocks_interval`); else units are drawn by the
            bootstrap.
        seed: Of the bootstrap's draws.

    Raises:
        RegistryError: when the challenger is not among the models, or there is no opponent.
    """
    import numpy as np

    from sanmaru.metrics.bootstrap import paired

    if challenger not in scored or len(scored) < 2:
        raise RegistryError(f"a contest needs the challenger {challenger!r} and an opponent, got {', '.join(scored)}.")
    known = np.ones(len(truth), dtype=bool)
    for values in (truth, *scored.values()):
        if values.dtype.kind == "f":
            known &= ~np.isnan(values.reshape(len(values), -1)).any(axis=1)
    groups = None if units is None else np.asarray(units)[known]
    n_units = int(known.sum()) if groups is None else len(np.unique(groups))
    facts = {
        "metric": metric.title, "challenger": challenger, "rows": int(known.sum()),
        "left_out": int((~known).sum()), "units": n_units,
    }  # fmt: skip
    if n_units < FEWEST_UNITS:
        why = f"the recent window holds {n_units} independent units with known truth; {FEWEST_UNITS} are needed"
        return Contest(**facts, duels=(), refusal=why)  # type: ignore[arg-type]
    duels = []
    for name in sorted(set(scored) - {challenger}):
        both = truth[known], scored[challenger][known], scored[name][known]
        if in_time and groups is not None:
            found = blocks_interval(metric, *both, units=groups)
        else:
            found = paired(metric, *both, groups=groups, seed=seed)
        ours, theirs = metric(truth[known], scored[challenger][known]), metric(truth[known], scored[name][known])
        finite = math.isfinite(found.difference + found.low + found.high)
        duels.append(
            Duel(
                opponent=name,
                challenger_score=ours,
                opponent_score=theirs,
                difference=found.difference,
                low=found.low,
                high=found.high,
                won=finite and found.a_better,
            )
        )
    return Contest(**facts, duels=tuple(duels))  # type: ignore[arg-type]


def blocks_interval(
    metric: Metric, truth: np.ndarray, scored_a: np.ndarray, scored_b: np.ndarray, *, units: np.ndarray
) -> Paired:
    """Return the difference A - B of a metric with a 95 % interval that holds where neighbouring units resemble.

    Units are put together into a few blocks, each a stretch of time. The jackknife's pseudo-value of a block is what it
    says of the difference, and the interval is Student's over the blocks: batch means (Schmeiser, 1982). Days that err
    alike then cost width, where a bootstrap of days calls 12 to 18 % of equal models different
    (`docs/decisions/promotion.md`).

    Args:
        metric: What counts.
        truth: (n,).
        scored_a: Of A, in the order of `truth`.
        scored_b: Of B.
        units: Sorted as time is, (n,); at least `FEWEST_UNITS` different ones.
    """
    import numpy as np
    from scipy import stats

    from sanmaru.metrics.bootstrap import Paired

    names, place = np.unique(units, return_inverse=True)
    n_blocks = min(MOST_BLOCKS, max(FEWEST_BLOCKS, len(names) // UNITS_PER_BLOCK))
    block = (place * n_blocks) // len(names)
    whole = metric(truth, scored_a) - metric(truth, scored_b)
    pseudo_values = []
    for number in range(n_blocks):
        rest = block != number
        without = metric(truth[rest], scored_a[rest]) - metric(truth[rest], scored_b[rest])
        pseudo_values.append(n_blocks * whole - (n_blocks - 1) * without)
    half = float(stats.t.ppf(0.975, n_blocks - 1) * np.std(pseudo_values, ddof=1) / np.sqrt(n_blocks))
    return Paired(difference=whole, low=whole - half, high=whole + half, greater_is_better=metric.greater_is_better)
