import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sanmaru.errors import DataError
from sanmaru.images.read import UnreadablePicturesError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext, RowEncoder
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.estimator import NetworkEstimator
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig

MakeContext = Callable[..., FitContext]
QUICK = TrainConfig(epochs=2, batch_size=32, learning_rate=3e-3, augment=({"rotate": 5.0},))


def unfitted(task: ImageClassification, size: int = 8, **options: object) -> NetworkEstimator:
    return task.estimator(NetworkConfig(image_size=size, **options), QUICK)  # type: ignore[arg-type]


@pytest.fixture
def fitted(task: ImageClassification, digits: pl.DataFrame, context: MakeContext) -> NetworkEstimator:
    estimator = unfitted(task)
    estimator.fit(digits.head(140), digits.tail(40), context())
    return estimator


def test_a_saved_network_answers_as_the_fitted_one(
    fitted: NetworkEstimator, task: ImageClassification, digits: pl.DataFrame, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "saved")
    loaded = task.load_estimator(tmp_path / "saved")
    array = fitted.encode(digits)
    assert (array.dtype, array.shape) == (np.uint8, (180, 8, 8, 3))
    np.testing.assert_array_equal(loaded.encode(digits.drop("digit")), array)
    given = loaded.forward(array)
    assert (given.dtype, given.shape) == (np.float32, (180, 10))
    np.testing.assert_allclose(given, fitted.forward(array), atol=1e-4)
    np.testing.assert_allclose(loaded.forward(array[:1]), given[:1], atol=1e-5)
    assert loaded.forward(array[:0]).shape == (0, 10)
    assert loaded.encoding == fitted.encoding
    assert loaded.details() == json.loads(json.dumps(fitted.details()))
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "model.onnx",
        "model.safetensors",
        "estimator.json",
    }
    assert str(digits["picture"][0]) not in (tmp_path / "saved" / "model.onnx").read_bytes().decode("latin1")


def test_rows_and_tables_are_encoded_alike(fitted: NetworkEstimator, digits: pl.DataFrame) -> None:
    few = digits.head(5)
    rows = [{"picture": Path(path).read_bytes(), "id": 1} for path in few["picture"]]
    assert isinstance(fitted, RowEncoder)
    np.testing.assert_array_equal(fitted.encode_rows(rows), fitted.encode(few))
    binary = pl.DataFrame({"picture": [row["picture"] for row in rows]})
    np.testing.assert_array_equal(fitted.encode(binary), fitted.encode(few))


