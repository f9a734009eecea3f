"""Packages of pictures: a small network, trained for one epoch."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import torch

from sanmaru.errors import DataError
from sanmaru.metrics.base import find_metric
from sanmaru.packages.batch import predict_file
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_package
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(24):
        picture = rng.integers(0, 120, (12, 12, 3), dtype=np.uint8) + np.uint8(120 * (number % 2))
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def package(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("package")
    paths = [str(pictures / f"{number}.png") for number in range(24)]
    table = pl.DataFrame({"row": np.arange(24), "path": paths, "label": ["dark", "light"] * 12})
    task = ImageClassification.open(table, Roles(id="row", targets=("label",), image="path"))
    estimator = task.estimator(NetworkConfig(image_size=8), TrainConfig(epochs=1, batch_size=8))
    context = FitContext(folder=folder, cache=folder / "cache", seed=0, metric=find_metric("accuracy"))
    estimator.fit(table, None, context)
    estimator.save(folder / "estimator")
    outputs = estimator.forward(estimator.encode(table))
    evaluation = task.predictions(table["row"], outputs).with_columns(table["label"].alias("truth"), fold=pl.lit(0))
    return write_package(
        folder / "package", task=task, estimators=[folder / "estimator"], golden=table.head(4), evaluation=evaluation,
        card={},
    )  # fmt: skip


def test_golden_pictures_are_kept_inside(package, pictures):
    golden = pl.read_parquet(package.folder / "golden" / "rows.parquet")
    assert golden["path"].dtype == pl.Binary
    assert golden["path"][0] == (pictures / "0.png").read_bytes()
    assert Package.load(package.folder).golden_test() < 1e-5


def test_pictures_come_as_paths_or_bytes(package, pictures):
    paths = [pictures / f"{number}.png" for number in range(4)]
    by_path = package.predict(pl.DataFrame({"path": [str(path) for path in paths]}))
    by_bytes = package.predict(pl.DataFrame({"path": [path.read_bytes() for path in paths]}))
    assert by_path.equals(by_bytes)
    rows = [{"path": path.read_bytes()} for path in paths]
    answers = package.answers(package.forward(package.encode_rows(rows)))
    assert [answer["label"] for answer in answers] == by_path["label"].to_list()


def test_a_broken_picture_is_set_aside_in_a_file_and_refused_in_a_frame(package, pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths = [str(pictures / "1.png"), str(tmp_path / "broken.png"), str(pictures / "2.png")]
    table = pl.DataFrame({"path": paths})
    with pytest.raises(DataError, match=r"row 1 .*broken\.png"):
        package.predict(table)
    table.write_csv(tmp_path / "in.csv")
    report = predict_file(package, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (report.rows, report.reasons) == (2, {"unreadable-image": 1})
    assert pl.read_csv(tmp_path / "out.csv")["row"].to_list() == [0, 2]
    aside = pl.read_csv(report.quarantine_file)
    assert aside["row"].to_list() == [1]
    assert aside["value"][0].endswith("broken.png")


def test_a_folder_of_pictures_is_predicted(package, pictures, tmp_path):
    report = predict_file(package, pictures, tmp_path / "out.csv", batch_rows=10)
    assert report.rows == 24
    relative = pl.DataFrame({"path": [f"{number}.png" for number in range(24)]})
    relative.write_csv(tmp_path / "in.csv")
    predict_file(package, tmp_path / "in.csv", tmp_path / "named.csv", images=pictures)
    by_name = dict(zip(relative["path"], pl.read_csv(tmp_path / "named.csv")["label"], strict=True))
    assert {by_name[row[0]] == row[1] for row in pl.read_csv(tmp_path / "out.csv").rows()} == {True}
