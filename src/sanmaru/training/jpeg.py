"""What JPEG does to a picture, for whole batches: colour, subsampling, cosine transform, quantisation, and back.

Follows libjpeg's baseline with its usual settings (4:2:0 chroma, smooth upsampling, tables of ITU-T T.81 annex K
scaled by quality). Coding itself loses nothing and is left out. What remains different from a file written and read
by libjpeg is how ties are rounded: on photographs within one grey level on average; a test holds it to that.

B batch, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99, 99, 99, 99, 99, 99, 99, 99),) * 4,
)
"""Quantisation steps at quality 50, by vertical and horizontal frequency."""


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Return pictures as they come back from JPEG files.

    Args:
        images: float32 (B, 3, H, W), RGB in 0..255.
        quality: float32 (B,), in 1..100, as Pillow and OpenCV count it.

    Returns:
        float32 (B, 3, H, W), whole numbers in 0..255.
    """
    height, width = images.shape[2:]
    # Both chroma halves and 8 x 8 blocks must come out even; libjpeg repeats the last row and column, too.
    whole = functional.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate").round()
    tall, wide = whole.shape[2:]
    to_ycc, to_rgb = (matrix.to(images.device) for matrix in _matrices())
    planes = torch.matmul(to_ycc, whole.flatten(2)).view_as(whole).round_()  # centred: black is -128, no colour 0
    planes[:, 0] -= 128
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    light = _quantised(planes[:, :1], _table(LUMINANCE, scale))
    small = functional.avg_pool2d(planes[:, 1:], 2).round_()
    small = _quantised(small, _table(CHROMINANCE, scale))
    # libjpeg's "fancy upsampling", weights 3/4 and 1/4, is this interpolation.
    chroma = functional.interpolate(small.round(), size=(tall, wide), mode="bilinear", align_corners=False)
    back = torch.cat([(light.round() + 128).clamp_(0, 255), chroma], 1)
    out = torch.matmul(to_rgb, back.flatten(2)).view_as(whole)
    return out[:, :, :height, :width].round().clamp_(0, 255)


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Round the cosine transform of every 8 x 8 block of (B, K, H, W) to multiples of (B, 8, 8)."""
    n, k, height, width = planes.shape
    blocks = planes.view(n, k, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5).reshape(n, -1, 64)
    basis = _basis(planes.device)
    steps = table.reshape(n, 1, 64)
    frequencies = (blocks @ basis.T).div_(steps).round_().mul_(steps)
    back = (frequencies @ basis).view(n, k, height // 8, width // 8, 8, 8)
    return back.permute(0, 1, 2, 4, 3, 5).reshape(n, k, height, width)


def _table(base: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    steps = torch.tensor(base, dtype=torch.float32, device=scale.device)
    return torch.floor((steps * torch.floor(scale) + 50) / 100).clamp_(1, 255)


def _basis(device: torch.device) -> Tensor:
    """Return the two-dimensional cosine transform of a flattened 8 x 8 block, (64, 64), orthonormal."""
    at = torch.arange(8, dtype=torch.float64)
    one = torch.cos(math.pi / 8 * (at[None, :] + 0.5) * at[:, None]) * 0.5
    one[0] /= math.sqrt(2)
    return torch.kron(one, one).float().to(device)


def _matrices() -> tuple[Tensor, Tensor]:
    """Return the maps (3, 3) from RGB to brightness and two colour differences, and back (JFIF 1.02)."""
    rows = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    there = torch.tensor(rows)
    return there, torch.linalg.inv(there)
