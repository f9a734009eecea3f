from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from sanmaru.tasks.tabular import native


@pytest.fixture(scope="module", params=["regression", "binary", "multiclass"])
def booster(request):
    import lightgbm

    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(300, 4))
    matrix[:, 3] = generator.integers(0, 12, 300)
    matrix[generator.random((300, 4)) < 0.1] = np.nan
    score = np.nan_to_num(matrix[:, 0] * 2 + (matrix[:, 3] % 3))
    labels = {"regression": score, "binary": score > 1, "multiclass": np.digitize(score, [0, 2])}
    parameters = {"objective": request.param, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    if request.param == "multiclass":
        parameters["num_class"] = 3
    data = lightgbm.Dataset(matrix, label=labels[request.param], categorical_feature=[3], params=parameters)
    return lightgbm.train(parameters, data, 20), matrix


@pytest.mark.parametrize("n", [0, 1, 5, native.SMALL_BATCH + 1, 300])
def test_scores_equal_those_of_lightgbm_itself(booster, n):
    booster, matrix = booster
    forest = native.load_forest(booster.model_to_string(), 4)
    assert isinstance(forest, native._NativeForest)
    rows = matrix[:n] if n else matrix[:0]
    # LightGBM itself refuses a matrix without rows.
    expected = booster.predict(matrix, raw_score=True, num_threads=1).reshape(300, -1)[:n]
    np.testing.assert_array_equal(forest.raw(rows), expected)
    np.testing.assert_array_equal(forest.raw(np.asfortranarray(rows)), expected)


def test_without_the_c_library_the_python_package_answers(booster, monkeypatch):
    booster, matrix = booster
    text = booster.model_to_string()
    expected = native.load_forest(text, 4).raw(matrix)
    monkeypatch.setattr(native, "_library", lambda: None)
    forest = native.load_forest(text, 4)
    assert isinstance(forest, native._BoosterForest)
    np.testing.assert_array_equal(forest.raw(matrix), expected)
    assert forest.raw(matrix[:0]).shape == (0, expected.shape[1])


def test_threads_do_not_mix_their_rows(booster):
    booster, matrix = booster
    forest = native.load_forest(booster.model_to_string(), 4)
    expected = forest.raw(matrix)
    wrong = []

    def work(start):
        for place in range(start, 300, 4):
            if not np.array_equal(forest.raw(matrix[place : place + 1]), expected[place : place + 1]):
                wrong.append(place)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_matrix_of_another_width_is_refused_before_c_reads_it(booster):
    forest = native.load_forest(booster[0].model_to_string(), 4)
    with pytest.raises(ValueError, match=r"the matrix should be \(n, 4\), got \(2, 3\)"):
        forest.raw(np.zeros((2, 3)))


def test_a_broken_model_is_an_error():
    with pytest.raises(RuntimeError, match="LightGBM: "):
        native.load_forest("tree\nnonsense", 4)


def test_a_prediction_imports_neither_lightgbm_nor_pandas(booster, tmp_path):
    (tmp_path / "model.txt").write_text(booster[0].model_to_string())
    code = (
        "import sys, numpy as np\n"
        "from sanmaru.tasks.tabular.native import load_forest\n"
        f"load_forest(open({str(tmp_path / 'model.txt')!r}).read(), 4).raw(np.zeros((1, 4)))\n"
        "print(sorted({'lightgbm', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
