"""What the backbones of transformers have in common."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from sanmaru.errors import ProjectFileError, UserError
from sanmaru.tasks.image_classification.backbones.family import Family
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.weights import Weights


def zoo_family(
    name: str,
    make: Callable[[Mapping[str, Any], int, int], nn.Module],
    fit: Callable[[Any, int], None],
    network: Callable[[Any], Network],
    dropout: Callable[[Any, float], None] | None = None,
) -> Family:
    """Return the family of `{name}ForImageClassification` of transformers; for the others, see `Family`."""
    return Family(
        make=make,
        load=_loader(name),
        remake=_remaker(name),
        fit=fit,
        network=network,
        dropout=dropout or dropout_before_head,
        architecture=_architecture,
    )


def _loader(name: str) -> Callable[[Weights, Mapping[str, Any], int], nn.Module]:
    model_type = name.lower()

    def load(weights: Weights, _sizes: Mapping[str, Any], classes: int) -> nn.Module:
        import transformers

        if weights.file is not None:
            raise UserError(
                f"model.pretrained: {weights.name!r} is a file of weights; {weights.backbone} takes a folder that "
                "save_pretrained wrote (config.json beside model.safetensors)."
            )
        with quiet():
            try:
                found = transformers.AutoConfig.from_pretrained(str(weights.folder), local_files_only=True).model_type
                if found != model_type:
                    raise ProjectFileError(
                        f"model.pretrained {weights.name!r} holds a {found!r} model, but model.backbone is "
                        f"{weights.backbone!r}."
                    )
                # The architecture stays that of the weights, whatever its sizes.
                model: nn.Module = getattr(transformers, f"{name}ForImageClassification").from_pretrained(
                    str(weights.folder), num_labels=classes, ignore_mismatched_sizes=True, local_files_only=True
                )
            except (OSError, ValueError) as error:
                raise weights.refused(error) from error
        return model.float()

    return load


def _remaker(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any], int], nn.Module]:
    def remake(architecture: Mapping[str, Any], _sizes: Mapping[str, Any], classes: int) -> nn.Module:
        import transformers

        known = getattr(transformers, f"{name}Config").from_dict(dict(architecture))
        known.num_labels = classes
        model: nn.Module = getattr(transformers, f"{name}ForImageClassification")(known)
        return model

    return remake


def _architecture(model: Any) -> dict[str, Any]:
    return dict(json.loads(model.config.to_json_string(use_diff=True)))


def dropout_before_head(model: Any, dropout: float) -> None:
    """Put a dropout before the last layer of `model.classifier`."""
    head = model.classifier
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    model.classifier = nn.Sequential(*layers[:-1], nn.Dropout(dropout), layers[-1])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
