"""The trained network of a saved estimator, in torch again, to look inside: ONNX Runtime gives only answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from sanmaru.errors import DataError
from sanmaru.files import read_json
from sanmaru.tables.joint import JointTarget
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.export import FromPixels
from sanmaru.tasks.image_classification.heads import Heads, headed


def restore(folder: Path, near: Iterable[Path] = ()) -> nn.Module:
    """Return the network that `NetworkEstimator.save` wrote: uint8 (B, H, W, 3) in, joint logits out; on the CPU.

    Args:
        folder: Of the estimator.
        near: Folders in which a relative `pretrained` folder is looked for.

    Raises:
        DataError: when the weights are not there or do not fit the network.
        UserError: when the network is that of pretrained weights which cannot be had any more.
    """
    from safetensors.torch import load_file

    content = read_json(folder / "estimator.json")
    config = NetworkConfig.model_validate(content["config"])
    joint = None if content["joint"] is None else JointTarget.from_json(content["joint"])
    heads = Heads(config.heads, content["classes"], joint)
    architecture = content.get("architecture")  # of pretrained weights, which are then not asked for again
    networks = [build(config, width, near, architecture).network for width in heads.network_widths]
    network = headed(networks, heads)
    try:
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(f"the weights in {folder} cannot be used: {first}") from error
    return FromPixels(network, content["mean"], content["std"]).eval()
