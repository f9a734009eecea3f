from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers
from torch import nn

from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.backbones.convnext import convnext_patch
from sanmaru.tasks.image_classification.backbones.efficientnet import DropResidual
from sanmaru.tasks.image_classification.backbones.resnet import resnet_stem, small_stride
from sanmaru.tasks.image_classification.backbones.table import ALIASES, BACKBONES
from sanmaru.tasks.image_classification.backbones.vit import vit_patch
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.export import export_onnx
from sanmaru.tasks.image_classification.restored import restore
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig

# With 1000 classes at 224 pixels. ResNet, ResNeXt, VGG, EfficientNet, RegNet-400MF and ConvNeXt as torchvision lists
# them, RegNet-4GF and the ViTs as timm does.
PUBLISHED = {
    "resnet-18": 11_689_512,
    "resnet-34": 21_797_672,
    "resnet-50": 25_557_032,
    "resnet-101": 44_549_160,
    "resnet-152": 60_192_808,
    "resnext-50": 25_028_904,
    "efficientnet-b0": 5_288_548,
    "efficientnet-b3": 12_233_232,
    "regnet-y-400mf": 4_344_144,
    "regnet-y-4gf": 20_646_656,
    "vgg-16": 138_357_544,
    "vgg-16-bn": 138_365_992,
    "convnext-tiny": 28_589_128,
    "vit-small": 22_050_664,
    "vit-base": 86_567_656,
}

