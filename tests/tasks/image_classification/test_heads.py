"""Raw outputs to joint logits, losses of several heads, finer bins to bands; tiny fits of the three formulations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_softmax, softmax
from scipy.stats import logistic

from sanmaru.errors import ProjectFileError
from sanmaru.project import Project
from sanmaru.tables.config import DataConfig
from sanmaru.tables.joint import JointTarget, Target
from sanmaru.tables.read import read_data
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.bands import BandMap
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.heads import Heads
from sanmaru.tasks.image_classification.restored import restore
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import LossConfig, TrainConfig

EDGES = (15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 60.0, 80.0)
CUTS = (30.0, 60.0)
SHAPE = Target(name="shape", classes=("flat", "tall"), values=("flat", "tall"))
AGE = Target(name="age", classes=("<30", "30-59", ">=60"), cuts=CUTS)
FINE = Target(name="age", classes=("<30", "30-59", ">=60"), cuts=CUTS, fine=EDGES)
SUMMED = Target(name="age", classes=("<30", "30-59", ">=60"), cuts=CUTS, fine=EDGES, map="sum", weight=2.0)


def joint_of(*targets: Target) -> JointTarget:
    return JointTarget(name="both", targets=targets)


def raw(width: int, rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(1)) * 3


def expected_bands(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Band probabilities by expectation, in float64 with SciPy's logistic distribution."""
    edges, out = np.array(EDGES), []
    for row in probs:
        centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        mean = np.sum(row * centres)
        variance = np.sum(row * ((centres - mean) ** 2 + widths**2 / 12))
        cdf = logistic(mean, np.sqrt(3 * variance) / np.pi).cdf([30.0, 60.0])
        out.append([cdf[0], cdf[1] - cdf[0], 1 - cdf[1]])
    return np.array(out)


def test_expectation_is_that_of_a_logistic_distribution_with_the_bins_mean_and_variance() -> None:
    probs = softmax(raw(7, 50).double().numpy(), axis=1)
    given = BandMap(EDGES, CUTS, "expectation")(torch.tensor(probs, dtype=torch.float32)).exp().numpy()
    np.testing.assert_allclose(given, expected_bands(probs), atol=2e-6)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)


def test_expectation_with_one_cut_and_with_certainty() -> None:
    certain = torch.eye(7)
    bands = BandMap(EDGES, CUTS, "expectation")(certain).argmax(dim=1)
    assert bands.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert BandMap(EDGES, (30.0,), "expectation")(certain).exp().sum(dim=1).tolist() == pytest.approx([1.0] * 7)


