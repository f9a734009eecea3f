"""Where pretrained weights come from: a folder, a file, or the hub."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sanmaru.errors import UserError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_NORMALISATION = ("preprocessor_config.json", "config.json")


@dataclass(frozen=True)
class Weights:
    """Pretrained weights on this machine."""

    name: str
    """As the project file gives it."""
    backbone: str
    """Name of the backbone they are for."""
    folder: Path
    file: Path | None = None
    """Where a single file was named."""

    def tensors(self) -> dict[str, Tensor]:
        """Read the file, or the folder's weights, as tensors by name. Nothing is unpickled but tensors.

        Raises:
            UserError: when there is none, or it cannot be read.
        """
        names = ("model.safetensors", "pytorch_model.bin")
        path = self.file or next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        if path is None:
            raise self.refused(FileNotFoundError(f"no {' or '.join(names)} in {self.folder}"))
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                found = load_file(path)
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # each reader has errors of its own
            raise self.refused(error) from error
        return {name: tensor.float() for name, tensor in found.items() if isinstance(tensor, Tensor)}

    def normalisation(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Return mean and standard deviation per channel (in 0..255) where the folder says them, else None twice."""
        for name in _NORMALISATION if self.file is None else ():
            path = self.folder / name
            content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            timm = content.get("pretrained_cfg", {})
            mean, std = content.get("image_mean", timm.get("mean")), content.get("image_std", timm.get("std"))
            if mean and std:
                unit = 1 / content.get("rescale_factor", 1 / 255)
                return tuple(value * unit for value in mean), tuple(value * unit for value in std)
        return None, None

    def refused(self, error: BaseException) -> UserError:
        """Return the error that says why these weights cannot be had."""
        return refused(self.name, error)


def refused(name: str, error: BaseException) -> UserError:
    """Return the error that says why weights cannot be had, with the first line of its cause."""
    lines = str(error).strip().splitlines()
    return UserError(
        f"model.pretrained: the weights of {name!r} cannot be had ({lines[0] if lines else type(error).__name__}). "
        "Give a folder that save_pretrained wrote, a hub name that this machine can reach or has in its cache, or "
        "pretrained: false."
    )


def find_weights(name: str, backbone: str, near: Iterable[Path] = ()) -> Weights:
    """Find weights on this machine, else bring them from the hub.

    Args:
        name: A folder, a file of tensors, or a name on the hub.
        backbone: Name of the backbone that they are for.
        near: Folders in which a relative one is looked for, after the working folder.

    Raises:
        UserError: when they cannot be had.
    """
    places = [Path(name).expanduser(), *(folder / name for folder in near)]
    for place in places:
        if place.is_file() and place.suffix in SUFFIXES:
            return Weights(name, backbone, place.parent, place)
        if any((place / inside).is_file() for inside in ("config.json", "model.safetensors", "pytorch_model.bin")):
            return Weights(name, backbone, place)
    if any(place.is_dir() for place in places):
        raise UserError(
            f"model.pretrained: the folder {name!r} has no config.json. Give a folder that transformers' "
            "save_pretrained wrote."
        )
    if name.endswith(SUFFIXES):
        raise UserError(f"model.pretrained: there is no file {name!r}, here or beside the project file.")
    return Weights(name, backbone, _from_hub(name))


def _from_hub(name: str) -> Path:
    """Return the folder of a name on the hub, from the cache or downloaded; asked for once, since the hub's client
    would ask for each file again and again where there is no connection."""
    from huggingface_hub import snapshot_download

    from sanmaru.tasks.image_classification.backbones.zoo import quiet

    with quiet():
        small, weights = ["config.json", "preprocessor_config.json"], ["model.safetensors", "pytorch_model.bin"]
        try:
            cached = Path(snapshot_download(name, allow_patterns=small + weights, local_files_only=True))
            if any((cached / file).is_file() for file in weights):
                return cached
        except (OSError, ValueError):
            pass  # not in the cache
        try:
            # Where both kinds of weights are there, the older file is not wanted.
            folder = Path(snapshot_download(name, allow_patterns=[*small, weights[0]]))
            if not (folder / weights[0]).is_file():
                folder = Path(snapshot_download(name, allow_patterns=[*small, weights[1]]))
        except Exception as error:  # of the hub, of HTTP, of the network, of an impossible name
            raise refused(name, error) from error
    return folder


def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, head: str, weights: Weights) -> None:
    """Copy weights into a network; a head of another width is left as it was drawn.

    Args:
        model: Its parameters are named as torchvision does.
        tensors: By name, perhaps behind `model.` or `module.`.
        head: Name of the last layer.
        weights: Where they are from, for the message.

    Raises:
        UserError: when a tensor is missing, left over or of another shape.
    """
    own = model.state_dict()
    given = {name.removeprefix("module.").removeprefix("model."): tensor for name, tensor in tensors.items()}
    wrong = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    wrong += [name for name in given if name not in own]
    wrong += [name for name in own if name in given and given[name].shape != own[name].shape]
    wrong = [name for name in wrong if not name.startswith(f"{head}.")]
    if wrong:
        first = wrong[0]
        what = (
            f"{first} is missing"
            if first not in given
            else f"{first} is not a layer of it"
            if first not in own
            else f"{first} is {tuple(given[first].shape)}, not {tuple(own[first].shape)}"
        )
        raise UserError(
            f"model.pretrained {weights.name!r} does not fit model.backbone {weights.backbone!r}: {what} "
            f"({len(wrong)} of {len(own)} tensors do not fit)."
        )
    fitting = {name: tensor for name, tensor in given.items() if own.get(name, tensor).shape == tensor.shape}
    model.load_state_dict({name: tensor for name, tensor in fitting.items() if name in own}, strict=False)
