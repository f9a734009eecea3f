"""Anomaly detectors on injected and on real faults, beside PyOD's.

    python benchmarks/anomalies.py [--pyod /path/to/python] [--data air-seoul ...] [--tiny] [--write-docs]

PyOD stands in an environment of its own (`pip install pyod torch tqdm`); without --pyod it is left out. It is given the
very features that ours are given, and its threshold is set by the same rule on the same rows. Data: air-seoul,
air-beijing and weather-seoul-bike of ../shared/data, or of SANMARU_DATA. Two cores are enough; all in all a quarter of
an hour. Faults have seed 11: the defaults of the autoencoder were chosen with other faults (seed 7) on air-seoul.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl

from sanmaru.tasks.anomalies.blocks import divide
from sanmaru.tasks.anomalies.compare import Comparison, compare_detectors, judge, late_rows, overall
from sanmaru.tasks.anomalies.config import KINDS, AnomalyConfig, Budget
from sanmaru.tasks.anomalies.detectors.ecod import ecod_reference, ecod_tails
from sanmaru.tasks.anomalies.features import make_features
from sanmaru.tasks.anomalies.fitted import Fitted, fit_detector
from sanmaru.tasks.anomalies.inject import KINDS as FAULTS
from sanmaru.tasks.anomalies.inject import inject
from sanmaru.tasks.anomalies.page import kind_rows, table_rows
from sanmaru.tasks.anomalies.read import LongColumns, read_long
from sanmaru.tasks.anomalies.reference import learn_reference
from sanmaru.tasks.anomalies.series import series_rows
from sanmaru.tasks.anomalies.threshold import Scored, set_threshold

SHARED = Path(os.environ.get("SANMARU_DATA", Path(__file__).parents[2] / "shared" / "data"))
PAGE = Path(__file__).parents[1] / "docs" / "tasks" / "anomalies.md"
PEERS = ("PyOD ECOD", "PyOD IForest", "PyOD AutoEncoder")
SEED = 11
WEATHER = "Temperature,Humidity,Wind speed,Visibility,Dew point temperature,Solar Radiation,Rainfall,Snowfall".split(
    ","
)
FILES = {
    "air-seoul": ("air-seoul/hourly.csv", LongColumns(time=("datetime",), zone="Asia/Seoul"), ()),
    "air-beijing": (
        "air-beijing/train.csv",
        LongColumns(
            time=("year", "month", "day", "hour"),
            columns=("pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"),
            zone="Asia/Shanghai",
        ),
        ("Iws", "Is", "Ir"),
    ),
    "weather-seoul-bike": (
        "weather-seoul-bike/hourly.csv",
        LongColumns(time=("Date", "Hour"), time_format="%d/%m/%Y %H", columns=tuple(WEATHER), zone="Asia/Seoul"),
        (),
    ),
}
"""Data set -> file, columns, counters."""

PYOD = """
import sys, time, warnings
import numpy as np
warnings.filterwarnings("ignore")
import torch
torch.set_num_threads(1)
given = dict(np.load(sys.argv[1]))
epochs = int(sys.argv[3])
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.auto_encoder import AutoEncoder
out = {}
makers = {
    "PyOD ECOD": lambda: ECOD(),
    "PyOD IForest": lambda: IForest(n_estimators=200, max_samples=256, random_state=7),
    "PyOD AutoEncoder": lambda: AutoEncoder(epoch_num=epochs, batch_size=256, random_state=7, verbose=0),
}
for name, make in makers.items():
    began = time.perf_counter()
    model = make().fit(given["learn"])
    out[name + ":fit_s"] = time.perf_counter() - began
    out[name + ":learn"] = model.decision_scores_
    began = time.perf_counter()
    for part in [key for key in given if key != "learn"]:
        out[name + ":" + part] = model.decision_function(given[part])
    out[name + ":score_s"] = time.perf_counter() - began
