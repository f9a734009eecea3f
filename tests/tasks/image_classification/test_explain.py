"""Grad-CAM and attention roll-out against computations by hand, and on pictures where the answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from sanmaru.networks.convnet import ConvNet
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.explain import attended, attentions, branches, explain, grad_cam, roll_out
from sanmaru.tasks.image_classification.export import FromPixels


class Tiny(nn.Module):
    """Two convolutions and a head that is not linear."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.head = nn.Sequential(
            nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(7), nn.Tanh(), nn.Linear(7, classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(torch.relu(self.first(images))))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(11)


def pixels(n: int = 4, side: int = 16) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def from_pixels(network: nn.Module) -> FromPixels:
    return FromPixels(network, (127.0,) * 3, (64.0,) * 3).eval()


def test_grad_cam_is_that_of_a_computation_by_hand() -> None:
    network, images = Tiny().eval(), torch.randn(4, 3, 8, 8)
    classes = torch.tensor([0, 2, 1, 1])
    found = grad_cam(network, [network.second], images, classes)[0]
    for row in range(4):  # one at a time, with a gradient kept on the activations themselves
        features = network.second(torch.relu(network.first(images[row : row + 1])))
        features.retain_grad()
        network.head(features.clone())[0, classes[row]].backward()
        weights = features.grad[0].numpy().mean(axis=(1, 2))
        by_hand = np.maximum(np.tensordot(weights, features.detach()[0].numpy(), axes=1), 0)
        by_hand = by_hand / by_hand.max() if by_hand.max() > 0 else by_hand
        np.testing.assert_allclose(found[row].numpy(), by_hand, rtol=1e-4, atol=1e-6)


def test_behind_a_mean_and_a_linear_layer_grad_cam_is_the_class_activation_map() -> None:
    network = ConvNet(3, 16, width=4, max_width=8).eval()  # Zhou et al., 2016: the weights of the class are the map's
    images = torch.randn(2, 3, 16, 16)
    found = grad_cam(network, [network.features], images, torch.tensor([2, 0]))[0]
    with torch.no_grad():
        features = network.features(images)
        expected = torch.relu(torch.einsum("bchw,bc->bhw", features, network.classifier.weight[[2, 0]]))
    peaks = expected.amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
    torch.testing.assert_close(found, expected / peaks, rtol=1e-4, atol=1e-6)


def test_the_map_lies_where_the_class_is() -> None:
    generator = np.random.default_rng(0)
    pictures = generator.normal(0, 0.3, (112, 3, 32, 32)).astype(np.float32)
    labels = np.arange(112) % 3  # a red square, a blue one, or nothing: so that a colour must be seen, not missed
    labels[:16] = np.arange(16) % 2
    corners = np.arange(16) // 2 % 4
    for row, label in enumerate(labels):
        top, left = generator.integers(0, 24, 2)
        if row < 16:  # not learned from: in the corner that is to be found
            top, left = 2 + 20 * (corners[row] // 2), 2 + 20 * (corners[row] % 2)
        if label < 2:
            pictures[row, 2 * label, top : top + 8, left : left + 8] += 3
    images, codes = torch.from_numpy(pictures), torch.from_numpy(labels)
    network = ConvNet(3, 32, width=8, max_width=16)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(12):
        for part in (torch.randperm(96) + 16).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[part]), codes[part]).backward()
            optimizer.step()
    network.eval()
    assert (network(images[:16]).argmax(dim=1) == codes[:16]).float().mean() > 0.9
    maps = grad_cam(network, [network.features], images[:16], codes[:16])[0].numpy()
    mass = maps.reshape(16, 2, 2, 2, 2).sum(axis=(2, 4)).reshape(16, 4)  # of 4 x 4 places, per corner
    share = mass / mass.sum(axis=1, keepdims=True)
    assert (share.argmax(axis=1) == corners).mean() > 0.9
    assert share[np.arange(16), corners].mean() > 0.4  # a quarter would be chance


