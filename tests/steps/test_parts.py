"""What the steps share, each beside a plain loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.steps.small import START, Service

from sanmaru.registry.models import load_model
from sanmaru.steps.history import joined
from sanmaru.steps.judge import KEY, compared, plain_mae
from sanmaru.steps.residuals import honest_residuals
from sanmaru.steps.versions import Trained, champion_of, known_versions, remember, remember_untrained, untrained

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3)),
    st.fixed_dictionaries({}, optional={name: st.floats(0, 9) | st.none() for name in ("x", "y", "z")}),
    min_size=0, max_size=6,
)  # fmt: skip


def table_of(rows: dict[tuple[str, int], dict[str, float | None]], names: tuple[str, ...]) -> pl.DataFrame:
    schema = {"series": pl.String, "time": pl.Datetime("us", "UTC"), **dict.fromkeys(names, pl.Float64)}
    return pl.DataFrame(
        [{"series": s, "time": MOMENT + timedelta(hours=h), **{n: row.get(n) for n in names}}
         for (s, h), row in rows.items()],
        schema=schema,
    )  # fmt: skip


@given(VALUES, VALUES, VALUES)
def test_joined_takes_the_first_value_of_each_place(a: Any, b: Any, c: Any) -> None:
    parts = [(a, ("x",)), (b, ("x", "y")), (c, ("y", "z"))]
    out = joined([table_of(rows, names) for rows, names in parts])
    places = sorted({*a, *b, *c})
    assert [(s, int((t - MOMENT) / timedelta(hours=1))) for s, t in out.select("series", "time").rows()] == places
    for name in ("x", "y", "z"):
        wanted = []
        for place in places:
            said = [rows[place].get(name) for rows, names in parts if name in names and place in rows]
            wanted.append(next((value for value in said if value is not None), None))
        assert out[name].to_list() == wanted


def test_versions_are_remembered_and_read_back(tmp_path: Path) -> None:
    made = Trained(version=3, run="r", kind="ridge", interval="2026-01-29T00:00Z", until=START, rows=12)
    remember(tmp_path, made)
    remember(tmp_path, made)
    assert known_versions(tmp_path) == {3: made}
    remember_untrained(tmp_path, "2026-01-29T01:00Z", "too little")
    assert untrained(tmp_path) == {"2026-01-29T01:00Z"}
    assert untrained(tmp_path / "elsewhere") == set()


def test_an_interval_knows_the_champion_of_its_time_only(begun: Service) -> None:
    found = [champion_of(begun.project, f"2026-01-{interval}", before=before) for interval, before in
             (("28T23:00Z", False), ("29T00:00Z", True), ("29T00:00Z", False), ("29T01:00Z", True))]  # fmt: skip
    assert [one and one.version for one in found] == [None, None, 2, 2]


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_compared_scores_as_a_plain_loop_does(begun: Service, metric: str) -> None:
    package = load_model("air@2", begun.project)
    kept = pl.read_parquet(begun.folder / begun.outputs("judge", 0)["forecasts"])
    tables = {str(name): part.drop("entrant") for (name,), part in kept.partition_by("entrant", as_dict=True).items()}
    rows = recorded_rows(begun)
    holes = rows.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("pm25")).alias("pm25")
    )
    found = compared(tables, holes, package, metric, challenger_name="version 2")
    truth = {(s, t): v for s, t, v in holes.select("series", "time", "pm25").rows() if v is not None}
    scales = {name: values[0] for name, values in package.task.scales.items()}
    said = {name: {row[:3]: row[3:] for row in table.select(*KEY, "time", "pm25").rows()}
            for name, table in tables.items()}  # fmt: skip
    for duel in found.duels:
        for name, score in (("version 2", duel.challenger_score), (duel.opponent, duel.opponent_score)):
            off = [(truth[key[0], time] - point) / scales[key[0]] for key, (time, point) in said[name].items()
                   if (key[0], time) in truth]  # fmt: skip
            wanted = np.mean(np.abs(off)) if metric == "mae" else np.sqrt(np.mean(np.square(off)))
            assert score == pytest.approx(wanted, rel=1e-9)
    assert found.rows == len(off)
    off = [abs(truth[key[0], time] - point) for key, (time, point) in said["version 2"].items()
           if (key[0], time) in truth]  # fmt: skip
    assert plain_mae(tables["version 2"], holes, package) == pytest.approx(np.mean(off))


def test_honest_residuals_are_those_of_a_plain_loop(begun: Service) -> None:
    from sanmaru.experiments.runs import Run

    facts = known_versions(begun.folder)[2]
    (folder,) = (begun.folder / "service" / "runs").glob(f"*/{facts.run}")
    run = Run(folder)
    found = honest_residuals(run, 2)
    judged = pl.read_parquet(folder / "forecasts.parquet").filter(pl.col("horizon") == 2)
    truth = recorded_rows(begun).select("series", "time", pl.col("pm25").alias("came"))
    both = judged.join(truth, on=["series", "time"]).join(found, on=["series", "time"])
    assert both.height == judged.height > 20  # the run's origins are among those asked for here
    off = both["came"] - both["pm25"]
    assert np.allclose(both["pm25.residual"], off, atol=1e-3)
    assert found.height > 3 * judged.height  # every hour, not every sixth
    assert found["time"].max() < facts.until  # type: ignore[operator]


def recorded_rows(service: Service) -> pl.DataFrame:
    rows = pl.read_csv(service.folder / "air.csv")
    time = pl.col("time").str.to_datetime("%Y-%m-%d %H:%M", time_zone="UTC", time_unit="us")
    return rows.rename({"station": "series"}).with_columns(time)