np.savez(sys.argv[2], **out)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pyod", help="Python of an environment with PyOD")
    parser.add_argument("--data", nargs="+", choices=list(FILES), default=list(FILES), metavar="NAME")
    parser.add_argument(
        "--detectors", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help="only these of ours"
    )
    parser.add_argument("--tiny", action="store_true", help="few rows, few faults, cheap detectors")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/tasks/anomalies.md")
    given = parser.parse_args()
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, one thread, {date.today():%Y-%m-%d}; faults with "
        f"seed {SEED}; budget 1 alarm per 1,000 rows.",
        "",
    ]
    for name in given.data:
        path = SHARED / FILES[name][0]
        if not path.is_file():
            print(f"{name}: {path} is absent, left out", file=sys.stderr)
            continue
        lines += one_data_set(name, path, pyod=given.pyod, tiny=given.tiny, kinds=given.detectors)
        if given.write_docs and not given.tiny:  # what was measured stays, should the rest fail
            write(lines)
    if not given.tiny:
        lines += blanks() + one_hour()
    if given.write_docs and not given.tiny:
        write(lines)
    print("\n".join(lines))


def one_data_set(name: str, path: Path, *, pyod: str | None, tiny: bool, kinds: Sequence[str] = KINDS) -> list[str]:
    _, columns, counters = FILES[name]
    table = read_long(path, columns)
    if tiny:
        kinds = ("rules", "ecod", "isolation-forest")
        table = table.tail(4000)
    base = {"zone": columns.zone, "counters": counters}
    configs = [AnomalyConfig.model_validate({**base, "model": {"kind": kind}}) for kind in kinds]
    fitted: dict[str, Fitted] = {}
    found = compare_detectors(
        table,
        configs,
        seed=SEED,
        events=4 if tiny else 20,
        told=lambda kind: print(f"{name}: {kind}", file=sys.stderr, flush=True),
        kept=lambda one: fitted.update({one.detector.kind: one}),
    )
    lines = [f"### {name}", "", f"{found.rows:,} rows; {found.events} faults of each kind where they fit.", ""]
    peers, note = peer_rows(table, configs[0], pyod, found, tiny=tiny) if pyod else ([], "")
    lines += injected_table(found, peers)
    if note:
        lines += [note, ""]
    real = {"air-seoul": seoul, "air-beijing": beijing}.get(name)
    if real is not None and not tiny:
        lines += real(table, fitted)
    return lines


def injected_table(found: Comparison, peers: list[list[object]]) -> list[str]:
    _, recall = kind_rows(found, "recall")
    _, precision = kind_rows(found, "average_precision")
    by_kind = {str(row[0]): row[1:] for row in recall}
    ranked = {str(row[0]): row[1:] for row in precision}
    rows = [
        [*row, *(f"{a} / {b}" for a, b in zip(by_kind[str(row[0])], ranked[str(row[0])], strict=True))]
        for row in table_rows(found)
    ]
    rows = sorted([*rows, *peers], key=lambda row: -float(str(row[1])))
    names = ["detector", "AP", "recall", "precision", "alarms / 1,000", "delay h", "fit s", "score s / 1,000"]
    kinds = [f"{kind}: recall / AP" for kind in found.results[0].kinds]
    return markdown([*names, *kinds], rows)


