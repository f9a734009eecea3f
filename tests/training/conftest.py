from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bars() -> Callable[[int], tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Noisy pictures with a bright bar that lies (class 0) or stands (class 1), as (n, 8, 8, 3) and labels."""

    def make(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 120, (n, 8, 8, 3), dtype=np.uint8)
        labels = rng.integers(0, 2, n)
        for image, label, place in zip(images, labels, rng.integers(0, 8, n), strict=True):
            image[(place, slice(None)) if label == 0 else (slice(None), place)] = 190
        return images, labels

    return make


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., FitContext]:
    def make(name: str = "fold", **options: object) -> FitContext:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        settings = {"seed": 3, "metric": find_metric("accuracy"), **options}
        return FitContext(folder=folder, cache=tmp_path / "cache", **settings)  # type: ignore[arg-type]

    return make
