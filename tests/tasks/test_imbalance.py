"""Unequal classes: counts, what is done about them, and what they cost."""

import numpy as np
import pytest

from sanmaru.html.blocks import Bars, Grid
from sanmaru.tasks.base import Output
from sanmaru.tasks.imbalance import Remedy, imbalance_section, recalls, wilson
from sanmaru.training.losses import balanced_weights, effective_weights

OUTPUT = Output(name="kind", kind="classification", classes=("a", "b", "c", "never"))
TRUTH = np.repeat([0, 1, 2], [200, 90, 10])
FOLDS = np.arange(300) % 5


def grid(section) -> Grid:
    return next(block for block in section.blocks if isinstance(block, Grid))


def column(section, name: str) -> list[object]:
    table = grid(section)
    return [row[table.columns.index(name)] for row in table.rows]


def test_nothing_done_about_heavy_imbalance_is_a_finding_with_what_it_costs() -> None:
    predicted = TRUTH.copy()
    predicted[TRUTH == 2] = 0
    predicted[-2:] = 2
    section = imbalance_section(OUTPUT, TRUTH, FOLDS, Remedy(advice="Do this."), predicted)
    assert section is not None
    assert section.lead.startswith("a has 200 rows, c has 10: 20 to 1. Nothing is done")
    assert column(section, "class") == ["c", "b", "a"]  # the class without rows is not shown
    assert column(section, "rows") == [10, 90, 200]
    assert column(section, "fewest in a fold") == [2, 18, 40]
    assert column(section, "recall") == [0.2, 1.0, 1.0]
    found = {finding.kind: finding for finding in section.findings}
    assert set(found) == {"imbalance-untreated", "thin-class"}
    assert found["imbalance-untreated"].severity == "warning"
    assert "rarest class is 0.200 on average" in found["imbalance-untreated"].evidence
    assert found["imbalance-untreated"].advice == "Do this."
    assert "c (2 of 10)" in found["thin-class"].evidence


def test_balanced_sampling_shows_how_often_rows_are_seen() -> None:
    section = imbalance_section(OUTPUT, TRUTH, FOLDS, Remedy(sampling="balanced", advice=""))
    assert section is not None
    assert "train.sampling: balanced" in section.lead
    seen = column(section, "each row seen per epoch")
    assert seen == [10.0, 1.11, 0.5]  # 100 rows of each of three classes in an epoch of 300
    assert "imbalance-untreated" not in {finding.kind for finding in section.findings}


def test_what_goes_by_each_target_is_not_shown_for_joint_classes() -> None:
    shared = Remedy(sampling="balanced", per_head=True, advice="")
    separate = Remedy(sampling="balanced", per_head=True, per_network=True, advice="")
    one, other = (imbalance_section(OUTPUT, TRUTH, FOLDS, remedy) for remedy in (shared, separate))
    assert one is not None
    assert other is not None
    assert "each row seen per epoch" in grid(one).columns  # rows of a shared network are drawn by the joint class
    assert "each row seen per epoch" not in grid(other).columns
    assert "classes of each target" not in one.lead
    assert other.lead.endswith("The classes of each target count there, not the joint ones shown here.")


@pytest.mark.parametrize("kind", ["balanced", "effective"])
def test_weights_are_those_of_the_loss(kind: str) -> None:
    expected = balanced_weights(TRUTH, 3) if kind == "balanced" else effective_weights(TRUTH, 3, 0.99)
    counts = np.array([200, 90, 10])
    found = Remedy(class_weights=kind, beta=0.99, advice="").weights(counts)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert Remedy(class_weights=kind, per_head=True, advice="").weights(counts) is None  # type: ignore[arg-type]


def test_equal_classes_are_not_told_of() -> None:
    equal = np.repeat([0, 1, 2], 100)
    assert imbalance_section(OUTPUT, equal, np.arange(300) % 5, Remedy(advice="")) is None
    assert imbalance_section(OUTPUT, np.zeros(9, np.int64), np.arange(9) % 3, Remedy(advice="")) is None


def test_many_classes_are_grouped_by_size() -> None:
    names = tuple(f"k{number:02d}" for number in range(30))
    truth = np.repeat(np.arange(30), np.arange(30) + 1)
    predicted = np.where(truth < 6, 29, truth)  # the six smallest, with 21 rows, are never found
    section = imbalance_section(
        Output(name="k", kind="classification", classes=names), truth, np.arange(len(truth)) % 3, Remedy(advice=""),
        predicted,
    )  # fmt: skip
    assert section is not None
    bars = next(block for block in section.blocks if isinstance(block, Bars))
    assert bars.labels[0] == "6 classes, 1 to 6 rows"
    assert list(bars.series[0][1]) == [0.0, 1.0, 1.0, 1.0, 1.0]


def test_recall_is_that_of_scikit_learn_and_counts_only_scored_rows() -> None:
    from sklearn.metrics import recall_score

    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 4, 200), generator.integers(0, 4, 200)
    np.testing.assert_allclose(recalls(truth, predicted, 4), recall_score(truth, predicted, average=None))
    predicted[truth == 3] = -1
    assert np.isnan(recalls(truth, predicted, 4)[3])


def test_intervals_of_shares_are_those_of_scipy() -> None:
    from scipy.stats import binomtest

    for found, n in [(0, 7), (3, 7), (7, 7), (80, 100)]:
        expected = binomtest(found, n).proportion_ci(0.95, "wilson")
        assert wilson(found / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)