# One of each family, small enough to run.
TINY: dict[str, dict[str, Any]] = {
    "convnet": {"width": 4},
    "resnet-50": {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 16, 32, 32]},
    "resnext-50": {"depths": (1, 1, 1, 1), "groups": 2, "width": 2},
    "efficientnet-b0": {"width_coefficient": 0.25, "hidden_dim": 320, "depth_coefficient": 0.5},
    "regnet-y-400mf": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]},
    "vgg-16": {"blocks": ((4,), (4,), (8,), (8,), (8,)), "dense": 16},
    "vgg-16-bn": {"blocks": ((4,), (4,), (8,), (8,), (8,)), "dense": 16},
    "convnext-tiny": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]},
    "vit-small": {"num_hidden_layers": 2, "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 16},
}
ZOO = {
    "resnet-50": "ResNet",
    "efficientnet-b0": "EfficientNet",
    "regnet-y-400mf": "RegNet",
    "convnext-tiny": "ConvNext",
    "vit-small": "ViT",
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every backbone of `TINY` small."""
    for name, sizes in TINY.items():
        monkeypatch.setitem(BACKBONES, name, replace(BACKBONES[name], sizes={**BACKBONES[name].sizes, **sizes}))


def zoo_model(name: str, classes: int = 7, image_size: int = 32) -> Any:
    """A tiny network of transformers, as others would save it, with weights that let signals through."""
    sizes = {**BACKBONES[name].sizes, **TINY[name], "image_size": image_size}
    if name == "vit-small":
        sizes["patch_size"] = 8
    config = getattr(transformers, f"{ZOO[name]}Config")(num_labels=classes, **sizes)
    model = getattr(transformers, f"{ZOO[name]}ForImageClassification")(config)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    return model.eval()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_numbers_of_parameters_are_those_published(backbone: str) -> None:
    with torch.device("meta"):
        built = build(NetworkConfig(backbone=backbone, image_size=224), 1000)
    if backbone != "convnet":
        assert built.parameters == built.trainable == PUBLISHED[backbone]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_is_in_one_stage_and_the_table_names_the_stages(backbone: str) -> None:
    for size in (16, 100, 224) if backbone == "convnet" else (64,):
        with torch.device("meta"):
            built = build(NetworkConfig(backbone=backbone, image_size=size), 10)
        inside = [id(parameter) for stage in built.stages for parameter in stage.module.parameters()]
        assert len(inside) == len(set(inside))
        assert set(inside) == {id(parameter) for parameter in built.network.parameters()}
        assert tuple(stage.name for stage in built.stages) == BACKBONES[backbone].stage_names(size)
        assert built.stages[-1].module is built.network.head


def test_stages_are_passed_in_order() -> None:
    # A parameter of a later stage is further from the pictures: it gets its gradient earlier.
    built = build(NetworkConfig(backbone="efficientnet-b0", image_size=32), 2)
    seen: list[str] = []
    for stage in built.stages:
        for parameter in stage.module.parameters():
            parameter.register_hook(lambda gradient, name=stage.name: seen.append(name) or gradient)
    built.network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert list(dict.fromkeys(seen)) == [stage.name for stage in reversed(built.stages)]


@pytest.mark.parametrize("size", [16, 40])
@pytest.mark.parametrize("backbone", ["convnet", "resnet-18", "efficientnet-b0", "regnet-y-400mf"])
def test_backbones_from_scratch_give_logits(backbone: str, size: int) -> None:
    network = build(NetworkConfig(backbone=backbone, image_size=size), 3).network.eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, size, size)).shape == (2, 3)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("size", [8, 33])
@pytest.mark.parametrize("backbone", TINY)
def test_every_parameter_of_every_family_learns_at_any_size(backbone: str, size: int) -> None:
    built = build(NetworkConfig(backbone=backbone, image_size=size), 3)
    built.network(torch.randn(2, 3, size, size)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in built.network.parameters())


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("backbone", TINY)
def test_the_answer_depends_on_the_picture(backbone: str) -> None:
    # Weights drawn too small would let nothing through, as those of EfficientNet do as transformers draws them.
    torch.manual_seed(0)
    network = build(NetworkConfig(backbone=backbone, image_size=32), 3).network
    out = network(torch.randn(8, 3, 32, 32))
    assert out.std(dim=0).mean() > 3e-4


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("backbone", TINY)
def test_features_are_the_last_map_or_the_last_tokens(backbone: str) -> None:
    built = build(NetworkConfig(backbone=backbone, image_size=64), 3)
    network = built.network.eval()
    images = torch.randn(2, 3, 64, 64)
    found = network.features(images)
    assert found.ndim == (3 if built.explain == "attention" else 4)
    if backbone.startswith("vgg"):  # seen before the last pooling
        found = nn.functional.max_pool2d(found, 2)
        torch.testing.assert_close(network.model.classifier(found.flatten(1)), network(images))  # type: ignore[operator]
        return
    if backbone == "vit-small":
        pooled = found[:, 0]
    elif backbone == "convnext-tiny":
        pooled = network.model.convnext.layernorm(found.mean(dim=(2, 3)))  # type: ignore[operator, union-attr]
    else:
        pooled = found.mean(dim=(2, 3))
    # The head on what is explained gives the answer.
    torch.testing.assert_close(network.head(pooled), network(images))
    assert built.target_layer is network.target_layer


@pytest.mark.usefixtures("tiny")
def test_attentions_are_those_that_the_fused_ones_hide() -> None:
    built = build(NetworkConfig(backbone="vit-small", image_size=32), 3)
    network = built.network.eval()
    images = torch.randn(2, 3, 32, 32)
    before = network(images)
    maps = network.attentions(images)
    tokens = (32 // vit_patch(32)) ** 2 + 1
    assert [tuple(found.shape) for found in maps] == [(2, 2, tokens, tokens)] * 2
    for found in maps:
        torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 2, tokens))
    # By hand, for the first block.
    base: Any = network.model.vit
    x = base.layers[0].layernorm_before(base.embeddings(images))
    queries, keys = (
        getattr(base.layers[0].attention, name)(x).reshape(2, tokens, 2, 6).transpose(1, 2)
        for name in ("q_proj", "k_proj")
    )
    torch.testing.assert_close(maps[0], (queries @ keys.transpose(2, 3) / 6**0.5).softmax(dim=-1))
    assert base.config._attn_implementation == "sdpa"
    assert torch.equal(network(images), before)
    with pytest.raises(TypeError, match="ConvNet has no attention"):
        build(NetworkConfig(image_size=8), 2).network.attentions(torch.zeros(1, 3, 8, 8))


def test_stem_and_patches_fit_small_pictures() -> None:
    assert [resnet_stem(size) for size in (32, 64, 224)] == [(3, 1, False), (3, 2, False), (7, 2, True)]
    assert [vit_patch(size) for size in (8, 16, 32, 64, 96, 224)] == [2, 2, 4, 8, 12, 16]
    assert vit_patch(53) == 6  # a prime: the last pixels are not seen
    assert [small_stride(size) for size in (32, 64, 96, 224)] == [1, 1, 2, 2]
    assert [convnext_patch(size) for size in (32, 64, 96, 224)] == [1, 2, 2, 4]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("size", [32, 64, 96])
@pytest.mark.parametrize("backbone", [name for name in TINY if name != "vit-small"])
def test_the_last_map_of_a_small_picture_is_worth_averaging(backbone: str, size: int) -> None:
    with torch.device("meta"):
        network = build(NetworkConfig(backbone=backbone, image_size=size), 2).network.eval()
        assert 2 <= network.features(torch.randn(1, 3, size, size)).shape[-1] <= 8


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("backbone", TINY)
def test_dropout_stands_before_the_last_layer(backbone: str) -> None:
    network = build(NetworkConfig(backbone=backbone, image_size=16, dropout=0.5), 3).network
    found = [module.p for module in network.modules() if isinstance(module, nn.Dropout) and module.p == 0.5]
    assert found == [0.5] * (2 if backbone.startswith("vgg") else 1)
    images = torch.randn(2, 3, 16, 16)
    network.eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("backbone", TINY)
def test_a_xavier_head_has_the_variance_of_the_paper(backbone: str) -> None:
    torch.manual_seed(0)
    head = build(NetworkConfig(backbone=backbone, image_size=16, head_init="xavier"), 500).network.head
    # Glorot & Bengio (2010), eq. 12 and 16: variance 2 / (inputs + outputs), uniform.
    variance = 2 / (head.in_features + 500)
    assert head.weight.var().item() == pytest.approx(variance, rel=0.06)
    assert head.weight.abs().max() <= (3 * variance) ** 0.5
    assert head.bias.abs().sum() == 0


@pytest.mark.parametrize(
    ("sizes", "image_size", "square"),
    # The lists of blocks that transformers' configs of B0 to B3 pad on all sides, at the sizes they were trained at.
    [
        ((1.0, 1.0, 1280), 224, []),
        ((1.0, 1.1, 1280), 240, [16]),
        ((1.1, 1.2, 1408), 260, [5, 8, 16]),
        ((1.2, 1.4, 1536), 300, [5, 18]),
    ],
)
def test_efficientnet_is_padded_as_the_original(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[float, float, int], image_size: int, square: list[int]
) -> None:
    names = ("width_coefficient", "depth_coefficient", "hidden_dim")
    entry = replace(BACKBONES["efficientnet-b0"], sizes=dict(zip(names, sizes, strict=True)))
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", entry)
    with torch.device("meta"):
        model: Any = build(NetworkConfig(backbone="efficientnet-b0", image_size=image_size), 2).network.model
    halving = [(place, block.depthwise_conv) for place, block in enumerate(model.efficientnet.encoder.blocks)]
    paddings = {place: layer.depthwise_conv_pad.padding for place, layer in halving if layer.stride == 2}
    assert len(paddings) == 4
    assert [place for place, (left, right, *_) in paddings.items() if left == right] == square


def test_efficientnet_is_drawn_as_the_original() -> None:
    torch.manual_seed(0)
    model: Any = build(NetworkConfig(backbone="efficientnet-b0", image_size=32), 2).network.model
    block = model.efficientnet.encoder.blocks[-1]
    # Normal with variance 2 / fan out; the fan out of a depthwise convolution is its kernel, 3 x 3.
    assert block.depthwise_conv.depthwise_conv.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert block.expansion.expand_conv.weight.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.05)
    assert all((m.weight == 1).all() and m.momentum == 0.1 for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_residuals_are_dropped_whole_and_made_up_for() -> None:
    torch.manual_seed(0)
    drop = DropResidual(0.25)
    out = drop(torch.ones(4000, 2, 1, 1))
    torch.testing.assert_close(out.unique(), torch.tensor([0, 4 / 3]))
    assert torch.equal(out[:, 0], out[:, 1])
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(out), out)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("backbone", ZOO)
def test_a_saved_folder_is_opened_with_its_answers(backbone: str, tmp_path: Path) -> None:
    reference = zoo_model(backbone)
    reference.save_pretrained(tmp_path / "zoo")
    config = NetworkConfig(backbone=backbone, image_size=32, pretrained=str(tmp_path / "zoo"))
    built = build(config, 7)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(built.network.eval()(images), reference(images).logits, atol=1e-5, rtol=1e-4)
    assert built.mean is None
    # Another head, another size: the body keeps its weights.
    other = build(config.model_copy(update={"image_size": 48}), 3)
    assert other.network(torch.randn(2, 3, 48, 48)).shape == (2, 3)
    body = {name: t for name, t in built.network.state_dict().items() if "classifier" not in name}
    assert len(body) > 10
    own = other.network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in body.items() if "position" not in name)
    # Without the folder: the same network, waiting for its weights.
    again = build(config.model_copy(update={"pretrained": "gone"}), 7, architecture=built.architecture)
    again.network.load_state_dict(built.network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.network.eval()(images), built.network(images))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("backbone", TINY)
def test_each_family_is_exported(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = 40 if backbone != "vgg-16-bn" else 288  # there averaged from 9 pixels to 7, which ONNX has no layer for
    network = build(NetworkConfig(backbone=backbone, image_size=size, dropout=0.3), 3).network
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    export_onnx(network, (120.0,) * 3, (60.0,) * 3, pixels, tmp_path / "model.onnx")  # compares the answers itself
    assert (tmp_path / "model.onnx").stat().st_size > 1000


def test_a_family_may_be_named_without_its_size() -> None:
    assert {name: NetworkConfig(backbone=name).backbone for name in ALIASES} == ALIASES
    assert NetworkConfig(backbone="regnet").backbone == "regnet-y-4gf"
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet-19'\. Did you mean 'resnet-1"):
        NetworkConfig(backbone="resnet-19")


def test_the_table_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, sanmaru.tasks.image_classification.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(params=["resnet-50", "vit-small"])
def pretrained(request: pytest.FixtureRequest, tiny: None, tmp_path: Path) -> NetworkConfig:
    zoo_model(request.param).save_pretrained(tmp_path / "zoo")
    return NetworkConfig(
        backbone=request.param, image_size=32, pretrained=str(tmp_path / "zoo"), freeze="stem", layer_decay=0.5,
        tta=["hflip"],  # type: ignore[arg-type]
    )  # fmt: skip


def test_pretrained_backbones_are_fitted_and_exported(
    pretrained: NetworkConfig, digits: pl.DataFrame, context: Callable[..., FitContext], tmp_path: Path
) -> None:
    task = ImageClassification.open(digits, Roles(id="id", targets=("digit",), image="picture"))
    estimator = task.estimator(pretrained, TrainConfig(epochs=1, batch_size=32))
    estimator.fit(digits.head(64), None, context())
    details = estimator.details()
    assert 0 < details["trainable"] < details["parameters"]
    estimator.save(tmp_path / "saved")
    array = estimator.encode(digits.head(20))
    loaded = task.load_estimator(tmp_path / "saved").forward(array)
    np.testing.assert_allclose(loaded, estimator.forward(array), atol=1e-4)
    np.testing.assert_allclose(np.exp(loaded).sum(axis=1), 1, atol=1e-4)  # averaged views give log-probabilities
    (tmp_path / "zoo").rename(tmp_path / "gone")  # a trained network is opened again without what it began from
    with torch.no_grad():
        plain = restore(tmp_path / "saved")(torch.from_numpy(array))
        mirrored = restore(tmp_path / "saved")(torch.from_numpy(array[:, :, ::-1].copy()))
    averaged = (plain.softmax(dim=1) + mirrored.softmax(dim=1)) / 2
    np.testing.assert_allclose(np.exp(loaded), averaged.numpy(), atol=1e-4)
