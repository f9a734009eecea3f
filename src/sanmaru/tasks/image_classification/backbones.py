"""The networks that a project file can name, from scratch or with pretrained weights.

`convnet` is ours; ResNet-18 (He et al., 2016) and ViT-small (Dosovitskiy et al., 2021; the small size of Touvron et
al., 2021) are those of transformers, which decision record `model-zoo` explains. From scratch, two things are fitted
to small pictures; with pretrained weights neither is, for the weights know the original:

- ResNet's first layers divide the side by 4, which leaves a 2 x 2 map of 64 pixels. Here the first map has 32 pixels
  a side where the picture allows: a 3 x 3 stem of stride 1 up to 32 pixels, of stride 2 up to 96, both without
  pooling; the original from there on.
- ViT cuts the picture into patches of 16 pixels. Here there are about 8 x 8 patches up to 128 pixels (patches of 8 at
  64 pixels), then patches of 16.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sanmaru.errors import ProjectFileError, UserError
from sanmaru.networks.convnet import ConvNet

if TYPE_CHECKING:
    from sanmaru.tasks.image_classification.config import NetworkConfig

HUB_NAMES = {"resnet-18": "microsoft/resnet-18", "vit-small": "WinKawaks/vit-small-patch16-224"}
"""The usual weights of a backbone, for `pretrained: true`."""

_MODEL_TYPES = {"resnet-18": "resnet", "vit-small": "vit"}


@dataclass(frozen=True)
class Built:
    """A network that takes normalised pictures (B, 3, H, W) and gives logits (B, classes)."""

    network: nn.Module
    mean: tuple[float, ...] | None = None
    """Of the pretrained weights' own normalisation, per channel in 0..255; None to take the training set's."""
    std: tuple[float, ...] | None = None


class Logits(nn.Module):
    """A classifier of transformers, giving the logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


def build(config: NetworkConfig, classes: int, near: Iterable[Path] = ()) -> Built:
    """Make a network.

    Args:
        config: Backbone, size, pretrained weights.
        classes: Number of outputs; the head of pretrained weights is replaced.
        near: Folders in which a relative `pretrained` folder is looked for, after the working folder.

    Raises:
        ProjectFileError: for weights of another backbone.
        UserError: when pretrained weights cannot be had.
    """
    if config.pretrained:
        return _pretrained(config, classes, near)
    if config.backbone == "convnet":
        return Built(ConvNet(classes, config.image_size, dropout=config.dropout))
    model = _resnet(config, classes) if config.backbone == "resnet-18" else _vit(config, classes)
    return Built(Logits(_with_dropout(model, config.dropout)))


def resnet_stem(image_size: int) -> tuple[int, int, bool]:
    """Return kernel, stride and whether to pool, of the first layers of a ResNet from scratch."""
    if image_size <= 32:
        return 3, 1, False
    if image_size <= 96:
        return 3, 2, False
    return 7, 2, True


