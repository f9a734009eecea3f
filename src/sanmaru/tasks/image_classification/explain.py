"""Where in a picture a network found its answer: Grad-CAM for convolutions, attention roll-out for transformers.

- Grad-CAM (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391): the last map of features A (C, h, w) is weighed
  by how much the class's logit y rises with each channel, averaged over places, and what speaks against the class is
  left out: relu(sum_c mean_hw(dy/dA_c) A_c). It answers for one class.
- Attention roll-out (Abnar and Zuidema, 2020, https://arxiv.org/abs/2005.00928): the heads' mean attention of each
  layer, half of it replaced by the identity for the residual path, multiplied from the first layer to the last; the
  row of the class token says how much each patch reached it. It is the same whatever class is asked for.

The network may hold several (one for each target): each is asked about the joint logit, and the mean of their maps is
given. A network says of itself how it is explained: `explain` is `cam` (with `target_layer`) or `attention`; without
that, one with attention layers is rolled out, and any other is asked at the last map of features that it makes.

B batch, C channels, h and w of a feature map, T tokens, L layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Method = Literal["cam", "attention"]
BATCH_PIXELS = 2**18
"""Pixels explained at once: a quarter of what goes through for answers alone, for attention weights are kept."""


@dataclass(frozen=True)
class Maps:
    """Heat maps of pictures."""

    maps: NDArray[np.float32]
    """(n, height, width) in [0, 1]; 1 at the place that mattered most. All 0 where nothing spoke for the class."""
    method: Method


def explain(network: nn.Module, pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> Maps:
    """Explain one class per picture.

    Args:
        network: Takes uint8 (B, H, W, 3), gives joint logits (B, n_classes); left in evaluation mode.
        pixels: uint8 (n, H, W, 3), as the network sees them.
        classes: int64 (n,), the class to explain.

    Raises:
        ValueError: when the network makes no map of features that could be shown.
    """
    network.eval()
    parts = branches(network)
    method: Method = "attention" if all(_method(part) == "attention" for part in parts) else "cam"
    size = max(1, min(64, BATCH_PIXELS // pixels.shape[1] ** 2))
    device = next(iter(network.parameters())).device
    found = []
    for start in range(0, len(pixels), size):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + size])).to(device)
        asked = torch.from_numpy(classes[start : start + size].astype(np.int64)).to(device)
        if method == "attention":
            maps = [attended(layers) for layers in attentions(network, parts, batch)]
        else:
            maps = grad_cam(network, [target_layer(part, network, batch[:1]) for part in parts], batch, asked)
        whole = sum(_to_unit(_resized(one, pixels.shape[1:3])) for one in maps)
        assert isinstance(whole, Tensor)
        found.append(_to_unit(whole).cpu().numpy().astype(np.float32))
    empty = np.empty((0, *pixels.shape[1:3]), np.float32)
    return Maps(np.concatenate(found) if found else empty, method)


def branches(network: nn.Module) -> list[nn.Module]:
    """Return the outermost parts that say how they are explained; the network itself where none does."""
    found: list[nn.Module] = []

    def look(module: nn.Module) -> None:
        if isinstance(getattr(module, "explain", None), str):
            found.append(module)
            return
        for child in module.children():
            look(child)

    look(network)
    return found or [network]


def grad_cam(
    network: Callable[[Tensor], Tensor], layers: Sequence[nn.Module], inputs: Tensor, classes: Tensor
) -> list[Tensor]:
    """Return the map of each layer, float32 (B, h, w), each picture's largest value 1 (or all 0).

    Args:
        network: In evaluation mode, so that pictures do not meet in a batch's statistics.
        layers: Modules of the network whose output is a map of features (B, C, h, w).
        inputs: Whatever the network takes.
        classes: int64 (B,).
    """
    kept: dict[int, Tensor] = {}

    def hook(place: int) -> Callable[..., Tensor]:
        def keep(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            # A leaf: gradients are not needed further down, and frozen layers would give none. Its copy goes on,
            # for the next layer may write into what it gets.
            kept[place] = output.detach().requires_grad_()
            return kept[place].clone()

        return keep

    with torch.enable_grad(), _hooked([(layer, hook(place)) for place, layer in enumerate(layers)]):
        logits = network(inputs)
        activations = [kept[place] for place in range(len(layers))]
        chosen = logits.gather(1, classes[:, None]).sum()
        gradients = torch.autograd.grad(chosen, activations)
    maps = []
    for activation, gradient in zip(activations, gradients, strict=True):
        weights = gradient.float().mean(dim=(2, 3), keepdim=True)
        maps.append(_to_unit(torch.relu((weights * activation.detach().float()).sum(dim=1))))
    return maps


def roll_out(layers: Sequence[Tensor]) -> Tensor:
    """Return how much each token of the input reached each token of the last layer, float32 (B, T, T), rows sum to 1.

    Args:
        layers: Attention of each layer from the first on, (B, heads, T, T), rows sum to 1.
    """
    whole: Tensor | None = None
    for layer in layers:
        attention = layer.float().mean(dim=1)
        identity = torch.eye(attention.shape[-1], device=attention.device)
        attention = 0.5 * attention + 0.5 * identity
        attention = attention / attention.sum(dim=-1, keepdim=True)
        whole = attention if whole is None else attention @ whole
    if whole is None:
        raise ValueError("attention roll-out needs the attention of at least one layer, got none.")
    return whole


def attended(layers: Sequence[Tensor]) -> Tensor:
    """Return the roll-out of the first token over the patches, (B, h, w) with h = w, scaled to [0, 1].

    Tokens that are no patches (the class token, a distillation token) stand first. Where there is none, the mean over
    all tokens is taken.
    """
    whole = roll_out(layers)
    tokens = whole.shape[-1]
    side = int(tokens**0.5)
    extra = tokens - side * side
    row = whole[:, 0, extra:] if extra else whole.mean(dim=1)
    maps = row.reshape(-1, side, side)
    # The part that every patch gets through the long product says nothing, so it is taken off.
    return _to_unit(maps - maps.amin(dim=(1, 2), keepdim=True))


def attentions(network: nn.Module, parts: Sequence[nn.Module], inputs: Tensor) -> list[list[Tensor]]:
    """Run the network and return the attention weights of each part, layer by layer, each (B, heads, T, T)."""
    kept: list[list[Tensor]] = [[] for _ in parts]

    def hook(layers: list[Tensor]) -> Callable[..., None]:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            layers.append(output[1].detach())

        return keep

    hooks = [(module, hook(kept[place])) for place, part in enumerate(parts) for module in _attention_layers(part)]
    with torch.no_grad(), _written_out(network), _hooked(hooks):
        network(inputs)
    return kept


def target_layer(part: nn.Module, network: Callable[[Tensor], Tensor], inputs: Tensor) -> nn.Module:
    """Return the module that Grad-CAM is taken at: the part's own `target_layer`, or its last map of features.

    Raises:
        ValueError: when no module gives a map with more than one place.
    """
    named = getattr(part, "target_layer", None)
    if isinstance(named, nn.Module):
        return named
    last: list[nn.Module] = []

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            last[:] = [module]

    with torch.no_grad(), _hooked([(module, keep) for module in part.modules() if module is not part]):
        network(inputs)
    if not last:
        raise ValueError(f"{type(part).__name__} makes no map of features with more than one place.")
    return last[0]


def _method(part: nn.Module) -> Method:
    named = getattr(part, "explain", None)
    if isinstance(named, str):
        return "attention" if named == "attention" else "cam"
    return "attention" if _attention_layers(part) else "cam"


def _attention_layers(part: nn.Module) -> list[nn.Module]:
    """The modules whose forward gives (tokens, attention weights), as those of transformers do."""
    return [module for module in part.modules() if type(module).__name__.endswith("Attention")]


@contextlib.contextmanager
def _written_out(network: nn.Module) -> Iterator[None]:
    """Let the transformers inside compute attention weights one by one; fused kernels never hold them."""
    models: list[Any] = [module for module in network.modules() if hasattr(module, "set_attn_implementation")]
    outermost = [model for model in models if not any(model is not m and model in set(m.modules()) for m in models)]
    before = [model.config._attn_implementation for model in outermost]
    for model in outermost:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        for model, name in zip(outermost, before, strict=True):
            model.set_attn_implementation(name)


@contextlib.contextmanager
def _hooked(hooks: Sequence[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring maps (B, h, w) to the size of the picture, bilinearly."""
    return functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _to_unit(maps: Tensor) -> Tensor:
    """Divide each map, >= 0, by its largest value; a map of nothing but 0 stays."""
    largest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > 0, maps / largest.clamp_min(1e-30), torch.zeros_like(maps))
