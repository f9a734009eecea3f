"""Learning how to combine models from their out-of-fold outputs, and what that gains on rows it was not learned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sanmaru.errors import RunError, nearest
from sanmaru.metrics.base import Metric
from sanmaru.packages.combine import METHODS, combine, log_softmax, rank_values, stack_features
from sanmaru.tasks.outputs import softmax

GREEDY_STEPS = 50
MOST_KNOTS = 1001
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""L2 strengths that a stack chooses from, relative to the number of rows."""

Spec = dict[str, Any]


def learn(method: str, outputs: Sequence[np.ndarray], truth: np.ndarray, folds: np.ndarray, *, metric: Metric) -> Spec:
    """Learn the parameters of a method, as `packages.combine` reads them.

    Args:
        method: One of `packages.combine.METHODS`.
        outputs: Out-of-fold outputs float32 (n, n_outputs), one array per model.
        truth: int64 codes (n,) or float64 numbers (n,).
        folds: int (n,); a stack chooses its penalty on one of these folds.
        metric: What hard voting ranks models by and the greedy search climbs. Weights and stacks minimise the log
            loss or the squared error instead, which have one optimum.

    Raises:
        RunError: when the method is unknown.
    """
    match method:
        case "soft":
            return {"method": "soft"}
        case "hard":
            return {"method": "hard", "order": best_first(outputs, truth, metric)}
        case "weights":
            return {"method": "weights", "weights": _optimal_weights(outputs, truth, metric.kind)}
        case "greedy":
            return {"method": "greedy", "weights": _greedy_weights(outputs, truth, metric)}
        case "rank":
            return {"method": "rank", "knots": [_knots(values, metric.kind) for values in outputs]}
        case "stack":
            return {"method": "stack", **_stack(outputs, truth, folds, metric.kind)}
    raise RunError(f"unknown method {method!r}. {nearest(method, METHODS)}")


def nested(
    method: str, outputs: Sequence[np.ndarray], truth: np.ndarray, folds: np.ndarray, *, metric: Metric
) -> np.ndarray:
    """Combine each fold's rows with parameters learned on the other folds only.

    Whatever the combination fitted by chance thus shows as loss, not as gain: this is the ensemble's honest score.

    Returns:
        Outputs float32 (n, n_outputs).

    Raises:
        RunError: when there is one fold only and the method has something to learn.
    """
    if method == "soft":
        return combine({"method": "soft"}, outputs, metric.kind)
    present = np.unique(folds)
    if len(present) < 2:
        raise RunError(
            f"method {method!r} learns on some folds and is scored on another, and these runs validated one fold only. "
            "Use --method soft, or --method weights with --weights."
        )
    out = np.empty(outputs[0].shape, dtype=np.float32)
    for fold in present:
        rest, held = folds != fold, folds == fold
        spec = learn(method, [values[rest] for values in outputs], truth[rest], folds[rest], metric=metric)
        out[held] = combine(spec, [values[held] for values in outputs], metric.kind)
    return out


