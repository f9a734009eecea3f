from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata

from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.config import TableNetworkConfig
from sanmaru.tasks.tabular.network_fit import Averaged, MembersLoss, NumberLoss
from sanmaru.tasks.tabular.prepare import learn_preparation
from sanmaru.tasks.tabular.schema import Encoded
from sanmaru.training.config import TrainConfig

SMALL = TableNetworkConfig(width=8, blocks=1, members=2)


def test_numbers_take_a_normal_scale_and_missing_ones_are_marked():
    generator = np.random.default_rng(0)
    heavy, whole = generator.lognormal(sigma=2, size=400), generator.integers(0, 4, 400).astype(float)
    matrix = np.column_stack([heavy, whole, generator.integers(0, 3, 400)])
    matrix[:20, 0] = np.nan
    matrix[:10, 2] = np.nan
    columns = [Encoded(name="a", source="a"), Encoded(name="b", source="b"), Encoded(name="c", source="c", n_codes=3)]
    prepare = learn_preparation(matrix, columns)
    rows = prepare.rows(matrix)
    assert rows.shape == (400, 4)  # two numbers, a mark of the first, a column of levels
    ranks = (rankdata(heavy[20:]) - 0.5) / 380
    np.testing.assert_allclose(rows[20:, 0], norm.ppf(np.clip(ranks, 1e-3, 1 - 1e-3)), atol=1e-3)
    np.testing.assert_array_equal(rows[:, 2], np.arange(400) < 20)
    assert (rows[:20, 0] == 0).all()
    assert set(rows[:10, 3]) == {4}
    new = prepare.rows(np.array([[1e9, -5.0, 3.0], [-1.0, 99.0, 7.0]]))
    assert new[0, 0] == rows[20:, 0].max()
    assert new[:, 3].tolist() == [3, 3]  # unknown categories
    again = type(prepare)(**prepare.arrays())
    np.testing.assert_array_equal(again.rows(matrix), rows)


def test_the_loss_is_the_mean_over_members_of_error_and_pinball():
    torch.manual_seed(0)
    outputs, labels = torch.randn(6, 2, 3), torch.randn(6)
    loss = MembersLoss(NumberLoss("squared", (0.1, 0.9)))
    expected = 0.0
    for member in range(2):
        own = outputs[:, member]
        expected += ((own[:, 0] - labels) ** 2).mean()
        for place, level in enumerate((0.1, 0.9), start=1):
            error = labels - own[:, place]
            expected += torch.where(error > 0, level * error, (level - 1) * error).mean()
    torch.testing.assert_close(loss(outputs, labels), expected / 2)
    weights = torch.tensor([2.0, 0, 0, 0, 0, 0])
    alone = MembersLoss(NumberLoss("absolute", ()))(outputs[:, :, :1], labels, weights)
    torch.testing.assert_close(alone, 2 * (outputs[0, :, 0] - labels[0]).abs().mean() / 6)


def test_members_are_averaged_as_probabilities_or_as_numbers():
    torch.manual_seed(0)
    outputs = torch.randn(4, 3, 2)
    probs = torch.softmax(Averaged(torch.nn.Identity(), None, 1.0)(outputs), dim=1)
    torch.testing.assert_close(probs, torch.softmax(outputs, dim=2).mean(dim=1))
    numbers = Averaged(torch.nn.Identity(), 5.0, 2.0)(outputs)
    torch.testing.assert_close(numbers, outputs.mean(dim=1) * 2 + 5)


def test_a_fit_cut_short_goes_on_to_the_same_network(mixed_table, open_task, context, monkeypatch):
    table = mixed_table(120)
    task = open_task(table, "sold")
    train = TrainConfig(epochs=4, batch_size=32, early_stopping=None)
    whole = task.estimator(SMALL, train)
    whole.fit(table[:100], table[100:], context("roc_auc"))
    cut = context("roc_auc", resume=True)
    first = task.estimator(SMALL, train)
    log = FitContext.log

    def interrupted(own, step, **metrics):
        if step == 3:
            raise InterruptedError("cut short")
        log(own, step, **metrics)

    with monkeypatch.context() as patched:
        patched.setattr(FitContext, "log", interrupted)
        with pytest.raises(InterruptedError, match="cut short"):
            first.fit(table[:100], table[100:], cut)
    second = task.estimator(SMALL, train)
    second.fit(table[:100], table[100:], cut)
    assert "continued after epoch 2" in (cut.folder / "events.jsonl").read_text()
    matrix = whole.encode(table)
    np.testing.assert_allclose(second.forward(matrix), whole.forward(matrix), rtol=1e-6)


def test_classes_are_chosen_by_log_loss(mixed_table, open_task, context):
    table = mixed_table(120)
    folder = context("macro_f1")
    estimator = open_task(table, "band").estimator(SMALL, TrainConfig(epochs=3, batch_size=32))
    estimator.fit(table[:100], table[100:], folder)
    assert "valid_log_loss" in (folder.folder / "events.jsonl").read_text()
    assert estimator.details()["best_value"] > 0
