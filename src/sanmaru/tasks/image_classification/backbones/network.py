"""What every backbone looks like from outside: logits, stages from stem to head, and the layer that explains it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn


class Stage(NamedTuple):
    """Layers that are frozen together and learn at one rate."""

    name: str
    module: nn.Module
    """Where it has several parts, an `nn.ModuleList` of them that stands outside the network's tree."""


@dataclass
class Parts:
    """Modules that belong to the network's tree already; kept here so that torch does not count them twice."""

    stages: list[Stage]
    head: nn.Linear
    target_layer: nn.Module


class Network(nn.Module):
    """A backbone with its head: normalised pictures (B, 3, H, W) in, raw outputs (B, width) out.

    Args:
        model: The network itself; may give a tensor, or an output of transformers with `logits`.
        body: Modules of the stem, of the first stage, and so on; every parameter but those of the head in one of them.
        head: The last layer.
        target_layer: Where Grad-CAM looks (a map (B, C, h, w)), or the last tokens (B, T, C) of a transformer.
        explain: `cam` or `attention`.
        unit: What a stage is called.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        body: Sequence[Iterable[nn.Module]],
        head: nn.Linear,
        target_layer: nn.Module,
        explain: Literal["cam", "attention"] = "cam",
        unit: str = "stage",
    ) -> None:
        super().__init__()
        self.model = model
        self.explain = explain
        names = ["stem", *(f"{unit}{number}" for number in range(1, len(body))), "head"]
        modules = [list(part) for part in body] + [[head]]
        self.parts = Parts(
            [
                Stage(name, part[0] if len(part) == 1 else nn.ModuleList(part))
                for name, part in zip(names, modules, strict=True)
            ],
            head,
            target_layer,
        )

    @property
    def stages(self) -> list[Stage]:
        """From stem to head."""
        return self.parts.stages

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        return self.parts.head

    @property
    def target_layer(self) -> nn.Module:
        """The layer whose output `features` gives."""
        return self.parts.target_layer

    def forward(self, images: Tensor) -> Tensor:
        """Return raw outputs (B, width)."""
        out: Any = self.model(images)
        logits: Tensor = out if isinstance(out, Tensor) else out.logits
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return the last map (B, C, h, w), or the last tokens (B, T, C) of a transformer."""
        kept: list[Tensor] = []
        hook = self.target_layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output.clone()))
        try:
            self(images)
        finally:
            hook.remove()
        return kept[-1]

    def attentions(self, images: Tensor) -> list[Tensor]:
        """Return the attention of every block, each (B, heads, T, T), rows sum to 1.

        Training uses a fused attention that never holds these; here the plain one runs, once, without gradients.

        Raises:
            TypeError: for a network without attention.
        """
        if self.explain != "attention":
            raise TypeError(f"{type(self.model).__name__} has no attention to show")
        model: Any = self.model
        before = model.config._attn_implementation
        model.set_attn_implementation("eager")
        try:
            with torch.no_grad():
                out = model(images, output_attentions=True)
        finally:
            model.set_attn_implementation(before)
        return list(out.attentions)
