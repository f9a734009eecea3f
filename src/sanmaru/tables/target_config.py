"""What the project file says of a target: its classes in order, or the bands that a number is cut into."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from sanmaru.config import Config


class TargetConfig(Config):
    """One target. A bare name in `data.target` means a target of which nothing more is said."""

    name: str
    """Column of the table."""
    classes: tuple[str, ...] = ()
    """Its classes in the order that codes and tables take them; sorted as found in the data where absent."""
    bands: tuple[float, ...] = ()
    """Cut points of a number: [30, 60] makes the classes <30, 30-59 and >=60."""
    labels: tuple[str, ...] = ()
    """What the classes or bands are called in predictions and reports; one per class or band."""
    finer: Annotated[float, Field(gt=0)] | tuple[float, ...] | None = None
    """Width of narrower bins that the network learns in place of the bands, or their cut points."""
    map: Literal["expectation", "sum"] = "expectation"
    """How finer bins become bands: by mean and variance of what is predicted, or by summing the bins of a band."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of the target's loss in the sum, where heads are `shared`."""

    @field_validator("classes", "labels", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in value)

    @field_validator("bands", "finer", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any, info: Any) -> Any:
        one = isinstance(value, int | float) and not isinstance(value, bool)
        return (value,) if one and info.field_name == "bands" else value

    @model_validator(mode="after")
    def _fits_together(self) -> TargetConfig:
        if self.classes and self.bands:
            raise ValueError(f"target {self.name!r} has both `classes` and `bands`; give one of the two")
        for key, values in (("bands", self.bands), ("finer", self.finer if isinstance(self.finer, tuple) else ())):
            if any(a >= b for a, b in pairwise(values)):
                raise ValueError(f"`{key}` of target {self.name!r} must rise from cut point to cut point")
        for key, texts in (("classes", self.classes), ("labels", self.labels)):
            if len(set(texts)) < len(texts):
                raise ValueError(f"`{key}` of target {self.name!r} names one twice")
        if len(self.classes) == 1:
            raise ValueError(f"`classes` of target {self.name!r} needs at least two")
        if self.finer is not None and not self.bands:
            raise ValueError(f"`finer` of target {self.name!r} needs `bands`, which the finer bins are mapped back to")
        known = len(self.classes) or (len(self.bands) + 1 if self.bands else 0)
        if self.labels and len(self.labels) != known:
            raise ValueError(
                f"`labels` of target {self.name!r} holds {len(self.labels)} and there are {known} classes or bands"
                + ("" if known else "; give `classes` too, in the same order")
            )
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not said, so that reports and comparisons of runs show targets as people write them."""
        fields = type(self).model_fields
        return {k: v for k, v in handler(self).items() if k == "name" or getattr(self, k) != fields[k].default}

    @property
    def plain(self) -> bool:
        """Whether nothing but the name is said."""
        return not (self.classes or self.bands)


class JointConfig(Config):
    """The one label that several targets make together."""

    name: str | None = None
    """Column of the joint label in predictions; the targets' names joined by `_` where absent."""
    labels: Literal["text", "codes"] = "text"
    """`text`: Wear/male/<30; `codes`: the place in the product of the classes, the last target running fastest."""
