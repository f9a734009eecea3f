"""Pictures with a heat map over them, as small JPEGs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sanmaru.images.read import thumbnail

STRENGTH = 0.75
"""Opacity of the colour where the map is 1."""
DIMMED = 0.65
"""Light that is left where the map is 0."""


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32], side: int) -> bytes:
    """Return a JPEG of a picture, dimmed and almost grey, under the colours of a heat map.

    Colour, lightness and opacity all grow with the map, from the dim picture itself over violet and orange to light
    yellow: what mattered stands out on white grounds and dark ones, and for people who do not tell colours apart.

    Args:
        pixels: uint8 (h, w, 3).
        heat: float32 (H, W) in [0, 1]; stretched over the picture.
        side: Of the longer side, in pixels.
    """
    import cv2

    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    ground = cv2.resize(pixels, size, interpolation=smooth)
    grey = np.repeat((ground @ np.array([0.299, 0.587, 0.114]))[:, :, None], 3, axis=2)
    ground = DIMMED * (0.3 * ground + 0.7 * grey)
    levels = np.clip(cv2.resize(heat.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((levels * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1].astype(np.float64)
    opacity = STRENGTH * levels[:, :, None]
    mixed = (1 - opacity) * ground + opacity * colours
    return thumbnail(np.clip(mixed + 0.5, 0, 255).astype(np.uint8), side, quality=85)
