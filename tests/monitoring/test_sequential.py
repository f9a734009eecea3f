import math

import numpy as np
import pytest

from sanmaru.monitoring.adwin import SHORTEST, Adwin
from sanmaru.monitoring.between_alarms import USUAL, alarms_of, follow, make, resampled, threshold_for
from sanmaru.monitoring.sequential import Ddm, Eddm, PageHinkley


def plain_page_hinkley(values, threshold, tolerance, prior):
    alarms, start = [], 0
    for now in range(len(values)):
        up = down = lowest_up = lowest_down = 0.0
        for i in range(start, now + 1):
            seen = values[start : i + 1]
            mean = sum(seen) / (prior + len(seen))
            up += values[i] - mean - tolerance
            down += mean - values[i] - tolerance
            lowest_up, lowest_down = min(lowest_up, up), min(lowest_down, down)
        if max(up - lowest_up, down - lowest_down) > threshold:
            alarms.append(now)
            start = now + 1
    return alarms


def plain_adwin(values, delta):
    alarms, window = [], []
    for now, value in enumerate(values):
        window.append(value)
        best = None
        n = len(window)
        v = float(np.var(window))
        for cut in range(SHORTEST, n - SHORTEST + 1):
            m = 1 / (1 / cut + 1 / (n - cut))
            log = math.log(2 * math.log(n) / delta)
            apart = abs(float(np.mean(window[:cut]) - np.mean(window[cut:])))
            if apart > math.sqrt(2 * v * log / m) + 2 * log / (3 * m):
                # strongest: the smallest delta at which it would still be made
                low, high = log, 1e6
                for _ in range(200):
                    mid = (low + high) / 2
                    low, high = (mid, high) if apart > math.sqrt(2 * v * mid / m) + 2 * mid / (3 * m) else (low, mid)
                best = max(best or (0.0, 0), (low, cut))
        if best:
            alarms.append(now)
            window = window[best[1] :]
    return alarms


def plain_ddm(errors, k):
    alarms, start, best = [], 0, None
    for now in range(len(errors)):
        seen = errors[start : now + 1]
        if len(seen) < 30:
            continue
        p = sum(seen) / len(seen)
        s = math.sqrt(p * (1 - p) / len(seen))
        if s > 0 and (best is None or p + s <= sum(best)):
            best = (p, s)
        if best is not None and p + s > best[0] + k * best[1]:
            alarms.append(now)
            start, best = now + 1, None
    return alarms


def plain_eddm(errors, beta):
    alarms, distances, since, most = [], [], 0, 0.0
    for now, wrong in enumerate(errors):
        since += 1
        if not wrong:
            continue
        distances.append(since)
        since = 0
        if len(distances) < 30:
            continue
        reach = float(np.mean(distances) + 2 * np.std(distances))
        most = max(most, reach)
        if reach / most < beta:
            alarms.append(now)
            distances, most = [], 0.0
    return alarms


def alarms(detector, values):
    return [place for place, value in enumerate(values) if detector.update(np.array([value]))[0]]


@pytest.mark.parametrize("prior", [0.0, 20.0])
def test_page_hinkley_is_the_plain_one(prior):
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 150), rng.normal(1.5, 1, 60), rng.normal(-1, 1, 60)])
    expected = plain_page_hinkley(values, 12.0, 0.1, prior)
    assert len(expected) >= 2
    assert alarms(PageHinkley(1, 12.0, 0.1, prior), values) == expected


def test_adwin_is_the_plain_one():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 80), rng.normal(2, 1, 60), rng.normal(-1, 0.5, 40)])
    expected = plain_adwin(values, 0.05)
    assert len(expected) >= 2
    assert alarms(Adwin(1, -math.log(0.05)), values) == expected


def test_ddm_is_the_plain_one():
    rng = np.random.default_rng(3)
    errors = (rng.random(900) < np.repeat([0.1, 0.3, 0.05], 300)).astype(float)
    expected = plain_ddm(errors, 3.0)
    assert expected
    assert alarms(Ddm(1), errors) == expected


def test_eddm_is_the_plain_one():
    rng = np.random.default_rng(4)
    errors = (rng.random(3000) < np.repeat([0.05, 0.3, 0.05], 1000)).astype(float)
    expected = plain_eddm(errors, 0.9)
    assert expected
    assert alarms(Eddm(1), errors) == expected


@pytest.mark.parametrize("name", ["page-hinkley", "adwin", "ddm", "eddm"])
def test_streams_together_alarm_as_each_alone_and_missing_values_change_nothing(name):
    rng = np.random.default_rng(5)
    wide = rng.normal(size=(4, 400)) + np.repeat([0, 1.5], 200)
    streams = (wide > 1).astype(float) if name in ("ddm", "eddm") else wide
    together = alarms_of(name, streams, USUAL[name] / 4)
    gaps = np.full((4, 800), np.nan)
    gaps[:, ::2] = streams
    assert together == sum(alarms_of(name, row[None, :], USUAL[name] / 4) for row in streams)
    assert together == alarms_of(name, gaps, USUAL[name] / 4)


@pytest.mark.parametrize("name", ["page-hinkley", "adwin", "ddm", "eddm"])
def test_a_calibrated_detector_keeps_the_stated_rate_on_further_streams_of_the_same_kind(name):
    rng = np.random.default_rng(6)
    noise = np.convolve(rng.normal(size=4000), 0.7 ** np.arange(20), "valid")  # neighbours are alike
    values = (noise > 1.0).astype(float) if name in ("ddm", "eddm") else noise / noise.std()
    streams = resampled([values], block=28, length=365, n=60, seed=1)
    threshold, rate = threshold_for(name, streams, 1.0, 365)
    assert 0.5 <= rate <= 1.0  # of 60 years
    further = resampled([values], block=28, length=365, n=60, seed=2)
    assert alarms_of(name, further, threshold) / 60 == pytest.approx(1.0, abs=0.6)


def test_a_block_is_kept_as_it_was():
    made = resampled([np.arange(100.0), np.arange(200.0, 203)], block=10, length=95, n=3, seed=0)
    assert made.shape == (3, 95)
    steps = np.diff(made, axis=1)
    assert (steps == 1).mean() > 0.85


def test_following_knows_what_came_before():
    before = np.random.default_rng(0).normal(size=200)
    shifted = np.random.default_rng(1).normal(1.5, 1, 60)
    for name, threshold in (("page-hinkley", 15.0), ("adwin", 8.0)):
        statistic, alarm = follow(name, threshold, shifted, before)
        assert alarm.any()
        assert statistic[alarm.argmax()] > threshold
        quiet, none = follow(name, threshold, before[100:], before[:100])
        assert not none.any()
        assert len(quiet) == 100


def test_make_knows_every_name():
    assert {type(make(name, 1, 1.0)).__name__ for name in USUAL} == {"PageHinkley", "Adwin", "Ddm", "Eddm"}
