"""Blur, noise and JPEG, each only on the pictures that drew it.

B batch, n pictures of an epoch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sanmaru.training.jpeg import compress

BANK = 2**20
"""Normal numbers drawn per epoch. A picture's noise begins at a place of its own in them: as good as fresh numbers to
the eye of a network, and a tenth of their cost."""


@dataclass(frozen=True)
class Pixels:
    """The drawn blur, noise and JPEG of n pictures, on the CPU."""

    sigma: Tensor | None = None
    """float32 (n,), of the blur in pixels; 0 for none."""
    std: Tensor | None = None
    """float32 (n,), of the noise in 0..255; 0 for none."""
    place: Tensor | None = None
    """int64 (n,), where in the bank a picture's noise begins."""
    quality: Tensor | None = None
    """float32 (n,), of the JPEG in 1..100; 0 for none."""

    def take(self, rows: slice) -> Pixels:
        """Return the draws of some pictures. They stay on the CPU, where it is decided which pictures are touched."""
        sigma, std, place, quality = (
            None if part is None else part[rows] for part in (self.sigma, self.std, self.place, self.quality)
        )
        return Pixels(sigma, std, place, quality)


def draw_pixels(steps: dict[str, dict[str, float]], n: int, generator: torch.Generator) -> Pixels | None:
    """Draw blur, noise and JPEG of n pictures.

    Args:
        steps: Parameters by name, of `augment_names.PIXELS`.
        n: Number of pictures.
        generator: On the CPU.
    """
    if not steps:
        return None

    def some(p: float, values: Tensor) -> Tensor:
        return torch.where(torch.rand(n, generator=generator) < p, values, torch.zeros(()))

    sigma = std = place = quality = None
    if blur := steps.get("blur"):
        sigma = some(blur["p"], blur["sigma"] * torch.rand(n, generator=generator))
    if noise := steps.get("noise"):
        std = some(noise["p"], noise["std"] * torch.rand(n, generator=generator))
        place = torch.randint(0, BANK, (n,), generator=generator)
    if jpeg := steps.get("jpeg"):
        low, high = jpeg["quality"], jpeg["best"]
        quality = some(jpeg["p"], (low + (high - low) * torch.rand(n, generator=generator)).round())
    return Pixels(sigma, std, place, quality)


def draw_bank(numbers: int, generator: torch.Generator) -> Tensor:
    """Draw the normal numbers of an epoch, float32 (BANK + numbers,), for pictures of `numbers` values."""
    return torch.randn(BANK + numbers, generator=generator)


def apply_pixels(images: Tensor, drawn: Pixels, bank: Tensor | None) -> Tensor:
    """Blur, then add noise, then compress.

    Args:
        images: float32 (B, 3, H, W) in 0..255; may be changed in place.
        drawn: Of these pictures.
        bank: Normal numbers on the device of `images`, where there is noise.
    """
    if drawn.sigma is not None and len(rows := drawn.sigma.nonzero().flatten()):
        which = rows.to(images.device)
        sigma = drawn.sigma[rows]
        radius = min(math.ceil(4 * float(sigma.max())), *images.shape[2:])
        images.index_copy_(0, which, blurred(images.index_select(0, which), sigma.to(images.device), radius))
    if drawn.std is not None and len(rows := drawn.std.nonzero().flatten()):
        assert drawn.place is not None
        assert bank is not None
        which = rows.to(images.device)
        numbers = images[0].numel()
        normal = bank.as_strided((BANK, numbers), (1, 1)).index_select(0, drawn.place[rows].to(images.device))
        noise = normal.mul_(drawn.std[rows, None].to(images.device)).view(len(rows), *images.shape[1:])
        images.index_copy_(0, which, noise.add_(images.index_select(0, which)).clamp_(0, 255))
    if drawn.quality is not None and len(rows := drawn.quality.nonzero().flatten()):
        which = rows.to(images.device)
        images.index_copy_(0, which, compress(images.index_select(0, which), drawn.quality[rows].to(images.device)))
    return images


def blurred(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each picture with a Gaussian of its own width, mirrored at the edges.

    The weights of a picture are the same in all its pixels, so that a pass is a sum of shifted pictures: a third of the
    time of a convolution with as many groups as there are planes.

    Args:
        images: float32 (B, C, H, W).
        sigma: float32 (B,), in pixels.
        radius: Pixels after which the Gaussian ends; neither side may be smaller.

    Returns:
        float32 (B, C, H, W).
    """
    at = torch.arange(radius + 1, device=sigma.device)
    weights = torch.exp(-0.5 * (at / sigma.clamp_min(1e-3)[:, None]) ** 2)
    weights /= (2 * weights.sum(1) - 1)[:, None]
    for axis in (3, 2):
        side = images.shape[axis]
        start, end = images.narrow(axis, 0, radius), images.narrow(axis, side - radius, radius)
        padded = torch.cat([start.flip(axis), images, end.flip(axis)], axis)
        images = images * weights[:, 0, None, None, None]
        for away in range(1, radius + 1):
            both = padded.narrow(axis, radius - away, side) + padded.narrow(axis, radius + away, side)
            images.addcmul_(both, weights[:, away, None, None, None])
    return images
