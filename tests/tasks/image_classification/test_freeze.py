import pytest
import torch
from torch import nn

from sanmaru.errors import ProjectFileError
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.backbones.frozen import frozen_stages
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.freeze import freeze, parameter_groups
from sanmaru.training.config import TrainConfig
from sanmaru.training.optimizers import make_optimizer

NAMES = ("stem", "stage1", "stage2", "stage3", "stage4", "head")


def network(backbone: str = "resnet-18") -> Network:
    return build(NetworkConfig(backbone=backbone, image_size=16), 3).network


@pytest.mark.parametrize(
    ("upto", "count"),
    [("none", 0), ("stem", 1), (0, 1), ("stage2", 3), (2, 3), ("stage4", 5), (4, 5), ("all", 5)],
)
def test_a_stage_is_named_or_counted_from_the_stem(upto: str | int, count: int) -> None:
    assert frozen_stages(NAMES, upto) == count


@pytest.mark.parametrize("upto", ["head", "stage5", 5, -1, "block1", ""])
def test_an_unknown_stage_lists_the_known_ones(upto: str | int) -> None:
    with pytest.raises(ProjectFileError, match=r"there is no stage .* none, all, stem, stage1, .*stage4 \(or 0 to 4\)"):
        frozen_stages(NAMES, upto)


@pytest.mark.parametrize("upto", ["none", "stem", 2, "all"])
def test_exactly_the_stages_up_to_there_are_frozen(upto: str | int) -> None:
    net = network()
    freeze(net, upto)
    count = frozen_stages(NAMES, upto)
    for place, stage in enumerate(net.stages):
        assert all(parameter.requires_grad != (place < count) for parameter in stage.module.parameters())
    assert net.head.weight.requires_grad


def test_frozen_norms_keep_their_statistics_and_the_others_learn_theirs() -> None:
    for backbone in ("resnet-18", "convnet"):  # a stage is one module, or several
        net = network(backbone)
        freeze(net, 1)
        net.train()
        for module in net.modules():  # what the training loop does
            if getattr(module, "frozen", False):
                module.eval()
        before = {name: buffer.clone() for name, buffer in net.named_buffers()}
        out = net(torch.randn(4, 3, 16, 16) + 1)
        out.sum().backward()
        inside = {id(b) for stage in net.stages[:2] for b in stage.module.buffers()}
        assert inside
        for name, buffer in net.named_buffers():
            assert torch.equal(buffer, before[name]) == (id(buffer) in inside)
        assert all((p.grad is None) != p.requires_grad for p in net.parameters())


def test_rates_fall_by_the_factor_from_head_to_stem() -> None:
    net = network()
    groups = parameter_groups(net, 0.5)
    assert [group.learning_rate_scale for group in groups] == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    named = [name for group in groups for name in group.names]
    assert sorted(named) == sorted(name for name, _ in net.named_parameters())
    assert groups[-1].names == ("model.classifier.2.weight", "model.classifier.2.bias")
    assert all(name.startswith("model.resnet.embedder.") for name in groups[0].names)
    assert all(name.startswith("model.resnet.encoder.stages.0.") for name in groups[1].names)


def test_blocks_of_a_transformer_have_rates_of_their_own() -> None:
    with torch.device("meta"):
        net = network("vit-small")
    groups = parameter_groups(net, 0.75)
    assert [group.learning_rate_scale for group in groups] == pytest.approx(
        [0.75**depth for depth in range(13, -1, -1)]
    )
    assert "model.vit.embeddings.position_embeddings" in groups[0].names
    assert "model.vit.layernorm.weight" in groups[-2].names


def test_frozen_parameters_are_in_no_group_and_the_optimiser_takes_the_rest() -> None:
    net = network()
    freeze(net, "stage3")
    groups = parameter_groups(net, 0.1)
    assert [group.learning_rate_scale for group in groups] == [0.1, 1]
    optimizer = make_optimizer(net, TrainConfig(), groups)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}


def test_everything_frozen_but_the_head_leaves_the_head() -> None:
    net = network("convnet")
    freeze(net, "all")
    assert [name for name, parameter in net.named_parameters() if parameter.requires_grad] == [
        "model.classifier.weight",
        "model.classifier.bias",
    ]
    assert all(module.frozen for module in net.model.features if not isinstance(module, nn.Identity))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "all"}, "without `pretrained` they are random"),
        ({"freeze": "stage9", "pretrained": True, "backbone": "resnet-50"}, "there is no stage 'stage9'"),
        ({"freeze": 13, "pretrained": True, "backbone": "vit-base"}, "block12 .or 0 to 12."),
        ({"freeze": True, "pretrained": True}, "none, all, a stage or its number, got True"),
        ({"layer_decay": 0}, "greater than 0"),
        ({"layer_decay": 1.5}, "less than or equal to 1"),
    ],
)
def test_bad_values_are_found_when_the_project_file_is_read(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**options)  # type: ignore[arg-type]
