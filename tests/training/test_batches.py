import numpy as np
import torch

from sanmaru.training.batches import ImageBatches, channel_statistics, steps

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
