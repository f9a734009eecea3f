"""MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019): each picture of a batch with another one of it.

A batch is mixed in one way or not at all. Partners are a permutation of the batch, as in both papers; shares and places
are drawn per picture. B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sanmaru.training.mix import Labels, Mixed


@dataclass(frozen=True)
class Mixing:
    """How one batch is mixed, on the CPU."""

    partner: Tensor
    """int64 (B,), a permutation."""
    share: Tensor
    """float32 (B,), of the picture itself; with boxes exactly the share of pixels it keeps."""
    box: Tensor | None
    """int64 (B, 4), the left, top, right and bottom that a partner fills; None for MixUp."""


def draw_mixing(
    steps: dict[str, dict[str, float]], sizes: Sequence[int], side: int, generator: torch.Generator
) -> tuple[Mixing | None, ...] | None:
    """Draw how each batch of an epoch is mixed.

    Args:
        steps: Parameters by name, of `augment_names.MIXING`. Where their probabilities add up to more than one, they
            are divided by their sum.
        sizes: Pictures in each batch.
        side: Of the pictures, in pixels.
        generator: On the CPU. It seeds NumPy's, which knows the Beta distribution.
    """
    if not steps:
        return None
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    names = list(steps)
    chances = np.array([steps[name]["p"] for name in names])
    bounds = np.cumsum(chances / max(1.0, float(chances.sum())))
    out: list[Mixing | None] = []
    for size in sizes:
        place = int(np.searchsorted(bounds, rng.random(), side="right"))
        if place == len(names):
            out.append(None)
            continue
        name = names[place]
        partner = torch.from_numpy(rng.permutation(size))
        kept = rng.beta(steps[name]["alpha"], steps[name]["alpha"], size)
        box = None
        if name == "cutmix":
            reach = np.sqrt(1 - kept) * side / 2
            centre = rng.integers(0, side, (2, size))
            corners = np.stack([*(centre - reach), *(centre + reach)], 1)
            edges = np.clip(np.rint(corners), 0, side).astype(np.int64)
            kept = 1 - (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1]) / side**2
            box = torch.from_numpy(edges)
        out.append(Mixing(partner, torch.from_numpy(kept.astype(np.float32)), box))
    return tuple(out)


def mix(batch: Tensor, labels: Tensor, drawn: Mixing) -> tuple[Tensor, Labels]:
    """Mix a batch.

    Args:
        batch: float32 (B, C, H, W).
        labels: int64 (B,) or (B, T).
        drawn: How; for this batch.
    """
    partner, share = drawn.partner.to(batch.device), drawn.share.to(batch.device)
    # Several times quicker than batch[partner], and channels stay last.
    others = batch.permute(0, 2, 3, 1).index_select(0, partner).permute(0, 3, 1, 2)
    if drawn.box is None:
        out = torch.lerp(others, batch, share[:, None, None, None])
    else:
        left, top, right, bottom = drawn.box.to(batch.device).chunk(4, 1)
        x, y = (torch.arange(side, device=batch.device)[None, :] for side in (batch.shape[3], batch.shape[2]))
        inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
        out = torch.where(inside[:, None], others, batch)
    return out, Mixed(labels, labels[partner], share)
