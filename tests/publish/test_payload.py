"""The figures of the page: on a regular grid, graded, scored against what came, and as the schema says."""

import json
from datetime import UTC, datetime, timedelta
from importlib import resources

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.publish.files import publish_files
from sanmaru.publish.grades import GRADES, SCALES, grade
from sanmaru.publish.payload import make_payload
from sanmaru.publish.state import TargetInfo
from sanmaru.publish.words import shown
from sanmaru.storage import open_storage

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scale", "value", "korean"),
    [
        # The published limits, from both sides.
        *[("pm10", value, "좋음") for value in (0, 30, 30.4)],
        *[("pm10", value, "보통") for value in (30.5, 31, 80)],
        *[("pm10", value, "나쁨") for value in (81, 150)],
        *[("pm10", value, "매우나쁨") for value in (151, 999)],
        *[("pm25", value, "좋음") for value in (0, 15)],
        *[("pm25", value, "보통") for value in (16, 35)],
        *[("pm25", value, "나쁨") for value in (36, 75)],
        *[("pm25", value, "매우나쁨") for value in (76, 500)],
    ],
)
def test_grades_are_airkoreas(scale, value, korean):
    assert grade(value, scale).ko == korean


@given(st.floats(0, 400), st.sampled_from(sorted(SCALES)))
def test_a_grade_is_that_of_the_number_shown(value, scale):
    assert grade(value, scale) == grade(int(shown(value, 0)), scale)


def test_missing_values_have_no_grade():
    assert grade(None, "pm10") is None
    assert grade(float("nan"), "pm10") is None
    with pytest.raises(ValueError, match="grade must be one of pm10, pm25 or None; got 'o3'"):
        TargetInfo(name="o3", grade="o3")


def test_the_figures_fit_their_schema(state, changed_state):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(resources.files("sanmaru.publish").joinpath("forecast.schema.json").read_text())
    empty = changed_state(
        observations=state.observations.clear(), forecast=state.forecast.clear(), earlier=None, model=None
    )
    for one in (state, empty):
        jsonschema.validate(json.loads(json.dumps(make_payload(one), allow_nan=False)), schema)
    wrong = make_payload(state) | {"extra": 1}
    with pytest.raises(jsonschema.ValidationError, match="extra"):
        jsonschema.validate(wrong, schema)


def test_series_lie_on_a_grid_with_gaps_as_null(state, changed_state):
    kept = state.observations.filter(pl.col("time") != NOW - timedelta(hours=3))
    one = make_payload(changed_state(observations=kept))["series"][0]["observed"]
    assert len(one["values"]["pm25"]) == 72
    assert one["values"]["pm25"][-4] is None
    assert one["values"]["pm25"][-3] == 15.5
    assert one["values"]["pm10"][-21] is None  # the null in the table
    assert (one["start"], one["last"]) == ("2026-11-18T07:00:00Z", "2026-11-21T06:00:00Z")


def test_yesterdays_forecast_is_scored_against_what_came(state):
    one = make_payload(state)["series"][1]["earlier"]
    point = [36.5 - 3 + step for step in range(1, 25)]
    errors = [abs(value - 36.5) for value in point]
    assert one["scores"]["pm25"]["mae"] == pytest.approx(sum(errors) / 24, abs=1e-3)
    assert one["scores"]["pm25"]["n"] == 24
    assert one["scores"]["pm25"]["inside"] == pytest.approx(sum(error <= 10 for error in errors) / 24, abs=1e-3)
    assert one["scores"]["pm10"]["n"] == 23  # one hour has no PM10


def test_the_newest_origin_speaks_and_zones_do_not_matter(state, changed_state):
    older = state.forecast.with_columns(pl.col("origin") - timedelta(hours=1), pl.col("pm10") + 1000.0)
    both = pl.concat([state.forecast, older])
    payload = make_payload(changed_state(forecast=both))
    assert payload == make_payload(state)
    seoul = state.observations.with_columns(pl.col("time").dt.convert_time_zone("Asia/Seoul"))
    assert make_payload(changed_state(observations=seoul)) == make_payload(state)


def test_freshness_and_age(state, changed_state):
    payload = make_payload(state)
    assert payload["freshness"] == {
        "last": "2026-11-21T06:00:00Z",
        "stale_at": "2026-11-21T09:00:00Z",
        "stale": False,
        "behind": [],
    }
    assert payload["model"]["old"] is False
    late = state.observations.filter((pl.col("series") != "중구") | (pl.col("time") < NOW))
    payload = make_payload(changed_state(observations=late, generated_at=NOW + timedelta(days=40)))
    assert payload["freshness"]["stale"] is True
    assert payload["freshness"]["behind"] == ["중구"]
    assert payload["model"]["old"] is True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generated_at": datetime(2026, 1, 1)}, "generated_at must have a time zone"),
        ({"series": []}, "at least one of targets and of series"),
        ({"forecast": pl.DataFrame({"series": []})}, "forecast lacks the columns origin, horizon, time, pm10"),
    ],
)
def test_states_that_make_no_page_are_refused(changed_state, changes, message):
    with pytest.raises(ValueError, match=message):
        changed_state(**changes)


def test_files_are_published_as_one_version_and_the_page_stays_where_it_is(tmp_path, state, changed_state):
    storage = open_storage("published", tmp_path)
    first = publish_files(storage, state, run="a")
    assert publish_files(storage, state, run="a").version == first.version == 1  # again is no new version
    assert first.meta == {
        "model": "lstm<1>",
        "version": "7",
        "origin": "2026-11-21T06:00:00Z",
        "generated_at": "2026-11-21T06:24:00Z",
        "run": "a",
    }
    folder = storage.fetch(first, tmp_path / "fetched")
    assert pl.read_parquet(folder / "forecast.parquet").equals(state.forecast)
    figures = json.loads((folder / "forecast.json").read_text())
    assert figures == json.loads(json.dumps(make_payload(state)))
    later = publish_files(storage, changed_state(generated_at=NOW + timedelta(hours=1)))
    assert later.version == 2
    assert (tmp_path / "published/forecast/index.html").read_bytes() == storage.read(later, "index.html")
    pointer = json.loads((tmp_path / "published/forecast/latest.json").read_text())
    assert pointer == {"version": 2, "manifest": later.key}
    assert {one.colour for one in GRADES} == {one["colour"] for one in figures["grades"]}
