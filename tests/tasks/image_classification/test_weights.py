from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from sanmaru.errors import ProjectFileError, UserError
from sanmaru.networks.resnext import ResNeXt
from sanmaru.networks.vgg import VGG
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.backbones.table import BACKBONES
from sanmaru.tasks.image_classification.backbones.weights import find_weights
from sanmaru.tasks.image_classification.config import NetworkConfig

RESNEXT = {"depths": (1, 1, 1, 1), "groups": 2, "width": 2}
VGG_SIZES = {"blocks": ((4,), (4,), (8,), (8,), (8,)), "dense": 16}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Cut the hub off; return its cache, an empty folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(BACKBONES, "resnext-50", replace(BACKBONES["resnext-50"], sizes=RESNEXT))
    monkeypatch.setitem(BACKBONES, "vgg-16", replace(BACKBONES["vgg-16"], sizes=VGG_SIZES))
    return tmp_path / "hub"


@pytest.fixture
def tiny_resnet(tmp_path: Path) -> Path:
    config = ResNetConfig(
        embedding_size=64, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic", num_labels=7
    )
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    return tmp_path / "resnet"


@pytest.fixture
def tiny_vit(tmp_path: Path) -> Path:
    save_vit(tmp_path / "vit", image_size=16, patch_size=4)
    return tmp_path / "vit"


def save_vit(folder: Path, *, image_size: int, patch_size: int) -> None:
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=image_size,
        patch_size=patch_size,
        num_labels=7,
    )
    ViTForImageClassification(config).save_pretrained(folder)


def put_in_cache(hub: Path, name: str) -> Path:
    """Make the folder that the hub's client would have left."""
    base = hub / f"models--{name.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc")
    (base / "snapshots" / "abc").mkdir(parents=True)
    return base / "snapshots" / "abc"


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


def test_a_vit_takes_another_size(tiny_vit: Path) -> None:
    original = ViTForImageClassification.from_pretrained(tiny_vit).eval()
    larger = build(NetworkConfig(backbone="vit-small", image_size=24, pretrained=str(tiny_vit)), 3).network.eval()
    # transformers' own interpolation of the positions, at every step, is the reference.
    bigger = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        expected = original.vit(pixel_values=bigger, interpolate_pos_encoding=True).last_hidden_state
        given = larger.features(bigger)
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=1e-4)
    save_vit(tiny_vit.with_name("coarse"), image_size=32, patch_size=16)
    with pytest.raises(UserError, match="smaller than one patch"):
        build(NetworkConfig(backbone="vit-small", image_size=8, pretrained=str(tiny_vit.with_name("coarse"))), 3)