def as_scored(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Return what metrics take: probabilities float64 (n, n_classes), or numbers float64 (n,)."""
    return softmax(outputs) if kind == "classification" else outputs[:, 0].astype(np.float64)


def best_first(outputs: Sequence[np.ndarray], truth: np.ndarray, metric: Metric) -> list[int]:
    """Return the models' places from the best by the metric to the worst; equal ones keep their order."""
    values = [metric(truth, as_scored(values, metric.kind)) for values in outputs]
    sign = -1.0 if metric.greater_is_better else 1.0
    return sorted(range(len(values)), key=lambda model: (np.isnan(values[model]), sign * values[model]))


def _greedy_weights(outputs: Sequence[np.ndarray], truth: np.ndarray, metric: Metric) -> list[float]:
    """Add the model that helps most, again and again, with replacement (Caruana et al., 2004); keep the best prefix.

    The search starts from the best model, and ends early after ten steps without a new best.
    """
    scored = [as_scored(values, metric.kind) for values in outputs]
    picks = [best_first(outputs, truth, metric)[0]]
    total = scored[picks[0]].copy()
    best, best_length = metric(truth, total), 1
    while len(picks) < GREEDY_STEPS and len(picks) - best_length < 10:
        values = [metric(truth, (total + one) / (len(picks) + 1)) for one in scored]
        sign = 1.0 if metric.greater_is_better else -1.0
        pick = int(np.argmax([-np.inf if np.isnan(value) else sign * value for value in values]))
        picks.append(pick)
        total += scored[pick]
        if metric.better(values[pick], best):
            best, best_length = values[pick], len(picks)
    counts = np.bincount(picks[:best_length], minlength=len(outputs))
    return [float(count) / best_length for count in counts]


def _optimal_weights(outputs: Sequence[np.ndarray], truth: np.ndarray, kind: str) -> list[float]:
    """Weights >= 0 of sum 1 with the least log loss of the mixed logits, or squared error; both are convex."""
    from scipy.optimize import minimize

    n_models = len(outputs)
    if kind == "classification":
        logits = np.stack([log_softmax(values) for values in outputs])
        rows = np.arange(len(truth))
        own = logits[:, rows, truth]

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            mixed = np.tensordot(weights, logits, axes=1)
            logs = log_softmax(mixed)
            slope = (np.exp(logs)[None] * logits).sum(axis=2).mean(axis=1) - own.mean(axis=1)
            return -float(logs[rows, truth].mean()), slope
    else:
        values = stack_features(outputs, kind)
        scale = float(truth.var()) or 1.0
        errors = values - truth[:, None]
        # With weights of sum 1 the error of the mix is the mix of the errors.
        gram = errors.T @ errors / (len(truth) * scale)

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            return float(weights @ gram @ weights), 2 * gram @ weights

    found = minimize(
        loss,
        np.full(n_models, 1.0 / n_models),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * n_models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
        options={"maxiter": 200, "ftol": 1e-10},
    )
    weights = np.clip(found.x, 0.0, None)
    weights[weights < 1e-6] = 0.0
    return [float(weight) for weight in weights / weights.sum()]


def _knots(outputs: np.ndarray, kind: str) -> list[dict[str, list[float]]]:
    """Per ranked column, values and their mid-ranks in (0, 1): at most 1001 points of the distribution function."""
    knots = []
    for column in rank_values(outputs, kind).T:
        values, counts = np.unique(column, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / len(column)
        if len(values) > MOST_KNOTS:
            chosen = np.unique(np.linspace(0, len(values) - 1, MOST_KNOTS).round().astype(int))
            values, ranks = values[chosen], ranks[chosen]
        knots.append({"value": values.tolist(), "rank": ranks.tolist()})
    return knots


def _stack(outputs: Sequence[np.ndarray], truth: np.ndarray, folds: np.ndarray, kind: str) -> Spec:
    """A regularised logistic or ridge regression on the models' outputs, as plain numbers.

    The penalty is the one of `PENALTIES` that does best on one of the folds at hand after learning on the others.
    """
    features = stack_features(outputs, kind)
    n_classes = outputs[0].shape[1] if kind == "classification" else 0
    penalty = PENALTIES[1]
    present = np.unique(folds)
    if len(present) > 1:
        held = folds == present[-1]
        losses = []
        for candidate in PENALTIES:
            coef, intercept = _linear(features[~held], truth[~held], n_classes, candidate)
            losses.append(_loss(features[held] @ coef.T + intercept, truth[held], n_classes))
        penalty = PENALTIES[int(np.argmin(losses))]
    coef, intercept = _linear(features, truth, n_classes, penalty)
    return {"coef": coef.tolist(), "intercept": intercept.tolist(), "penalty": penalty}


def _linear(features: np.ndarray, truth: np.ndarray, n_classes: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit on standardised features; return coefficients and intercepts that take the features as they are."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = (features - mean) / spread
    if n_classes:
        coef, intercept = _logistic(scaled, truth, n_classes, penalty)
    else:
        gram = scaled.T @ scaled / len(truth) + penalty * np.eye(scaled.shape[1])
        coef = np.linalg.solve(gram, scaled.T @ (truth - truth.mean()) / len(truth))[None, :]
        intercept = np.array([truth.mean()])
    coef = coef / spread
    return coef, intercept - coef @ mean


def _logistic(scaled: np.ndarray, truth: np.ndarray, n_classes: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0 / (penalty * len(truth)), max_iter=1000, tol=1e-5).fit(scaled, truth)
    if n_classes == 2:
        return model.coef_, model.intercept_
    # A class that the rows at hand lack keeps zero coefficients and is as good as impossible.
    coef, intercept = np.zeros((n_classes, scaled.shape[1])), np.full(n_classes, float(np.log(1e-6)))
    if len(model.classes_) == 2:
        coef[model.classes_[1]], intercept[model.classes_] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        coef[model.classes_], intercept[model.classes_] = model.coef_, model.intercept_
    return coef, intercept


def _loss(values: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    if n_classes == 0:
        return float(((values[:, 0] - truth) ** 2).mean())
    if n_classes == 2:
        values = np.column_stack([np.zeros(len(values)), values[:, 0]])
    return -float(log_softmax(values)[np.arange(len(truth)), truth].mean())
