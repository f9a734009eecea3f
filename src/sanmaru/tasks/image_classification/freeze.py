"""Which stages of a network learn, and how fast."""

from __future__ import annotations

from torch import nn

from sanmaru.tasks.image_classification.backbones.frozen import frozen_stages
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.training.optimizers import ParameterGroup


def freeze(network: Network, upto: str | int) -> None:
    """Freeze a network from its stem up to and including a stage.

    Frozen parameters get no gradient, and frozen layers carry `frozen = True`, which keeps them in evaluation mode in
    the training loop: batch normalisation goes on with the statistics that it came with.

    Args:
        network: Changed in place.
        upto: `none`; `all`, everything but the head; a stage by name (`stage2`, `block6`); or by number, 0 the stem.

    Raises:
        ProjectFileError: for a stage that the network does not have.
    """
    for stage in network.stages[: frozen_stages([stage.name for stage in network.stages], upto)]:
        stage.module.requires_grad_(False)
        # The list around the parts of a stage is not in the network, its parts are.
        for part in stage.module if isinstance(stage.module, nn.ModuleList) else [stage.module]:
            part.frozen = True  # type: ignore[assignment]


def parameter_groups(network: Network, decay: float) -> list[ParameterGroup]:
    """Give each stage a learning rate: the head's times `decay` for every stage between (as BEiT: Bao et al., 2022).

    Args:
        network: Frozen parameters are left out.
        decay: In (0, 1].
    """
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = []
    for depth, stage in enumerate(reversed(network.stages)):
        names = tuple(name_of[id(parameter)] for parameter in stage.module.parameters() if parameter.requires_grad)
        if names:
            groups.append(ParameterGroup(names=names, learning_rate_scale=decay**depth))
    return groups[::-1]
