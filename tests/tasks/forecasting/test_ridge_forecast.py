"""Ridge in closed form, its gaps, its features and its bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Reference

from sanmaru.errors import DataError
from sanmaru.tasks.forecasting.bands import BINS, learn_bands
from sanmaru.tasks.forecasting.features import Features
from sanmaru.tasks.forecasting.linear_map import BLOCKS, PENALTIES, Fit, Maps
from sanmaru.tasks.forecasting.ridge import learn_filling
from sanmaru.tasks.forecasting.windows import WindowLayout


def _regression(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(n, 6)).astype(np.float32)
    truth = (matrix @ np.array([3, -2, 0, 0, 1, 0]) + 7 + rng.normal(size=n)).astype(np.float32)
    truth[rng.random(n) < 0.1] = np.nan
    return matrix, truth, np.arange(n) * BLOCKS // n


def _fit(matrix: np.ndarray, truths: np.ndarray, blocks: np.ndarray, penalty: float | None = None) -> list[Fit]:
    """Two of the numbers are a step's own."""
    return Maps(matrix[:, :4], blocks).fit(matrix[:, 4:], truths.reshape(len(matrix), -1), penalty)


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
def test_weights_and_left_out_predictions_are_those_of_scikit_learn(penalty: float) -> None:
    matrix, gappy, blocks = _regression()
    whole_one = np.where(np.isnan(gappy), 1.0, gappy).astype(np.float32)
    block_missing = np.where(blocks == 2, np.nan, whole_one)  # its map without that block learns from the same rows
    truths = np.stack([gappy, whole_one, block_missing, whole_one - 3], axis=1)
    for truth, found in zip(truths.T, _fit(matrix, truths, blocks, penalty), strict=True):
        known = ~np.isnan(truth)

        def reference(rows: np.ndarray, known: np.ndarray = known, truth: np.ndarray = truth) -> Reference:
            rows = rows & known
            return Reference(alpha=penalty * rows.sum()).fit(matrix[rows].astype(float), truth[rows])

        whole = reference(np.ones(len(truth), dtype=bool))
        np.testing.assert_allclose(found.weights, whole.coef_, rtol=1e-5, atol=1e-7)
        assert found.intercept == pytest.approx(whole.intercept_, rel=1e-5)
        missed = []
        for block in range(BLOCKS):
            left_out = blocks == block
            expected = reference(~left_out).predict(matrix[left_out].astype(float))
            np.testing.assert_allclose(found.held_out[left_out], expected, rtol=1e-4)
            missed.append((expected - truth[left_out])[known[left_out]])
        assert found.error == pytest.approx(np.square(np.concatenate(missed)).mean(), rel=1e-6)


def test_numbers_that_are_alike_and_a_high_level_lose_no_digits() -> None:
    matrix, truth, blocks = _regression()
    matrix[:, 5] = matrix[:, 0]  # a step's own number that is among the shared ones
    level = 1e5
    found = _fit(matrix, truth + np.float32(level), blocks, 1e-5)[0]
    near = _fit(matrix, (truth + np.float32(level)) - np.float32(level), blocks, 1e-5)[0]
    np.testing.assert_allclose(found.weights, near.weights, rtol=1e-6)
    assert found.weights[0] == pytest.approx(found.weights[5], rel=1e-4)
    assert found.error == pytest.approx(near.error, rel=1e-6)
    assert found.intercept == pytest.approx(near.intercept + level, rel=1e-9)


def test_one_block_of_rows_is_learned_from_and_predicted() -> None:
    matrix, truth, _ = _regression()
    found = _fit(matrix, truth, np.zeros(len(truth), dtype=np.int64), 0.1)[0]
    np.testing.assert_allclose(found.held_out, matrix @ found.weights + found.intercept, rtol=1e-4, atol=1e-4)


def test_the_penalty_is_that_of_the_least_error_on_blocks_left_out() -> None:
    matrix, truth, blocks = _regression()
    errors = [_fit(matrix, truth, blocks, one)[0].error for one in PENALTIES]
    best = _fit(matrix, truth, blocks)[0]
    assert best.penalty == PENALTIES[int(np.argmin(errors))]
    assert best.error == pytest.approx(min(errors))
    noise = np.random.default_rng(1).normal(size=len(truth)).astype(np.float32)
    assert _fit(matrix, noise, blocks)[0].penalty > best.penalty


def test_a_truth_that_is_never_known_is_refused() -> None:
    matrix, truth, blocks = _regression()
    with pytest.raises(ValueError, match="no row has a truth"):
        _fit(matrix, np.full_like(truth, np.nan), blocks)


