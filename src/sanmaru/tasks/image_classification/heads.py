"""What a network's raw outputs mean: one head for the joint classes, or one per target, and how joint logits are made.

Raw outputs are (B, width). `joint` has one head whose classes are the joint ones; `shared` and `separate` have one head
per target side by side, over one backbone or over a network each, and the joint class is as likely as its parts
together: its logit is the sum of the targets' log-probabilities. Where a target is a number learnt in finer bins, its
bins are mapped back to bands first (`bands.BandMap`); the joint head then runs over the product of bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.errors import ProjectFileError
from sanmaru.tables.joint import JointTarget, Target
from sanmaru.tasks.image_classification.bands import BandMap
from sanmaru.training.losses import make_loss

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.training.config import LossConfig

Kind = Literal["joint", "shared", "separate"]

MOST_OUTPUTS = 4000


class Heads:
    """The heads of a network.

    Args:
        kind: `joint`, `shared` or `separate`; the last two need several targets.
        n_classes: Classes that are scored: the joint ones where there are several targets.
        joint: The targets behind the joint classes; None where there is one target of the data's own.

    Raises:
        ProjectFileError: when the joint head would have more than 4000 outputs.
    """

    def __init__(self, kind: Kind, n_classes: int, joint: JointTarget | None) -> None:
        self.kind: Kind = kind if joint is not None and len(joint.targets) > 1 else "joint"
        self.joint = joint
        learnt = (n_classes,) if joint is None else tuple(target.n_learnt for target in joint.targets)
        self.widths: tuple[int, ...] = (int(np.prod(learnt)),) if self.kind == "joint" else learnt
        """Outputs of each head."""
        if self.widths[0] > MOST_OUTPUTS:
            raise ProjectFileError(
                f"model.heads: joint would have {self.widths[0]:,} outputs, one per combination of "
                f"{' x '.join(map(str, learnt))} bins. Take wider bins (data.target: finer), or model.heads: shared."
            )

    @property
    def width(self) -> int:
        """Raw outputs in all."""
        return sum(self.widths)

    @property
    def network_widths(self) -> tuple[int, ...]:
        """Outputs of each network: one per target where they are separate, else one with all heads."""
        return self.widths if self.kind == "separate" else (self.width,)

    def labels(self, table: pl.DataFrame, truth: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what each head learns, int64: (n,) for one head, (n, n_targets) for several.

        Args:
            table: With the targets' columns.
            truth: Joint codes (n,) of its rows.
        """
        if self.joint is None:
            return truth
        learnt = [target.learnt_codes(table[target.name]) for target in self.joint.targets]
        if self.kind == "joint":
            sizes = [target.n_learnt for target in self.joint.targets]
            return np.asarray(np.ravel_multi_index(learnt, sizes), dtype=np.int64)
        return np.stack(learnt, axis=1).astype(np.int64)

    def loss(self, config: LossConfig, labels: NDArray[np.int64]) -> nn.Module:
        """Return the loss of (raw outputs, labels, weights or None); those of several heads are summed.

        Args:
            config: Which loss; every head has it.
            labels: Of the training rows, as `labels` gives them.
        """
        if self.kind == "joint" or self.joint is None:
            return make_loss(config, labels, self.width)
        losses = [self.loss_of_one(config, labels[:, place], place) for place in range(len(self.widths))]
        return HeadsLoss(losses, self.widths, [target.weight for target in self.joint.targets])

    def loss_of_one(self, config: LossConfig, labels: NDArray[np.int64], place: int) -> nn.Module:
        """Return the loss of one target's head, of (its outputs, its labels (B,), weights or None)."""
        return make_loss(config, labels, self.widths[place])

    def to_joint(self) -> nn.Module:
        """Return the module that turns raw outputs (B, width) into logits (B, n_classes)."""
        if self.joint is None:
            return nn.Identity()
        maps = [band_map(target) for target in self.joint.targets]
        if self.kind == "joint":
            if all(found is None for found in maps):
                return nn.Identity()
            return BinsToJoint([target.n_learnt for target in self.joint.targets], maps)
        return HeadsToJoint(self.widths, maps)

    def to_one(self, place: int) -> nn.Module:
        """Return the module that turns the outputs of one target's head into logits of its classes."""
        assert self.joint is not None
        found = band_map(self.joint.targets[place])
        return nn.Identity() if found is None else BinsToJoint([self.widths[place]], [found])