def peer_rows(
    table: pl.DataFrame, config: AnomalyConfig, pyod: str, found: Comparison, *, tiny: bool
) -> tuple[list[list[object]], str]:
    """Judge PyOD's detectors on the features of ours; return their rows and what ECOD's scores differ by."""
    channels = found.columns
    rows = series_rows(table, channels, zone=config.zone, counters=config.counters)
    parts = divide(rows)
    reference = learn_reference(rows, parts.learn, zone=config.zone, counters=config.counters)
    features = make_features(rows, reference)
    late = np.zeros(table.height, dtype=bool)
    late[rows.order[parts.check]] = True
    inside = late_rows(table, late)
    moving = [channel for channel in channels if channel not in config.counters]
    faults = {
        kind: inject(table, kind, moving, events=found.results[0].kinds[kind].events, seed=SEED, among=late)
        for kind in FAULTS
    }
    given = {name: features.values[getattr(parts, name)] for name in ("learn", "threshold", "check")}
    for kind, one in faults.items():
        with_faults = series_rows(one.table, channels, zone=config.zone, counters=config.counters)
        given[kind] = make_features(with_faults, reference).values[parts.check]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.npz", Path(folder) / "scores.npz"
        np.savez(source, **given)
        script = [pyod, "-c", PYOD, str(source), str(target), "2" if tiny else "10"]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        scores = dict(np.load(target))
    out = []
    for name in PEERS:
        known, later = (
            Scored(scores=scores[f"{name}:{part}"], place=places, first=features.first[places])
            for part, places in (("threshold", parts.threshold), ("check", parts.check))
        )
        threshold = set_threshold(Budget(), reference.every_s, known, later)
        kinds, pooled = {}, []
        for kind, one in faults.items():
            kinds[kind], part = judge(scores[f"{name}:{kind}"], threshold.value, one, inside, reference.every_s)
            pooled.append(part)
        all_kinds = overall(kinds, pooled)
        n_scored = len(parts.threshold) + len(parts.check) * (1 + len(faults))
        figures = [all_kinds.average_precision, all_kinds.recall, all_kinds.precision]
        out.append(
            [
                name,
                *(round(figure, 3) for figure in figures),
                round(1000 * threshold.check_rate, 2),
                round(all_kinds.delay_s / 3600, 1),
                round(float(scores[f"{name}:fit_s"]), 2),
                round(1000 * float(scores[f"{name}:score_s"]) / n_scored, 4),
                *(f"{kinds[kind].recall:.2f} / {kinds[kind].average_precision:.2f}" for kind in kinds),
            ]
        )
    ours = ecod_tails(*ecod_reference(given["learn"]), given["learn"], among=True).sum(axis=1)
    worst = float(np.abs(ours - scores["PyOD ECOD:learn"]).max())
    return out, f"ECOD's scores of the {len(ours):,} rows learned from differ from PyOD's by {worst:.1e} at most."


def seoul(table: pl.DataFrame, fitted: dict[str, Fitted]) -> list[str]:
    """The real faults of air-seoul: 24 hours given twice, a missing value, two times 24 hours left out."""
    repeated = table.select(pl.struct("time").is_duplicated() & ~pl.struct("time").is_first_distinct()).to_series()
    gone = table["co"].is_null()
    after_gap = table["time"].diff().dt.total_hours() > 1
    rows = []
    for kind, one in fitted.items():
        verdicts = one.verdicts(table)
        flagged = verdicts["anomaly"]
        rows.append(
            [
                kind,
                f"{int((flagged & repeated).sum())} of {int(repeated.sum())}",
                f"{int((flagged & gone).sum())} of {int(gone.sum())}",
                f"{int((flagged & after_gap.fill_null(False)).sum())} of {int(after_gap.sum())}",
                int(flagged.sum()),
            ]
        )
    names = ["detector", "repeated hours flagged", "`-` in co flagged", "gaps of 24 h flagged", "rows flagged in all"]
    return ["Real faults of air-seoul:", "", *markdown(names, rows)]


def beijing(table: pl.DataFrame, fitted: dict[str, Fitted]) -> list[str]:
    """Resets of the counters must not be alarms; hours without PM2.5 may be."""
    names = ("Iws", "Is", "Ir")
    drop = table.select(pl.any_horizontal(pl.col(name).diff() < 0 for name in names).fill_null(False)).to_series()
    gone = table["pm2.5"].is_null()
    rows = []
    plain = fit_detector(table, AnomalyConfig(zone="Asia/Shanghai"))
    for kind, one in {**fitted, "rules, counters not named": plain}.items():
        verdicts = one.verdicts(table)
        reset = verdicts.filter(drop).filter("anomaly")
        named = reset.filter(pl.col("anomaly.reason").str.contains(r"Iws|Is|Ir")).height
        rows.append([kind, reset.height, named, f"{float(verdicts['anomaly'].filter(gone).mean()):.1%}"])  # type: ignore[arg-type]
    columns = [
        "detector",
        f"of {int(drop.sum()):,} resets flagged",
        "of these, the reason names the counter",
        f"of {int(gone.sum()):,} hours without PM2.5 flagged",
    ]
    return ["Real events of air-beijing:", "", *markdown(columns, rows)]


