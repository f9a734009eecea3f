"""Augmentation of whole batches: everything is drawn once per epoch, and applied where the batch lives.

Whatever the order of the list, a picture is first warped (`augment_geometry`), then coloured (`augment_colour`), then
blurred, made noisy and compressed (`augment_pixels`), as on its way through a lens, a sensor and a file. Holes
(`augment_holes`) and mixing (`augment_mix`) come last, on the normalised batch. Within the warp and within the colours
the order of the list counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sanmaru.training import augment_names as names
from sanmaru.training.augment_colour import Colours, apply_colours, draw_colours
from sanmaru.training.augment_geometry import Warps, apply_warps, draw_warps, planes
from sanmaru.training.augment_holes import Holes, draw_holes
from sanmaru.training.augment_mix import Mixing, draw_mixing
from sanmaru.training.augment_pixels import Pixels, apply_pixels, draw_bank, draw_pixels


@dataclass(frozen=True)
class Draws:
    """What was drawn for the pictures of an epoch, in the order in which they are shown; on the CPU."""

    warps: Warps | None = None
    colours: Colours | None = None
    pixels: Pixels | None = None
    holes: Holes | None = None
    mixing: tuple[Mixing | None, ...] | None = None
    """By batch."""
    bank: Tensor | None = None
    """The epoch's normal numbers, where there is noise; on the device of the batches."""

    def take(self, rows: slice, device: torch.device) -> Draws:
        """Return the draws of one batch, `mixing` left out, on a device."""
        return Draws(
            None if self.warps is None else self.warps.take(rows, device),
            None if self.colours is None else self.colours.take(rows, device),
            None if self.pixels is None else self.pixels.take(rows),
            None if self.holes is None else self.holes.take(rows, device),
            bank=self.bank,
        )


def draw(
    augment: Sequence[Mapping[str, Any]],
    sizes: Sequence[int],
    shape: tuple[int, int, int],
    generator: torch.Generator,
    device: torch.device | None = None,
) -> Draws:
    """Draw the augmentations of an epoch.

    Args:
        augment: As in `TrainConfig.augment`: one mapping of names to strengths or parameters after another.
        sizes: Pictures in each batch.
        shape: Of a picture: (C, H, W).
        generator: On the CPU; the same state gives the same draws on every device.
        device: Where the batches live.

    Raises:
        ValueError: for an unknown name or a number out of range.
    """
    border, steps = "reflect", []
    for entry in names.with_defaults(augment):
        for name, given in entry.items():
            if name == names.BORDER:
                border = given
            else:
                steps.append((name, names.parameters(name, given)))
    n = sum(sizes)

    def of(family: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
        return [(name, given) for name, given in steps if name in family]

    warps = draw_warps(of(names.GEOMETRY), n, generator, border)
    colours = draw_colours(of(names.COLOUR), n, generator)
    pixels = draw_pixels(dict(of(names.PIXELS)), n, generator)
    holes = draw_holes(dict(of(names.HOLES)), n, generator)
    mixing = draw_mixing(dict(of(names.MIXING)), sizes, shape[1], generator)
    bank = None
    if pixels is not None and pixels.std is not None:
        bank = draw_bank(shape[0] * shape[1] * shape[2], generator).to(device or torch.device("cpu"))
    return Draws(warps, colours, pixels, holes, mixing, bank)


def apply(images: Tensor, drawn: Draws, mean: Tensor) -> Tensor:
    """Warp, colour, blur, make noisy and compress a batch.

    Args:
        images: uint8 (B, H, W, C), H = W.
        drawn: Of these pictures.
        mean: float32 (C,), that normalisation subtracts.

    Returns:
        float32 (B, C, H, W) in 0..255.
    """
    out = planes(images.permute(0, 3, 1, 2)) if drawn.warps is None else apply_warps(images, drawn.warps, mean)
    if drawn.colours is not None:
        out = apply_colours(out, drawn.colours)
    if drawn.pixels is not None:
        out = apply_pixels(out, drawn.pixels, drawn.bank)
    return out
