"""MixUp and CutMix, seen from the loss: a mixed picture counts under two labels, under each by its share.

B batch, T targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class Mixed(NamedTuple):
    """The labels of a mixed batch. Its `len` is that of a tuple, 3; `rows` counts the pictures."""

    labels: Tensor
    """int64 (B,) or (B, T)."""
    other: Tensor
    """As `labels`: of the pictures mixed in."""
    share: Tensor
    """float32 (B,) in [0, 1]: how much of `labels` there is in each picture; the rest is `other`."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Mixed:
        """Return the same with every tensor changed, such as a slice of its rows."""
        return Mixed(change(self.labels), change(self.other), change(self.share))


Labels = Tensor | Mixed


def rows(labels: Labels) -> int:
    """Return the number of pictures."""
    return len(labels.labels if isinstance(labels, Mixed) else labels)


def mixed_loss(loss: nn.Module, outputs: Tensor, labels: Labels) -> Tensor:
    """Return the loss of a batch whose labels may be mixed: share · loss(labels) + (1 - share) · loss(other).

    Args:
        loss: Of (outputs, labels), and for mixed labels of (outputs, labels, weights): then the sum of weight · loss
            over the rows, divided by their number.
        outputs: (B, width).
        labels: Plain or mixed.

    Returns:
        A scalar.
    """
    value: Tensor
    if isinstance(labels, Mixed):
        value = loss(outputs, labels.labels, labels.share) + loss(outputs, labels.other, 1 - labels.share)
    else:
        value = loss(outputs, labels)
    return value