def test_roll_out_is_the_product_of_the_layers() -> None:
    generator = np.random.default_rng(2)
    layers = [generator.dirichlet(np.ones(5), size=(2, 3, 5)) for _ in range(4)]  # (B, heads, T, T)
    expected = []
    for row in range(2):
        whole = np.eye(5)
        for layer in layers:
            mixed = 0.5 * layer[row].mean(axis=0) + 0.5 * np.eye(5)
            whole = (mixed / mixed.sum(axis=1, keepdims=True)) @ whole
        expected.append(whole)
    found = roll_out([torch.from_numpy(layer) for layer in layers]).numpy()
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)
    maps = attended([torch.from_numpy(layer) for layer in layers]).numpy()  # the class token and 2 x 2 patches
    patches = np.stack(expected)[:, 0, 1:]
    patches = patches - patches.min(axis=1, keepdims=True)
    np.testing.assert_allclose(maps.reshape(2, 4), patches / patches.max(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_roll_out_without_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        roll_out([])


class Logits(nn.Module):
    """A classifier of transformers, giving the logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=images).logits


@pytest.fixture
def vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=4
    )
    return Logits(ViTForImageClassification(config)).eval()


def test_attention_is_what_transformers_gives_and_the_network_stays_as_it_was(vit: nn.Module) -> None:
    images = torch.randn(2, 3, 16, 16)
    before, logits = vit.model.config._attn_implementation, vit(images)
    found = attentions(vit, [vit], images)[0]
    assert vit.model.config._attn_implementation == before
    torch.testing.assert_close(vit(images), logits, rtol=0, atol=0)
    vit.model.set_attn_implementation("eager")
    expected = vit.model(pixel_values=images, output_attentions=True).attentions
    assert len(found) == len(expected) == 3
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("backbone", ["convnet", "resnet-18", "vit"])
def test_every_kind_of_network_is_explained_from_pixels(backbone: str, vit: nn.Module) -> None:
    network = vit if backbone == "vit" else build(NetworkConfig(backbone=backbone, image_size=16), 3).network
    model = from_pixels(network)
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # as in a network that was frozen
    found = explain(model, pixels(), np.array([0, 1, 0, 1]))
    assert found.method == ("attention" if backbone == "vit" else "cam")
    assert found.maps.shape == (4, 16, 16)
    assert found.maps.dtype == np.float32
    assert found.maps.min() >= 0
    assert found.maps.max() == pytest.approx(1)
    assert not any(module._forward_hooks for module in model.modules())


def test_grad_cam_answers_for_the_class_asked_and_roll_out_for_all(vit: nn.Module) -> None:
    network = from_pixels(ConvNet(2, 16, width=4, max_width=8))
    one, other = (explain(network, pixels(), np.full(4, code)).maps for code in (0, 1))
    assert np.abs(one - other).max() > 0.1
    one, other = (explain(from_pixels(vit), pixels(), np.full(4, code)).maps for code in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_how_pictures_are_batched_changes_nothing() -> None:
    network = from_pixels(ConvNet(2, 32, width=4, max_width=8))
    many, codes = pixels(70, 32), np.arange(70) % 2
    whole = explain(network, many, codes).maps
    parts = [explain(network, many[i : i + 7], codes[i : i + 7]).maps for i in range(0, 70, 7)]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-4)
    assert explain(network, many[:0], codes[:0]).maps.shape == (0, 32, 32)


class Summed(nn.Module):
    """Two networks whose joint logit is the sum of log-probabilities, as `heads: separate` makes it."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one, other = (part(images).log_softmax(dim=1) for part in self.parts)
        return (one[:, :, None] + other[:, None, :]).flatten(1)


def test_several_networks_are_each_asked_for_their_share_of_the_joint_class() -> None:
    parts = [ConvNet(2, 16, width=4, max_width=8), ConvNet(3, 16, width=4, max_width=8)]
    for part in parts:
        part.explain, part.target_layer = "cam", part.features
    model = from_pixels(Summed(parts))
    assert branches(model) == parts
    # Joint class 4 is class 1 of the first network and class 1 of the second.
    found = explain(model, pixels(), np.full(4, 4)).maps
    alone = []
    for part in parts:
        single = from_pixels(nn.Sequential(part, nn.LogSoftmax(dim=1)))
        alone.append(explain(single, pixels(), np.full(4, 1)).maps)
    mean = sum(alone)
    peaks = mean.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, mean / np.where(peaks > 0, peaks, 1), atol=1e-5)


def test_a_network_without_a_map_says_so() -> None:
    network = from_pixels(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)))
    with pytest.raises(ValueError, match="makes no map of features"):
        explain(network, pixels(), np.zeros(4, np.int64))
