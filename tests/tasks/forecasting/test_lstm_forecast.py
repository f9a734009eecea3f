"""Training an LSTM on windows gathered by index: masks, resuming, the honest fraction."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import LSTMConfig
from sanmaru.tasks.forecasting.lstm_fit import ForecastLoss
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.window_batches import WindowBatches
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training.config import TrainConfig

LAYOUT = WindowLayout(targets=("y",), known=("sin", "cos"), lookback=12, horizon=3, season=6)


def _panel(n_steps: int = 400) -> Panel:
    rng = np.random.default_rng(0)
    turn = 2 * np.pi * np.arange(n_steps) / 6
    y = 10 + 3 * np.sin(turn) + rng.normal(size=n_steps) / 5
    y[rng.random(n_steps) < 0.1] = np.nan
    values = np.stack([y, np.sin(turn), np.cos(turn)], axis=1)[None].astype(np.float32)
    return Panel(layout=LAYOUT, values=values, static=np.zeros((1, 0), dtype=np.float32))


def _windows(first: int, last: int) -> pl.DataFrame:
    at = np.arange(first, last)
    return pl.DataFrame({"series_code": np.zeros(len(at), dtype=np.int32), "at": at})


def _context(folder: Path, **other: bool) -> FitContext:
    folder.mkdir(exist_ok=True)
    return FitContext(folder=folder, cache=folder, seed=1, metric=find_metric("mae"), **other)


def test_windows_gathered_on_the_device_are_those_of_the_panel() -> None:
    panel = _panel(40)
    at, series = np.arange(40), np.zeros(40, dtype=np.int64)  # the outermost reach beyond both ends
    batches = WindowBatches(
        LAYOUT,
        values=panel.values,
        static=panel.static,
        series=series,
        at=at,
        truth=panel.target(series, at),
        device=torch.device("cpu"),
    )
    rows, labels = next(batches.plain())
    np.testing.assert_array_equal(rows, panel.gather(series, at))
    np.testing.assert_array_equal(labels, panel.target(series, at)[:, :, 0])


def test_statistics_are_of_the_steps_that_windows_show() -> None:
    panel = _panel(100)
    at = np.array([20, 21, 50])  # they show steps 9 to 21 and 39 to 50
    zeros = np.zeros(3, dtype=np.int64)
    truth = panel.target(zeros, at)
    batches = WindowBatches(
        LAYOUT,
        values=panel.values,
        static=panel.static,
        series=zeros,
        at=at,
        truth=truth,
        device=torch.device("cpu"),
    )
    shown = panel.values[0, [*range(9, 22), *range(39, 51)]]
    mean, spread, gaps = batches.statistics()
    np.testing.assert_allclose(mean, np.nanmean(shown, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(spread, np.nanstd(shown, axis=0), rtol=1e-5)
    assert gaps == ([0] if np.isnan(shown[:, 0]).any() else [])


def test_the_loss_is_that_of_known_targets_alone() -> None:
    loss = ForecastLoss("squared", (0.1, 0.9), torch.tensor([2.0]))
    outputs = torch.tensor([[[1.0, 0.0, 2.0, 5.0, 5.0, 5.0]]], requires_grad=True)  # two steps, one target
    value = loss(outputs, torch.tensor([[3.0, torch.nan]]))
    # Of step 1, divided by the spread: 1 squared, and 2 (0.1 · 1.5 + 0.9 · 0.5); halved, for the window has two steps.
    assert value.item() == pytest.approx((1 + 2 * (0.15 + 0.45)) / 2)
    value.backward()
    assert outputs.grad is not None
    assert outputs.grad[0, 0, 3:].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(outputs.grad).all()


def test_the_loss_of_parts_of_a_batch_adds_up() -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(6, 2, 3 * 3), torch.randn(6, 3)
    labels[1, 2] = labels[4] = torch.nan
    loss = ForecastLoss("absolute", (0.1, 0.9), torch.tensor([1.0]))
    parts = loss(outputs[:2], labels[:2]) * 2 + loss(outputs[2:], labels[2:]) * 4
    assert loss(outputs, labels).item() == pytest.approx(parts.item() / 6, rel=1e-5)


@pytest.mark.parametrize("mode", ["direct", "encoder-decoder"])
def test_it_learns_a_season_and_a_resumed_fit_ends_with_the_same_bits(mode: str, tmp_path: Path) -> None:
    task = Forecasting(LAYOUT, panel=_panel())
    config = LSTMConfig(width=16, dropout=0.0, mode=mode)  # type: ignore[arg-type]
    train, valid, held = _windows(12, 300), _windows(310, 340), _windows(345, 390)
    whole = task.estimator(config, TrainConfig(epochs=6, batch_size=32, learning_rate=1e-2))
    whole.fit(train, valid, _context(tmp_path / "whole"))
    truth = task.target(held)[:, :, 0]
    outputs = whole.forward(whole.encode(held))
    assert np.nanmean(np.abs(outputs.reshape(45, 3, 4)[..., 0] - truth)) < 0.8  # the noise alone gives 0.16, y's mean 2

    class Enough(Exception):  # noqa: N818
        pass

    context = _context(tmp_path / "cut")
    original = context.log

    def log(step: int, **metrics: float) -> None:
        if step == 4:
            raise Enough
        original(step, **metrics)

    context.log = log  # type: ignore[method-assign]
    cut = task.estimator(config, whole.train)
    with pytest.raises(Enough):
        cut.fit(train, valid, context)
    resumed = task.estimator(config, whole.train)
    resumed.fit(train, valid, _context(tmp_path / "cut", resume=True))
    np.testing.assert_array_equal(resumed.forward(resumed.encode(held)), outputs)
    events = [json.loads(line) for line in (tmp_path / "cut" / "events.jsonl").read_text().splitlines()]
    assert any("continued after epoch 3" in event.get("text", "") for event in events)
    details = resumed.details()
    assert details["known_fraction"]["y"] == pytest.approx(0.9, abs=0.03)
    assert 0 < details["honest_fraction"] <= 1


def test_a_saved_network_answers_without_torch(tmp_path: Path) -> None:
    task = Forecasting(LAYOUT, panel=_panel())
    model = task.estimator(LSTMConfig(width=4), TrainConfig(epochs=1))
    model.fit(_windows(12, 60), None, _context(tmp_path))
    model.save(tmp_path / "model")
    code = (
        "import json, sys; import numpy as np\n"
        "from sanmaru.tasks.forecasting.models import load_model\n"
        "from sanmaru.tasks.forecasting.task import Forecasting\n"
        "from sanmaru.tasks.forecasting.windows import WindowLayout\n"
        "task = Forecasting(WindowLayout.from_json(json.loads(sys.argv[1])))\n"
        "print(load_model(task, __import__('pathlib').Path(sys.argv[2])).forward(np.ones((1, 42), 'f4')).shape)\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, json.dumps(LAYOUT.to_json()), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(1, 12)\n"), done.stderr
