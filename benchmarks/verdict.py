"""How often a verdict on two runs is false, and how often it finds a real difference.

    python benchmarks/verdict.py [--samples 60] [--data ../shared/data] [--quick]

False verdicts: one recipe is trained twice, with two seeds, on the same folds; whatever is then called "better" is
not. Right verdicts: the recipe against a weaker version of itself. Each sample is a data set of its own: generated,
and, where `--data` holds them, random rows of real ones. The rules compared:

- `rows`: the bootstrap over rows alone;
- `folds`: with the folds' jackknife variance added, which is what `metrics.bootstrap.paired` does;
- `excess`: with only what that variance has beyond the scatter of rows added;
- `corrected t`: the corrected resampled t-test of Nadeau & Bengio (2003) on the folds' own differences.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm
import numpy as np
import polars as pl
from scipy import stats
from sklearn.datasets import make_classification, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from sanmaru.metrics.base import Metric, find_metric
from sanmaru.metrics.bootstrap import paired

CLASS_METRICS = ("accuracy", "macro_f1", "roc_auc", "log_loss")
NUMBER_METRICS = ("rmse", "mae")
RULES = ("rows", "folds", "excess", "corrected t")
ROUNDS = 600
Sample = tuple[str, np.ndarray, np.ndarray, bool]


def samples(number: int, data: Path | None) -> Iterator[Sample]:
    """Yield (name, features, target, whether classes) of one draw of every source."""
    n_rows = (600, 1500, 3000)[number % 3]
    features, target = make_classification(n_rows, 20, n_informative=8, flip_y=0.1, class_sep=0.7, random_state=number)
    yield "generated classes", features, target, True
    features, target = make_friedman1(n_rows, 15, noise=1.5, random_state=number)
    yield "generated numbers", features, target, False
    if data is None:
        return
    for name, column in (("adult", "income"), ("housing-ca", "median_house_value")):
        table = pl.read_csv(data / name / "train.csv", infer_schema_length=None)
        table = table.sample(n_rows, seed=number).drop_nulls()
        coded = table.with_columns(pl.col(pl.String).rank("dense") - 1)
        target = coded[column].to_numpy()
        yield name, coded.drop(column).to_numpy().astype(float), target, table[column].dtype == pl.String


def trees(features: np.ndarray, target: np.ndarray, seed: int, *, classes: bool, weak: bool) -> lightgbm.Booster:
    """Boosted trees that stop early on a tenth of their own rows, as a run does."""
    held = np.random.default_rng(seed).random(len(target)) < 0.1
    fit = lightgbm.Dataset(features[~held], target[~held], free_raw_data=False)
    check = lightgbm.Dataset(features[held], target[held], reference=fit, free_raw_data=False)
    settings = {
        "objective": "binary" if classes else "regression",
        "metric": "auc" if classes else "rmse",
        "learning_rate": 0.1,
        "num_leaves": 15,
        "feature_fraction": 0.5 if not weak else 0.15,
        "bagging_fraction": 0.6,
        "bagging_freq": 1,
        "seed": seed,
        "num_threads": 1,
        "verbose": -1,
    }
    rounds = 200 if not weak else 30
    return lightgbm.train(
        settings, fit, rounds, valid_sets=[check], callbacks=[lightgbm.early_stopping(20, verbose=False)]
    )


def out_of_fold(
    model: str,
    features: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    *,
    seed: int,
    classes: bool,
    weak: bool = False,
) -> np.ndarray:
    """Return what metrics take: probabilities (n, 2) or numbers (n,)."""
    out = np.zeros(len(target))
    for fold in np.unique(folds):
        rest, own_seed = folds != fold, seed * 1000 + int(fold)
        if model == "trees":
            fitted = trees(features[rest], target[rest], own_seed, classes=classes, weak=weak)
            out[~rest] = fitted.predict(features[~rest])
            continue
        mean, spread = features[rest].mean(axis=0), features[rest].std(axis=0) + 1e-9
        network = MLPClassifier((16,), max_iter=6 if weak else 30, random_state=own_seed, learning_rate_init=0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is meant
            network.fit((features[rest] - mean) / spread, target[rest])
        out[~rest] = network.predict_proba((features[~rest] - mean) / spread)[:, 1]
    return np.column_stack([1 - out, out]) if classes else out


def verdicts(metric: Metric, truth: np.ndarray, a: np.ndarray, b: np.ndarray, folds: np.ndarray) -> dict[str, bool]:
    """Return per rule whether it calls A and B different."""
    rows = paired(metric, truth, a, b, rounds=ROUNDS)
    with_folds = paired(metric, truth, a, b, folds=folds, rounds=ROUNDS)
    parts = [folds == fold for fold in np.unique(folds)]
    own = np.array([metric(truth[part], a[part]) - metric(truth[part], b[part]) for part in parts])
    n_folds = len(own)
    variance = ((rows.high - rows.low) / (2 * 1.96)) ** 2
    of_folds = variance * (with_folds.widened**2 - 1)
    corrected = np.sqrt(own.var(ddof=1) * (1 / n_folds + 1 / (n_folds - 1)))
    return {
        "rows": not rows.none,
        "folds": not with_folds.none,
        "excess": bool(abs(rows.difference) > 1.96 * np.sqrt(max(variance, of_folds))),
        "corrected t": bool(abs(own.mean()) > stats.t.ppf(0.975, n_folds - 1) * corrected),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60, help="data sets drawn from every source")
    parser.add_argument("--data", type=Path, help="folder with adult/ and housing-ca/")
    parser.add_argument("--quick", action="store_true", help="four samples, to see that it runs")
    options = parser.parse_args()
    began = time.perf_counter()
    found: dict[tuple[str, str, str], list[dict[str, bool]]] = defaultdict(list)
    n_samples = 4 if options.quick else options.samples
    for number in range(n_samples):
        n_folds = (5, 5, 10)[number // 3 % 3]
        for source, features, target, classes in samples(number, options.data):
            truth = target.astype(np.int64) if classes else target.astype(np.float64)
            folds = np.random.default_rng(number).permutation(len(truth)) % n_folds
            for model in ("trees", "network") if classes else ("trees",):
                scored = [
                    out_of_fold(model, features, truth, folds, seed=seed, classes=classes, weak=weak)
                    for seed, weak in ((1, False), (2, False), (3, True))
                ]
                for name in CLASS_METRICS if classes else NUMBER_METRICS:
                    metric = find_metric(name)
                    for pair, other in (("equal", scored[1]), ("weaker", scored[2])):
                        said = verdicts(metric, truth, scored[0], other, folds)
                        found[pair, f"{source}, {model}", name].append(said)
    print(f"{n_samples} samples per source, 600 to 3,000 rows, 5 or 10 folds, {time.perf_counter() - began:.0f} s,")
    print(f"Python {platform.python_version()}, LightGBM {lightgbm.__version__}, NumPy {np.__version__}")
    for pair, title in (("equal", "false verdicts (equal recipes, other seed)"), ("weaker", "real differences found")):
        print(f"\n| {title} | pairs | " + " | ".join(RULES) + " |")
        print("| --- | ---: |" + " ---: |" * len(RULES))
        groups: dict[str, list[dict[str, bool]]] = defaultdict(list)
        for (one, source, name), said in found.items():
            if one == pair:
                groups["all"] += said
                groups[source] += said
                groups[name] += said
        for label, said in groups.items():
            shares = " | ".join(f"{np.mean([one[rule] for one in said]):.1%}" for rule in RULES)
            print(f"| {label} | {len(said)} | {shares} |")


if __name__ == "__main__":
    main()
