from __future__ import annotations

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from sanmaru.tasks.tabular.classes import balanced_weights


def test_weights_equal_those_of_scikit_learn():
    codes = np.array([0, 0, 0, 2, 2, 3])
    weights = balanced_weights(codes, 5)
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", codes))
    np.testing.assert_allclose(weights.mean(), 1.0)
