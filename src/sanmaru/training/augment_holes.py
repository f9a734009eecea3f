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
    return batch.mul_(kept(holes, *batch.shape[2:])[:, None])


def kept(holes: Holes, height: int, width: int) -> Tensor:
    """Return float32 (B, H, W): 0 where a pixel's centre lies in a hole, else 1."""
    found = []
    if holes.grid is not None:
        cell, hole, *shifts = holes.grid.chunk(4, 1)
        across, down = (
            (torch.remainder(_centres(side, hole) + shift, cell) < hole).float()
            for side, shift in zip((width, height), shifts, strict=True)
        )
        found.append((down, across))
    if holes.box is not None:
        left, top, right, bottom = holes.box.chunk(4, 1)
        x, y = _centres(width, left), _centres(height, top)
        found.append((((y >= top) & (y < bottom)).float(), ((x >= left) & (x < right)).float()))
    # In numbers, not truth values: several times quicker on a CPU.
    one, *others = (1 - down[:, :, None] * across[:, None, :] for down, across in found)
    return one.mul_(others[0]) if others else one


def _centres(side: int, like: Tensor) -> Tensor:
    return ((torch.arange(side, device=like.device) + 0.5) / side)[None, :]
