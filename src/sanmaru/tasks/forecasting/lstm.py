"""An LSTM over the window (`networks.lstm`). Fitting needs torch; a saved one answers through ONNX Runtime alone.

The exported network takes windows as they are, gaps included, so that nothing of how they are scaled lives beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.files import whole
from sanmaru.openmp import wait_passively
from sanmaru.tasks.forecasting.estimator import BaseForecaster
from sanmaru.tasks.forecasting.rows import require_windows
from sanmaru.tasks.forecasting.windows import Floats

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.config import LSTMConfig
    from sanmaru.tasks.forecasting.task import Forecasting
    from sanmaru.training.config import TrainConfig

BATCH_WINDOWS = 512
"""Windows that go through the network at once when predicting."""


class LSTM(BaseForecaster):
    """A recurrent network with a head for the number and one for each quantile."""

    kind = "lstm"
    config: LSTMConfig

    def __init__(self, task: Forecasting, config: LSTMConfig, train: TrainConfig) -> None:
        super().__init__(task, config, train)
        self._graph = b""
        self._sessions: dict[int, Any] = {}
        self._lock = threading.Lock()

    @property
    def history(self) -> int:
        """Steps of the window that are read."""
        return min(self.config.history or self.layout.lookback, self.layout.lookback)

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Train on `train`; `valid`, where given, selects the best epoch by the named metric.

        Raises:
            DataError: when there are no windows, or a target is known after none of them.
        """
        require_windows(train)
        wait_passively()  # before torch brings its OpenMP
        from sanmaru.tasks.forecasting.lstm_fit import fit_lstm

        fitted = fit_lstm(self, train, valid if valid is not None and len(valid) else None, context)
        self._graph, self._details = fitted.graph, fitted.details
        self._sessions.clear()

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n, horizon * targets * (1 + quantiles)): the mean of the members."""
        layout = self.layout
        width = layout.horizon * len(layout.targets) * (1 + len(self.quantiles))
        out = np.empty((len(array), width), dtype=np.float32)
        session = self._session()
        for start in range(0, len(array), BATCH_WINDOWS):
            rows = recent(self, array[start : start + BATCH_WINDOWS])
            out[start : start + len(rows)] = session.run(None, {"windows": rows})[0]
        out.reshape(len(array), -1, 1 + len(self.quantiles))[..., 1:].sort(axis=-1)
        return out

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write `model.onnx`."""
        with whole(folder / "model.onnx") as beside:
            beside.write_bytes(self._graph)
        return {}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        del content
        self._graph = (folder / "model.onnx").read_bytes()

    def _session(self) -> Any:
        """ONNX Runtime with `threads` cores."""
        assert self._graph, "fit or load first"
        with self._lock:
            if self.threads not in self._sessions:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self.threads
                options.inter_op_num_threads = 1
                # Idle threads that spin would take cores from the rest of a server.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                self._sessions[self.threads] = onnxruntime.InferenceSession(
                    self._graph, options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[self.threads]


def recent(model: LSTM, windows: Floats) -> Floats:
    """Return windows (n, width) with the last `history` steps only."""
    layout = model.layout
    if model.history == layout.lookback:
        return np.ascontiguousarray(windows, dtype=np.float32)
    begin = layout.lookback * len(layout.channels)
    cut = (layout.lookback - model.history) * len(layout.channels)
    return np.concatenate([windows[:, cut:begin], windows[:, begin:]], axis=1).astype(np.float32, copy=False)
