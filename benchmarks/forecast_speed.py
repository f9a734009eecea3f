"""Speed of forecasting models: members trained stacked or in turn, the honest fraction, one window's forecast.

    python benchmarks/forecast_speed.py [--quick]

1. k LSTMs trained in one batched product (weights (k, inputs, 4 width), a loop over steps in Python) against the same k
   as torch's own LSTM one after another, forward and backward; alternating rounds in one process, the median ratio.
2. The honest fraction of the training loop, gathering windows by index, at several sizes of network: a bare step beside
   every real one, by processor time, so that what else the machine does counts for neither; median and range of fits.
3. Milliseconds from a window to its forecast, one window and 256 at once.

Everything runs on made-up hourly series, with one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as Sanmaru's own fits do; before torch brings its OpenMP

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import (
    ETSConfig,
    LightGBMForecastConfig,
    LSTMConfig,
    PersistenceConfig,
    RidgeConfig,
)
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training import watch
from sanmaru.training.config import TrainConfig
from sanmaru.training.watch import Stopwatch

SIZES = ((4, 16, 64), (16, 8, 32), (4, 48, 128), (4, 64, 256))
"""Members, width, batch."""
INPUTS, STEPS = 20, 72


class Stacked(nn.Module):
    """k LSTMs as one: every product is batched over members.

    Args:
        members: k.
        width: Of the state.
    """

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.inputs = nn.Parameter(torch.randn(members, INPUTS, 4 * width) / 10)
        self.states = nn.Parameter(torch.randn(members, width, 4 * width) / 10)
        self.bias = nn.Parameter(torch.zeros(members, 1, 4 * width))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return the last states (k, B, width) of inputs (B, STEPS, INPUTS)."""
        members, n_rows = len(self.bias), len(x)
        flat = x.transpose(0, 1).reshape(1, -1, INPUTS).expand(members, -1, -1)
        entering = torch.baddbmm(self.bias, flat, self.inputs).view(members, STEPS, n_rows, -1)
        state = cell = x.new_zeros(members, n_rows, self.width)
        for step in entering.unbind(1):
            gates = torch.baddbmm(step, state, self.states)
            enter, forget, leave = torch.sigmoid(gates[..., : 3 * self.width]).chunk(3, -1)
            cell = forget * cell + enter * torch.tanh(gates[..., 3 * self.width :])
            state = leave * torch.tanh(cell)
        return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter series")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    members(rounds=3 if quick else 9)
    task, table = made_up(3_000 if quick else 12_000)
    honest(task, table[:3_000] if quick else table[:6_000], fits=3 if quick else 7)
    latency(task, table, rounds=5 if quick else 30)


def members(rounds: int) -> None:
    print("| members | width | batch | stacked ms | in turn ms | stacked ÷ in turn |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for count, width, batch in SIZES:
        x = torch.randn(batch, STEPS, INPUTS)
        stacked = Stacked(count, width)
        apart = nn.ModuleList(nn.LSTM(INPUTS, width, batch_first=True) for _ in range(count))

        def one(stacked: nn.Module = stacked, x: Tensor = x) -> None:
            stacked(x).square().mean().backward()

        def in_turn(apart: nn.ModuleList = apart, x: Tensor = x) -> None:
            for lstm in apart:
                lstm(x)[1][0].square().mean().backward()

        pairs = [(timed(one), timed(in_turn)) for _ in range(rounds + 1)][1:]
        a, b = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"| {count} | {width} | {batch} | {1e3 * a:.0f} | {1e3 * b:.0f} | {ratio:.2f} |", flush=True)


def honest(task: Forecasting, table: pl.DataFrame, fits: int) -> None:
    print("\n| network | fits | pairs | honest fraction | range | gather, of a step |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    train = TrainConfig(epochs=1, batch_size=128)
    for mode, width, history in (("direct", 16, 24), ("direct", 48, 72), ("encoder-decoder", 48, 72)):
        config = LSTMConfig(mode=mode, width=width, history=history)
        # Every step has its bare twin, instead of as many as 3 % of the time allow.
        with mock.patch.object(watch, "BUDGET", 1.0), mock.patch.object(Stopwatch, "_now", _processor_s):
            found = [fitted(task, config, table, train).details() for _ in range(fits)]
        fractions = sorted(one["honest_fraction"] for one in found)
        gather = statistics.median(one["shares"]["gather"] for one in found)
        pairs = sum(one["honest_pairs"] for one in found)
        shown = f"{statistics.median(fractions):.3f} | {fractions[0]:.3f} to {fractions[-1]:.3f} | {100 * gather:.1f} %"
        print(f"| {mode}, width {width}, {history} steps | {fits} | {pairs} | {shown} |", flush=True)


def _processor_s(_: Stopwatch) -> float:
    return time.process_time()


def latency(task: Forecasting, table: pl.DataFrame, rounds: int) -> None:
    print("\n| model | one window, ms | 256 windows, ms per window |\n| --- | ---: | ---: |")
    few, train = table[:2_000], TrainConfig(epochs=1)
    models: dict[str, Any] = {
        "persistence": PersistenceConfig(),
        "ridge": RidgeConfig(),
        "lightgbm, pooled": LightGBMForecastConfig(trees=100),
        "lightgbm, per step": LightGBMForecastConfig(trees=100, strategy="per-step", bands="errors"),
        "lstm, direct": LSTMConfig(width=48, history=72),
        "mstl": ETSConfig(method="mstl"),
    }
    for name, config in models.items():
        model = fitted(task, config, few, train)
        rows = model.encode(table[-256:])
        many = rows if not isinstance(config, ETSConfig) else rows[:8]
        one = statistics.median(timed(lambda model=model, rows=rows: model.forward(rows[:1])) for _ in range(rounds))
        all_s = statistics.median(timed(lambda model=model, many=many: model.forward(many)) for _ in range(3))
        print(f"| {name} | {1e3 * one:.2f} | {1e3 * all_s / len(many):.3f} |", flush=True)


def fitted(task: Forecasting, config: Any, table: pl.DataFrame, train: TrainConfig) -> Any:
    model = task.estimator(config, train)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model.fit(table, None, FitContext(folder=place, cache=place, seed=0, metric=find_metric("rmse")))
    return model


def made_up(n_steps: int) -> tuple[Forecasting, pl.DataFrame]:
    """Hourly series with fifteen covariates, three of them known ahead, and five per cent of gaps."""
    rng = np.random.default_rng(0)
    layout = WindowLayout(
        targets=("y",),
        past=tuple(f"p{i}" for i in range(13)),
        known=("sin", "cos", "year"),
        lookback=168,
        horizon=24,
        season=24,
    )
    values = rng.normal(size=(1, n_steps, 17)).astype(np.float32)
    values[0, :, 0] += 10 + np.sin(np.arange(n_steps) / 24 * 2 * np.pi)
    values[0, rng.random(n_steps) < 0.05, 0] = np.nan
    panel = Panel(layout=layout, values=values, static=np.zeros((1, 0), dtype=np.float32))
    at = np.arange(168, n_steps - 24)
    origin = pl.Series("origin", at * 3_600_000_000).cast(pl.Datetime("us", "UTC"))
    codes = np.zeros(len(at), dtype=np.int32)
    return Forecasting(layout, panel=panel), pl.DataFrame({"origin": origin, "series_code": codes, "at": at})


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
