"""Tabular models against LightGBM, CatBoost and scikit-learn used plainly.

    python benchmarks/tabular.py [--quick] [--models "LightGBM, ours" ...] [--data adult ...]

On each data set a fifth of the rows is kept aside by a fixed seed. Every model learns from the same other rows; ours
takes a tenth of those to choose its number of trees. Three seeds draw three such fifths; figures are means, with the
range. The last table is one row at a time, from a mapping to a probability or number.

Data: scikit-learn's diabetes, and adult, housing-ca and apt-seoul of ../shared/data (or SANMARU_DATA) where present.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sanmaru.metrics.base import find_metric
from sanmaru.tables.config import DataConfig
from sanmaru.tables.read import Dataset, read_data
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.config import (
    CatBoostConfig,
    LightGBMConfig,
    LinearConfig,
    NearestNeighboursConfig,
    TableNetworkConfig,
)
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

SHARED = Path(os.environ.get("SANMARU_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILES = {
    "adult": ("adult/train.csv", "income"),
    "housing-ca": ("housing-ca/train.csv", "median_house_value"),
    "apt-seoul": ("apt-seoul/trades_2022.csv", "거래금액(만원)"),
}
THREADS = 1


@dataclass
class Result:
    score: float
    fit_s: float
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, at most 2,000 rows, few calls")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="MODEL")
    parser.add_argument("--data", nargs="+", choices=[*FILES, "diabetes"], default=[*FILES, "diabetes"], metavar="NAME")
    arguments = parser.parse_args()
    quick = arguments.quick
    seeds = (0,) if quick else (0, 1, 2)
    warnings.filterwarnings("ignore")  # those of the plain pipelines
    print(f"LightGBM and scikit-learn on {THREADS} thread; Python {sys.version.split()[0]}; seeds {seeds}.\n")
    print("| data | rows | metric | model | score (range) | fit s | |\n| --- | ---: | --- | --- | ---: | ---: | --- |")
    lines: list[str] = []
    several: list[str] = []
    for name, dataset in datasets():
        if name not in arguments.data:
            continue
        table = dataset.table.sample(min(2000, dataset.table.height), seed=0) if quick else dataset.table
        task = Tabular.open(table, dataset.roles, columns=dataset.columns, missing=DataConfig(train="").missing)
        metric = task.metrics[0]
        found: dict[str, list[Result]] = {}
        kept: dict[str, Any] = {}
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(table.height)
            test, train = table[order[: table.height // 5]], table[order[table.height // 5 :]]
            for model in arguments.models:
                run = MODELS[model]
                result, fitted = run(task, train, test, seed)
                found.setdefault(model, []).append(result)
                kept[model] = fitted
        for model, results in found.items():
            scores = [result.score for result in results]
            spread = f" ({min(scores):.5g} – {max(scores):.5g})" if len(scores) > 1 else ""
            seconds = statistics.mean(result.fit_s for result in results)
            row = f"{statistics.mean(scores):.5g}{spread} | {seconds:.2f} | {results[-1].note}"
            print(f"| {name} | {table.height:,} | {metric} | {model} | {row} |", flush=True)
        if not {"LightGBM, ours", "LightGBM, plain", "linear, ours"} <= set(kept):
            continue
        trees = kept["LightGBM, ours"]
        several += batches(name, trees, trees.encode(table[:128]), rounds=5 if quick else 30)
        lines += single_rows(name, task, kept, table, rounds=5 if quick else 50)
    print("\n| data | columns | trees | one row | µs | × trees, ours |\n| --- | ---: | ---: | --- | ---: | ---: |")
    print("\n".join(lines))
    print("\n| data | rows per call | µs per row, one by one | all at once | `Booster.predict` |")
    print("| --- | ---: | ---: | ---: | ---: |")
    print("\n".join(several))


def datasets() -> list[tuple[str, Dataset]]:
    out = []
    for name, (file, target) in FILES.items():
        path = SHARED / file
        if not path.is_file():
            print(f"{name}: {path} is absent, left out", file=sys.stderr)
            continue
        data = DataConfig(train=path.name, target=(target,))
        out.append((name, read_data(data, path.parent, task="tabular")))
    from sklearn.datasets import load_diabetes

    diabetes = load_diabetes()
    frame = pl.DataFrame(diabetes.data, schema=diabetes.feature_names)
    with tempfile.TemporaryDirectory() as folder:
        frame.with_columns(pl.Series("progression", diabetes.target)).write_csv(Path(folder) / "diabetes.csv")
        data = DataConfig(train="diabetes.csv", target=("progression",))
        out.append(("diabetes", read_data(data, Path(folder), task="tabular")))
    return out


def ours(config: Any, training: TrainConfig | None = None) -> Callable[..., tuple[Result, Any]]:
    def run(task: Tabular, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> tuple[Result, Any]:
        estimator = task.estimator(config, training or TrainConfig())
        with tempfile.TemporaryDirectory() as folder:
            context = FitContext(
                folder=Path(folder),
                cache=Path(folder),
                seed=seed,
                metric=find_metric(task.metrics[0]),
                threads=THREADS,
            )
            started = time.perf_counter()
            tenth = train.height // 10 if getattr(estimator, "selects", True) else 0
            estimator.fit(train[tenth:], train[:tenth] if tenth else None, context)
            fit_s = time.perf_counter() - started
        outputs = estimator.forward(estimator.encode(test))
        score = task.score(test, task.predictions(test[task.roles.id], outputs))[task.metrics[0]]
        details = estimator.details()
        notes = {"best_step": "{} rounds", "penalty": "penalty {:.3g}", "n_neighbours": "{} neighbours"}
        notes["best_epoch"] = "{} epochs"
        note = next(text.format(details[name]) for name, text in notes.items() if name in details)
        return Result(score, fit_s, note), estimator

    return run


def plain_lightgbm(task: Tabular, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> tuple[Result, Any]:
    import lightgbm

    X, X_test = frames(task, train, test, categories=True)
    truth = task.truth(train)
    regression = task.output.kind == "regression"
    make = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    model = make(n_jobs=THREADS, random_state=seed, verbosity=-1)
    started = time.perf_counter()
    model.fit(X, truth)
    fit_s = time.perf_counter() - started
    scored = model.predict(X_test) if regression else model.predict_proba(X_test)
    return Result(find_metric(task.metrics[0])(task.truth(test), scored), fit_s, "100 rounds, defaults"), (
        model,
        X_test,
    )


def plain_catboost(task: Tabular, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> tuple[Result, Any]:
    import catboost

    X, X_test = frames(task, train, test, categories=False)
    texts = [name for name in X if X[name].dtype == object]
    for frame in (X, X_test):
        frame[texts] = frame[texts].fillna("missing").astype(str)
    regression = task.output.kind == "regression"
    make = catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier
    model = make(cat_features=texts, thread_count=THREADS, random_seed=seed, verbose=False, allow_writing_files=False)
    started = time.perf_counter()
    model.fit(X, task.truth(train))
    fit_s = time.perf_counter() - started
    scored = model.predict(X_test) if regression else model.predict_proba(X_test)
    return Result(find_metric(task.metrics[0])(task.truth(test), scored), fit_s, "1000 rounds, defaults"), None


def plain_linear(task: Tabular, train: pl.DataFrame, test: pl.DataFrame, seed: int) -> tuple[Result, Any]:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X, X_test = frames(task, train, test, categories=False)
    regression = task.output.kind == "regression"
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="object")),
    )
    model = make_pipeline(columns, Ridge() if regression else LogisticRegression(max_iter=1000))
    started = time.perf_counter()
    model.fit(X, task.truth(train))
    fit_s = time.perf_counter() - started
    scored = model.predict(X_test) if regression else model.predict_proba(X_test)
    return Result(find_metric(task.metrics[0])(task.truth(test), scored), fit_s, "defaults"), (model, X_test)


def frames(task: Tabular, train: pl.DataFrame, test: pl.DataFrame, *, categories: bool) -> tuple[Any, Any]:
    """The features as pandas frames: dates as days, texts as pandas categories or as objects."""
    import pandas as pd

    names = [feature.name for feature in task.schema.features]
    dates = pl.selectors.temporal().dt.epoch("s") / 86_400
    both = [table.select(names).with_columns(dates).to_pandas() for table in (train, test)]
    for place, name in enumerate(names):
        texts = both[0][name].dtype == object
        for frame in both:
            if texts and categories:
                frame[name] = pd.Categorical(frame[name], categories=both[0][name].dropna().unique())
        if texts and categories:
            both[0][name] = both[0][name].astype("category")
        # LightGBM refuses column names with characters that are special in JSON.
        for frame in both:
            frame.rename(columns={name: f"f{place}"}, inplace=True)
    return both[0], both[1]


MODELS: dict[str, Callable[..., tuple[Result, Any]]] = {
    "LightGBM, ours": ours(LightGBMConfig()),
    "LightGBM, plain": plain_lightgbm,
    "CatBoost, ours": ours(CatBoostConfig()),
    "CatBoost, plain": plain_catboost,
    "network, ours": ours(TableNetworkConfig(), TrainConfig(epochs=20, batch_size=256, learning_rate=2e-3)),
    "neighbours, ours": ours(NearestNeighboursConfig()),
    "linear, ours": ours(LinearConfig()),
    "linear, plain": plain_linear,
}


def single_rows(name: str, task: Tabular, kept: dict[str, Any], table: pl.DataFrame, rounds: int) -> list[str]:
    """Lines of microseconds per row, one row per call: the steps take turns, and each one's best round counts."""
    import lightgbm

    names = [feature.name for feature in task.schema.features]
    rows = table.select(names).head(80).to_dicts()
    trees, linear = kept["LightGBM, ours"], kept["linear, ours"]
    matrix = trees.encode_rows(rows)
    booster = lightgbm.Booster(model_str=trees._texts[0])
    model, frame = kept["LightGBM, plain"]
    predict = getattr(model, "predict_proba", model.predict)
    steps: dict[str, tuple[Callable[[int], Any], int]] = {
        "encode a mapping": (lambda i: trees.encode_rows(rows[i : i + 1]), 80),
        "trees, ours": (lambda i: trees.forward(matrix[i : i + 1]), 80),
        "the same trees, Booster.predict": (lambda i: booster.predict(matrix[i : i + 1], num_threads=1), 80),
        "plain model, pandas frame of one row": (lambda i: predict(frame.iloc[i : i + 1]), 5),
        "linear, ours": (lambda i: linear.forward(matrix[i : i + 1]), 80),
    }
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(rounds):
        for step, (call, calls) in steps.items():
            started = time.perf_counter()
            for i in range(calls):
                call(i)
            best[step] = min(best[step], (time.perf_counter() - started) / calls * 1e6)
    base = best["trees, ours"]
    count = trees.details()["trees"]
    return [
        f"| {name} | {len(names)} | {count} | {step} | {value:.1f} | {value / base:.2f} |"
        for step, value in best.items()
    ]


def batches(name: str, trees: Any, matrix: np.ndarray, rounds: int) -> list[str]:
    """Lines of microseconds per row for several rows per call: why `native.SMALL_BATCH` is what it is."""
    import lightgbm

    from sanmaru.tasks.tabular import native

    booster = lightgbm.Booster(model_str=trees._texts[0])
    usual, lines = native.SMALL_BATCH, []
    for n in (1, 2, 4, 8, 32, 128):
        best = [float("inf")] * 3
        for _ in range(rounds):
            for place, small in enumerate((n, 0, None)):
                if small is not None:
                    native.SMALL_BATCH = small
                started = time.perf_counter()
                for _ in range(20):
                    if small is None:
                        booster.predict(matrix[:n], num_threads=1)
                    else:
                        trees.forward(matrix[:n])
                best[place] = min(best[place], (time.perf_counter() - started) / 20 / n * 1e6)
        lines.append(f"| {name} | {n} | " + " | ".join(f"{value:.1f}" for value in best) + " |")
    native.SMALL_BATCH = usual
    return lines


if __name__ == "__main__":
    main()
