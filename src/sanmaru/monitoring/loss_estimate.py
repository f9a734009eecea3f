"""How large an error will be, told from the inputs and the prediction before the truth is known.

Direct loss estimation: a second model learns the size of the first one's residual on the reference. It sees trouble
that comes from inputs in which errors were large before; a new kind of trouble, such as a sensor that reads too high,
it cannot see, which is why estimates are set against the truth when it comes.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

ROUNDS = 150


class LossEstimate:
    """A model of the absolute residual, never below 0.

    Args:
        kind: `lightgbm`, or `ridge` on standardised inputs with missing ones at their mean.
        seed: Of LightGBM.
    """

    def __init__(self, kind: Literal["lightgbm", "ridge"] = "lightgbm", seed: int = 7) -> None:
        self.kind, self.seed = kind, seed
        self._model: Any = None
        self._mean, self._spread = np.empty(0), np.empty(0)

    def fit(self, X: np.ndarray, loss: np.ndarray) -> LossEstimate:
        """Learn from rows whose truth is known.

        Args:
            X: float64 (n, n_inputs), NaN where missing.
            loss: float64 (n,), size of the residual, not negative and without NaN.
        """
        if self.kind == "ridge":
            from sklearn.linear_model import Ridge

            known = np.isfinite(X)
            number = np.maximum(known.sum(axis=0), 1)
            self._mean = np.where(known, X, 0.0).sum(axis=0) / number
            away = np.where(known, X - self._mean, 0.0)
            self._spread = np.maximum(np.sqrt((away**2).sum(axis=0) / number), 1e-12)
            self._model = Ridge(alpha=1.0).fit(away / self._spread, loss)
            return self
        from sanmaru.openmp import load_openmp

        load_openmp()
        import lightgbm as lgb

        # The mean is what is wanted, so squared error on the size; its scale is left as it is.
        parameters = {
            "objective": "regression", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100,
            "feature_fraction": 0.8, "seed": self.seed, "num_threads": 1, "verbosity": -1, "deterministic": True,
            "force_row_wise": True,
        }  # fmt: skip
        self._model = lgb.train(parameters, lgb.Dataset(X, loss), num_boost_round=ROUNDS)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the expected size of each row's residual, float64 (n,)."""
        if self.kind == "ridge":
            X = np.where(np.isfinite(X), X - self._mean, 0.0) / self._spread
        return np.asarray(np.maximum(self._model.predict(X), 0.0), dtype=np.float64)


class ErrorEstimate:
    """The chance that a class is wrong, from the probability it was given, made honest by isotonic regression.

    Its mean over rows is the expected error rate (confidence-based performance estimation): right as long as the
    probabilities mean the same as on the reference.
    """

    def __init__(self) -> None:
        self._model: Any = None

    def fit(self, X: np.ndarray, loss: np.ndarray) -> ErrorEstimate:
        """Learn from rows whose truth is known.

        Args:
            X: float64 (n, 1), the probability of the predicted class.
            loss: float64 (n,), 1 where it was wrong.
        """
        from sklearn.isotonic import IsotonicRegression

        self._model = IsotonicRegression(y_min=0, y_max=1, increasing=False, out_of_bounds="clip").fit(X[:, 0], loss)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the chance of an error of each row, float64 (n,)."""
        return np.asarray(self._model.predict(X[:, 0]), dtype=np.float64)
