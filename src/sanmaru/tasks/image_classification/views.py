"""Test-time augmentation as part of the network: views of each picture in, the mean of their probabilities out.

It is a module like any other, so the ONNX file of a package carries it, and prediction and serving need no code for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Views(nn.Module):
    """A network asked about several views of each picture.

    The answers are averaged as probabilities and given as their logarithms, which are logits of the same
    probabilities: log(1/V · Σ softmax(zᵥ)), taken as log-mean-exp of log-softmaxes.

    Args:
        network: Gives logits (B, classes) of pictures (B, 3, S, S).
        tta: As `tta.read_tta` gives it: `hflip`, `vflip`, `rot90`, `crop`, `five-crop`, `scale`. The picture itself
            is always one of the views.
    """

    def __init__(self, network: nn.Module, tta: Sequence[Mapping[str, float]]) -> None:
        super().__init__()
        self.network = network
        self.tta = tuple(dict(entry) for entry in tta)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities (B, classes)."""
        views = [images, *self.views(images)]
        # One pass over all of them, so that an exported graph holds the network once.
        logits = self.network(torch.cat(views))
        logs = torch.log_softmax(logits.float(), dim=-1).reshape(len(views), -1, logits.shape[-1])
        return torch.logsumexp(logs, dim=0) - math.log(len(views))

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the views besides the pictures themselves, each (B, 3, S, S)."""
        for entry in self.tta:
            for name, number in entry.items():
                yield from _views(images, name, number)


def _views(images: Tensor, name: str, number: float) -> Iterator[Tensor]:
    if name == "hflip":
        yield images.flip(3)
    elif name == "vflip":
        yield images.flip(2)
    elif name == "rot90":
        turned = images.transpose(2, 3)
        yield turned.flip(2)
        yield images.flip(2).flip(3)
        yield turned.flip(3)
    elif name == "crop":
        yield cut(images, (1 - number) / 2, (1 - number) / 2, number)
    elif name == "five-crop":
        far = 1 - number
        for top, left in ((0.0, 0.0), (0.0, far), (far, 0.0), (far, far), (far / 2, far / 2)):
            yield cut(images, top, left, number)
    elif name == "scale":
        yield cut(images, (1 - 1 / number) / 2, (1 - 1 / number) / 2, 1 / number)
    else:
        raise ValueError(f"unknown view {name!r}")


def cut(images: Tensor, top: float, left: float, side: float) -> Tensor:
    """Return a square of the pictures at their own size again, bilinearly.

    As two products with constant matrices, which any runtime computes alike and quickly.

    Args:
        images: (B, C, S, S).
        top: Upper edge, as a share of S; may lie outside, where the outermost pixels go on.
        left: Left edge.
        side: Of the square, as a share of S; above 1 the picture gets smaller.
    """
    size = int(images.shape[-1])
    rows, columns = (torch.from_numpy(_weights(size, start, side)).to(images) for start in (top, left))
    return rows @ images @ columns.T


@functools.lru_cache(maxsize=64)
def _weights(size: int, start: float, length: float) -> NDArray[np.float32]:
    """Return (size, size): row i mixes the pixels that lie under pixel i of the new picture.

    A triangle of one pixel's half-width is bilinear interpolation; where the picture gets smaller it is as wide as a
    new pixel, so that none of the old ones is skipped. NumPy's, for an exported graph to hold it as a constant.
    """
    places = (np.arange(size) + 0.5) * length + start * size - 0.5
    reach = max(1.0, length)
    margin = size * math.ceil(abs(start) + max(0.0, start + length - 1) + 1)
    pixels = np.arange(-margin, size + margin)
    weights = np.maximum(1 - np.abs(pixels - places[:, None]) / reach, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = np.zeros((size, size))
    np.add.at(inside.T, pixels.clip(0, size - 1), weights.T)
    return inside.astype(np.float32)