def test_gaps_stand_at_the_mean_and_are_marked_once() -> None:
    block = np.array([[1, 5, 5, 2], [np.nan, np.nan, 5, 2], [3, 7, np.nan, 2]], dtype=np.float32)
    filling = learn_filling(block)
    assert filling.marked.tolist() == [0, 2]  # columns 0 and 1 lack the same rows
    out = filling(block)
    assert out.shape == (3, 6)
    np.testing.assert_allclose(out[:, 0], [-1, 0, 1])
    assert out[:, 3].tolist() == [0, 0, 0]  # a constant column
    assert out[:, 4].tolist() == [0, 1, 0]
    assert out[:, 5].tolist() == [0, 0, 1]


def test_bands_hold_the_share_they_promise_and_widen_with_the_level() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.uniform(1, 100, size=(20_000, 1, 1)).astype(np.float32)
    truth = (predicted * (1 + rng.normal(size=predicted.shape) / 5)).astype(np.float32)
    bands = learn_bands(predicted[:10_000], truth[:10_000], (0.1, 0.5, 0.9), ("y",))
    assert bands.knots.shape == (1, 1, BINS)
    around = bands.around(predicted[10_000:])[:, 0, 0]
    came = truth[10_000:, 0, 0]
    for place, level in enumerate((0.1, 0.5, 0.9)):
        assert (came < around[:, place]).mean() == pytest.approx(level, abs=0.02)
    width = around[:, 2] - around[:, 0]
    high = predicted[10_000:, 0, 0] > 80
    low = predicted[10_000:, 0, 0] < 20
    assert width[high].mean() > 4 * width[low].mean()
    assert (np.diff(around, axis=1) >= 0).all()


def test_bands_of_few_rows_are_one_bin_and_of_none_refused() -> None:
    predicted = np.zeros((20, 2, 1), dtype=np.float32)
    truth = np.arange(40, dtype=np.float32).reshape(20, 2, 1)
    assert learn_bands(predicted, truth, (0.5,), ("y",)).knots.shape == (2, 1, 1)
    truth[:, 1] = np.nan
    with pytest.raises(DataError, match="'y' 2 steps after its origin"):
        learn_bands(predicted, truth, (0.5,), ("y",))


LAYOUT = WindowLayout(targets=("y",), past=("w",), known=("k",), static=("s",), lookback=50, horizon=30, season=24)


def _window() -> np.ndarray:
    """y is 0 ... 49, w is 100 ... 149, k counts the steps from 0 to 79, s is 7."""
    steps = np.arange(50, dtype=np.float32)
    history = np.stack([steps, 100 + steps, steps], axis=1)
    return np.concatenate([history.ravel(), np.arange(50, 80), [7]]).astype(np.float32)[None]


@pytest.mark.parametrize("dense", [False, True])
def test_features_are_what_their_names_say(dense: bool) -> None:
    features = Features(LAYOUT, dense=dense)
    base = dict(zip(features.base_names, features.base(_window())[0].tolist(), strict=True))
    assert base["y"] == 49
    assert base["y[-24]"] == 25
    assert base["w[-3]"] == 146
    assert base["mean of y over 6"] == np.mean(range(44, 50))
    assert base["spread of y over 24"] == pytest.approx(np.std(range(26, 50)))
    assert (base["least of y over 24"], base["most of y over 24"], base["missing of y over 24"]) == (26, 49, 0)
    assert base["s"] == 7
    assert ("y[-7]" in base) == dense
    assert dense or base["change of w over 3"] == 3


@pytest.mark.parametrize(("step", "yesterday"), [(1, 26), (24, 49), (25, 26), (30, 31)])
def test_a_step_s_features_are_its_future_and_its_place_in_the_seasons_before(step: int, yesterday: int) -> None:
    features = Features(LAYOUT)
    found = dict(zip(features.step_names, features.step(_window(), step)[0].tolist(), strict=True))
    assert found["k then"] == 49 + step
    assert found["y 1 seasons before"] == yesterday
    before = found["y 2 seasons before"]
    assert before == yesterday - 24 if yesterday >= 24 else np.isnan(before)


@settings(max_examples=30, deadline=None)
@given(
    layout=st.builds(
        WindowLayout,
        targets=st.just(("y", "z")),
        past=st.sampled_from([(), ("p",), ("p", "q")]),
        known=st.sampled_from([(), ("k",), ("k", "l")]),
        lookback=st.integers(1, 30),
        horizon=st.integers(1, 12),
        season=st.integers(1, 24),
    ),
    dense=st.booleans(),
)
def test_any_layout_has_as_many_features_as_names(layout: WindowLayout, dense: bool) -> None:
    features = Features(layout, dense=dense)
    windows = np.random.default_rng(0).normal(size=(3, layout.width)).astype(np.float32)
    windows[0] = np.nan
    base = features.base(windows)
    assert base.shape == (3, len(features.base_names))
    assert len(set(features.base_names)) == len(features.base_names)
    assert np.isfinite(base[1:]).all()
    for step in range(1, layout.horizon + 1):
        assert features.step(windows, step).shape == (3, len(features.step_names))
