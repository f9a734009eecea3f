from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sanmaru.networks.convnet import ConvNet
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.export import export_onnx
from sanmaru.tasks.image_classification.tta import count_views, read_tta
from sanmaru.tasks.image_classification.views import Views, cut

EVERYTHING = ["hflip", "vflip", "rot90", {"crop": 0.8}, "five-crop", {"scale": [0.9, 1.25]}]
SIZE = 16


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return ConvNet(4, SIZE, width=4).eval()


def by_hand(image: np.ndarray) -> list[np.ndarray]:
    """Flips and turns of one picture (C, S, S), by NumPy."""
    turns = [np.rot90(image, k, axes=(1, 2)) for k in (1, 2, 3)]
    return [image, image[:, :, ::-1], image[:, ::-1], *turns]


def test_probabilities_are_averaged_over_the_views(network: nn.Module) -> None:
    images = torch.randn(3, 3, SIZE, SIZE)
    given = Views(network, read_tta(["hflip", "vflip", "rot90"]))(images)
    for image, logs in zip(images, given, strict=True):
        views = torch.from_numpy(np.stack(by_hand(image.numpy())).copy())
        expected = network(views).softmax(dim=1).mean(dim=0)
        torch.testing.assert_close(logs.exp(), expected)


def test_without_views_the_probabilities_are_the_networks(network: nn.Module) -> None:
    images = torch.randn(2, 3, SIZE, SIZE)
    torch.testing.assert_close(Views(network, [])(images).softmax(dim=1), network(images).softmax(dim=1))


def test_certain_answers_stay_finite() -> None:
    class Sure(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3)) * 1e4

    given = Views(Sure(), read_tta(["hflip"]))(torch.randn(2, 3, 4, 4))
    assert torch.isfinite(given).all()


@pytest.mark.parametrize(
    ("size", "first", "side"),
    [(16, 4, 8), (15, 5, 5), (20, 0, 10), (20, 10, 10), (12, 3, 6)],
)
def test_a_cut_is_bilinear_interpolation_of_the_slice(size: int, first: int, side: int) -> None:
    images = torch.randn(2, 3, size, size)
    given = cut(images, first / size, first / size, side / size)
    slice_ = images[:, :, first : first + side, first : first + side]
    expected = functional.interpolate(slice_, size=(size, size), mode="bilinear", align_corners=False)
    inner = slice(size // side, -(size // side))  # at the rim the cut sees its neighbours, the slice has none
    torch.testing.assert_close(given[:, :, inner, inner], expected[:, :, inner, inner])


def test_the_whole_picture_is_itself() -> None:
    images = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(cut(images, 0, 0, 1), images)


def test_a_smaller_picture_keeps_every_pixel_and_goes_on_at_the_edge() -> None:
    size = 12
    images = torch.randn(1, 1, size, size)
    given = cut(images, -0.5, -0.5, 2.0)  # half as large, in the middle
    # torch's own shrinking with the same triangle; away from the edge, which it cuts off and we go on at.
    expected = functional.interpolate(images, size=(6, 6), mode="bilinear", antialias=True)
    torch.testing.assert_close(given[..., 4:8, 4:8], expected[..., 1:5, 1:5])
    torch.testing.assert_close(given[..., 0, 0], images[..., 0, 0])
    torch.testing.assert_close(given[..., -1, -1], images[..., -1, -1])
    constant = torch.full((1, 1, size, size), 3.0)
    torch.testing.assert_close(cut(constant, -0.3, 0.1, 1.7), constant)


def test_five_crops_are_the_corners_and_the_middle() -> None:
    images = torch.randn(1, 3, 20, 20)
    found = list(Views(nn.Identity(), read_tta([{"five-crop": 0.5}])).views(images))
    corners = [(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5), (0.25, 0.25)]
    for view, (top, left) in zip(found, corners, strict=True):
        torch.testing.assert_close(view, cut(images, top, left, 0.5))


def test_scaling_up_is_cropping() -> None:
    images = torch.randn(1, 3, 20, 20)
    [scaled] = Views(nn.Identity(), [{"scale": 1.25}]).views(images)
    [cropped] = Views(nn.Identity(), [{"crop": 0.8}]).views(images)
    torch.testing.assert_close(scaled, cropped)


def test_onnx_carries_the_views(network: nn.Module, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    tta = read_tta(EVERYTHING)
    export_onnx(network, (120.0,) * 3, (60.0,) * 3, pixels, tmp_path / "tta.onnx", tta=tta)
    export_onnx(network, (120.0,) * 3, (60.0,) * 3, pixels, tmp_path / "plain.onnx")
    sizes = {name: (tmp_path / f"{name}.onnx").stat().st_size for name in ("tta", "plain")}
    assert sizes["tta"] < sizes["plain"] + 100_000  # the weights are there once
    session = onnxruntime.InferenceSession(str(tmp_path / "tta.onnx"), providers=["CPUExecutionProvider"])
    given = session.run(None, {"pixels": pixels})[0]
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 120) / 60
    with torch.no_grad():
        views = [images, *Views(network, tta).views(images)]
        assert len(views) == count_views(tta) == 14
        expected = torch.stack([network(view).softmax(dim=1) for view in views]).mean(dim=0)
    np.testing.assert_allclose(np.exp(given), expected.numpy(), atol=1e-5)


def test_the_project_files_list_is_written_out() -> None:
    tta = NetworkConfig(tta=["hflip", "crop", {"scale": [0.9, 1.1]}]).tta  # type: ignore[arg-type]
    assert tta == ({"hflip": 1.0}, {"crop": 0.9}, {"scale": 0.9}, {"scale": 1.1})
    assert NetworkConfig.model_validate(NetworkConfig(tta=tta).model_dump(mode="json")).tta == tta


@pytest.mark.parametrize(
    ("tta", "message"),
    [
        (["hflp"], "unknown view 'hflp'. Did you mean 'hflip'?"),
        ([{"crop": 1.5}], r"'crop' must be a number in \[0.1, 1\], got 1.5"),
        ([{"scale": "big"}], r"'scale' must be a number in \[0.25, 4\], got 'big'"),
        ([{"hflip": 0.5}], "'hflip' takes no number, got 0.5"),
        ([3], "a view is a name or {name: number}, got 3"),
        (["hflip", "hflip"], "is named twice"),
    ],
)
def test_bad_lists_say_why(tta: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(tta=tta)  # type: ignore[arg-type]