def test_threads_can_be_set_and_change_nothing(
    fitted: NetworkEstimator, task: ImageClassification, digits: pl.DataFrame, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "saved")
    loaded = task.load_estimator(tmp_path / "saved")
    one = loaded.forward(loaded.encode(digits))
    loaded.threads = 2
    np.testing.assert_allclose(loaded.forward(loaded.encode(digits)), one, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"other": b""}], "row 0 .nothing.: there is no picture"),
        ([{"picture": 3}], "row 0: 'picture' should be the bytes of a picture, got int"),
        ([{"picture": b"text"}], "1 picture in 'picture' cannot be read; row 0 .its bytes.: not a picture"),
        ([{"picture": "/absent.png"}], "row 0 .'/absent.png'.: there is no such file"),
    ],
)
def test_rows_without_a_usable_picture_are_refused(
    task: ImageClassification, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        unfitted(task).encode_rows(rows)


def test_unreadable_pictures_are_counted_in_the_error(
    task: ImageClassification, digits: pl.DataFrame, context: MakeContext, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    broken = digits.with_columns(
        picture=pl.when(pl.col("id").is_in(["d3", "d4"])).then(pl.lit(str(tmp_path / "bad.png"))).otherwise("picture")
    )
    with pytest.raises(UnreadablePicturesError, match=r"2 of 180 pictures in 'picture' cannot be read; row 3") as found:
        unfitted(task).encode(broken)
    assert found.value.rows == dict.fromkeys((3, 4), "not a picture of a known format")
    with pytest.raises(DataError, match=r"2 of 180 pictures"):
        unfitted(task).fit(broken, None, context())
    with pytest.raises(DataError, match=r"there is no column 'picture' with pictures\. Columns: id"):
        unfitted(task).encode(digits.select("id"))


def test_the_same_seed_gives_the_same_outputs(
    task: ImageClassification, digits: pl.DataFrame, context: MakeContext
) -> None:
    outputs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        estimator = unfitted(task)
        estimator.fit(digits, None, context(name, seed=seed))
        outputs.append(estimator.forward(estimator.encode(digits)))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


def test_a_fit_leaves_the_global_random_state_alone(
    task: ImageClassification, digits: pl.DataFrame, context: MakeContext
) -> None:
    import torch

    before = torch.get_rng_state()
    unfitted(task).fit(digits, None, context())
    assert torch.equal(before, torch.get_rng_state())


def test_details_say_what_a_report_needs(fitted: NetworkEstimator) -> None:
    details = fitted.details()
    assert details["parameters"] > 100_000
    assert 0 < details["honest_fraction"] <= 1
    assert details["shares"]["step"] > 0.5
    assert details["cache_build_s"] > 0
    assert details["samples_per_s"] > 0
    assert details["best_epoch"] in (1, 2)


def test_a_resumed_fit_ends_like_an_undisturbed_one(
    task: ImageClassification, digits: pl.DataFrame, context: MakeContext
) -> None:
    alone = unfitted(task)
    alone.fit(digits.head(140), digits.tail(40), context("alone"))
    stopped = unfitted(task)
    stopped.fit(digits.head(140), digits.tail(40), context("resumed", deadline_s=0.0))
    assert stopped.details()["stopped"] == "deadline"
    resumed = unfitted(task)
    resumed.fit(digits.head(140), digits.tail(40), context("resumed", resume=True))
    array = alone.encode(digits)
    np.testing.assert_array_equal(resumed.forward(array), alone.forward(array))


def test_serving_loads_neither_torch_nor_transformers(
    fitted: NetworkEstimator, digits: pl.DataFrame, tmp_path: Path, task: ImageClassification
) -> None:
    fitted.save(tmp_path / "saved")
    (tmp_path / "task.json").write_text(json.dumps(task.to_json()))
    script = """
import json, sys
from pathlib import Path
from sanmaru.tasks.find import task_from_json
task = task_from_json(json.loads(Path(sys.argv[1], "task.json").read_text()))
estimator = task.load_estimator(Path(sys.argv[1], "saved"))
rows = estimator.encode_rows([{"picture": Path(sys.argv[2]).read_bytes()}])
assert estimator.forward(rows).shape == (1, 10)
heavy = {"torch", "transformers", "mlflow", "lightgbm", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path), digits["picture"][0]], check=True, timeout=60)


def test_an_unfitted_network_cannot_be_saved(task: ImageClassification, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="only a fitted network"):
        unfitted(task).save(tmp_path / "saved")


def test_a_folder_of_something_else_is_refused(task: ImageClassification, tmp_path: Path) -> None:
    (tmp_path / "estimator.json").write_text('{"kind": "lightgbm"}')
    with pytest.raises(DataError, match="does not hold a network"):
        task.load_estimator(tmp_path)


def test_grey_and_colour_pictures_mix(task: ImageClassification, digits: pl.DataFrame, tmp_path: Path) -> None:
    Image.new("RGB", (5, 9), "red").save(tmp_path / "red.png")
    mixed = pl.DataFrame({"picture": [digits["picture"][0], str(tmp_path / "red.png")]})
    array = unfitted(task).encode(mixed)
    assert array[1, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.slow
def test_digits_are_told_apart(all_digits: pl.DataFrame, context: MakeContext) -> None:
    roles = Roles(id="id", targets=("digit",), image="picture")
    task = ImageClassification.open(all_digits, roles)
    held_out = np.random.default_rng(0).integers(0, 5, len(all_digits)) == 0
    estimator = task.estimator(NetworkConfig(image_size=16), TrainConfig(epochs=8))
    estimator.fit(all_digits.filter(~held_out), None, context())
    rest = all_digits.filter(held_out)
    accuracy = (estimator.forward(estimator.encode(rest)).argmax(axis=1) == task.truth(rest)).mean()
    assert accuracy >= 0.97


def test_idle_threads_are_told_to_sleep_before_torch_is_loaded(all_digits: pl.DataFrame, tmp_path: Path) -> None:
    all_digits.head(40).write_parquet(tmp_path / "digits.parquet")
    script = """
import os, sys
from pathlib import Path
import polars as pl
from sanmaru.metrics.base import find_metric
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig
folder = Path(sys.argv[1])
table = pl.read_parquet(folder / "digits.parquet")
task = ImageClassification.open(table, Roles(id="id", targets=("digit",), image="picture"))
estimator = task.estimator(NetworkConfig(image_size=8), TrainConfig(epochs=1))
assert "torch" not in sys.modules
context = FitContext(folder=folder, cache=folder, seed=1, metric=find_metric("accuracy"))
estimator.fit(table, None, context)
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
