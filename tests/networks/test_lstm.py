"""LSTMs that forecast: what enters, what comes out, and what gaps do."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from sanmaru.networks.lstm import Enter, ForecastNetwork, Member
from sanmaru.networks.windows import WindowShape

SHAPE = WindowShape(targets=2, past=1, known=1, static=1, lookback=5, horizon=3)
MEAN = torch.tensor([10.0, 20.0, 0.0, 0.0, 1.0])
SPREAD = torch.tensor([2.0, 4.0, 1.0, 1.0, 0.5])


def _enter(*, offset: bool = False, by_window: bool = False) -> Enter:
    return Enter(SHAPE, MEAN, SPREAD, [0, 2], offset=offset, by_window=by_window)


def _windows() -> torch.Tensor:
    first = [[12.0, 20.0, 1.0, 0.0], [14.0, 24.0, 1.0, 0.1], [16.0, 28.0, 1.0, 0.2], [18.0, 32.0, 1.0, 0.3]]
    history = torch.tensor([*first, [torch.nan, 36.0, torch.nan, 0.4]])
    return torch.cat([history.flatten(), torch.tensor([0.5, 0.6, torch.nan]), torch.tensor([2.0])])[None]


def test_windows_enter_standardised_with_marks_and_without_gaps() -> None:
    history, future, rest, base, scale = _enter()(_windows())
    assert history.shape == (1, 5, 4 + 2)
    assert not torch.isnan(torch.cat([history.flatten(), future.flatten(), rest.flatten()])).any()
    assert history[0, :, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 4.0]  # the gap stands at the last known value, 18
    assert history[0, -1, 2].item() == 0.0  # a covariate's at its mean
    assert history[0, :, 4].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]  # the mark of the first target
    assert base.tolist() == [[10.0, 20.0]]
    assert scale.tolist() == [[2.0, 4.0]]
    assert rest[0, :3].tolist() == [2.0, 4.0, 4.0]  # static, then both last values


def test_targets_may_be_told_from_their_last_value_and_by_the_window_s_own_spread() -> None:
    history, _, rest, base, scale = _enter(offset=True, by_window=True)(_windows())
    assert base.tolist() == [[18.0, 36.0]]
    own = [np.std([12, 14, 16, 18]), np.std([20, 24, 28, 32, 36])]
    expected = np.sqrt(np.square(own) + np.square([2 / 20, 4 / 20]))
    np.testing.assert_allclose(scale[0], expected, rtol=1e-5)
    np.testing.assert_allclose(history[0, :, 0], (np.array([12, 14, 16, 18, 18]) - 18) / expected[0], rtol=1e-5)
    np.testing.assert_allclose(rest[0, 3:], np.log(expected / [2, 4]), rtol=1e-4, atol=1e-6)


def test_a_window_without_values_stands_at_the_means() -> None:
    windows = torch.full((1, SHAPE.width), torch.nan)
    history, _, _, base, _ = _enter(offset=True)(windows)
    assert base.tolist() == [[10.0, 20.0]]
    assert torch.isfinite(history).all()


@pytest.mark.parametrize("mode", ["direct", "encoder-decoder"])
def test_an_untrained_network_forecasts_near_the_base_in_the_targets_units(
    mode: Literal["direct", "encoder-decoder"],
) -> None:
    torch.manual_seed(0)
    members = [Member(SHAPE, 2, 2 * 3, mode=mode, width=4, layers=2, dropout=0.0) for _ in range(3)]
    network = ForecastNetwork(_enter(offset=True), members, n_quantiles=2).eval()
    outputs = network(_windows().repeat(4, 1))
    assert outputs.shape == (4, 3, 3 * 2 * 3)
    parts = outputs.reshape(4, 3, 3, 2, 3)
    assert (parts[..., 0, :] - 18).abs().max() < 2 * 3  # within a few spreads of the last value
    assert (parts[..., 1, :] - 36).abs().max() < 4 * 3
    assert not torch.equal(parts[0, 0], parts[0, 1])  # members differ by their first weights
    network(_windows()).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_encoder_decoder_uses_what_is_known_of_each_step_ahead() -> None:
    torch.manual_seed(0)
    member = Member(SHAPE, 2, 6, mode="encoder-decoder", width=4, layers=1, dropout=0.0)
    network = ForecastNetwork(_enter(), [member], n_quantiles=2).eval()
    windows, other = _windows(), _windows()
    other[0, SHAPE.lookback * SHAPE.channels + 1] = 3.0  # the second step ahead
    a, b = (network(rows).reshape(3, -1) for rows in (windows, other))
    assert torch.equal(a[0], b[0])
    assert not torch.equal(a[1], b[1])
