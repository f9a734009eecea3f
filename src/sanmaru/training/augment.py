"""One warp: geometric augmentations compose to one affine map per picture, applied once to the whole batch.

B batch, C channels, H height, W width. Coordinates are normalised as in `torch.nn.functional.grid_sample` with
`align_corners=False`: -1 and 1 are the outer edges of the picture, whatever its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FLIPS = {"hflip", "vflip"}


@dataclass(frozen=True)
class Warps:
    """The drawn augmentations of n pictures."""

    maps: Tensor | None
    """(n, 2, 3) float32, from output to input coordinates; None where nothing but flips is asked for."""
    left_right: Tensor | None = None
    """(n,) bool, only where `maps` is None."""
    up_down: Tensor | None = None


def draw(augment: Sequence[Mapping[str, float]], n: int, generator: torch.Generator) -> Warps:
    """Draw the augmentations of n pictures; they are applied to a picture in the order of `augment`.

    Args:
        augment: As in `TrainConfig.augment`: one mapping of names to strengths after another.
        n: Number of pictures.
        generator: On the CPU; the same state gives the same draws on every device.
    """
    steps = [(name, strength) for entry in augment for name, strength in entry.items()]
    if all(name in FLIPS for name, _ in steps):
        flags = {name: torch.zeros(n, dtype=torch.bool) for name in FLIPS}
        for name, strength in steps:
            flags[name] ^= torch.rand(n, generator=generator) < strength
        names = {name for name, _ in steps}
        return Warps(None, flags["hflip"] if "hflip" in names else None, flags["vflip"] if "vflip" in names else None)
    # From output to input, the last augmentation is undone first: M = T1⁻¹ · T2⁻¹ · ... · Tk⁻¹.
    maps = torch.eye(3).repeat(n, 1, 1)
    for name, strength in steps:
        maps = maps @ _inverse(name, strength, n, generator)
    return Warps(maps[:, :2].contiguous())


def apply(images: Tensor, warps: Warps, index: Tensor) -> Tensor:
    """Warp a batch.

    Args:
        images: uint8 (B, H, W, C), H = W.
        warps: The draws of all pictures of the epoch, on the device of `images`.
        index: int64 (B,), which draw belongs to which picture of the batch.

    Returns:
        float32 (B, C, H, W) in 0..255. What lies outside the picture is its mirror image, so that no black
        corners betray the angle.
    """
    if warps.maps is not None:
        return warp(images.permute(0, 3, 1, 2), warps.maps[index])
    if warps.left_right is not None:
        images = torch.where(warps.left_right[index][:, None, None, None], images.flip(2), images)
    if warps.up_down is not None:
        images = torch.where(warps.up_down[index][:, None, None, None], images.flip(1), images)
    return images.permute(0, 3, 1, 2).float()


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Sample every picture at the places its map says, bilinearly, mirrored at the edges.

    Args:
        images: (B, C, H, W) of any type.
        maps: float32 (B, 2, 3), from output to input coordinates.

    Returns:
        float32 (B, C, H, W).
    """
    # Channel after channel the sampler reads whole rows; on a CPU that takes half the time of interleaved colours.
    planes = images.to(torch.float32, memory_format=torch.contiguous_format)
    return functional.grid_sample(
        planes, grid(maps, *images.shape[-2:]), padding_mode="reflection", align_corners=False
    )


def grid(maps: Tensor, height: int, width: int) -> Tensor:
    """Return the sampling places (B, H, W, 2) of affine maps.

    The same numbers as `torch.nn.functional.affine_grid`, as two sums of a row and a column instead of a product of
    matrices: a quarter of the time on a CPU.
    """
    x = (torch.arange(width, device=maps.device, dtype=maps.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=maps.device, dtype=maps.dtype) * 2 + 1) / height - 1
    columns = maps[:, :, 0, None] * x  # (B, 2, W)
    rows = maps[:, :, 1, None] * y + maps[:, :, 2, None]  # (B, 2, H)
    out = torch.empty(len(maps), height, width, 2, device=maps.device, dtype=maps.dtype)
    for axis in range(2):
        torch.add(rows[:, axis, :, None], columns[:, axis, None, :], out=out[..., axis])
    return out


def _inverse(name: str, strength: float, n: int, generator: torch.Generator) -> Tensor:
    """Maps (n, 3, 3) from the augmented picture back to the picture before."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    out = torch.eye(3).repeat(n, 1, 1)
    match name:
        case "hflip" | "vflip":
            axis = 0 if name == "hflip" else 1
            out[:, axis, axis] = torch.where(torch.rand(n, generator=generator) < strength, -1.0, 1.0)
        case "rotate":
            angle = uniform(-strength, strength) * (math.pi / 180)
            out[:, 0, 0] = out[:, 1, 1] = torch.cos(angle)
            out[:, 0, 1] = -torch.sin(angle)
            out[:, 1, 0] = torch.sin(angle)
        case "crop":
            cut = uniform(0, min(strength, 0.9))
            out[:, 0, 0] = out[:, 1, 1] = 1 - cut
            out[:, 0, 2] = cut * uniform(-1, 1)
            out[:, 1, 2] = cut * uniform(-1, 1)
        case "scale":
            out[:, 0, 0] = out[:, 1, 1] = 1 / uniform(max(1 - strength, 0.1), 1 + strength)
        case "translate":
            # A side is 2 long in these coordinates.
            out[:, 0, 2] = 2 * uniform(-strength, strength)
            out[:, 1, 2] = 2 * uniform(-strength, strength)
        case _:
            raise ValueError(f"unknown augmentation {name!r}")
    return out
