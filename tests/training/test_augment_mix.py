import numpy as np
import torch
from scipy import stats
from torch.nn import functional

from sanmaru.training.augment_mix import Mixing, draw_mixing, mix
from sanmaru.training.augment_names import parameters
from sanmaru.training.mix import Mixed, mixed_loss, rows


def draw(sizes: list[int], side: int = 16, seed: int = 0, **steps: object) -> tuple[Mixing | None, ...]:
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_mixing({name: parameters(name, given) for name, given in steps.items()}, sizes, side, generator)
    assert drawn is not None
    return drawn


def test_mixup_is_the_weighted_sum_of_two_pictures() -> None:
    (drawn,) = draw([32], mixup={"alpha": 0.4, "p": 1})
    assert drawn is not None
    batch, labels = torch.randn(32, 3, 4, 4), torch.arange(32)
    out, mixed = mix(batch, labels, drawn)
    assert isinstance(mixed, Mixed)
    for i in range(32):
        share, other = float(mixed.share[i]), int(mixed.other[i])
        torch.testing.assert_close(out[i], share * batch[i] + (1 - share) * batch[other], atol=1e-6, rtol=1e-5)
    assert sorted(mixed.other.tolist()) == list(range(32))


def test_shares_of_mixup_are_beta_distributed() -> None:
    drawn = draw([100] * 40, mixup={"alpha": 0.3, "p": 1})
    shares = np.concatenate([one.share.numpy() for one in drawn if one is not None])
    assert stats.kstest(shares, stats.beta(0.3, 0.3).cdf).pvalue > 0.01


def test_cutmix_shares_are_the_true_areas() -> None:
    (drawn,) = draw([64], side=9, cutmix={"alpha": 1, "p": 1})
    assert drawn is not None
    batch = torch.arange(64.0)[:, None, None, None].expand(64, 3, 9, 9).contiguous()
    out, mixed = mix(batch, torch.arange(64), drawn)
    assert isinstance(mixed, Mixed)
    for i in range(64):
        if mixed.other[i] == i:
            continue
        own = (out[i] == i).float().mean()
        assert ((out[i] == i) | (out[i] == float(mixed.other[i]))).all()
        assert abs(float(own) - float(mixed.share[i])) < 1e-6
    assert 0 < float(mixed.share.min()) < 0.5 < float(mixed.share.max()) <= 1


def test_a_batch_is_mixed_in_one_way_or_not_at_all() -> None:
    drawn = draw([4] * 3000, mixup={"p": 0.2}, cutmix={"p": 0.5})
    kinds = ["none" if one is None else "mixup" if one.box is None else "cutmix" for one in drawn]
    assert 0.17 < kinds.count("mixup") / 3000 < 0.23
    assert 0.47 < kinds.count("cutmix") / 3000 < 0.53


def test_probabilities_above_one_share_the_batches() -> None:
    drawn = draw([4] * 3000, mixup={"p": 1}, cutmix={"p": 1})
    assert None not in drawn
    assert 0.47 < sum(one.box is None for one in drawn if one is not None) / 3000 < 0.53


def test_labels_of_several_targets_go_together() -> None:
    (drawn,) = draw([6], mixup={"p": 1})
    assert drawn is not None
    labels = torch.arange(12).view(6, 2)
    _, mixed = mix(torch.randn(6, 3, 2, 2), labels, drawn)
    assert isinstance(mixed, Mixed)
    assert torch.equal(mixed.other, labels[drawn.partner])


class RowMean(torch.nn.Module):
    """A cross-entropy as the engine's losses are: the weighted sum over the rows divided by their number."""

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        losses = functional.cross_entropy(outputs, labels, reduction="none")
        return (losses if weights is None else losses * weights).mean()


def test_the_loss_of_mixed_labels_is_the_loss_of_soft_ones() -> None:
    outputs = torch.randn(5, 4)
    labels = Mixed(torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 1, 0, 2, 3]), torch.rand(5))
    one_hot = functional.one_hot
    soft = labels.share[:, None] * one_hot(labels.labels, 4) + (1 - labels.share[:, None]) * one_hot(labels.other, 4)
    torch.testing.assert_close(mixed_loss(RowMean(), outputs, labels), functional.cross_entropy(outputs, soft))
    torch.testing.assert_close(
        mixed_loss(RowMean(), outputs, labels.labels), functional.cross_entropy(outputs, labels.labels)
    )
    assert rows(labels) == rows(labels.labels) == 5
