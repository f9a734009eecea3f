"""A small network for tables (`networks.table`). Fitting needs torch; a saved one answers through ONNX Runtime alone.

Numbers are put on the scale of a normal distribution by their training quantiles, so that neither a heavy tail nor the
unit matters; missing ones stand at the middle and are marked. Categories, months, weekdays and hours have embeddings.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.files import whole
from sanmaru.openmp import wait_passively
from sanmaru.tasks.tabular.estimator import BaseTabularEstimator, Rows

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.config import TableNetworkConfig
    from sanmaru.tasks.tabular.prepare import Prepare
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import TrainConfig

BATCH_ROWS = 2048
"""Rows that go through the network at once when predicting."""


class Network(BaseTabularEstimator):
    """A network for regression, binary or multiclass targets, and for quantiles of numbers."""

    kind = "network"
    config: TableNetworkConfig

    def __init__(self, task: Tabular, config: TableNetworkConfig, train: TrainConfig) -> None:
        super().__init__(task, config, train)
        self._prepare: Prepare | None = None
        self._graph = b""
        self._sessions: dict[int, Any] = {}
        self._lock = threading.Lock()

    def fit_rows(self, train: Rows, valid: Rows | None, context: FitContext) -> None:
        """Train on `train`; `valid`, where given, selects the best epoch.

        Classes by log loss there, for a few hundred rows rank, or say right and wrong, too coarsely to choose by;
        numbers by the named metric.
        """
        wait_passively()  # before torch brings its OpenMP
        from sanmaru.tasks.tabular.network_fit import fit_network
        from sanmaru.tasks.tabular.prepare import learn_preparation

        self._begin(train, context)
        self._prepare = learn_preparation(train.matrix, self.columns)
        fitted = fit_network(self, self._prepare, train, valid, context)
        self._graph, self._details = fitted.graph, fitted.details
        self._sessions.clear()

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return raw scores (n, n_scores)."""
        assert self._prepare is not None, "fit or load first"
        if not len(matrix):
            return np.empty((0, self.task.output.width))
        session = self._session()
        rows = self._prepare.rows(matrix)
        parts = [session.run(None, {"rows": rows[i : i + BATCH_ROWS]})[0] for i in range(0, len(rows), BATCH_ROWS)]
        return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write `model.onnx` and `prepare.npz`, plain arrays."""
        assert self._prepare is not None, "fit or load first"
        arrays: dict[str, Any] = self._prepare.arrays()
        with whole(folder / "prepare.npz") as beside, beside.open("wb") as handle:
            np.savez(handle, **arrays)
        with whole(folder / "model.onnx") as beside:
            beside.write_bytes(self._graph)
        return {}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        from sanmaru.tasks.tabular.prepare import Prepare

        with np.load(folder / "prepare.npz", allow_pickle=False) as arrays:
            self._prepare = Prepare(**{name: arrays[name] for name in arrays.files})
        self._graph = (folder / "model.onnx").read_bytes()

    def _session(self) -> Any:
        """ONNX Runtime with `threads` cores."""
        if self.threads not in self._sessions:
            import onnxruntime

            with self._lock:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self.threads
                options.inter_op_num_threads = 1
                # Idle threads that spin would take cores from the rest of a server.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                self._sessions[self.threads] = onnxruntime.InferenceSession(
                    self._graph, options, providers=["CPUExecutionProvider"]
                )
        return self._sessions[self.threads]
