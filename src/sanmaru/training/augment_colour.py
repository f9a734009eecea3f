"""One colour map: brightness, contrast, saturation, hue and grey compose to one affine map of RGB per picture.

Each of them takes a pixel x (3,) to a·x + b·μ, where μ (3,) is the picture's mean colour: contrast turns about the mean
grey, the others leave b zero. As the mean of a picture so changed is (a + b)·μ, the product of several is again such a
pair, known before any picture is seen; only μ is measured, once per picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in grey (ITU-R BT.601), as Pillow has it."""


@dataclass(frozen=True)
class Colours:
    """The drawn colour changes of n pictures."""

    pixel: Tensor
    """float32 (n, 3, 3), a above."""
    mean: Tensor | None
    """float32 (n, 3, 3), b above; None without contrast."""

    def take(self, rows: slice, device: torch.device) -> Colours:
        """Return the draws of some pictures, on a device."""
        return Colours(self.pixel[rows].to(device), None if self.mean is None else self.mean[rows].to(device))


def draw_colours(steps: Sequence[tuple[str, dict[str, float]]], n: int, generator: torch.Generator) -> Colours | None:
    """Draw the colour changes of n pictures; they are applied to a picture in the order of `steps`.

    Args:
        steps: Names with all their parameters, of `augment_names.COLOUR`.
        n: Number of pictures.
        generator: On the CPU.
    """
    if not steps:
        return None
    pixel = torch.eye(3).repeat(n, 1, 1)
    mean = torch.zeros(n, 3, 3)
    for name, given in steps:
        a, b = _change(name, given, n, generator)
        pixel, mean = a @ pixel, a @ mean + (0 if b is None else b @ (pixel + mean))
    return Colours(pixel, mean if any(name == "contrast" for name, _ in steps) else None)


def apply_colours(images: Tensor, colours: Colours) -> Tensor:
    """Change the colours of a batch float32 (B, 3, H, W) in 0..255; what leaves that range is clipped, at the end."""
    flat = images.flatten(2)
    if colours.mean is None:
        out = torch.bmm(colours.pixel, flat)
    else:
        out = torch.baddbmm(colours.mean @ flat.mean(2, keepdim=True), colours.pixel, flat)
    return out.clamp_(0, 255).view_as(images)


def _change(name: str, given: dict[str, float], n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Maps (n, 3, 3) of the pixel, and of the mean where it counts."""

    def factor() -> Tensor:
        drawn = 1 + given["range"] * (2 * torch.rand(n, 1, 1, generator=generator) - 1)
        return torch.where(chosen, drawn, torch.ones(()))

    chosen = torch.ones(n, 1, 1, dtype=torch.bool)
    if given["p"] < 1:
        chosen = torch.rand(n, 1, 1, generator=generator) < given["p"]
    same = torch.eye(3)
    grey = torch.tensor(LUMA).repeat(3, 1)
    match name:
        case "brightness":
            return factor() * same, None
        case "contrast":
            f = factor()
            return f * same, (1 - f) * grey
        case "saturation":
            f = factor()
            return f * same + (1 - f) * grey, None
        case "grey":
            return torch.where(chosen, grey, same), None
        case "hue":
            drawn = given["degrees"] * (2 * torch.rand(n, generator=generator) - 1)
            return torch.where(chosen, _turns(drawn * (math.pi / 180)), same), None
        case _:
            raise ValueError(f"unknown augmentation {name!r}")


def _turns(angle: Tensor) -> Tensor:
    """Rotations (n, 3, 3) about the grey axis (1, 1, 1), after Rodrigues."""
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return cos * torch.eye(3) + sin * across + (1 - cos) * torch.full((3, 3), 1 / 3)
