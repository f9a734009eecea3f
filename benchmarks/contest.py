"""How often a contest on a recent window promotes a challenger that is no better, and how often one that is.

Run: python benchmarks/contest.py [--rounds 400] [--write-docs]

Two models' absolute errors on a window of days, 8 origins a day and 24 steps: each day has an error of its own for each
model (what the weather of that day makes hard for it), and days follow one another with a correlation that real weather
has. Equal models differ by chance only; better ones err less by a stated fraction. Once days are drawn by the
bootstrap, once they make a few long blocks, as `use: judge` does. A few minutes on one core.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sanmaru.metrics.base import find_metric
from sanmaru.registry.contest import contest

PAGE = Path(__file__).parents[1] / "docs" / "decisions" / "promotion.md"
MARKS = ("<!-- contest: written by benchmarks/contest.py -->", "<!-- end of contest -->")
PER_DAY = 8 * 24
SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400, help="contests for each line")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/decisions/promotion.md")
    given = parser.parse_args()
    rows = ["| window | correlation of days | interval | equal models | 5 % better | 10 % better | 20 % better |",
            "| ---: | ---: | --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for days in (14, 28, 56):
        for correlation in (0.0, 0.5):
            for name, in_time in (("days drawn", False), ("blocks of days", True)):
                shares = [
                    won(days, correlation, better, given.rounds, in_time=in_time) for better in (0.0, 0.05, 0.10, 0.20)
                ]
                told = " | ".join(f"{share:.1%}" for share in shares)
                rows.append(f"| {days} days | {correlation} | {name} | {told} |")
    text = "\n".join([f"{datetime.now(UTC).date()}, {given.rounds} contests each, seed {SEED}.", "", *rows])
    print(text)
    if given.write_docs:
        page = PAGE.read_text(encoding="utf-8")
        head, rest = page.split(MARKS[0])
        PAGE.write_text(f"{head}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8")


def won(days: int, correlation: float, better: float, rounds: int, *, in_time: bool) -> float:
    """Return the share of contests that the challenger won."""
    metric = find_metric("mae")
    rng = np.random.default_rng([SEED, days, int(10 * correlation), int(100 * better)])
    units = np.repeat(np.arange(days), PER_DAY)
    wins = 0
    for _ in range(rounds):
        truth = np.zeros(days * PER_DAY)
        hard = np.exp(0.5 * walk(days, correlation, rng))  # what both find hard in a day
        scored = {}
        for name, factor in (("new", 1 - better), ("champion", 1.0)):
            own = np.exp(0.2 * walk(days, correlation, rng))  # what only this one does
            scored[name] = np.repeat(10 * factor * hard * own, PER_DAY) * rng.normal(0, 1.25, days * PER_DAY)
        wins += contest(metric, truth, scored, challenger="new", units=units, in_time=in_time).won
    return wins / rounds


def walk(days: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Return a stationary first-order process of unit variance, (days,)."""
    out = np.empty(days)
    out[0] = rng.normal()
    for day in range(1, days):
        out[day] = correlation * out[day - 1] + np.sqrt(1 - correlation**2) * rng.normal()
    return out


if __name__ == "__main__":
    main()
