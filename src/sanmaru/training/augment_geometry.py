"""One warp: geometric augmentations compose to one homography per picture, applied once to the whole batch.

B batch, C channels, H height, W width. Coordinates are normalised as in `torch.nn.functional.grid_sample` with
`align_corners=False`: -1 and 1 are the outer edges of the picture, whatever its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FLIPS = {"hflip", "vflip"}
PADDING = {"reflect": "reflection", "edge": "border", "mean": "zeros"}


@dataclass(frozen=True)
class Warps:
    """The drawn geometric augmentations of n pictures."""

    maps: Tensor | None
    """float32 from output to input coordinates: affine (n, 2, 3), or (n, 3, 3) where perspective joins; None where
    nothing but flips is asked for."""
    left_right: Tensor | None = None
    """(n,) bool, only where `maps` is None."""
    up_down: Tensor | None = None
    border: str = "reflect"

    def take(self, rows: slice, device: torch.device) -> Warps:
        """Return the draws of some pictures, on a device."""
        maps, left_right, up_down = (_moved(part, rows, device) for part in (self.maps, self.left_right, self.up_down))
        return Warps(maps, left_right, up_down, self.border)


def draw_warps(
    steps: Sequence[tuple[str, dict[str, float]]], n: int, generator: torch.Generator, border: str = "reflect"
) -> Warps | None:
    """Draw the geometric augmentations of n pictures; they are applied to a picture in the order of `steps`.

    Args:
        steps: Names with all their parameters, of `augment_names.GEOMETRY`.
        n: Number of pictures.
        generator: On the CPU.
        border: Of `augment_names.BORDERS`.
    """
    if not steps:
        return None
    if all(name in FLIPS for name, _ in steps):
        flags = {name: torch.zeros(n, dtype=torch.bool) for name in FLIPS}
        for name, given in steps:
            flags[name] ^= torch.rand(n, generator=generator) < given["p"]
        names = {name for name, _ in steps}
        return Warps(None, flags["hflip"] if "hflip" in names else None, flags["vflip"] if "vflip" in names else None)
    # From output to input, the last augmentation is undone first: M = T1⁻¹ · T2⁻¹ · ... · Tk⁻¹.
    maps = torch.eye(3).repeat(n, 1, 1)
    for name, given in steps:
        maps = maps @ _inverse(name, given, n, generator)
    affine = all(name != "perspective" for name, _ in steps)
    return Warps(maps[:, :2].contiguous() if affine else maps, border=border)


def _moved(part: Tensor | None, rows: slice, device: torch.device) -> Tensor | None:
    return None if part is None else part[rows].to(device)


def apply_warps(images: Tensor, warps: Warps, mean: Tensor) -> Tensor:
    """Warp a batch.

    Args:
        images: uint8 (B, H, W, C), H = W.
        warps: The draws of these pictures, on their device.
        mean: float32 (C,), seen outside of a picture where `border` is "mean".

    Returns:
        float32 (B, C, H, W) in 0..255.
    """
    if warps.maps is not None:
        return warp(images.permute(0, 3, 1, 2), warps.maps, warps.border, mean)
    if warps.left_right is not None:
        images = torch.where(warps.left_right[:, None, None, None], images.flip(2), images)
    if warps.up_down is not None:
        images = torch.where(warps.up_down[:, None, None, None], images.flip(1), images)
    return planes(images.permute(0, 3, 1, 2))


def planes(images: Tensor) -> Tensor:
    """Return (B, C, H, W) as float32, one channel after the other in memory."""
    # Bytes are moved, not floats, and a sampler that reads whole rows takes half the time on a CPU.
    return images.contiguous(memory_format=torch.contiguous_format).float()


def warp(images: Tensor, maps: Tensor, border: str = "reflect", mean: Tensor | None = None) -> Tensor:
    """Sample every picture at the places its map says, bilinearly.

    Args:
        images: (B, C, H, W) of any type.
        maps: float32 (B, 2, 3) or (B, 3, 3), from output to input coordinates.
        border: What is seen outside: the mirror image, the outermost pixels, or `mean`.
        mean: float32 (C,), needed with border "mean".

    Returns:
        float32 (B, C, H, W).
    """
    source = planes(images)
    shift = None
    if border == "mean":
        assert mean is not None
        shift = mean[:, None, None]
        source = source - shift
    places = grid(maps, *images.shape[-2:])
    out = functional.grid_sample(source, places, padding_mode=PADDING[border], align_corners=False)
    return out if shift is None else out.add_(shift)


def grid(maps: Tensor, height: int, width: int) -> Tensor:
    """Return the sampling places (B, H, W, 2) of affine maps (B, 2, 3) or homographies (B, 3, 3).

    Affine ones are the same numbers as `torch.nn.functional.affine_grid`, as two sums of a row and a column instead of
    a product of matrices: a tenth of the time on a CPU.
    """
    x = (torch.arange(width, device=maps.device, dtype=maps.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=maps.device, dtype=maps.dtype) * 2 + 1) / height - 1
    columns = maps[:, :, 0, None] * x  # (B, 2 or 3, W)
    rows = maps[:, :, 1, None] * y + maps[:, :, 2, None]  # (B, 2 or 3, H)
    out = torch.empty(len(maps), height, width, 2, device=maps.device, dtype=maps.dtype)
    for axis in range(2):
        torch.add(rows[:, axis, :, None], columns[:, axis, None, :], out=out[..., axis])
    if maps.shape[1] == 3:
        out /= (rows[:, 2, :, None] + columns[:, 2, None, :])[..., None]
    return out


def _inverse(name: str, given: dict[str, float], n: int, generator: torch.Generator) -> Tensor:
    """Maps (n, 3, 3) from the augmented picture back to the picture before."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    out = torch.eye(3).repeat(n, 1, 1)
    match name:
        case "hflip" | "vflip":
            axis = 0 if name == "hflip" else 1
            out[:, axis, axis] = torch.where(torch.rand(n, generator=generator) < given["p"], -1.0, 1.0)
            return out
        case "rotate":
            angle = uniform(-given["degrees"], given["degrees"]) * (math.pi / 180)
            out[:, 0, 0] = out[:, 1, 1] = torch.cos(angle)
            out[:, 0, 1] = -torch.sin(angle)
            out[:, 1, 0] = torch.sin(angle)
        case "crop":
            cut = uniform(0, given["fraction"])
            out[:, 0, 0] = out[:, 1, 1] = 1 - cut
            out[:, 0, 2] = cut * uniform(-1, 1)
            out[:, 1, 2] = cut * uniform(-1, 1)
        case "scale":
            out[:, 0, 0] = out[:, 1, 1] = 1 / uniform(1 - given["range"], 1 + given["range"])
        case "translate":
            # A side is 2 long in these coordinates.
            out[:, 0, 2] = 2 * uniform(-given["fraction"], given["fraction"])
            out[:, 1, 2] = 2 * uniform(-given["fraction"], given["fraction"])
        case "shear":
            for row, column in ((0, 1), (1, 0)):
                slant = torch.tan(uniform(-given["degrees"], given["degrees"]) * (math.pi / 180))
                one = torch.eye(3).repeat(n, 1, 1)
                one[:, row, column] = slant
                out = out @ one
        case "perspective":
            reach = 2 * given["fraction"]
            out = _square_to(torch.stack([uniform(-reach, reach) for _ in range(8)], 1).view(n, 4, 2))
        case _:
            raise ValueError(f"unknown augmentation {name!r}")
    if given["p"] < 1:
        out[torch.rand(n, generator=generator) >= given["p"]] = torch.eye(3)
    return out


def _square_to(moves: Tensor) -> Tensor:
    """Return the homographies (n, 3, 3) that take the corners of a picture to where they are moved.

    The closed form of Heckbert, "Fundamentals of texture mapping and image warping" (1989), section 2.2.3.

    Args:
        moves: float32 (n, 4, 2), added to the corners (-1, -1), (1, -1), (1, 1), (-1, 1).
    """
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) + moves
    p0, p1, p2, p3 = corners.unbind(1)
    (dx1, dy1), (dx2, dy2), (sx, sy) = (v.unbind(1) for v in (p1 - p2, p3 - p2, p0 - p1 + p2 - p3))
    det = dx1 * dy2 - dx2 * dy1
    g = (sx * dy2 - dx2 * sy) / det
    h = (dx1 * sy - sx * dy1) / det
    out = torch.empty(len(moves), 3, 3)
    out[:, :2, 0] = p1 - p0 + g[:, None] * p1
    out[:, :2, 1] = p3 - p0 + h[:, None] * p3
    out[:, :2, 2] = p0
    out[:, 2, 0], out[:, 2, 1], out[:, 2, 2] = g, h, 1
    # That was from the unit square; from ours, u = (x + 1) / 2.
    return out @ torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
