"""Size policy: how a picture of any shape becomes the square that the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sanmaru.config import Config

Kind = Literal["stretch", "letterbox", "center-crop"]
Anchor = Literal["center", "top-left"]
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

ZERO: Colour = (124, 116, 104)
"""The mean of ImageNet, which most pretrained networks subtract."""

Byte = Annotated[int, Field(ge=0, le=255)]


class FitConfig(Config):
    """How a picture is fitted into the square. The aspect ratio gives way only to `stretch`."""

    kind: Kind = "stretch"
    """`stretch`: both sides are resized; `letterbox`: the longer side is resized and the shorter one padded;
    `center-crop`: the shorter side is resized and the longer one cut on both ends."""
    fill: Byte | tuple[Byte, Byte, Byte] | Literal["zero", "edge"] = "zero"
    """Padding of a letterbox: `zero`, the colour that normalisation turns into zero; `edge`, the picture's own
    outermost pixels; a grey value 0..255, or red, green and blue."""
    anchor: Anchor = "center"
    """Where a letterbox puts the picture: `center`, or `top-left`."""
    crop_box: Box | None = None
    """Cut out before all else: left, top, right, bottom; as fractions where none is above 1, else in pixels."""

    @model_validator(mode="after")
    def _box_holds_something(self) -> FitConfig:
        if self.crop_box is None:
            return self
        left, top, right, bottom = self.crop_box
        if min(self.crop_box) < 0 or right <= left or bottom <= top:
            raise ValueError(
                f"crop_box is left, top, right, bottom with 0 <= left < right and 0 <= top < bottom, got "
                f"{list(self.crop_box)}"
            )
        if max(self.crop_box) > 1 and any(value != int(value) for value in self.crop_box):
            raise ValueError(
                f"crop_box is either fractions in [0, 1] or whole pixels, got both in {list(self.crop_box)}"
            )
        return self

    def reader(self, zero: Colour = ZERO) -> Fit:
        """Return what the reader needs.

        Args:
            zero: The colour that normalisation turns into zero.
        """
        if self.kind != "letterbox":
            return Fit(self.kind, box=self.crop_box)
        fill = self.fill
        colour = zero if fill == "zero" else None if fill == "edge" else (fill,) * 3 if isinstance(fill, int) else fill
        return Fit(self.kind, colour, self.anchor, self.crop_box, colour if fill == "zero" else None)


@dataclass(frozen=True)
class Fit:
    """A size policy, ready for the reader."""

    kind: Kind = "stretch"
    fill: Colour | None = None
    """Padding of a letterbox; None repeats the picture's outermost pixels."""
    anchor: Anchor = "center"
    box: Box | None = None
    """As `FitConfig.crop_box`."""
    zero: Colour | None = None
    """The padding, where normalisation should turn it into zero; a network from scratch then subtracts just this."""

    @property
    def name(self) -> str:
        """A short text that differs where pixels would; empty for a plain stretch. Part of cache keys."""
        parts = []
        if self.box is not None:
            parts.append("box_" + "_".join(f"{value:g}" for value in self.box))
        if self.kind == "letterbox":
            parts.append("letterbox_" + ("edge" if self.fill is None else "_".join(map(str, self.fill))))
            parts += ["top-left"] if self.anchor == "top-left" else []
        elif self.kind != "stretch":
            parts.append(self.kind)
        return "-".join(parts)
