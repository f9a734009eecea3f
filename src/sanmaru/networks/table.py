"""A network for rows of a table: embedded numbers and categories, residual blocks, several members in one.

Numbers pass through cosines of learnt frequencies and a small layer of their own (Gorishniy et al., "On embeddings for
numerical features in tabular deep learning", NeurIPS 2022; the form with a bias and the number itself beside it is that
of Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data", NeurIPS 2024), for
a plain layer bends too slowly to follow steps and thresholds. Blocks are those of the ResNet of Gorishniy et al.,
"Revisiting deep learning models for tabular data", NeurIPS 2021, with layer norms. Members share all blocks and differ
by a scaling of what enters and by their heads (the "mini" form of Gorishniy et al., "TabM: advancing tabular deep
learning with parameter-efficient ensembling", ICLR 2025): trained at once and averaged, they are an ensemble for
little more than the price of one.

B batch, N numbers, L columns of levels, M members, D width of a block, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

EMBEDDED = 4
"""Width of an embedded number, itself included."""
FREQUENCIES = 16


class Numbers(nn.Module):
    """Numbers (B, N) to (B, N · EMBEDDED): each itself, and a layer on cosines of it.

    Args:
        n_numbers: N.
        spread: Standard deviation of the first frequencies, in turns per standard deviation of a number.
    """

    def __init__(self, n_numbers: int, spread: float) -> None:
        super().__init__()
        self.frequency = nn.Parameter(spread * torch.randn(n_numbers, FREQUENCIES))
        self.phase = nn.Parameter(2 * math.pi * torch.rand(n_numbers, FREQUENCIES))
        bound = 1 / math.sqrt(FREQUENCIES)
        self.weight = nn.Parameter(torch.empty(n_numbers, FREQUENCIES, EMBEDDED - 1).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_numbers, EMBEDDED - 1))

    def forward(self, numbers: Tensor) -> Tensor:
        """Embed each number by its own weights."""
        waves = torch.cos(2 * math.pi * numbers[:, :, None] * self.frequency + self.phase)
        layer = torch.einsum("bnf,nfd->bnd", waves, self.weight) + self.bias
        return torch.cat([numbers[:, :, None], layer], dim=2).flatten(1)


class Block(nn.Module):
    """x + layer(dropout(relu(layer(norm(x)))))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block has to say, (..., D)."""
        added: Tensor = self.outer(self.dropout(torch.relu(self.inner(self.norm(x)))))
        return x + added


class TableNetwork(nn.Module):
    """Rows (B, N + marks + L) float32 to outputs (B, M, K).

    Args:
        n_numbers: N; they stand first, standardised.
        n_marks: Marks of missing numbers, 0 or 1; they follow.
        sizes: Levels of each column of levels; these stand last, as numbers 0 ... size - 1.
        outputs: K.
        width: D.
        blocks: Residual blocks.
        members: M.
        dropout: In the blocks, in [0, 1).
        frequency: As `Numbers.spread`; 0 leaves numbers as they are.
    """

    last: Tensor

    def __init__(
        self,
        n_numbers: int,
        n_marks: int,
        sizes: Sequence[int],
        outputs: int,
        *,
        width: int = 128,
        blocks: int = 2,
        members: int = 8,
        dropout: float = 0.1,
        frequency: float = 0.3,
    ) -> None:
        super().__init__()
        self.register_buffer("last", torch.tensor(sizes, dtype=torch.float32) - 1)
        self.split = (n_numbers, n_marks, len(sizes))
        self.numbers = Numbers(n_numbers, frequency) if frequency > 0 and n_numbers else nn.Identity()
        self.levels = nn.ModuleList(nn.Embedding(size, embedding_width(size)) for size in sizes)
        for embedding in self.levels:
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=1 / math.sqrt(embedding.embedding_dim))
            with torch.no_grad():  # "other" says nothing until training has met it
                embedding.weight[-2:] = 0.0
        entering = n_numbers * (EMBEDDED if frequency > 0 else 1) + n_marks + sum(map(embedding_width, sizes))
        self.adapters = nn.Parameter(torch.ones(members, entering))
        if members > 1:  # random signs tell the members apart from the first step
            with torch.no_grad():
                self.adapters.bernoulli_(0.5).mul_(2).sub_(1)
        self.enter = nn.Linear(entering, width)
        self.blocks = nn.Sequential(*(Block(width, dropout) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        bound = 1 / math.sqrt(width)
        self.heads = nn.Parameter(torch.empty(members, width, outputs).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.zeros(members, outputs))

    def forward(self, rows: Tensor) -> Tensor:
        """Return outputs (B, M, K)."""
        numbers, marks, levels = torch.split(rows, list(self.split), dim=1)
        # Bounded, for a bare step is timed on random numbers, and a level out of range would end the process.
        codes = torch.minimum(levels.clamp_min(0), self.last).to(torch.int64)
        embedded = [embedding(codes[:, place]) for place, embedding in enumerate(self.levels)]
        entering = torch.cat([self.numbers(numbers), marks, *embedded], dim=1)
        x = self.enter(entering[:, None, :] * self.adapters)
        x = torch.relu(self.norm(self.blocks(x)))
        return torch.einsum("bmd,mdk->bmk", x, self.heads) + self.head_bias


def embedding_width(size: int) -> int:
    """Return how many numbers stand for a level: rising with the logarithm of the number of levels, 2 to 16."""
    return max(2, min(16, round(2 * math.log2(size))))
