import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from sanmaru.monitoring.distances import category_counts, js, ks, psi, wasserstein

numbers = arrays.arrays(np.float64, st.integers(2, 40), elements=st.integers(-8, 8).map(lambda n: n / 2))


def padded(values: np.ndarray, missing: int) -> np.ndarray:
    return np.concatenate([np.full(missing, np.nan), values])[None, :]


@given(numbers, numbers, st.integers(0, 3))
def test_ks_is_scipys_with_ties_and_missing_values(window, reference, missing):
    expected = stats.ks_2samp(window, reference, method="asymp").statistic
    assert ks(padded(window, missing), np.sort(reference))[0] == pytest.approx(expected, abs=1e-12)


@given(numbers, numbers, st.integers(0, 3))
def test_wasserstein_is_scipys_with_ties_and_missing_values(window, reference, missing):
    expected = stats.wasserstein_distance(window, reference)
    assert wasserstein(padded(window, missing), np.sort(reference))[0] == pytest.approx(expected, abs=1e-9)


@given(arrays.arrays(np.int64, 5, elements=st.integers(0, 20)), arrays.arrays(np.int64, 5, elements=st.integers(1, 20)))
def test_js_is_scipys(counts, expected):
    found = js(counts[None, :], expected)[0]
    if counts.sum() == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(jensenshannon(counts, expected, base=2), abs=1e-6)


def test_psi_by_hand():
    reference = np.arange(1, 101.0)  # tenths end at 10.9, 20.8 ...: ten values in each
    window = np.repeat(np.arange(5, 100, 10.0), 2)
    window[:2] = 15.0  # the first tenth is empty, the second holds two tenths
    floor, share = 1e-4, 0.1
    by_hand = (floor - share) * np.log(floor / share) + (0.2 - share) * np.log(0.2 / share)
    assert psi(window[None, :], reference)[0] == pytest.approx(by_hand)


def test_several_windows_at_once_are_each_by_itself():
    rng = np.random.default_rng(0)
    reference = np.sort(rng.normal(size=500))
    windows = rng.normal(size=(20, 30))
    windows[3, 5:] = np.nan
    for statistic in (ks, wasserstein, psi):
        together = statistic(windows, reference)
        assert together == pytest.approx([statistic(row[None, :], reference)[0] for row in windows])


def test_an_empty_window_is_nan():
    empty = np.full((1, 4), np.nan)
    for statistic in (ks, wasserstein, psi):
        assert np.isnan(statistic(empty, np.arange(10.0))[0])


def test_category_counts_leave_missing_out():
    assert category_counts(np.array([[0, 1, 1, np.nan]]), 3).tolist() == [[1, 2, 0]]