def test_sum_adds_the_bins_of_a_band() -> None:
    probs = softmax(raw(7).double().numpy(), axis=1)
    given = BandMap(EDGES, CUTS, "sum")(torch.tensor(probs, dtype=torch.float32)).exp().numpy()
    expected = np.stack([probs[:, :3].sum(axis=1), probs[:, 3:6].sum(axis=1), probs[:, 6]], axis=1)
    np.testing.assert_allclose(given, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_heads_side_by_side_multiply_their_probabilities(kind: str) -> None:
    heads = Heads(kind, 6, joint_of(SHAPE, AGE))  # type: ignore[arg-type]
    outputs = raw(heads.width)
    assert heads.widths == (2, 3)
    probs = softmax(heads.to_joint()(outputs).numpy(), axis=1).reshape(-1, 2, 3)
    first, second = softmax(outputs[:, :2].numpy(), axis=1), softmax(outputs[:, 2:].numpy(), axis=1)
    np.testing.assert_allclose(probs, first[:, :, None] * second[:, None, :], rtol=1e-4)


def test_a_shared_head_of_finer_bins_gives_band_probabilities() -> None:
    heads = Heads("shared", 6, joint_of(SHAPE, FINE))
    outputs = raw(heads.width)
    assert heads.width == 9
    probs = heads.to_joint()(outputs).exp().numpy().reshape(-1, 2, 3)
    bands = expected_bands(softmax(outputs[:, 2:].double().numpy(), axis=1))
    np.testing.assert_allclose(probs, softmax(outputs[:, :2].numpy(), axis=1)[:, :, None] * bands[:, None], atol=1e-5)


@pytest.mark.parametrize("target", [FINE, SUMMED])
def test_a_joint_head_maps_bins_given_the_other_targets(target: Target) -> None:
    heads = Heads("joint", 6, joint_of(SHAPE, target))
    outputs = raw(heads.width)
    assert heads.width == 14
    given = softmax(heads.to_joint()(outputs).double().numpy(), axis=1).reshape(-1, 2, 3)
    cube = softmax(outputs.double().numpy(), axis=1).reshape(-1, 2, 7)
    for shape in range(2):
        total = cube[:, shape].sum(axis=1, keepdims=True)
        if target.map == "sum":
            bands = np.add.reduceat(cube[:, shape], [0, 3, 6], axis=1)
        else:
            bands = expected_bands(cube[:, shape] / total) * total
        np.testing.assert_allclose(given[:, shape], bands, atol=2e-6)


def test_a_joint_head_without_bins_is_left_as_it_is() -> None:
    assert isinstance(Heads("joint", 6, joint_of(SHAPE, AGE)).to_joint(), torch.nn.Identity)
    assert isinstance(Heads("shared", 10, None).to_joint(), torch.nn.Identity)
    assert Heads("shared", 10, None).width == 10


def test_labels_are_codes_per_head_or_of_the_product() -> None:
    table = pl.DataFrame({"shape": ["tall", "flat"], "age": [62, 31]})
    truth = np.array([5, 1])
    assert Heads("joint", 6, joint_of(SHAPE, AGE)).labels(table, truth).tolist() == [5, 1]
    assert Heads("joint", 6, joint_of(SHAPE, FINE)).labels(table, truth).tolist() == [7 + 6, 3]
    assert Heads("shared", 6, joint_of(SHAPE, FINE)).labels(table, truth).tolist() == [[1, 6], [0, 3]]
    assert Heads("joint", 6, None).labels(table, truth) is truth


def test_losses_of_the_heads_are_summed_with_the_targets_weights() -> None:
    heads = Heads("shared", 6, joint_of(SHAPE, SUMMED))
    labels = np.array([[0, 1], [1, 6], [1, 0]], dtype=np.int64)
    outputs = raw(9, 3)
    logs = log_softmax(outputs[:, :2].numpy(), axis=1), log_softmax(outputs[:, 2:].numpy(), axis=1)
    rows = np.arange(3)
    expected = -logs[0][rows, labels[:, 0]] - 2 * logs[1][rows, labels[:, 1]]
    loss = heads.loss(LossConfig(), labels)
    assert float(loss(outputs, torch.from_numpy(labels))) == pytest.approx(expected.mean(), rel=1e-5)


def test_a_joint_head_of_too_many_bins_is_refused() -> None:
    many = Target(name="age", classes=AGE.classes, cuts=CUTS, fine=tuple(float(edge) for edge in range(100)))
    codes = Target(name="code", classes=tuple(map(str, range(50))), values=tuple(map(str, range(50))))
    with pytest.raises(ProjectFileError, match=r"joint would have 4,950 outputs.*or model\.heads: shared"):
        Heads("joint", 150, joint_of(codes, many))


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars of two shapes whose grey level is an age; 96 pictures of 12 pixels and a csv."""
    folder = tmp_path_factory.mktemp("bars")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(96):
        tall, age = bool(rng.integers(2)), int(rng.integers(18, 80))
        picture = np.zeros((12, 12), np.uint8)
        picture[1:11, 4:8] = 40 + 2 * age
        Image.fromarray(picture if tall else picture.T).save(folder / f"{number}.png")
        rows.append({"file": f"{number}.png", "shape": "tall" if tall else "flat", "age": age})
    pl.DataFrame(rows).write_csv(folder / "labels.csv")
    return folder


MIXED = {"epochs": 2, "batch_size": 24, "learning_rate": 3e-3, "augment": ["hflip", {"cutmix": 1.0}]}
"""Mixed pictures have two labels per head."""
AGE_FINE = {"name": "age", "bands": [30, 60], "finer": 10}


def opened(bars: Path, age: object = AGE_FINE) -> tuple[ImageClassification, pl.DataFrame]:
    fields = {"train": "labels.csv", "id": "file", "images": ".", "image": "picture", "target": ["shape", age]}
    table = pl.read_csv(bars / "labels.csv").with_columns(picture=pl.col("file"))
    table.write_csv(bars / "pictures.csv")
    data = read_data(DataConfig.model_validate({**fields, "train": "pictures.csv"}), bars, task="image-classification")
    return ImageClassification.open(data.table, data.roles), data.table


@pytest.mark.parametrize("kind", ["joint", "shared", "separate"])
def test_the_three_formulations_are_fitted_saved_and_scored_on_the_same_classes(
    kind: str, bars: Path, context: Callable[..., FitContext], tmp_path: Path
) -> None:
    task, table = opened(bars)
    config = NetworkConfig.model_validate({"image_size": 8, "heads": kind})
    estimator = task.estimator(config, TrainConfig.model_validate(MIXED))
    estimator.fit(table.head(72), table.tail(24), context())
    array = estimator.encode(table)
    logits = estimator.forward(array)
    assert logits.shape == (96, 6)
    estimator.save(tmp_path / "saved")
    loaded = task.load_estimator(tmp_path / "saved")
    np.testing.assert_allclose(loaded.forward(array), logits, atol=1e-3)
    with torch.no_grad():
        again = restore(tmp_path / "saved")(torch.from_numpy(array)).numpy()
    np.testing.assert_allclose(again, logits, atol=1e-4)
    predictions = task.predictions(table["file"], logits)
    assert predictions.columns == ["file", "shape_age", "shape", "age", "shape_age.probs", "shape_age.logits"]
    assert set(predictions["age"]) <= {"<30", "30-59", ">=60"}
    assert set(task.score(table, predictions)) >= {"macro_f1", "accuracy", "log_loss", "roc_auc"}
    details = loaded.details()
    assert details["heads"] == kind
    assert ("targets" in details) == (kind == "separate")
    points = [json.loads(line) for line in (tmp_path / "fold" / "events.jsonl").read_text().splitlines()]
    curves = {name for point in points if point["kind"] == "metrics" for name in point}
    expected = {"train_loss of shape", "train_loss of age"} if kind == "separate" else {"train_loss"}
    assert expected <= curves


def test_separate_networks_are_resumed_one_by_one(bars: Path, context: Callable[..., FitContext]) -> None:
    task, table = opened(bars, {"name": "age", "bands": [30, 60]})
    config, train = NetworkConfig(image_size=8, heads="separate"), TrainConfig(epochs=2, batch_size=24)
    alone = task.estimator(config, train)
    alone.fit(table.head(72), table.tail(24), context("alone"))
    task.estimator(config, train).fit(table.head(72), table.tail(24), context("cut", deadline_s=0.0))
    resumed = task.estimator(config, train)
    resumed.fit(table.head(72), table.tail(24), context("cut", resume=True))
    array = alone.encode(table)
    np.testing.assert_array_equal(resumed.forward(array), alone.forward(array))


def test_several_heads_need_several_targets(tmp_path: Path) -> None:
    content = {"name": "x", "task": "image-classification", "data": {"train": "t", "target": "y", "image": "p"}}
    with pytest.raises(ProjectFileError, match=r"model.heads: shared needs several targets, and data.target names 1"):
        Project.from_dict(tmp_path, {**content, "model": {"heads": "shared"}})
