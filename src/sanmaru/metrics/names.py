"""The names of the metrics, kept apart so that reading a project file loads no NumPy."""

from __future__ import annotations

CLASSIFICATION = ("accuracy", "macro_f1", "roc_auc", "log_loss")
REGRESSION = ("rmse", "mae", "rmsle", "mape", "r2")
FORECASTING = ("mase", "pinball", "coverage_gap")
"""Besides `mae` and `rmse`."""
NAMES = CLASSIFICATION + REGRESSION + FORECASTING
GREATER_IS_BETTER = frozenset({"accuracy", "macro_f1", "roc_auc", "r2"})
