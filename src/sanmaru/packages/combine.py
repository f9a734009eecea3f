"""How the outputs of several models become one: the same arithmetic when an ensemble is made and when it predicts.

A spec is plain JSON:

- `{"method": "mean"}` or `soft`: mean probabilities, or mean numbers.
- `{"method": "hard", "order": [2, 0, 1]}`: each model votes for its class; ties go to the class of the best model that
  takes part in the tie (`order` names models from best to worst). Numbers: the median.
- `{"method": "weights", "weights": [0.7, 0.3]}`: weighted mean of logits (a geometric mean of probabilities), or of
  numbers.
- `{"method": "greedy", "weights": [0.6, 0.4]}`: weighted mean of probabilities, or of numbers.
- `{"method": "rank", "knots": [...]}`: each model's output becomes its rank among the out-of-fold outputs, ranks are
  averaged, and the mean rank is turned back into the mean of the models' outputs at that rank. The ranks are those of
  the out-of-fold rows and not of the rows at hand, so that one row alone is answered as it is among a million.
- `{"method": "stack", "coef": [[...]], "intercept": [...]}`: a linear model on the models' outputs. Quantiles of
  numbers are averaged and moved with the number: by what the stack adds to the models' mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.outputs import mean_outputs, softmax, to_logits

METHODS = ("soft", "hard", "weights", "greedy", "rank", "stack")
"""What an ensemble can be made with; a package of one run's folds has the method `mean`, which is `soft`."""

FLOOR = 1e-6
"""Probabilities are held above this where a linear model takes their logarithm."""

TIE_BREAK = 1e-3
"""Votes that the winner of a hard vote gets on top, so that its class is the most probable even in a tie."""


