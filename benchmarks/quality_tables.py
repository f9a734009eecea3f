"""The recipes on tables against others, on the same rows kept aside, AutoGluon at equal CPU time.

Run: python benchmarks/quality_tables.py [--data adult-income ...] [--autogluon PYTHON] [--write-docs]

Ours is the recipe as it stands: every variant, the ensemble, and the one that is best out of fold. Default LightGBM and
CatBoost learn from the same table (texts as categories), with the same rows kept aside; so does AutoGluon, in a virtual
environment of its own (pip install 'autogluon.tabular[lightgbm,catboost]'), whose Python `--autogluon` names. Every
contender runs in a process of its own, and CPU seconds are those of the whole process tree. AutoGluon's time limit is
first set to our CPU seconds divided by the cores, then once more by what it used, so that both have used about the
same; the column says what was really used. Without `--autogluon` it is "not measured".

Data: as the recipes read it (SANMARU_DATA, or fetched). About 25 minutes for the three sets on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
sys.path.insert(0, str(HOME / "benchmarks"))

from quality_common import Line, write_section  # noqa: E402

RECIPES = ("adult-income", "housing-ca", "apartment-price")
SEED = 7
PRESETS = ("medium_quality", "best_quality")

PLAIN = """
import json, sys, warnings
import numpy as np, pandas as pd
warnings.filterwarnings("ignore")
kind, folder, target, regression, seed = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "1", int(sys.argv[5])
train, aside = (pd.read_csv(f"{folder}/{name}.csv", na_values=["?", "-"], thousands=",") for name in ("train", "aside"))
y, X, X_aside = train[target], train.drop(columns=target), aside.drop(columns=target)
texts = [c for c in X if not pd.api.types.is_numeric_dtype(X[c])]
if not regression:
    classes = sorted(y.unique()); y = (y == classes[1]).astype(int)
if kind == "lightgbm":
    import lightgbm
    for c in texts:
        X[c] = X[c].astype("category"); X_aside[c] = pd.Categorical(X_aside[c], categories=X[c].cat.categories)
    names = {c: f"f{i}" for i, c in enumerate(X)}  # LightGBM refuses special letters in names
    X, X_aside = X.rename(columns=names), X_aside.rename(columns=names)
    model = (lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier)(random_state=seed, verbosity=-1)
    model.fit(X, y)
else:
    import catboost
    for c in texts:
        X[c], X_aside[c] = X[c].fillna("missing").astype(str), X_aside[c].fillna("missing").astype(str)
    model = (catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier)(
        random_seed=seed, verbose=False, cat_features=texts, allow_writing_files=False)
    model.fit(X, y)
scored = model.predict(X_aside) if regression else model.predict_proba(X_aside)[:, 1]
print("SCORED " + json.dumps([float(v) for v in scored]))
"""

AUTOGLUON = """
import json, sys, warnings
import pandas as pd
warnings.filterwarnings("ignore")
from autogluon.tabular import TabularPredictor
folder, target, metric, preset, limit, where = sys.argv[1:7]
train, aside = (pd.read_csv(f"{folder}/{name}.csv", na_values=["?", "-"], thousands=",") for name in ("train", "aside"))
names = {"roc_auc": "roc_auc", "rmse": "root_mean_squared_error"}
predictor = TabularPredictor(label=target, eval_metric=names[metric], path=where, verbosity=1)
predictor.fit(train, presets=preset, time_limit=float(limit), num_cpus=CORES, num_gpus=0)
if metric == "rmse":
    scored = predictor.predict(aside)
else:
    scored = predictor.predict_proba(aside)[sorted(train[target].unique())[1]]
print("SCORED " + json.dumps([float(v) for v in scored]))
print("MODELS " + json.dumps(len(predictor.model_names())))
"""


@dataclass
class Timed:
    """What a process said, and what it and all its children used."""

    output: str
    cpu_s: float
    wall_s: float


def timed(command: list[str], *, env: dict[str, str] | None = None) -> Timed:
    """Run a command to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(done.stdout, cpu, time.perf_counter() - began)


