import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_sample_images

from sanmaru.training.augment_names import parameters
from sanmaru.training.augment_pixels import BANK, Pixels, apply_pixels, blurred, draw_bank, draw_pixels
from sanmaru.training.jpeg import compress


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(load_sample_images().images[0][100:212, 100:220])


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


def draw(n: int, **steps: object) -> Pixels:
    drawn = draw_pixels({name: parameters(name, given) for name, given in steps.items()}, n, generator())
    assert drawn is not None
    return drawn


def test_the_blur_is_scipys(photograph: np.ndarray) -> None:
    sigmas = [0.3, 1.0, 2.5, 7.0]
    images = batch(photograph).repeat(len(sigmas), 1, 1, 1)
    out = blurred(images, torch.tensor(sigmas), 40)
    for picture, sigma in zip(out.numpy(), sigmas, strict=True):
        expected = ndimage.gaussian_filter(
            photograph.astype(float), (sigma, sigma, 0), mode="reflect", truncate=8, axes=(0, 1, 2)
        )
        np.testing.assert_allclose(picture.transpose(1, 2, 0), expected, atol=0.05)


def test_a_wide_blur_of_a_tiny_picture_is_its_mean() -> None:
    images = torch.rand(3, 3, 5, 4) * 255
    out = apply_pixels(images.clone(), Pixels(sigma=torch.tensor([10.0, 0.0, 10.0])), None)
    torch.testing.assert_close(out[0], images[0].mean((1, 2), keepdim=True).expand(3, 5, 4), atol=20, rtol=0)
    assert torch.equal(out[1], images[1])


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
@pytest.mark.parametrize("odd", [False, True])
def test_jpeg_is_libjpegs_within_a_grey_level(photograph: np.ndarray, quality: int, odd: bool) -> None:
    image = np.ascontiguousarray(photograph[:77, :101]) if odd else photograph
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file)).astype(float)
    out = compress(batch(image), torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy()
    assert np.abs(out - expected).mean() < 1.0
    assert np.abs(out - expected).mean() < 0.5 * np.abs(expected - image).mean()


def test_each_picture_of_a_batch_has_its_own_quality(photograph: np.ndarray) -> None:
    both = batch(photograph).repeat(2, 1, 1, 1)
    out = compress(both, torch.tensor([10.0, 90.0]))
    for place, quality in enumerate((10.0, 90.0)):
        torch.testing.assert_close(out[place : place + 1], compress(both[:1], torch.tensor([quality])))


def test_noise_has_the_drawn_spread_and_is_different_in_each_picture() -> None:
    drawn = draw(40, noise={"std": 20, "p": 1.0})
    assert drawn.std is not None
    bank = draw_bank(3 * 32 * 32, generator(1))
    grey = torch.full((40, 3, 32, 32), 128.0)
    noise = apply_pixels(grey.clone(), drawn, bank) - grey
    np.testing.assert_allclose(noise.flatten(1).std(1), drawn.std, rtol=0.06, atol=0.01)
    unit = noise[drawn.std > 1] / drawn.std[drawn.std > 1, None, None, None]
    likeness = np.corrcoef(unit.flatten(1).numpy()) - np.eye(len(unit))
    assert np.abs(likeness).max() < 0.12


def test_a_picture_may_begin_at_the_last_place_of_the_bank() -> None:
    drawn = Pixels(std=torch.tensor([1.0]), place=torch.tensor([BANK - 1]))
    bank = draw_bank(12, generator())
    out = apply_pixels(torch.full((1, 3, 2, 2), 100.0), drawn, bank)
    torch.testing.assert_close(out.flatten(), 100 + bank[BANK - 1 : BANK + 11])


def test_only_the_pictures_that_drew_an_effect_are_touched() -> None:
    images = torch.rand(200, 3, 8, 8, generator=generator(2)) * 255
    for steps in ({"blur": {"sigma": 2, "p": 0.3}}, {"jpeg": {"quality": 20, "p": 0.3}}, {"noise": {"p": 0.3}}):
        drawn = draw(200, **steps)
        out = apply_pixels(images.clone(), drawn, draw_bank(192, generator()))
        touched = (out != images).flatten(1).any(1)
        part = next(value for value in (drawn.sigma, drawn.std, drawn.quality) if value is not None)
        assert ((part > 0) | ~touched).all()
        assert 0.2 < touched.float().mean() < 0.4


def test_draws_stay_in_their_range() -> None:
    drawn = draw(3000, blur={"sigma": 2, "p": 1}, jpeg={"quality": 30, "best": 60, "p": 1})
    assert drawn.sigma is not None
    assert drawn.quality is not None
    assert 1.9 < drawn.sigma.max() <= 2
    assert drawn.quality.min() == 30
    assert drawn.quality.max() == 60
