"""Image classification: pictures in, one class out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sanmaru.errors import ProjectFileError
from sanmaru.tables.contract import Column, Quarantine
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import Output, Signature
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.estimator import NetworkEstimator
from sanmaru.tasks.scoring import BaseScoredTask, classification_output, usual_metrics
from sanmaru.tasks.targets import joint_output

if TYPE_CHECKING:
    from sanmaru.html.blocks import Section
    from sanmaru.images.fit import Fit
    from sanmaru.tasks.base import Task
    from sanmaru.training.config import TrainConfig


class ImageClassification(BaseScoredTask):
    """Tells the class of a picture: of one target, or the joint class of several."""

    name = "image-classification"

    def __init__(
        self, roles: Roles, outputs: tuple[Output, ...], metrics: tuple[str, ...], missing: tuple[str, ...] = ()
    ) -> None:
        self.roles = roles
        self.outputs = outputs
        self.metrics = metrics
        self.missing = missing

    @classmethod
    def open(cls, table: pl.DataFrame, roles: Roles, **options: Any) -> ImageClassification:
        """Learn the classes from the training table.

        Args:
            table: With the target and the image column.
            roles: Which columns these are.
            **options: `missing`, the cell texts that mean "no value"; others are for other tasks.

        Raises:
            ProjectFileError: when no image column is named, or no target.
            DataError: when the target cannot be learned from.
        """
        if roles.image is None:
            raise ProjectFileError(
                "image classification needs data.image, the column with the paths of the pictures "
                "(or data.train as a folder with one sub-folder per class)."
            )
        if len(roles.targets) != 1:
            given = ", ".join(roles.targets) or "none"
            raise ProjectFileError(
                f"image classification learns one target or the joint label of several, data.target names: {given}."
            )
        target = table[roles.targets[0]]
        output = classification_output(target) if roles.joint is None else joint_output(roles.joint)
        return cls(roles, (output,), usual_metrics(output, target), tuple(options.get("missing", ())))

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which `from_json` makes the same task."""
        return {
            "name": self.name,
            "roles": self.roles.to_json(),
            "outputs": [output.to_json() for output in self.outputs],
            "metrics": list(self.metrics),
            "missing": list(self.missing),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageClassification:
        """Rebuild a task from `to_json`."""
        outputs = tuple(Output.from_json(output) for output in value["outputs"])
        return cls(Roles.from_json(value["roles"]), outputs, tuple(value["metrics"]), tuple(value["missing"]))

    @property
    def image(self) -> str:
        """Name of the column with the pictures."""
        assert self.roles.image is not None
        return self.roles.image

    def signature(self) -> Signature:
        """One picture in, one label out."""
        return Signature(
            task=self.name,
            id=self.roles.id,
            inputs=(Column(name=self.image, kind="image", required=True),),
            outputs=self.outputs,
            missing=self.missing,
        )

    def estimator(self, model: NetworkConfig, train: TrainConfig) -> NetworkEstimator:
        """Make an unfitted network."""
        return NetworkEstimator(
            model,
            image=self.image,
            classes=len(self.output.classes),
            joint=self.roles.joint,
            train=train,
            truth=self.truth,
        )

    def load_estimator(self, folder: Path) -> NetworkEstimator:
        """Read a saved network, without loading torch."""
        return NetworkEstimator.load(folder)

    @classmethod
    def usable(
        cls,
        table: pl.DataFrame,
        roles: Roles,
        cache: Path | None = None,
        *,
        image_size: int = 64,
        fit: Fit | None = None,
        threads: int = 1,
    ) -> tuple[pl.DataFrame, Quarantine]:
        """Set aside the rows whose picture cannot be read. See `usable.usable`."""
        from sanmaru.tasks.image_classification.usable import usable

        return usable(table, roles, cache, image_size=image_size, fit=fit, threads=threads)

    def explore(self, table: pl.DataFrame, test: pl.DataFrame | None) -> Iterable[Section]:
        """Class balance, sizes, contact sheets, mean pictures, colours, exact copies."""
        from sanmaru.tasks.image_classification.explore import explore

        return explore(self, table, test)

    def diagnose(self, table: pl.DataFrame, predictions: pl.DataFrame) -> Iterable[Section]:
        """Confusion, calibration and scores per class, then the worst mistakes with their pictures."""
        return self.explained(table, predictions, (), 0)

    def explained(
        self, table: pl.DataFrame, predictions: pl.DataFrame, fits: Sequence[Path], limit: int
    ) -> Iterable[Section]:
        """As `diagnose`, with heat maps of where the network looked.

        Args:
            table: Rows with targets and pictures.
            predictions: Out-of-fold predictions with their `fold`.
            fits: Folder of the estimator of each fold, in order.
            limit: How many mistakes are explained at most.
        """
        from sanmaru.tasks.image_classification.confused import confused_section
        from sanmaru.tasks.image_classification.diagnose import worst_mistakes
        from sanmaru.tasks.image_classification.explainer import Explainer

        yield from super().diagnose(table, predictions)
        confused = confused_section(self, table, predictions)
        if confused is not None:
            yield confused
        yield worst_mistakes(self, table, predictions, Explainer(fits, limit))

    def seen(
        self, table: pl.DataFrame, model: NetworkConfig, train: TrainConfig, *, cache: Path, threads: int = 1
    ) -> Section | None:
        """Pictures as the network sees them: after size policy and augmentation. See `seen.seen_section`."""
        from sanmaru.tasks.image_classification.seen import seen_section

        return seen_section(self, table, model, train, cache=cache, threads=threads)


if TYPE_CHECKING:

    def _conforms(task: ImageClassification) -> Task:
        return task