def said(output: str, word: str) -> Any:
    """Return what a process printed after a word."""
    line = next(line for line in output.splitlines() if line.startswith(word + " "))
    return json.loads(line.removeprefix(word + " "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=RECIPES, metavar="RECIPE")
    parser.add_argument("--autogluon", help="Python of a virtual environment with AutoGluon")
    parser.add_argument("--tiny", action="store_true", help="does it run?")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/quality.md")
    given = parser.parse_args()
    lines = [line for name in given.data for line in compare(name, given.autogluon, tiny=given.tiny)]
    if given.write_docs and not given.tiny:
        write_section("tables", lines)


def compare(name: str, autogluon: str | None, *, tiny: bool) -> list[Line]:
    """Measure every contender on one data set."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="quality-") as place:
        folder = Path(place) / name
        script = str(HOME / "recipes" / name / "run.py")
        recipe = [sys.executable, script, "--folder", str(folder), *(["--tiny"] if tiny else [])]
        ours = timed(recipe)
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        best = next(line for line in results["lines"] if line["variant"] == results["best"])
        judge = Judge(name, folder)
        metric = judge.metric.title
        lines = [Line(name, metric, f"ours: {results['best']}", *best["aside"], cpu_s=ours.cpu_s, wall_s=ours.wall_s)]
        lines[-1].show()
        for kind in ("lightgbm", "catboost"):
            arguments = [kind, str(folder), judge.target, str(int(judge.regression)), str(SEED)]
            found = timed([sys.executable, "-c", PLAIN, *arguments])
            lines.append(judge.line(f"{kind}, defaults", found))
            lines[-1].show()
        for preset in PRESETS:
            title = f"AutoGluon, {preset.split('_')[0]}"
            if autogluon is None:
                lines.append(Line(name, metric, title, note="not measured"))
                lines[-1].show()
                continue
            code = AUTOGLUON.replace("CORES", str(cores))
            limit = max(ours.cpu_s / cores, 60.0 if tiny else 0.0)  # in less it fits nothing at all
            for attempt in range(2):
                where = str(Path(place) / f"{preset}-{attempt}")
                arguments = [str(folder), judge.target, judge.metric.name, preset, f"{limit:.0f}", where]
                found = timed([autogluon, "-c", code, *arguments])
                share = found.cpu_s / ours.cpu_s
                print(f"  {title}: limit {limit:.0f} s, {found.cpu_s:.0f} of {ours.cpu_s:.0f} CPU seconds", flush=True)
                # Within a sixth of ours, or done before its limit: there is nothing to be mended by another limit.
                if 0.85 <= share <= 1.15 or found.wall_s < 0.8 * limit:
                    break
                limit /= share
            note = f"{said(found.output, 'MODELS')} models" + ("" if share >= 0.85 else ", ended before its limit")
            lines.append(judge.line(title, found, note=note))
            lines[-1].show()
        return lines


class Judge:
    """Scores predictions of the rows kept aside, the same way for all."""

    def __init__(self, name: str, folder: Path) -> None:
        from sanmaru.metrics.base import find_metric
        from sanmaru.project import Project
        from sanmaru.tables.read import read_data

        self.name = name
        file = Project.load(folder).file
        self.target = file.data.target_names[0]
        self.metric = find_metric(file.metric or "")
        self.regression = self.metric.kind == "regression"
        data = file.data.model_copy(update={"train": "aside.csv", "test": None})
        truth = read_data(data, folder, task="tabular").table[self.target]
        if not self.regression:
            truth = (truth == truth.unique().sort()[1]).cast(int)
        self.truth = truth.to_numpy()

    def line(self, who: str, found: Timed, *, note: str = "") -> Line:
        """Score what a contender predicted."""
        import numpy as np

        from sanmaru.metrics.bootstrap import interval

        scored = np.array(said(found.output, "SCORED"))
        if not self.regression:
            scored = np.stack([1 - scored, scored], axis=1)
        low, high = interval(self.metric, self.truth, scored)
        value = self.metric(self.truth, scored)
        title = self.metric.title
        return Line(self.name, title, who, value, low, high, cpu_s=found.cpu_s, wall_s=found.wall_s, note=note)


if __name__ == "__main__":
    main()