def combine(spec: Mapping[str, Any], outputs: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Combine the outputs of several models.

    Args:
        spec: Method and parameters (see the module's first lines).
        outputs: One array float32 (n, n_outputs) per model, in the order the spec was made with.
        kind: `classification` (outputs are logits) or `regression` (numbers, n_outputs = 1).

    Returns:
        float32 (n, n_outputs).

    Raises:
        DataError: when the method is unknown or the spec was made for another number of models.
    """
    method = spec.get("method")
    classes = kind == "classification"
    match method:
        case "mean" | "soft":
            return mean_outputs(outputs, kind)
        case "hard":
            order = _checked(spec, "order", len(outputs))
            return hard_vote(outputs, order) if classes else _median(outputs)
        case "weights" if classes:
            return weighted_logits(outputs, _checked(spec, "weights", len(outputs)))
        case "weights" | "greedy":
            return mean_outputs(outputs, kind, _checked(spec, "weights", len(outputs)))
        case "rank":
            return _by_rank(_checked(spec, "knots", len(outputs)), outputs, kind)
        case "stack":
            return stacked(np.asarray(spec["coef"]), np.asarray(spec["intercept"]), outputs, kind)
    raise DataError(f"unknown way to combine models: {method!r}. {nearest(str(method), METHODS)}")


def hard_vote(outputs: Sequence[np.ndarray], order: Sequence[int]) -> np.ndarray:
    """Return the vote of several classifiers as logits.

    The probability of a class is its share of the votes, with one further vote spread over all classes, so that none
    is impossible. `order` names the models from best to worst; a tie goes to the best model's choice among the tied.
    """
    n_rows, n_classes = outputs[0].shape
    rows = np.arange(n_rows)
    votes = np.zeros((n_rows, n_classes))
    choices = [values.argmax(axis=1) for values in outputs]
    for choice in choices:
        votes[rows, choice] += 1.0
    most = votes.max(axis=1)
    winner = np.full(n_rows, -1)
    for model in order:
        tied = (winner < 0) & (votes[rows, choices[model]] == most)
        winner[tied] = choices[model][tied]
    votes[rows, winner] += TIE_BREAK
    return to_logits((votes + 1.0 / n_classes) / (len(outputs) + 1.0 + TIE_BREAK))


def weighted_logits(outputs: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return the weighted mean of log-probabilities, as logits; weights are brought to the sum 1."""
    shares = np.asarray(weights, dtype=np.float64)
    shares = shares / shares.sum()
    mean = np.zeros(outputs[0].shape)
    for share, values in zip(shares, outputs, strict=True):
        mean += share * log_softmax(values)
    return mean.astype(np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities float64 (n, n_classes)."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float64)


def stack_features(outputs: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Return what the linear model of a stack takes, float64 (n, n_features).

    Two classes: log P(second) - log P(first) per model; more: log P of each class per model; numbers: themselves.
    Probabilities are held above 1e-6.
    """
    if kind == "regression":
        return np.concatenate([values[:, :1] for values in outputs], axis=1).astype(np.float64)
    logs = [np.log(np.maximum(softmax(values), FLOOR)) for values in outputs]
    if outputs[0].shape[1] == 2:
        return np.column_stack([values[:, 1] - values[:, 0] for values in logs])
    return np.concatenate(logs, axis=1)


def stacked(coef: np.ndarray, intercept: np.ndarray, outputs: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """Apply a stack's linear model: coef (n_classes, n_features), or (1, n_features) for two classes and numbers.

    Raises:
        DataError: when the models give another number of features than the coefficients take.
    """
    features = stack_features(outputs, kind)
    if features.shape[1] != coef.shape[1]:
        raise DataError(
            f"the stack was fitted on {coef.shape[1]} features and these {len(outputs)} models give "
            f"{features.shape[1]}. Combine the models it was made of, in their order."
        )
    values = features @ coef.T + intercept
    if kind == "regression" and outputs[0].shape[1] > 1:
        mean = mean_outputs(outputs, kind)
        values = np.concatenate([values, mean[:, 1:] + (values - mean[:, :1])], axis=1)
    if kind == "classification" and outputs[0].shape[1] == 2:
        values = np.column_stack([-values[:, 0] / 2, values[:, 0] / 2])
    return np.asarray(values, dtype=np.float32)


def rank_values(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Return what is ranked, float64 (n, n_ranked): the second of two probabilities, each of more, or the numbers."""
    if kind == "regression":
        return outputs.astype(np.float64)
    probs = softmax(outputs)
    return probs[:, 1:] if probs.shape[1] == 2 else probs


def _by_rank(knots: Sequence[Any], outputs: Sequence[np.ndarray], kind: str) -> np.ndarray:
    """`knots` holds per model and ranked column {"value": rising numbers, "rank": their ranks in (0, 1)}."""
    values = [rank_values(output, kind) for output in outputs]
    mean = np.zeros_like(values[0])
    for column in range(mean.shape[1]):
        curves = [(np.asarray(model[column]["value"]), np.asarray(model[column]["rank"])) for model in knots]
        ranks = [np.interp(own[:, column], *curve) for own, curve in zip(values, curves, strict=True)]
        rank = np.mean(ranks, axis=0)
        mean[:, column] = np.mean([np.interp(rank, levels, value) for value, levels in curves], axis=0)
    if kind == "regression":
        mean[:, 1:].sort(axis=1)  # each column goes its own way, so quantiles might cross
        return mean.astype(np.float32)
    probs = np.column_stack([1 - mean[:, 0], mean[:, 0]]) if outputs[0].shape[1] == 2 else mean
    return to_logits(probs / probs.sum(axis=1, keepdims=True))


def _median(outputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.median(np.stack(outputs), axis=0), dtype=np.float32)


def _checked(spec: Mapping[str, Any], key: str, n_models: int) -> Sequence[Any]:
    values: Sequence[Any] = spec[key]
    if len(values) != n_models:
        raise DataError(
            f"the ensemble ({spec['method']}) was made of {len(values)} models and is given the outputs of {n_models}."
        )
    return values
