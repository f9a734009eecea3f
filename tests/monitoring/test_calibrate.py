"""Calibration and the smallest detectable shift, on processes whose truth is known."""

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.monitoring.calibrate import calibrate, folds_of, textbook
from sanmaru.monitoring.columns import values_of, watched, with_times
from sanmaru.monitoring.config import MonitorConfig
from sanmaru.monitoring.detectable import power_of, smallest_shift
from sanmaru.monitoring.season import Season
from sanmaru.monitoring.tail import Tail, fit_tail, peaks_of
from sanmaru.monitoring.windows import ends, held, padded


def hourly(days: int, seed: int, columns: int = 1, memory: float = 0.95, year: int = 2018) -> pl.DataFrame:
    """Values of hours that are alike, with a season of the year and of the day."""
    rng = np.random.default_rng(seed)
    n = days * 24
    times = [datetime(year, 1, 1) + timedelta(hours=h) for h in range(n)]
    hours = np.arange(n)
    found = {"time": times}
    for number in range(columns):
        noise = rng.normal(size=n)
        for place in range(1, n):
            noise[place] += memory * noise[place - 1]
        season = 8 * np.cos(2 * np.pi * hours / 24 / 365.25) + 2 * np.sin(2 * np.pi * hours / 24)
        found[f"x{number}"] = 20 + season + 3 * noise * math.sqrt(1 - memory**2)
    return pl.DataFrame(found)


def opened(table: pl.DataFrame, config: MonitorConfig):
    table = with_times(table, config, "reference")
    return {one.key: (one, folds_of(one, values_of(table, one, config), config)[0]) for one in watched(table, config)}


