import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from sanmaru.html.page import render
from sanmaru.tasks.anomalies.compare import compare_detectors, judge
from sanmaru.tasks.anomalies.inject import Injected
from sanmaru.tasks.anomalies.page import comparison_page


def faults(event):
    event = np.asarray(event)
    n = event.max() + 1
    return Injected(table=pl.DataFrame(), event=event, columns=(("x",),) * n, lasts=np.bincount(event[event >= 0]))


def test_faults_are_counted_once_and_rows_after_them_not_at_all():
    #         0   1   2  3  4   5   6   7   8  9  10  11
    event = [-1, -1, 0, 0, 0, -1, -1, -1, -1, 1, -1, -1]
    scores = [0., 9., 1, 8, 9, 9., 9., 9., 0., 2, 0., 0.]  # fmt: skip
    found, _ = judge(np.array(scores), 5.0, faults(event), np.arange(12), every_s=3600.0)
    assert found.events == 2
    assert found.recall == 0.5  # the second fault scores 2
    assert found.precision == 2 / 3  # rows 3 and 4 of rows 1, 3, 4: those after the fault count neither way
    assert found.delay_s == 3600
    counted = [0, 1, 2, 3, 4, 8, 9]  # rows 5 to 7 and 10, 11 follow a fault
    truth = [event[place] >= 0 for place in counted]
    assert found.average_precision == pytest.approx(
        average_precision_score(truth, [scores[place] for place in counted])
    )


def test_nothing_flagged_has_no_precision():
    found, _ = judge(np.zeros(6), 1.0, faults([-1, -1, 0, 0, -1, -1]), np.arange(6), every_s=60.0)
    assert found.recall == 0
    assert np.isnan(found.precision)
    assert np.isnan(found.delay_s)


@pytest.fixture(scope="module")
def comparison(stations, make_config):
    kinds = ("stuck", "seasonal", "rules", "ecod")
    return compare_detectors(stations, [make_config(kind) for kind in kinds], events=8, seed=1)


def test_each_rule_finds_what_it_is_for(comparison):
    by_kind = {one.detector: one for one in comparison.results}
    assert by_kind["stuck"].kinds["stuck"].recall > 0.8
    assert by_kind["stuck"].kinds["spike"].recall == 0
    assert by_kind["seasonal"].kinds["spike"].recall > 0.5
    assert by_kind["seasonal"].kinds["stuck"].average_precision < by_kind["stuck"].kinds["stuck"].average_precision
    assert by_kind["rules"].kinds["missing"].recall == 1
    assert by_kind["rules"].overall.recall > max(by_kind[kind].overall.recall for kind in ("stuck", "seasonal"))


def test_a_stuck_sensor_takes_its_time_to_be_told(comparison):
    stuck = next(one for one in comparison.results if one.detector == "stuck").kinds["stuck"]
    assert stuck.delay_s >= 3600


def test_results_are_ranked_and_reported_whole(comparison):
    ranked = [one.overall.average_precision for one in comparison.results]
    assert ranked == sorted(ranked, reverse=True)
    for one in comparison.results:
        kinds = one.kinds.values()
        assert one.overall.events == sum(kind.events for kind in kinds)
        assert one.overall.average_precision == pytest.approx(np.mean([kind.average_precision for kind in kinds]))
        assert one.budget_per_thousand == 1.0
        assert one.alarms_per_thousand < 8
    page = render(comparison_page(comparison, "stations"))
    assert "stations: anomaly detectors" in page
    assert all(one.detector in page for one in comparison.results)


def test_faults_never_take_more_than_a_quarter_of_the_rows(comparison):
    drift = comparison.results[0].kinds["drift"].events
    assert drift * 84 <= 0.25 * comparison.check_rows
