import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tasks.anomalies.inject import KINDS, inject

COLUMNS = ("pm10", "pm25", "temperature", "rain")


@settings(max_examples=15)
@given(st.sampled_from(KINDS), st.integers(0, 10_000))
def test_only_labelled_rows_of_named_columns_change(stations, kind, seed):
    found = inject(stations, kind, COLUMNS, events=6, seed=seed)
    inside = pl.Series(found.event >= 0)
    assert found.table.filter(~inside).equals(stations.filter(~inside))
    assert found.table.select("series", "time").equals(stations.select("series", "time"))
    assert len(found.columns) == 6
    for number, columns in enumerate(found.columns):
        rows = np.flatnonzero(found.event == number)
        assert len(rows) == found.lasts[number]
        assert stations[rows]["series"].n_unique() == 1
        assert rows.tolist() == list(range(rows[0], rows[-1] + 1))  # the table is in order, so are the events
        others = [name for name in COLUMNS if name not in columns]
        assert found.table[rows].select(others).equals(stations[rows].select(others))


def test_the_same_seed_gives_the_same_faults(stations):
    one, two, other = (inject(stations, "drift", COLUMNS, events=5, seed=seed) for seed in (1, 1, 2))
    assert one.table.equals(two.table)
    assert not one.table.equals(other.table)


def test_each_kind_is_what_it_says(stations):
    def events(kind):
        found = inject(stations, kind, ("pm10", "pm25", "temperature"), events=8, seed=3)
        for number, columns in enumerate(found.columns):
            rows = np.flatnonzero(found.event == number)
            yield found.table[rows], stations[rows], columns

    for now, before, (column,) in events("spike"):
        assert now.height == 1
        assert now[column][0] > before[column][0] or column == "temperature"
    for now, _, (column,) in events("stuck"):
        assert now[column].n_unique() == 1
        assert 12 <= now.height <= 48
    for now, before, (column,) in events("drift"):
        left = (now[column] - before[column]).to_numpy()
        assert left[-1] == left.max() > 0
    for now, _, columns in events("missing"):
        assert all(now[column].null_count() == now.height for column in columns)
    for now, before, (a, b) in events("swapped"):
        assert now[a].to_list() == before[b].to_list()
        assert now[b].to_list() == before[a].to_list()


def test_faults_stay_among_the_rows_they_may_change(stations):
    among = np.zeros(stations.height, dtype=bool)
    among[1000:1600] = True
    found = inject(stations, "stuck", COLUMNS, events=5, seed=0, among=among)
    assert among[found.event >= 0].all()


def test_columns_that_stand_still_are_left_alone(stations):
    found = inject(stations, "stuck", COLUMNS, events=20, seed=0)
    assert "rain" not in {name for columns in found.columns for name in columns}  # dry nineteen hours of twenty


def test_what_cannot_be_injected_is_refused(stations):
    with pytest.raises(DataError, match=r"unknown kind of anomaly 'spikes'. Did you mean 'spike'"):
        inject(stations, "spikes", COLUMNS, events=1, seed=0)
    with pytest.raises(DataError, match="too few of the columns rain, pm10 move enough"):
        inject(stations, "swapped", ("rain", "pm10"), events=1, seed=0)
    with pytest.raises(DataError, match="no fault 'drift' of up to 120 rows fits into the 30 rows"):
        inject(stations, "drift", COLUMNS, events=1, seed=0, among=np.arange(stations.height) < 30)
