"""Autoencoders of windows of rows: what they cannot restore is unlike what they learned from.

B batch, W rows of a window, D numbers of a row, H hidden width, K numbers of the code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DenseAutoEncoder(nn.Module):
    """A window (B, W, D) through a code of K numbers and back, all its numbers at once.

    Args:
        window: W; 1 for single rows.
        width: D.
        hidden: H.
        code: K.
    """

    def __init__(self, window: int, width: int, *, hidden: int = 64, code: int = 8) -> None:
        super().__init__()
        self.shape = (window, width)
        self.encode = nn.Sequential(nn.Linear(window * width, hidden), nn.GELU(), nn.Linear(hidden, code))
        self.decode = nn.Sequential(nn.Linear(code, hidden), nn.GELU(), nn.Linear(hidden, window * width))

    def forward(self, windows: Tensor) -> Tensor:
        """Return the restored windows (B, W, D)."""
        restored: Tensor = self.decode(self.encode(windows.flatten(1)))
        return restored.view(-1, *self.shape)


class LSTMAutoEncoder(nn.Module):
    """A window (B, W, D) read row by row into a code of K numbers, and written back from its last row to its first.

    The reversed order is that of Malhotra et al. ("LSTM-based encoder-decoder for multi-sensor anomaly detection",
    2016): the last row, the one that is judged, is nearest to the code. The decoder is given the code at every row
    instead of the row it wrote before.

    Args:
        width: D.
        hidden: H.
        code: K.
    """

    def __init__(self, width: int, *, hidden: int = 48, code: int = 12) -> None:
        super().__init__()
        self.read = nn.LSTM(width, hidden, batch_first=True)
        self.squeeze = nn.Linear(hidden, code)
        self.write = nn.LSTM(code, hidden, batch_first=True)
        self.restore = nn.Linear(hidden, width)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the restored windows (B, W, D)."""
        _, (state, _) = self.read(windows)
        code = self.squeeze(state[-1])
        written, _ = self.write(code[:, None, :].expand(-1, windows.shape[1], -1))
        restored: Tensor = self.restore(torch.flip(written, dims=(1,)))
        return restored
