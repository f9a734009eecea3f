import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from sanmaru.training.augment_geometry import Warps, apply_warps, draw_warps, grid, warp
from sanmaru.training.augment_names import GEOMETRY, parameters


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(entries: list[dict[str, float]], n: int, generator: torch.Generator) -> Warps:
    drawn = draw_warps([(name, parameters(name, s)) for entry in entries for name, s in entry.items()], n, generator)
    assert drawn is not None
    return drawn


def apply(images: torch.Tensor, warps: Warps) -> torch.Tensor:
    return apply_warps(images, warps, torch.zeros(3))


def random_images(n: int = 4, side: int = 11) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8))


def reference(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The warp of one picture by SciPy, from the map (2, 3) in normalised (x, y) coordinates."""
    side = image.shape[0]
    # normalised = (2 p + 1) / side - 1, so p_in = A p_out + offset, in SciPy's order (row, column).
    linear = matrix[::-1, 1::-1]
    centre = (side - 1) / 2
    shift = matrix[::-1, 2] * side / 2
    offset = centre + shift - linear @ np.full(2, centre)
    return np.stack(
        [
            ndimage.affine_transform(image[..., c].astype(float), linear, offset, order=1, mode="reflect")
            for c in range(image.shape[2])
        ]
    )


@pytest.mark.parametrize(
    "names",
    [
        ["rotate"],
        ["crop"],
        ["scale"],
        ["translate"],
        [name for name in GEOMETRY if name != "perspective"],
        ["vflip", "rotate"],
    ],
)
def test_the_warp_agrees_with_scipy(names: list[str]) -> None:
    images = random_images()
    strengths = {"rotate": 35.0, "translate": 0.2, "crop": 0.3, "scale": 0.3}
    warps = draw([{name: strengths.get(name, 0.5)} for name in names], len(images), generator(1))
    assert warps.maps is not None
    out = apply(images, warps)
    for picture, image, matrix in zip(out.numpy(), images.numpy(), warps.maps.double().numpy(), strict=True):
        np.testing.assert_allclose(picture, reference(image, matrix), atol=0.02)


def test_the_grid_is_torchs_affine_grid() -> None:
    maps = torch.randn(3, 2, 3, generator=generator())
    expected = functional.affine_grid(maps, [3, 1, 5, 7], align_corners=False)
    torch.testing.assert_close(grid(maps, 5, 7), expected, atol=1e-6, rtol=1e-5)


def test_no_change_is_exact() -> None:
    images = random_images()
    same = warp(images.permute(0, 3, 1, 2), torch.eye(3)[:2].repeat(len(images), 1, 1))
    torch.testing.assert_close(same, images.permute(0, 3, 1, 2).float(), atol=1e-3, rtol=0)


def test_a_rotation_of_a_quarter_turn_is_numpys() -> None:
    images = random_images(1)
    angle = math.pi / 2
    quarter = torch.tensor([[[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]])
    turned = warp(images.permute(0, 3, 1, 2), quarter)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(turned, np.rot90(images[0].numpy(), -1, axes=(1, 0)), atol=0.01)


def test_augmentations_compose_in_the_order_they_are_named() -> None:
    # Forward: the point (x, y) is moved first and mirrored then, or the other way round. The same draws serve both.
    moved = draw([{"translate": 0.25}], 1, generator(5)).maps
    first = draw([{"translate": 0.25}, {"hflip": 1.0}], 1, generator(5)).maps
    assert moved is not None
    assert first is not None
    shift = float(moved[0, 0, 2])  # from output to input: x_in = x_out + shift
    # Undoing the mirror comes first on the way back: x_in = -x_out + shift.
    assert first[0, 0].tolist() == pytest.approx([-1, 0, shift])
    mirrored = draw([{"hflip": 1.0}, {"translate": 0.25}], 1, generator(5)).maps
    assert mirrored is not None
    other = float(mirrored[0, 0, 2])
    unmirrored = draw([{"hflip": 0.0}, {"translate": 0.25}], 1, generator(5)).maps
    assert unmirrored is not None
    # Here the shift is undone first: x_in = -(x_out + shift').
    assert other == pytest.approx(-float(unmirrored[0, 0, 2]))


def test_flips_alone_are_exact_and_need_no_warp() -> None:
    images = random_images(6)
    warps = draw([{"hflip": 0.5}, {"vflip": 0.5}], len(images), generator(2))
    assert warps.maps is None
    assert warps.left_right is not None
    assert warps.up_down is not None
    out = apply(images, warps).permute(0, 2, 3, 1).numpy()
    for picture, image, h, v in zip(out, images.numpy(), warps.left_right, warps.up_down, strict=True):
        expected = image[:, ::-1] if h else image
        np.testing.assert_array_equal(picture, expected[::-1] if v else expected)
    assert len({(bool(h), bool(v)) for h, v in zip(warps.left_right, warps.up_down, strict=True)}) > 1


def test_a_batch_takes_the_draws_of_its_own_rows() -> None:
    images = random_images(6)
    warps = draw([{"rotate": 30.0}], 6, generator(4))
    part = warps.take(slice(2, 5), torch.device("cpu"))
    torch.testing.assert_close(apply(images[2:5], part), apply(images, warps)[2:5])


def test_draws_stay_within_their_strength() -> None:
    n = 2000
    maps = draw([{"translate": 0.1}], n, generator()).maps
    assert maps is not None
    assert maps[:, :, 2].abs().max() <= 0.2 + 1e-6
    assert maps[:, :, 2].abs().max() > 0.19
    zoom = draw([{"scale": 0.2}], n, generator()).maps
    assert zoom is not None
    factors = 1 / zoom[:, 0, 0]
    assert 0.8 - 1e-5 <= factors.min() < 0.81
    assert 1.19 < factors.max() <= 1.2 + 1e-5
    # A crop never leaves the picture: the corners map inside [-1, 1].
    crop = draw([{"crop": 0.4}], n, generator()).maps
    assert crop is not None
    reach = crop[:, :, :2].abs().sum(2) + crop[:, :, 2].abs()
    assert reach.max() <= 1 + 1e-6


def in_pixels(matrix: np.ndarray, side: int) -> np.ndarray:
    """A map of normalised coordinates as one of pixel numbers, where the first pixel's centre is 0."""
    to_unit = np.array([[2 / side, 0, 1 / side - 1], [0, 2 / side, 1 / side - 1], [0, 0, 1]])
    return np.linalg.inv(to_unit) @ matrix @ to_unit


@pytest.mark.parametrize(("border", "flag"), [("reflect", cv2.BORDER_REFLECT), ("edge", cv2.BORDER_REPLICATE)])
def test_a_perspective_agrees_with_opencv(border: str, flag: int) -> None:
    side = 24
    images = random_images(4, side)
    steps = [("rotate", parameters("rotate", 20)), ("perspective", parameters("perspective", 0.2))]
    warps = draw_warps(steps, len(images), generator(3), border)
    assert warps is not None
    assert warps.maps is not None
    assert warps.maps.shape == (4, 3, 3)
    for picture, image, matrix in zip(apply(images, warps), images.numpy(), warps.maps.double().numpy(), strict=True):
        expected = cv2.warpPerspective(
            image.astype(np.float32),
            in_pixels(matrix, side),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=flag,
        )
        # OpenCV places samples on a 32nd of a pixel.
        np.testing.assert_allclose(picture.permute(1, 2, 0).numpy(), expected, atol=255 / 16)
        assert np.abs(picture.permute(1, 2, 0).numpy() - expected).mean() < 2


def test_a_perspective_moves_the_corners_as_drawn_and_no_further() -> None:
    warps = draw_warps([("perspective", parameters("perspective", 0.1))], 500, generator())
    assert warps is not None
    assert warps.maps is not None
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]).T
    moved = warps.maps @ corners
    moved = moved[:, :2] / moved[:, 2:]
    reach = (moved - corners[:2]).abs()
    assert 0.19 < reach.max() <= 0.2 + 1e-5


def test_a_shear_slants_by_the_tangent() -> None:
    warps = draw_warps([("shear", parameters("shear", 30))], 1000, generator())
    assert warps is not None
    assert warps.maps is not None
    largest = math.tan(math.radians(30))
    assert 0.97 * largest < warps.maps[:, 0, 1].abs().max() <= largest + 1e-6


def test_a_probability_leaves_the_others_alone() -> None:
    warps = draw_warps([("rotate", parameters("rotate", {"degrees": 90, "p": 0.25}))], 4000, generator())
    assert warps is not None
    assert warps.maps is not None
    same = (warps.maps == torch.eye(3)[:2]).all(dim=(1, 2)).float().mean()
    assert 0.72 < same < 0.78


def test_outside_of_a_picture_the_mean_can_be_seen() -> None:
    mean = torch.tensor([10.0, 20.0, 30.0])
    far = torch.tensor([[[1.0, 0, 5], [0, 1, 0]]])
    out = warp(random_images(1).permute(0, 3, 1, 2), far, "mean", mean)
    torch.testing.assert_close(out, mean[None, :, None, None].expand_as(out))