def blanks() -> list[str]:
    """Blanks of 50 stations' days."""
    path = SHARED / "air-seoul" / "daily_by_station_2022.csv"
    if not path.is_file():
        return []
    table = read_long(path, LongColumns(time=("date",), series="station", zone="Asia/Seoul"))
    channels = [name for name in table.columns if name not in ("series", "time")]
    blank = table.select(pl.any_horizontal(pl.col(name).is_null() for name in channels)).to_series()
    rows = []
    for kind in ("rules", "isolation-forest", "lof", "one-class-svm", "ecod", "autoencoder"):
        config = AnomalyConfig.model_validate({"zone": "Asia/Seoul", "model": {"kind": kind}})
        fitted = fit_detector(table, config)
        flagged = fitted.verdicts(table)["anomaly"]
        rows.append(
            [
                kind,
                f"{int((flagged & blank).sum())} of {int(blank.sum())}",
                int((flagged & ~blank).sum()),
                round(1000 * fitted.threshold.check_rate, 2),
            ]
        )
    names = ["detector", "station days with a blank flagged", "others flagged", "alarms / 1,000 on the last fifth"]
    return ["### 50 stations, days of 2022", "", f"{table.height:,} rows.", "", *markdown(names, rows)]


def one_hour() -> list[str]:
    """One new hour of 25 stations, with the rows before it, by a detector loaded from its folder."""
    path = SHARED / FILES["air-seoul"][0]
    if not path.is_file():
        return []
    hourly = read_long(path, FILES["air-seoul"][1]).unique(["series", "time"], keep="first").sort("time").tail(2000)
    generator = np.random.default_rng(0)
    stations = pl.concat(
        hourly.with_columns(
            pl.lit(f"station {number}").alias("series"),
            *((pl.col(name) * generator.uniform(0.7, 1.4)).round(3) for name in ("pm25", "pm10", "no2")),
        )
        for number in range(25)
    )
    last = stations["time"].max()
    batch = stations.filter(pl.col("time") == last)
    earlier = stations.filter((pl.col("time") < last) & (pl.col("time") > last - timedelta(days=10)))  # type: ignore[operator]
    rows = []
    for kind in KINDS:
        train = {"epochs": 2, "batch_size": 512, "learning_rate": 2e-3}
        config = AnomalyConfig.model_validate({"model": {"kind": kind}, "train": train})
        with tempfile.TemporaryDirectory() as folder:
            fit_detector(stations, config).save(Path(folder) / "kept")
            began = time.perf_counter()
            fitted = Fitted.load(Path(folder) / "kept")
            load_s = time.perf_counter() - began
        took = []
        for _ in range(7):
            began = time.perf_counter()
            fitted.verdicts(batch, earlier)
            took.append(time.perf_counter() - began)
        rows.append([kind, round(1000 * load_s), round(1000 * float(np.median(took))), round(1000 * max(took))])
    names = ["detector", "load ms", "verdicts ms, median of 7", "slowest"]
    return ["### One new hour of 25 stations", "", *markdown(names, rows)]


def markdown(names: list[str], rows: list[list[object]]) -> list[str]:
    head = [f"| {' | '.join(names)} |", f"| --- |{' ---: |' * (len(names) - 1)}"]
    return [*head, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def write(lines: list[str]) -> None:
    begin, end = "<!-- figures: benchmarks/anomalies.py --write-docs -->", "<!-- end of figures -->"
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    body = "\n".join(lines).strip()
    PAGE.write_text(f"{head}{begin}\n\n{body}\n\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
