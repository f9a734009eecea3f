from __future__ import annotations

import numpy as np
import pytest

from sanmaru.tasks.tabular.schema import Encoded
from sanmaru.tasks.tabular.strength import bins_of, strengths

NUMBER = Encoded(name="x", source="x")


def test_numbers_are_cut_at_quantiles_and_missing_ones_stand_apart():
    values = np.array([1.0, 2, 3, 4, np.nan, 4, 4, 4])
    bins, edges = bins_of(values, NUMBER, 4)
    assert edges.tolist() == [2, 4]
    assert bins.tolist() == [0, 0, 1, 1, 2, 1, 1, 1]


def test_codes_are_bins_with_others_and_missing_at_the_end():
    bins, edges = bins_of(np.array([0, 2, np.nan, 1.0]), Encoded(name="c", source="c", n_codes=2))
    assert bins.tolist() == [0, 2, 3, 1]
    assert not len(edges)
    assert bins_of(np.full(3, np.nan), NUMBER)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_a_copy_of_the_target_is_perfect_and_noise_and_ids_are_nothing(n_classes):
    generator = np.random.default_rng(0)
    n = 1500
    truth = generator.integers(0, n_classes, n) if n_classes else generator.lognormal(sigma=2, size=n)
    matrix = np.stack([truth * 2.0 + 1, generator.normal(size=n), np.arange(n)], axis=1)
    columns = [
        Encoded(name="copy", source="copy"),
        Encoded(name="noise", source="noise"),
        Encoded(name="id", source="id", n_codes=n),
    ]
    found = strengths(matrix, columns, truth, n_classes)
    assert next(iter(found)) == "copy"
    assert found["copy"] > 0.97
    nothing = 0.5 if n_classes == 2 else 0.0
    assert found["noise"] == pytest.approx(nothing, abs=0.1)
    assert found["id"] <= nothing + 0.02


def test_the_best_encoded_column_speaks_for_its_source():
    truth = np.arange(200.0)
    matrix = np.stack([np.zeros(200), truth], axis=1)
    columns = [Encoded(name="d (hour)", source="d"), Encoded(name="d (days)", source="d")]
    assert strengths(matrix, columns, truth, 0)["d"] > 0.99
