import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from sanmaru.training.augment_colour import Colours, apply_colours, draw_colours
from sanmaru.training.augment_names import parameters

# Away from black and white, so that nothing is clipped between two changes as Pillow would.
IMAGE = np.random.default_rng(0).integers(80, 150, (12, 12, 3), dtype=np.uint8)
BATCH = torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*steps: tuple[str, object], n: int = 1, seed: int = 0) -> Colours:
    drawn = draw_colours([(name, parameters(name, given)) for name, given in steps], n, generator(seed))
    assert drawn is not None
    return drawn


def factor(name: str, seed: int) -> float:
    """The factor that a lone change has drawn."""
    drawn = draw((name, 0.4), seed=seed)
    if name == "saturation":  # f + (1 - f) · 0.299 stands in the corner
        return (float(drawn.pixel[0, 0, 0]) - 0.299) / 0.701
    return float(drawn.pixel[0, 0, 0])


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_change_is_pillows(name: str, enhance: type, seed: int) -> None:
    expected = np.asarray(enhance(Image.fromarray(IMAGE)).enhance(factor(name, seed))).astype(float)
    out = apply_colours(BATCH, draw((name, 0.4), seed=seed))[0].permute(1, 2, 0).numpy()
    # Pillow rounds to whole levels, and its greys, too.
    np.testing.assert_allclose(out, expected, atol=1.6)


def test_several_changes_are_one_map_in_the_order_of_the_list() -> None:
    steps = [("brightness", 0.1), ("contrast", 0.4), ("saturation", 0.4), ("contrast", 0.3)]
    drawn = draw(*steps, seed=4)
    # The same draws, one after another.
    one = generator(4)
    out = BATCH
    for name, given in steps:
        lone = draw_colours([(name, parameters(name, given))], 1, one)
        assert lone is not None
        out = apply_colours(out, lone)
    torch.testing.assert_close(apply_colours(BATCH, drawn), out, atol=1e-3, rtol=0)


def test_grey_is_pillows_luma() -> None:
    expected = np.asarray(Image.fromarray(IMAGE).convert("L")).astype(float)
    out = apply_colours(BATCH, draw(("grey", 1.0)))[0].numpy()
    for channel in out:
        np.testing.assert_allclose(channel, expected, atol=0.6)


def test_grey_comes_as_often_as_its_probability() -> None:
    drawn = draw(("grey", 0.2), n=5000)
    assert 0.18 < (drawn.pixel[:, 0, 1] > 0).float().mean() < 0.22
    assert drawn.mean is None


def test_hue_turns_about_the_grey_axis() -> None:
    # A third of a turn swaps the channels in a ring; grey stays; and hue as colorsys has it moves by the same angle.
    drawn = draw(("hue", 180.0), n=400)
    grey = torch.full((400, 3, 1, 1), 100.0)
    torch.testing.assert_close(apply_colours(grey, drawn), grey, atol=1e-3, rtol=0)
    red = torch.tensor([140.0, 100.0, 100.0]).view(1, 3, 1, 1).expand(400, 3, 1, 1)
    turned = apply_colours(red, drawn).flatten(1).numpy()
    angle = torch.atan2((drawn.pixel[:, 1, 0] - drawn.pixel[:, 2, 0]) * 3**0.5 / 2, drawn.pixel[:, 0, 0] * 1.5 - 0.5)
    for colour, a in zip(turned, angle.tolist(), strict=True):
        hue = colorsys.rgb_to_hsv(*(colour / 255))[0] * 360
        # HSV's hexagon and the circle agree within two degrees.
        assert abs((hue - np.degrees(a) + 180) % 360 - 180) < 2.5


def test_values_stay_in_range() -> None:
    out = apply_colours(torch.rand(64, 3, 4, 4, generator=generator()) * 255, draw(("brightness", 1.0), n=64))
    assert out.min() >= 0
    assert out.max() <= 255


def test_a_probability_leaves_the_others_alone() -> None:
    drawn = draw(("contrast", {"range": 0.5, "p": 0.3}), n=4000)
    assert drawn.mean is not None
    untouched = (drawn.mean == 0).all(dim=(1, 2)) & (drawn.pixel == torch.eye(3)).all(dim=(1, 2))
    assert 0.67 < untouched.float().mean() < 0.73
