"""The contest on a recent window, and promotion by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error

from sanmaru.errors import RegistryError
from sanmaru.experiments.runs import Run
from sanmaru.metrics.base import find_metric
from sanmaru.project import Project
from sanmaru.registry.contest import Contest, blocks_interval, contest
from sanmaru.registry.models import log, promote, register, resolve, rollback

MAE = find_metric("mae")
RunMaker = Callable[..., Run]


def window(
    noise: dict[str, float], days: int = 30, seed: int = 0
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """A truth of 24 hours a day, and models whose errors have a standard deviation each."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(20, 8, days * 24)
    scored = {name: truth + rng.normal(0, size, len(truth)) for name, size in noise.items()}
    return truth, scored, np.repeat(np.arange(days), 24)


def test_a_clearly_better_challenger_wins_against_everyone() -> None:
    truth, scored, days = window({"new": 1.0, "champion": 3.0, "persistence": 8.0})
    found = contest(MAE, truth, scored, challenger="new", units=days)
    assert found.won
    assert [duel.opponent for duel in found.duels] == ["champion", "persistence"]
    for duel in found.duels:  # the scores, by another implementation
        assert duel.challenger_score == pytest.approx(mean_absolute_error(truth, scored["new"]))
        assert duel.opponent_score == pytest.approx(mean_absolute_error(truth, scored[duel.opponent]))
    assert "better than persistence" in found.reason


def test_losing_to_one_opponent_is_losing() -> None:
    truth, scored, days = window({"new": 3.0, "champion": 5.0, "seasonal-naive": 1.0})
    found = contest(MAE, truth, scored, challenger="new", units=days)
    assert [duel.won for duel in found.duels] == [True, False]
    assert not found.won
    assert "not shown better than seasonal-naive" in found.reason


def test_an_equal_model_seldom_wins() -> None:
    # A one-sided 2.5 % is asked for; of 80 contests between equals 2 are expected, and 8 would be a defect (p < 0.001).
    wins = 0
    for seed in range(80):
        truth, scored, days = window({"new": 3.0, "champion": 3.0}, seed=seed)
        wins += contest(MAE, truth, scored, challenger="new", units=days).won
    assert wins < 8


def test_rows_that_somebody_did_not_answer_are_left_out_for_all() -> None:
    truth, scored, days = window({"new": 1.0, "champion": 3.0})
    truth[:5] = np.nan
    scored["champion"][10:13] = np.nan
    found = contest(MAE, truth, scored, challenger="new", units=days)
    assert (found.rows, found.left_out) == (len(truth) - 8, 8)
    known = ~np.isnan(truth) & ~np.isnan(scored["champion"])
    assert found.duels[0].challenger_score == pytest.approx(mean_absolute_error(truth[known], scored["new"][known]))


def test_a_window_of_few_days_decides_nothing() -> None:
    truth, scored, days = window({"new": 1.0, "champion": 3.0}, days=6)
    found = contest(MAE, truth, scored, challenger="new", units=days)
    assert not found.won
    assert found.reason == "the recent window holds 6 independent units with known truth; 7 are needed"


def test_a_contest_needs_an_opponent() -> None:
    truth, scored, _ = window({"new": 1.0})
    with pytest.raises(RegistryError, match="needs the challenger 'new' and an opponent"):
        contest(MAE, truth, scored, challenger="new")


def judged(new: float, champion: float) -> Contest:
    truth, scored, days = window({"new": new, "champion": champion})
    return contest(MAE, truth, scored, challenger="new", units=days)


def test_the_window_decides_on_promotion_and_rollback_gives_back(project: Project, run_maker: RunMaker) -> None:
    register(run_maker(project, noise_seed=1))
    promote(project, "houses", to="production")
    # Out of fold the second is worse by far; on the recent window it wins, and that is what counts.
    register(run_maker(project, noise=9.0, noise_seed=2))
    promote(project, "houses", to="staging", version=2, contest=judged(1.0, 3.0))
    move = promote(project, "houses", to="production", version=2, contest=judged(1.0, 3.0))
    assert move.checks[-1].name == "better on the recent window"
    assert resolve(project, "houses").version == 2
    rollback(project, "houses", why="test")
    assert resolve(project, "houses").version == 1


def test_who_does_not_win_stays_in_staging_and_the_reason_is_written(project: Project, run_maker: RunMaker) -> None:
    register(run_maker(project, noise_seed=1))
    promote(project, "houses", to="production")
    register(run_maker(project, noise_seed=2))
    promote(project, "houses", to="staging", version=2, contest=judged(3.0, 3.0))
    with pytest.raises(RegistryError, match="FAILED  better on the recent window: MAE on 720 recent predictions"):
        promote(project, "houses", to="production", version=2, contest=judged(3.0, 3.0))
    assert resolve(project, "houses").version == 1
    assert resolve(project, "houses", "staging").version == 2
    last = log(project, "houses")[-1]
    assert last.kind == "refused"
    assert "not shown better than champion" in str(last.checks)


def test_blocks_of_time_hold_where_days_err_alike() -> None:
    # Errors of equal models that vary from day to day with a correlation of 0.6. Drawn days call 12 % of such pairs
    # different in the benchmark; of 150 contests in blocks 4 wins are expected, and 13 would be a defect (p < 0.001).
    rng = np.random.default_rng(5)
    wins = 0
    for _ in range(150):
        own = {}
        for name in ("new", "champion"):
            walk = np.empty(28)
            walk[0] = rng.normal()
            for day in range(1, 28):
                walk[day] = 0.6 * walk[day - 1] + 0.8 * rng.normal()
            own[name] = np.repeat(np.exp(0.3 * walk), 24) * rng.normal(0, 3, 28 * 24)
        wins += contest(
            MAE, np.zeros(28 * 24), own, challenger="new", units=np.repeat(np.arange(28), 24), in_time=True
        ).won
    assert wins < 13


def test_an_interval_over_blocks_is_students_of_the_block_means() -> None:
    # Where blocks are of equal size, the jackknife's pseudo-values of a mean are the blocks' own means.
    from scipy import stats

    rng = np.random.default_rng(6)
    truth, a, b = rng.normal(size=480), rng.normal(size=480), rng.normal(size=480)
    found = blocks_interval(MAE, truth, a, b, units=np.repeat(np.arange(20), 24))
    means = (np.abs(truth - a) - np.abs(truth - b)).reshape(5, 96).mean(axis=1)
    low, high = stats.t.interval(0.95, 4, loc=means.mean(), scale=stats.sem(means))
    assert (found.difference, found.low, found.high) == pytest.approx((means.mean(), low, high))
