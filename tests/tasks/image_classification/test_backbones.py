from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from sanmaru.errors import ProjectFileError, UserError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.backbones.resnet import resnet_stem
from sanmaru.tasks.image_classification.backbones.vit import vit_patch
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig


@pytest.fixture
def tiny_resnet(tmp_path: Path) -> Path:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic", num_labels=7
    )
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    return tmp_path / "resnet"


@pytest.fixture
def tiny_vit(tmp_path: Path) -> Path:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=4,
        num_labels=7,
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.mark.parametrize("size", [16, 40, 64])
@pytest.mark.parametrize("backbone", ["convnet", "resnet-18", "vit-small"])
def test_backbones_from_scratch_give_logits(backbone: str, size: int) -> None:
    network = build(NetworkConfig(backbone=backbone, image_size=size), 3).network.eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, size, size)).shape == (2, 3)


def test_sizes_are_those_of_the_papers() -> None:
    # ResNet-18 has 11.18 million parameters without its head, ViT-small 21.4 with patches of 16 at 224 pixels.
    count = {
        name: sum(p.numel() for p in build(NetworkConfig(backbone=name, image_size=224), 1).network.parameters())
        for name in ("resnet-18", "vit-small")
    }
    assert count["resnet-18"] == 11_176_512 + 513
    assert count["vit-small"] == pytest.approx(21.67e6, rel=0.01)


def test_stem_and_patches_fit_small_pictures() -> None:
    assert [resnet_stem(size) for size in (32, 64, 224)] == [(3, 1, False), (3, 2, False), (7, 2, True)]
    assert [vit_patch(size) for size in (8, 16, 32, 64, 96, 224)] == [2, 2, 4, 8, 12, 16]
    assert vit_patch(53) == 6  # a prime: the last pixels are not seen


def test_dropout_stands_before_the_last_layer() -> None:
    for backbone in ("convnet", "resnet-18", "vit-small"):
        network = build(NetworkConfig(backbone=backbone, image_size=16, dropout=0.5), 3).network
        assert [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout) and m.p == 0.5] == [0.5]


def test_pretrained_weights_are_loaded_and_the_head_is_replaced(tiny_resnet: Path) -> None:
    built = build(NetworkConfig(backbone="resnet-18", image_size=32, pretrained=str(tiny_resnet)), 3)
    original = ResNetForImageClassification.from_pretrained(tiny_resnet).state_dict()
    own = built.network.state_dict()
    assert built.network(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    body = [name for name in original if not name.startswith("classifier")]
    assert body
    assert all(torch.equal(own[f"model.{name}"], original[name]) for name in body)
    assert built.mean is None


def test_a_relative_folder_is_found_near_by(tiny_resnet: Path) -> None:
    config = NetworkConfig(backbone="resnet-18", image_size=32, pretrained=tiny_resnet.name)
    assert build(config, 3, [tiny_resnet / "elsewhere", tiny_resnet.parent]).network(torch.zeros(1, 3, 32, 32)).shape
    with pytest.raises(UserError, match="the weights of 'resnet' cannot be had"):
        build(config, 3)


def test_the_folders_normalisation_is_taken(tiny_resnet: Path) -> None:
    (tiny_resnet / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}'
    )
    built = build(NetworkConfig(backbone="resnet-18", image_size=32, pretrained=str(tiny_resnet)), 3)
    assert built.mean == pytest.approx((127.5, 102.0, 76.5))
    assert built.std == pytest.approx((51.0, 51.0, 25.5))


def test_a_vit_keeps_its_answers_at_its_size_and_takes_another(tiny_vit: Path) -> None:
    original = ViTForImageClassification.from_pretrained(tiny_vit).eval()
    images = torch.randn(2, 3, 16, 16)
    same = build(NetworkConfig(backbone="vit-small", image_size=16, pretrained=str(tiny_vit)), 7).network.eval()
    with torch.no_grad():
        torch.testing.assert_close(same(images), original(pixel_values=images).logits)
    larger = build(NetworkConfig(backbone="vit-small", image_size=24, pretrained=str(tiny_vit)), 3).network.eval()
    # transformers' own interpolation of the positions, at every step, is the reference.
    bigger = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        expected = original.vit(pixel_values=bigger, interpolate_pos_encoding=True).last_hidden_state
        given = larger.model.vit(pixel_values=bigger).last_hidden_state  # type: ignore[union-attr, operator]
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="smaller than one patch"):
        build(NetworkConfig(backbone="vit-small", image_size=8, pretrained=str(_coarse(tiny_vit))), 3)


def _coarse(folder: Path) -> Path:
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    ViTForImageClassification(config).save_pretrained(folder.with_name("coarse"))
    return folder.with_name("coarse")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backbone": "convnet", "pretrained": True}, ProjectFileError, "'convnet' has no pretrained weights"),
        ({"backbone": "resnet-18", "pretrained": "no-such/model"}, UserError, "the weights of 'no-such/model' cannot"),
        ({"backbone": "vit-small", "pretrained": True}, UserError, "the weights of 'WinKawaks/vit-small"),
    ],
)
def test_what_cannot_be_built_says_why(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(NetworkConfig(**options), 3)  # type: ignore[arg-type]


def test_wrong_folders_say_why(tiny_vit: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=r"holds a 'vit' model, but model.backbone is 'resnet-18'"):
        build(NetworkConfig(backbone="resnet-18", pretrained=str(tiny_vit)), 3)
    with pytest.raises(UserError, match=r"has no config\.json"):
        build(NetworkConfig(backbone="vit-small", pretrained=str(tmp_path)), 3)
    (tiny_vit / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be had"):
        build(NetworkConfig(backbone="vit-small", pretrained=str(tiny_vit)), 3)


@pytest.fixture(params=["resnet-18", "vit-small"])
def pretrained(request: pytest.FixtureRequest, tiny_resnet: Path, tiny_vit: Path) -> NetworkConfig:
    folder, size = (tiny_resnet, 32) if request.param == "resnet-18" else (tiny_vit, 16)
    return NetworkConfig(backbone=request.param, image_size=size, pretrained=str(folder))


def test_pretrained_backbones_are_fitted_and_exported(
    pretrained: NetworkConfig, digits: pl.DataFrame, context: Callable[..., FitContext], tmp_path: Path
) -> None:
    task = ImageClassification.open(digits, Roles(id="id", targets=("digit",), image="picture"))
    estimator = task.estimator(pretrained, TrainConfig(epochs=1, batch_size=32))
    estimator.fit(digits.head(64), None, context())
    estimator.save(tmp_path / "saved")
    array = estimator.encode(digits.head(20))
    loaded = task.load_estimator(tmp_path / "saved").forward(array)
    np.testing.assert_allclose(loaded, estimator.forward(array), atol=1e-4)
