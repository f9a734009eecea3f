from collections import Counter

import numpy as np
import pytest
import torch

from sanmaru.training.augment_names import AUGMENTATIONS
from sanmaru.training.batches import ImageBatches, balancing, channel_statistics, steps
from sanmaru.training.mix import Mixed, rows

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)


def test_an_epoch_gives_every_row_once_in_batches_of_nearly_equal_size() -> None:
    positions = np.array([9, 0, 1, 2, 3, 4, 5])
    labels = np.arange(7)
    batches = ImageBatches(IMAGES, positions, labels, mean=(0, 0, 0), std=(1, 1, 1))
    epoch = batches.shuffled(3, torch.Generator().manual_seed(1))
    seen = []
    for part in range(len(epoch.parts)):
        images, taken = batches.take(epoch, part)
        assert len(taken) in (2, 3)
        assert images.is_contiguous(memory_format=torch.channels_last)
        for image, label in zip(images, taken.tolist(), strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), IMAGES[positions[label]])
            seen.append(label)
    assert sorted(seen) == list(range(7))
    assert seen != list(range(7))


def test_statistics_and_normalisation_are_numpys() -> None:
    positions = np.array([1, 4, 6, 8])
    mean, std = channel_statistics(IMAGES, positions)
    chosen = IMAGES[positions].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(mean, chosen.mean(0))
    np.testing.assert_allclose(std, chosen.std(0))
    batches = ImageBatches(IMAGES, positions, np.zeros(4, np.int64), mean=mean, std=std)
    ((images, _),) = batches.plain()
    expected = (IMAGES[positions] - chosen.mean(0)) / chosen.std(0)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_a_channel_that_never_changes_divides_by_one() -> None:
    _, std = channel_statistics(np.full((2, 4, 4, 3), 7, np.uint8), np.arange(2))
    assert std == (1.0, 1.0, 1.0)


def test_the_last_small_batch_is_spread() -> None:
    assert [steps(n, 64) for n in (1, 64, 65, 128, 1437)] == [1, 1, 2, 2, 23]


def many(n: int = 40, side: int = 16, **options: object) -> ImageBatches:
    images = np.random.default_rng(1).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return ImageBatches(images, np.arange(n), np.arange(n), mean=(120, 110, 100), std=(50, 50, 50), **options)


def epoch_of(batches: ImageBatches, seed: int = 5) -> list[tuple[torch.Tensor, torch.Tensor | Mixed]]:
    epoch = batches.shuffled(16, torch.Generator().manual_seed(seed))
    return [batches.take(epoch, part) for part in range(len(epoch.parts))]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_changes_pictures_and_is_drawn_from_the_seed_alone(name: str) -> None:
    batches = many(augmentations=[{name: {"p": 1.0}}])
    first, again, other = epoch_of(batches), epoch_of(batches), epoch_of(batches, 6)
    plain = epoch_of(many())
    for (a, la), (b, lb), (p, _) in zip(first, again, plain, strict=True):
        assert torch.equal(a, b)
        assert torch.isfinite(a).all()
        assert a.is_contiguous(memory_format=torch.channels_last)
        assert rows(la) == rows(lb) == len(a)
        assert not torch.equal(a, p)
    assert not torch.equal(first[0][0], other[0][0])


def test_the_whole_list_goes_together_and_a_part_can_be_taken_alone() -> None:
    batches = many(augmentations=[{name: {"p": 0.6}} for name in AUGMENTATIONS])
    epoch = batches.shuffled(16, torch.Generator().manual_seed(2))
    whole = [batches.take(epoch, part) for part in range(3)]
    again = batches.take(epoch, 2)
    torch.testing.assert_close(again[0], whole[2][0], atol=0, rtol=0)


def test_the_evaluation_list_is_drawn_alike_in_every_pass() -> None:
    batches = many(evaluation=[{"rotate": 20}, {"blur": {"sigma": 2, "p": 1}}, {"noise": {"p": 1}}, "erasing"])
    first = torch.cat([images for images, _ in batches.plain()])
    again = torch.cat([images for images, _ in batches.plain()])
    assert torch.equal(first, again)
    plain = torch.cat([images for images, _ in many().plain()])
    assert (first != plain).flatten(1).any(1).all()
    # What is trained on is not touched by it.
    assert torch.equal(epoch_of(batches)[0][0], epoch_of(many())[0][0])


def test_balanced_weights_draw_classes_equally_often() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    weights = balancing(labels)
    assert weights.sum() == pytest.approx(1)
    images = np.zeros((1, 1, 1, 3), np.uint8)
    batches = ImageBatches(images, np.zeros(1000, np.int64), labels, mean=(0, 0, 0), std=(1, 1, 1), weights=weights)
    epoch = batches.shuffled(100, torch.Generator().manual_seed(0))
    seen = Counter(label for part in range(10) for label in batches.take(epoch, part)[1].tolist())
    assert sum(seen.values()) == 1000
    assert all(280 < count < 390 for count in seen.values())


def test_a_row_drawn_twice_is_augmented_twice() -> None:
    batches = many(n=2, augmentations=[{"translate": 0.3}], weights=np.array([1.0, 0.0]))
    ((images, labels),) = epoch_of(batches)
    assert labels.tolist() == [0, 0]
    assert not torch.equal(images[0], images[1])


def test_a_look_shows_the_pixels_before_normalisation() -> None:
    batches = many()
    shown, labels = batches.look(7, seed=3)
    assert shown.shape == (7, 16, 16, 3)
    assert isinstance(labels, torch.Tensor)
    np.testing.assert_array_equal(shown, batches.images.numpy()[labels.numpy()])
    erased, _ = many(augmentations=[{"erasing": {"p": 1}}]).look(40)
    assert (erased == (120, 110, 100)).all(3).any((1, 2)).all()
    _, mixed = many(augmentations=[{"mixup": {"p": 1}}]).look(100)
    assert isinstance(mixed, Mixed)
    assert rows(mixed) == 40


def test_a_fixed_centre_becomes_the_mean() -> None:
    mean, std = channel_statistics(IMAGES, np.arange(10), (100, 90, 80))
    assert mean == (100.0, 90.0, 80.0)
    spread = ((IMAGES.reshape(-1, 3).astype(float) - mean) ** 2).mean(0) ** 0.5
    np.testing.assert_allclose(std, spread)
