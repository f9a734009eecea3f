from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from sanmaru.metrics.base import find_metric
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.task import ImageClassification

ROLES = Roles(id="id", targets=("digit",), image="picture")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def all_digits(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """scikit-learn's 1,797 digits as 8 x 8 PNG files."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    paths = []
    for number, image in enumerate(images):
        path = folder / f"{number:04d}.png"
        Image.fromarray((image.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(path)
        paths.append(str(path))
    return pl.DataFrame(
        {"id": [f"d{number}" for number in range(len(labels))], "picture": paths, "digit": labels.astype(np.int64)}
    )


@pytest.fixture
def digits(all_digits: pl.DataFrame) -> pl.DataFrame:
    """180 of them."""
    return all_digits.head(180)


@pytest.fixture
def task(digits: pl.DataFrame) -> ImageClassification:
    return ImageClassification.open(digits, ROLES)


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., FitContext]:
    def make(name: str = "fold", **options: object) -> FitContext:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        settings = {"seed": 3, "metric": find_metric("accuracy"), **options}
        return FitContext(folder=folder, cache=tmp_path / "cache", **settings)  # type: ignore[arg-type]

    return make
