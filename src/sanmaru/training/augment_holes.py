"""GridDropout and random erasing: parts of a normalised picture set to zero, the mean of all pictures.

GridDropout after GridMask (Chen et al., 2020): square holes on a grid, the grid shifted at random. Erasing after Zhong
et al. (2020), filled with the mean (RE-M of the paper). n pictures, B batch, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 0.02
"""Share of the picture that erasing takes at least, as in the paper."""


@dataclass(frozen=True)
class Holes:
    """The drawn holes of n pictures; all lengths as fractions of a side."""

    grid: Tensor | None
    """float32 (n, 4): size of a cell, of its hole (0 for none), shift across, shift down."""
    box: Tensor | None
    """float32 (n, 4): left, top, right, bottom; all 0 for none."""

    def take(self, rows: slice, device: torch.device) -> Holes:
        """Return the draws of some pictures, on a device."""
        grid = None if self.grid is None else self.grid[rows].to(device)
        return Holes(grid, None if self.box is None else self.box[rows].to(device))


def draw_holes(steps: dict[str, dict[str, float]], n: int, generator: torch.Generator) -> Holes | None:
    """Draw the holes of n pictures.

    Args:
        steps: Parameters by name, of `augment_names.HOLES`.
        n: Number of pictures.
        generator: On the CPU.
    """
    if not steps:
        return None

    def uniform() -> Tensor:
        return torch.rand(n, generator=generator)

    grid = box = None
    if given := steps.get("griddropout"):
        cell = torch.full((n,), 1 / given["cells"])
        hole = torch.where(uniform() < given["p"], given["ratio"] * cell, torch.zeros(()))
        grid = torch.stack([cell, hole, uniform() * cell, uniform() * cell], 1)
    if given := steps.get("erasing"):
        chosen = uniform() < given["p"]
        area = SMALLEST + (given["area"] - SMALLEST) * uniform()
        aspect = given["aspect"] ** (2 * uniform() - 1)
        aspect = torch.minimum(torch.maximum(aspect, area), 1 / area)  # neither side above 1, and no second try
        height, width = torch.sqrt(area * aspect), torch.sqrt(area / aspect)
        top, left = (1 - height) * uniform(), (1 - width) * uniform()
        box = torch.stack([left, top, left + width, top + height], 1) * chosen[:, None]
    return Holes(grid, box)


def cover(batch: Tensor, holes: Holes) -> Tensor:
    """Set the holes of a normalised batch (B, C, H, W) to zero, in place."""
    return batch.masked_fill_(mask(holes, *batch.shape[2:])[:, None], 0)


def mask(holes: Holes, height: int, width: int) -> Tensor:
    """Return where the holes are, bool (B, H, W): a pixel is gone when its centre lies in a hole."""
    found = []
    if holes.grid is not None:
        cell, hole, *shifts = holes.grid.chunk(4, 1)
        across, down = (
            torch.remainder(_centres(side, hole) + shift, cell) < hole
            for side, shift in zip((width, height), shifts, strict=True)
        )
        found.append(down[:, :, None] & across[:, None, :])
    if holes.box is not None:
        left, top, right, bottom = holes.box.chunk(4, 1)
        x, y = _centres(width, left), _centres(height, top)
        across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)
        found.append(down[:, :, None] & across[:, None, :])
    return found[0] if len(found) == 1 else found[0] | found[1]


def _centres(side: int, like: Tensor) -> Tensor:
    return ((torch.arange(side, device=like.device) + 0.5) / side)[None, :]
