"""Where the network of a row's fold looked: the one that had not seen the row, asked again for some rows of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.images.read import UnreadableImageError, read_picture
from sanmaru.tasks.image_classification.overlay import overlay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sanmaru.tasks.image_classification.estimator import NetworkEstimator
    from sanmaru.tasks.image_classification.task import ImageClassification

SIDE = 160
"""Pixels of the longer side of a picture under its heat map."""


@dataclass(frozen=True)
class Look:
    """One picture, explained."""

    predicted: bytes
    """JPEG of the picture under the heat map of the class that was given."""
    true: bytes | None
    """The same for the true class; None where the method does not tell classes apart (attention roll-out)."""


class Explainer:
    """Explains rows by the estimators of the folds that scored them.

    Args:
        fits: Folder of the estimator of each fold, in order.
        limit: How many rows are explained at most.
    """

    def __init__(self, fits: Sequence[Path], limit: int) -> None:
        self.fits = fits
        self.limit = limit if fits else 0

    def looks(
        self,
        task: ImageClassification,
        rows: pl.DataFrame,
        *,
        folds: NDArray[np.int64],
        predicted: NDArray[np.int64],
        truth: NDArray[np.int64],
    ) -> dict[int, Look]:
        """Explain rows; those whose picture cannot be read are left out.

        Each fold's network is loaded once, and only where it has a row to explain.

        Args:
            task: Loads the estimators.
            rows: With pictures, n of them.
            folds: int64 (n,), the fold in which each row was scored.
            predicted: int64 (n,), codes of the class given.
            truth: int64 (n,).

        Returns:
            By the place of the row, 0 to n - 1.

        Raises:
            UserError: when a network cannot be restored.
        """
        found: dict[int, Look] = {}
        for fold in np.unique(folds):
            if 0 <= fold < len(self.fits):
                mine = np.flatnonzero(folds == fold)
                found |= self._of_fold(task, self.fits[fold], rows, places=mine, predicted=predicted, truth=truth)
        return found

    def _of_fold(
        self,
        task: ImageClassification,
        folder: Path,
        rows: pl.DataFrame,
        *,
        places: NDArray[np.int64],
        predicted: NDArray[np.int64],
        truth: NDArray[np.int64],
    ) -> dict[int, Look]:
        from sanmaru.tasks.image_classification.explain import explain
        from sanmaru.tasks.image_classification.restored import restore

        originals: dict[int, NDArray[np.uint8]] = {}
        for place in places.tolist():
            source = rows[task.image][place]
            try:
                if source is not None:
                    originals[place] = read_picture(source)
            except UnreadableImageError:
                continue
        if not originals:
            return {}
        estimator = task.load_estimator(folder)
        kept = np.array(list(originals), dtype=np.int64)
        pixels = estimator.encode(rows[kept])
        network = restore(folder, folder.resolve().parents)
        given = explain(network, pixels, predicted[kept])
        right = explain(network, pixels, truth[kept]) if given.method == "cam" else None
        found = {}
        for number, place in enumerate(kept.tolist()):
            # Where the whole picture is in the square, the map is stretched back over it; else the square is shown.
            ground = originals[place] if _whole(estimator) else pixels[number]
            found[place] = Look(
                overlay(ground, given.maps[number], SIDE),
                None if right is None else overlay(ground, right.maps[number], SIDE),
            )
        return found


def _whole(estimator: NetworkEstimator) -> bool:
    fit = getattr(estimator.config, "fit", None)
    return fit is None or (fit.kind == "stretch" and fit.crop_box is None)
