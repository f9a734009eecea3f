"""Which number should choose the number of trees?

    python benchmarks/tree_stopping.py [--draws 20] [--data ../shared/data]

Each draw takes rows of adult (two classes) or generated rows (five classes), keeps a tenth of them to choose the
number of trees with patience 100 as a fit does, grows that number on all of them, and scores on rows never seen. The
choice is made by ROC AUC, accuracy, macro F1 and log loss in turn, of the same trees. Figures: mean score on the rows
never seen and, against choosing by the metric itself, the mean difference with its standard error over draws.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm
import numpy as np
import polars as pl
from sklearn.datasets import make_classification

from sanmaru.metrics.base import find_metric

METRICS = ("roc_auc", "accuracy", "macro_f1", "log_loss")
PATIENCE = 100
MOST = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    args = parser.parse_args()
    print("| data | rows | scored by | chosen by itself | by log loss | difference (standard error) | trees |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for n in (1000, 4000, 16000):
        for name in ("adult", "generated"):
            found: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
            for draw in range(args.draws if n < 16000 else max(2, args.draws // 2)):
                features, truth, categories = rows(name, draw, args.data)
                one(found, (features, truth, categories), n, draw)
            for metric, values in found.items():
                own, loss = (np.array([value[place] for value in values]) for place in (0, 1))
                gain = (loss - own) * (1 if find_metric(metric).greater_is_better else -1)
                error = gain.std(ddof=1) / np.sqrt(len(gain))
                trees = [int(np.median([value[place] for value in values])) for place in (2, 3)]
                print(
                    f"| {name} | {n} | {metric} | {own.mean():.5f} | {loss.mean():.5f} "
                    f"| {gain.mean():+.5f} ({error:.5f}) | {trees[0]} / {trees[1]} |",
                    flush=True,
                )


def rows(name: str, draw: int, data: Path) -> tuple[np.ndarray, np.ndarray, list[int]]:
    if name == "adult":
        table = pl.read_csv(data / "adult" / "train.csv", infer_schema_length=None).sample(
            fraction=1.0, shuffle=True, seed=draw
        )
        texts = [column for column in table.columns if table[column].dtype == pl.String]
        coded = table.with_columns(pl.col(texts).rank("dense") - 1)
        features = coded.drop("income")
        places = [features.columns.index(text) for text in texts if text != "income"]
        return features.to_numpy().astype(float), coded["income"].to_numpy().astype(int), places
    features, truth = make_classification(
        26000, 25, n_informative=10, n_classes=5, n_clusters_per_class=2, flip_y=0.15, class_sep=0.8, random_state=draw,
        weights=[0.4, 0.3, 0.15, 0.1, 0.05],
    )  # fmt: skip
    return features, truth, []


def one(found: dict, drawn: tuple[np.ndarray, np.ndarray, list[int]], n: int, draw: int) -> None:
    features, truth, categories = drawn
    classes = int(truth.max()) + 1
    held = np.arange(n) < n // 10
    test = slice(n, n + 10_000)
    parameters = {
        "objective": "binary" if classes == 2 else "multiclass", "learning_rate": 0.05, "lambda_l2": 1.0, "seed": draw,
        "feature_fraction": 0.9, "min_data_per_group": int(min(100, max(5, n // 100))), "num_threads": 1,
        "verbosity": -1,
    }  # fmt: skip
    if classes > 2:
        parameters["num_class"] = classes

    def grow(chosen: np.ndarray, rounds: int) -> lightgbm.Booster:
        data = lightgbm.Dataset(
            features[:n][chosen], truth[:n][chosen], categorical_feature=categories, params=parameters
        )
        return lightgbm.train(parameters, data, rounds)

    def probs(booster: lightgbm.Booster, matrix: np.ndarray, rounds: int | None = None) -> np.ndarray:
        out = booster.predict(matrix, num_iteration=rounds, num_threads=1)
        return np.column_stack([1 - out, out]) if classes == 2 else out

    most = MOST if classes == 2 else MOST // 2
    booster = grow(~held, most)
    raw = np.zeros((int(held.sum()), classes if classes > 2 else 1))
    curves: dict[str, list[float]] = defaultdict(list)
    for step in range(most):
        part = booster.predict(features[:n][held], raw_score=True, start_iteration=step, num_iteration=1, num_threads=1)
        raw += part.reshape(raw.shape)
        logits = np.column_stack([np.zeros(len(raw)), raw]) if classes == 2 else raw
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        for name in METRICS:
            curves[name].append(find_metric(name)(truth[:n][held], chances))
    rounds = {name: best(np.array(curve), find_metric(name).greater_is_better) for name, curve in curves.items()}
    scores: dict[int, np.ndarray] = {}
    for count in set(rounds.values()):
        scores[count] = probs(grow(np.ones(n, dtype=bool), count), features[test])
    for name in METRICS[:3]:
        metric = find_metric(name)
        own, loss = (metric(truth[test], scores[rounds[which]]) for which in (name, "log_loss"))
        found[name].append((own, loss, rounds[name], rounds["log_loss"]))


def best(curve: np.ndarray, greater: bool) -> int:
    values = curve if greater else -curve
    place = 0
    for step in range(len(values)):
        if values[step] > values[place]:
            place = step
        elif step - place >= PATIENCE:
            break
    return place + 1


if __name__ == "__main__":
    main()