def band_map(target: Target) -> BandMap | None:
    """Return the map from a target's finer bins to its bands; None where there are none."""
    return BandMap(target.fine, target.cuts, target.map) if target.fine else None


class Headed(nn.Module):
    """A network, or one per target, followed by the map to joint logits: (B, 3, H, W) to (B, n_classes).

    Args:
        networks: One, with all raw outputs; or one per target, whose outputs stand side by side.
        to_joint: What `Heads.to_joint` returns.
    """

    def __init__(self, networks: Sequence[nn.Module], to_joint: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.to_joint = to_joint

    def forward(self, images: Tensor) -> Tensor:
        """Return joint logits."""
        logits: Tensor = self.to_joint(torch.cat([network(images) for network in self.networks], dim=1))
        return logits


def headed(networks: Sequence[nn.Module], heads: Heads) -> nn.Module:
    """Return what gives joint logits: the network itself where its raw outputs already are."""
    to_joint = heads.to_joint()
    return networks[0] if isinstance(to_joint, nn.Identity) else Headed(networks, to_joint)


class HeadsLoss(nn.Module):
    """The weighted sum of the heads' losses.

    Args:
        losses: One per head, of (outputs, labels, weights or None).
        widths: Outputs of each head.
        weights: Of each head in the sum.
    """

    def __init__(self, losses: Sequence[nn.Module], widths: Sequence[int], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.widths = list(widths)
        self.shares = list(weights)

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of outputs (B, width) and labels (B, n_heads)."""
        total = outputs.new_zeros(())
        parts = torch.split(outputs, self.widths, dim=1)
        for place, (loss, part, share) in enumerate(zip(self.losses, parts, self.shares, strict=True)):
            total = total + share * loss(part, labels[:, place], weights)
        return total


class HeadsToJoint(nn.Module):
    """Heads side by side to joint logits: the log-probabilities of each combination, added.

    Args:
        widths: Outputs of each head.
        maps: From finer bins to bands, per head; None where the head's classes are the scored ones.
    """

    def __init__(self, widths: Sequence[int], maps: Sequence[BandMap | None]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.maps = nn.ModuleList(nn.Identity() if found is None else found for found in maps)
        self.mapped = [found is not None for found in maps]

    def forward(self, raw: Tensor) -> Tensor:
        """Return logits (B, n_joint), the last head's classes running fastest."""
        joint = torch.zeros_like(raw[:, :1])
        for part, change, mapped in zip(torch.split(raw, self.widths, dim=1), self.maps, self.mapped, strict=True):
            logs = change(part.softmax(dim=1)) if mapped else part.log_softmax(dim=1)
            joint = (joint.unsqueeze(2) + logs.unsqueeze(1)).flatten(1)
        return joint


class BinsToJoint(nn.Module):
    """One head over the product of bins to joint logits: along each mapped target, given the others, bins to bands.

    Args:
        sizes: Classes or bins of each target.
        maps: From bins to bands, per target; None where the classes are the scored ones.
    """

    def __init__(self, sizes: Sequence[int], maps: Sequence[BandMap | None]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.places = [place for place, found in enumerate(maps) if found is not None]
        self.maps = nn.ModuleList(found for found in maps if found is not None)

    def forward(self, raw: Tensor) -> Tensor:
        """Return logits (B, n_joint)."""
        cube: Tensor = raw.reshape(-1, *self.sizes)
        for place, change in zip(self.places, self.maps, strict=True):
            last = cube.transpose(place + 1, len(self.sizes))
            logits = change(last.softmax(dim=-1)) + last.logsumexp(dim=-1, keepdim=True)
            cube = logits.transpose(place + 1, len(self.sizes))
        return cube.flatten(1)
