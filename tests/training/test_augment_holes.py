import numpy as np
import torch

from sanmaru.training.augment_holes import Holes, cover, draw_holes, kept
from sanmaru.training.augment_names import parameters


def draw(n: int, seed: int = 0, **steps: object) -> Holes:
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_holes({name: parameters(name, given) for name, given in steps.items()}, n, generator)
    assert drawn is not None
    return drawn


def mask(holes: Holes, height: int, width: int) -> torch.Tensor:
    return kept(holes, height, width) == 0


def test_a_grid_drops_the_share_that_its_ratio_says() -> None:
    gone = mask(draw(300, griddropout={"ratio": 0.5, "cells": 4, "p": 1}), 64, 64)
    # 4 cells of 16 pixels, holes of 8: a quarter of the pixels, wherever the grid begins.
    np.testing.assert_allclose(gone.float().mean((1, 2)), 0.25, atol=1e-6)
    assert len(np.unique(gone.flatten(1).numpy(), axis=0)) > 50
    row = gone[0].any(0).int()
    assert torch.equal(row, row.roll(16))


def test_a_grid_has_square_holes_at_the_drawn_place() -> None:
    holes = Holes(torch.tensor([[0.5, 0.25, 0.0, 0.25]]), None)
    expected = np.zeros((8, 8), bool)
    for top in (2, 6):
        for left in (0, 4):
            expected[top : top + 2, left : left + 2] = True
    np.testing.assert_array_equal(mask(holes, 8, 8)[0].numpy(), expected)


def test_an_erased_box_lies_inside_and_has_the_drawn_area() -> None:
    drawn = draw(3000, erasing={"area": 0.4, "aspect": 3, "p": 1})
    assert drawn.box is not None
    left, top, right, bottom = drawn.box.unbind(1)
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 1 + 1e-6
    assert bottom.max() <= 1 + 1e-6
    area, aspect = (right - left) * (bottom - top), (bottom - top) / (right - left)
    assert 0.02 - 1e-6 <= area.min() < 0.03
    assert 0.39 < area.max() <= 0.4 + 1e-6
    assert aspect.min() >= 1 / 3 - 1e-4
    assert aspect.max() <= 3 + 1e-4
    some = drawn.take(slice(0, 50), torch.device("cpu"))
    np.testing.assert_allclose(mask(some, 200, 200).float().mean((1, 2)), area[:50], atol=0.01)


def test_probabilities_hold() -> None:
    drawn = draw(4000, griddropout={"p": 0.3}, erasing={"p": 0.6})
    assert drawn.grid is not None
    assert drawn.box is not None
    assert 0.27 < (drawn.grid[:, 1] > 0).float().mean() < 0.33
    assert 0.57 < (drawn.box[:, 2] > 0).float().mean() < 0.63


def test_holes_become_zero_and_the_rest_stays() -> None:
    drawn = draw(20, griddropout={"p": 0.5}, erasing={"p": 0.5})
    batch = torch.randn(20, 3, 16, 16)
    gone = mask(drawn, 16, 16)[:, None].expand_as(batch)
    out = cover(batch.clone(), drawn)
    assert (out[gone] == 0).all()
    assert torch.equal(out[~gone], batch[~gone])
    assert gone.any()