@pytest.mark.parametrize("columns", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_the_stated_rate_holds_on_further_years_of_the_same_process(columns: int):
    # Eight references of two years, each judging the two years that follow: 16 at one alarm a year over all columns.
    config = MonitorConfig(step="1d")
    alarms, years, in_reference = 0, 0.0, 0
    for seed in range(8):
        table = hourly(1460, seed, columns)
        columns_ = opened(table[: 730 * 24], config)
        found = calibrate(columns_, config, 1.0)
        in_reference += found.in_reference
        later = with_times(table[730 * 24 :], config, "current")
        known = with_times(table[: 730 * 24], config, "reference")
        for key, (one, _) in columns_.items():
            whole = folds_of(one, values_of(known, one, config), config)[1]
            values = values_of(later, one, config)
            at = ends(int(values.at[0]), int(values.at[-1]), config)
            rows = held(whole.statistics(values, at, config.statistics, config), config.raise_after)
            limits = np.array([[found.thresholds[key, name].value] for name in config.statistics])
            alarms += len(peaks_of([(rows / limits).max(axis=0)], 1.0, config.clear_after))
        years += 2.0
    # A Poisson count of 16 lies in 8 to 25 with 95 %; the predictive threshold leans to the careful side.
    assert 4 <= alarms <= 25
    assert years == 16
    assert in_reference <= 22


def test_a_textbook_threshold_takes_hours_for_independent():
    config = MonitorConfig(thresholds="textbook", statistics=("ks",), season="none")
    found = calibrate(opened(hourly(730, 0), config), config, 1.0)
    assert math.isnan(found.stated)
    assert found.thresholds["x0", "ks"].value == pytest.approx(1.3581 * math.sqrt(1 / 168 + 1 / 14000), rel=0.05)
    assert found.in_reference >= 5
    assert "rate is unknown" in found.notes[0]
    assert [textbook(name, 1, 1) for name in ("wasserstein", "psi", "js")] == [0.1, 0.2, 0.1]


def test_the_smallest_shift_is_found_as_often_as_stated_and_a_smaller_one_is_not():
    config = MonitorConfig()
    columns = opened(hourly(730, 1), config)
    found = calibrate(columns, config, 1.0)
    one, folds = columns["x0"]
    shift = smallest_shift(one, folds, found.thresholds, config)
    assert 0.5 < shift < 12
    assert min(power_of(one, folds, found.thresholds, sign * shift, config) for sign in (1, -1)) >= 0.8
    assert min(power_of(one, folds, found.thresholds, sign * shift * 0.9, config) for sign in (1, -1)) < 0.8
    assert power_of(one, folds, found.thresholds, 0.0, config) < 0.05


def test_seasons_taken_off_make_smaller_shifts_visible():
    shifts = {}
    for season in ("none", "month-hour"):
        config = MonitorConfig(season=season)
        columns = opened(hourly(730, 2), config)
        shifts[season] = smallest_shift(*columns["x0"], calibrate(columns, config, 1.0).thresholds, config)
    assert shifts["month-hour"] < 0.7 * shifts["none"]


def test_a_category_that_grows_is_found():
    rng = np.random.default_rng(0)
    table = hourly(200, 0).with_columns(sky=pl.Series(rng.choice(["clear", "cloud", "rain"], 4800, p=[0.5, 0.4, 0.1])))
    config = MonitorConfig(data=("sky",))
    columns = opened(table, config)
    found = calibrate(columns, config, 1.0)
    assert columns["sky"][0].categories == ("clear", "cloud", "rain", "(other)")
    assert 0 < smallest_shift(*columns["sky"], found.thresholds, config) < 0.3


def test_a_short_reference_is_refused_and_a_single_year_is_said():
    config = MonitorConfig()
    with pytest.raises(DataError, match="covers 60 days, and 12 windows of 7d need 84"):
        opened(hourly(60, 0), config)
    found = calibrate(opened(hourly(200, 0), config), config, 1.0)
    assert "what differs from year to year" in found.notes[0]


def test_the_tail_of_exponential_peaks_is_passed_as_often_as_stated():
    # With 20 peaks the mean is known to a quarter; the predictive level still gives the rate, over many references.
    rng = np.random.default_rng(0)
    passed = []
    for _ in range(4000):
        peaks = rng.exponential(2.0, 20)
        tail = Tail(level=0.0, peaks=20, excess=float(peaks.sum()), years=2.0)
        passed.append(math.exp(-tail.threshold(0.5) / 2.0) * 10)  # the true rate above it, a year
    assert np.mean(passed) == pytest.approx(0.5, rel=0.05)
    assert tail.per_year(tail.threshold(0.5)) == pytest.approx(0.5)
    assert tail.statistic(float(tail.score(np.array([3.0]))[0])) == pytest.approx(3.0)


def test_a_column_that_never_changes_has_a_threshold_just_above_it():
    tail = fit_tail([[np.zeros(100)]], 2.0, 3)
    assert 0 <= tail.threshold(0.5) < 1e-3


def test_separate_events_are_counted_once():
    stretch = np.array([0, 5, 0, 6, 0, 0, 0, 7, 7, np.nan, -np.inf])
    assert peaks_of([stretch], 1.0, apart=3) == [6.0, 7.0]
    assert peaks_of([stretch, stretch], 1.0, apart=1) == [5.0, 6.0, 7.0] * 2


def test_held_needs_windows_in_a_row():
    assert held(np.array([3.0, 1, 4, 5, np.nan, 6]), 2).tolist() == [-np.inf, 1, 1, 4, -np.inf, -np.inf]
    assert padded(np.array([1.0, 2, 3]), np.array([0, 2]), np.array([2, 3])).tolist()[0] == [1.0, 2.0]


def test_a_season_gives_back_its_own_cells():
    month, hour = np.repeat(np.arange(12), 240), np.tile(np.arange(24), 120)
    values = 100.0 * month + hour + np.tile(np.repeat([1.0, -1.0], 24), 60)
    season = Season.fit("month-hour", month, hour, values)
    standard = season.standardise(month, hour, values)
    assert np.abs(standard).max() == pytest.approx(1.0)
    few = Season.fit("month-hour", month[:240], hour[:240], values[:240])  # January only
    assert few.mean[5, 3] == few.mean[0, 3]  # the hour's own, where the month is not known