@pytest.mark.parametrize("kind", ["pth", "safetensors", "folder"])
def test_resnext_takes_files_named_as_torchvision_does(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = ResNeXt(7, **RESNEXT).eval()  # type: ignore[arg-type]
    path = tmp_path / {"pth": "weights.pth", "safetensors": "weights.safetensors", "folder": "saved"}[kind]
    if kind == "pth":
        torch.save(original.state_dict(), path)
    else:
        path.mkdir() if kind == "folder" else None
        save_file(original.state_dict(), path / "model.safetensors" if kind == "folder" else path)
    images = torch.randn(2, 3, 64, 64)
    built = build(NetworkConfig(backbone="resnext-50", pretrained=str(path)), 7)
    with torch.no_grad():
        torch.testing.assert_close(built.network.eval()(images), original(images))
    other = build(NetworkConfig(backbone="resnext-50", pretrained=path.name), 3, [tmp_path])
    assert other.network.head.out_features == 3
    again = build(NetworkConfig(backbone="resnext-50", pretrained="gone"), 7, architecture=built.architecture)
    again.network.load_state_dict(built.network.state_dict())


def test_vgg_takes_weights_of_timm_from_the_cache(no_hub: Path) -> None:
    torch.manual_seed(0)
    original = VGG(7, **VGG_SIZES).eval()  # type: ignore[arg-type]
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    shapes = {"classifier.0.weight": (16, 8, 7, 7), "classifier.3.weight": (16, 16, 1, 1)}
    theirs = {}
    for name, tensor in original.state_dict().items():
        layer, _, kind = name.rpartition(".")
        theirs[f"{names.get(layer, layer)}.{kind}"] = tensor.reshape(shapes.get(name, tensor.shape)).contiguous()
    folder = put_in_cache(no_hub, "timm/vgg16.tv_in1k")
    save_file(theirs, folder / "model.safetensors")
    (folder / "config.json").write_text('{"pretrained_cfg": {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}}')
    built = build(NetworkConfig(backbone="vgg-16", image_size=300, pretrained=True), 7)
    images = torch.randn(1, 3, 300, 300)
    with torch.no_grad():
        torch.testing.assert_close(built.network.eval()(images), original(images))
    assert built.mean == pytest.approx((102.0,) * 3)


def test_the_size_of_the_pictures_picks_the_weights() -> None:
    assert BACKBONES["vit-base"].hub_name(224) == "google/vit-base-patch16-224"
    assert BACKBONES["vit-base"].hub_name(384) == "google/vit-base-patch16-384"
    assert BACKBONES["vit-base"].hub_name(64) == "google/vit-base-patch16-224"
    assert {name for name, backbone in BACKBONES.items() if backbone.hub_name(224) is None} == {"convnet"}


def test_the_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable(name: str, **options: object) -> str:
        asked.append(options.get("local_files_only", False))
        raise ConnectionError("no route to the hub\nand a long story")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(UserError, match=r"weights of 'a/b' cannot be had \(no route to the hub\). Give a folder"):
        find_weights("a/b", "resnet-18")
    assert asked == [True, False]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backbone": "convnet", "pretrained": True}, ProjectFileError, "'convnet' has no pretrained weights"),
        ({"backbone": "resnet-18", "pretrained": "no-such/model"}, UserError, "the weights of 'no-such/model' cannot"),
        ({"backbone": "vit-small", "pretrained": True}, UserError, "the weights of 'WinKawaks/vit-small"),
        ({"backbone": "resnext-50", "pretrained": "no.pth"}, UserError, "there is no file 'no.pth'"),
        ({"backbone": "resnet-18", "pretrained": "a b c"}, UserError, "the weights of 'a b c' cannot be had"),
    ],
)
def test_what_cannot_be_built_says_why(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(NetworkConfig(**options), 3)  # type: ignore[arg-type]


def test_wrong_folders_say_why(tiny_vit: Path, tiny_resnet: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=r"holds a 'vit' model, but model.backbone is 'resnet-18'"):
        build(NetworkConfig(backbone="resnet-18", pretrained=str(tiny_vit)), 3)
    with pytest.raises(UserError, match=r"has no config\.json"):
        build(NetworkConfig(backbone="vit-small", pretrained=str(tmp_path)), 3)
    with pytest.raises(
        ProjectFileError, match=r"there is no stage 'block2'\. This network has none, all, stem, block1 "
    ):
        build(NetworkConfig(backbone="vit-small", image_size=16, pretrained=str(tiny_vit), freeze="block2"), 3)
    (tiny_vit / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be had"):
        build(NetworkConfig(backbone="vit-small", pretrained=str(tiny_vit)), 3)
    file = tiny_resnet / "model.safetensors"
    with pytest.raises(UserError, match="is a file of weights; resnet-18 takes a folder"):
        build(NetworkConfig(backbone="resnet-18", pretrained=str(file)), 3)
    with pytest.raises(UserError, match=r"does not fit model.backbone 'resnext-50': conv1.weight is missing"):
        build(NetworkConfig(backbone="resnext-50", pretrained=str(file)), 3)


def test_files_of_another_size_or_of_code_say_why(tmp_path: Path) -> None:
    torch.save(ResNeXt(3, depths=(1, 1, 1, 1), groups=4, width=2).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"layer1.0.conv1.weight is \(8, 64, 1, 1\), not \(4, 64, 1, 1\)"):
        build(NetworkConfig(backbone="resnext-50", pretrained=str(tmp_path / "wide.pth")), 3)
    torch.save(ResNeXt(3, depths=(1, 2, 1, 1), groups=2, width=2).state_dict(), tmp_path / "deep.pth")
    with pytest.raises(UserError, match=r"layer2.1.conv1.weight is not a layer of it"):
        build(NetworkConfig(backbone="resnext-50", pretrained=str(tmp_path / "deep.pth")), 3)
    torch.save(Path("code"), tmp_path / "code.pth")  # any object, unpickled, could run code
    with pytest.raises(UserError, match=r"weights of .*code\.pth' cannot be had"):
        build(NetworkConfig(backbone="resnext-50", pretrained=str(tmp_path / "code.pth")), 3)