def vit_patch(image_size: int) -> int:
    """Return the side of the patches of a ViT from scratch: near an eighth of the picture, a divisor if there is one.

    Where none divides the side, the last few pixels at the right and lower edge are not seen.
    """
    if image_size >= 128:
        return 16
    wanted = max(2, image_size // 8)
    divisors = [p for p in range(2, 17) if image_size % p == 0 and wanted / 2 <= p <= wanted * 1.5]
    return min(divisors, key=lambda p: abs(p - wanted), default=wanted)


def _resnet(config: NetworkConfig, classes: int) -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    model = ResNetForImageClassification(
        ResNetConfig(
            num_channels=3,
            embedding_size=64,
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            num_labels=classes,
        )
    )
    kernel, stride, pooled = resnet_stem(config.image_size)
    if not pooled:
        convolution = nn.Conv2d(3, 64, kernel, stride=stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        model.resnet.embedder.embedder.convolution = convolution
        model.resnet.embedder.pooler = nn.Identity()
    return model  # type: ignore[no-any-return]


def _vit(config: NetworkConfig, classes: int) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(  # type: ignore[no-any-return]
        ViTConfig(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            intermediate_size=1536,
            image_size=config.image_size,
            patch_size=vit_patch(config.image_size),
            num_channels=3,
            num_labels=classes,
        )
    )


def _pretrained(config: NetworkConfig, classes: int, near: Iterable[Path]) -> Built:
    if config.backbone == "convnet":
        raise ProjectFileError(
            "model.backbone 'convnet' has no pretrained weights. Take resnet-18 or vit-small, or pretrained: false."
        )
    name = HUB_NAMES[config.backbone] if config.pretrained is True else str(config.pretrained)
    places = [Path(name).expanduser(), *(folder / name for folder in near)]
    local = next((place for place in places if (place / "config.json").is_file()), None)
    if local is None and any(place.is_dir() for place in places):
        raise UserError(
            f"model.pretrained: the folder {name!r} has no config.json. Give a folder that transformers' "
            "save_pretrained wrote."
        )
    source = str(local) if local else name
    from transformers import AutoConfig, ResNetForImageClassification, ViTForImageClassification

    options: dict[str, Any] = {"local_files_only": local is not None}
    with _quiet():
        try:
            found = AutoConfig.from_pretrained(source, **options).model_type
            if found != _MODEL_TYPES[config.backbone]:
                raise ProjectFileError(
                    f"model.pretrained {name!r} holds a {found!r} model, but model.backbone is {config.backbone!r}."
                )
            kind = ResNetForImageClassification if config.backbone == "resnet-18" else ViTForImageClassification
            model = kind.from_pretrained(source, num_labels=classes, ignore_mismatched_sizes=True, **options)
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(
                f"model.pretrained: the weights of {name!r} cannot be had ({first}). Give a folder that "
                "save_pretrained wrote, a hub name that this machine can reach or has in its cache, or "
                "pretrained: false."
            ) from error
        normalisation = _normalisation(source, local)
    if config.backbone == "vit-small":
        _resize_positions(model, config.image_size)
    model = model.float()
    return Built(Logits(_with_dropout(model, config.dropout)), *normalisation)


def _normalisation(source: str, local: Path | None) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation (in 0..255) of `preprocessor_config.json`, where there is one."""
    if local:
        path = local / "preprocessor_config.json"
    else:
        from transformers.utils import cached_file

        found = cached_file(
            source,
            "preprocessor_config.json",
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        path = Path(found) if found else Path()
    if not path.is_file():
        return None, None
    content = json.loads(path.read_text(encoding="utf-8"))
    mean, std = content.get("image_mean"), content.get("image_std")
    if not mean or not std:
        return None, None
    unit = 1 / content.get("rescale_factor", 1 / 255)
    return tuple(value * unit for value in mean), tuple(value * unit for value in std)


def _resize_positions(model: Any, image_size: int) -> None:
    """Fit a ViT's learned positions to another picture size, bicubically, once instead of at every step."""
    embeddings = model.vit.embeddings
    patch = model.config.patch_size
    side = image_size // patch
    positions = embeddings.position_embeddings.data  # (1, 1 + old², hidden)
    old = round((positions.shape[1] - 1) ** 0.5)
    if side < 1:
        raise UserError(
            f"model.image_size {image_size} is smaller than one patch of the pretrained ViT ({patch} pixels)."
        )
    if side != old:
        squares = positions[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
        squares = nn.functional.interpolate(squares, size=(side, side), mode="bicubic", align_corners=False)
        fitted = torch.cat([positions[:, :1], squares.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)
        embeddings.position_embeddings = nn.Parameter(fitted)
    model.config.image_size = image_size
    # Which of the two checks the size of a picture has changed between releases of transformers.
    for part in (embeddings, embeddings.patch_embeddings):
        if hasattr(part, "image_size"):
            part.image_size = (image_size, image_size)


def _with_dropout(model: Any, dropout: float) -> nn.Module:
    if dropout > 0:
        head = model.classifier
        layers = list(head) if isinstance(head, nn.Sequential) else [head]
        model.classifier = nn.Sequential(*layers[:-1], nn.Dropout(dropout), layers[-1])
    return model  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from announcing the new head and drawing progress bars; errors are raised as ever."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
