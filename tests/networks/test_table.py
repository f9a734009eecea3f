from __future__ import annotations

import pytest
import torch

from sanmaru.networks.table import EMBEDDED, Numbers, TableNetwork, embedding_width


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return torch.cat([torch.randn(5, 3), torch.ones(5, 1), torch.tensor([[0.0, 4], [1, 3], [2, 0], [3, 1], [0, 2]])], 1)


def network(**options):
    torch.manual_seed(1)
    return TableNetwork(3, 1, (4, 5), 2, **{"width": 8, "blocks": 1, "members": 3, "dropout": 0.0, **options}).eval()


def test_each_member_has_outputs_of_its_own(rows):
    out = network()(rows)
    assert out.shape == (5, 3, 2)
    assert not torch.allclose(out[:, 0], out[:, 1])


def test_parameters_are_those_of_the_parts():
    entering = 3 * EMBEDDED + 1 + embedding_width(4) + embedding_width(5)
    numbers = 3 * 16 * 2 + 3 * 16 * (EMBEDDED - 1) + 3 * (EMBEDDED - 1)
    levels = 4 * embedding_width(4) + 5 * embedding_width(5)
    block = 2 * 8 + (8 * 16 + 16) + (16 * 8 + 8)
    expected = numbers + levels + 3 * entering + (entering * 8 + 8) + block + 2 * 8 + 3 * (8 * 2 + 2)
    assert sum(parameter.numel() for parameter in network().parameters()) == expected


def test_a_member_alone_is_its_own_network(rows):
    """What one member computes needs nothing of the others: the ensemble is one network per adapter and head."""
    full = network()
    one = network(members=1)
    state = full.state_dict()
    for place in range(3):
        cut = {**state, **{name: state[name][place : place + 1] for name in ("adapters", "heads", "head_bias")}}
        one.load_state_dict(cut)
        torch.testing.assert_close(one(rows)[:, 0], full(rows)[:, place])


def test_numbers_are_embedded_one_by_one():
    torch.manual_seed(0)
    layer = Numbers(2, 1.0)
    x = torch.randn(4, 2)
    out = layer(x).reshape(4, 2, EMBEDDED)
    torch.testing.assert_close(out[:, :, 0], x)
    expected = (
        torch.cos(2 * torch.pi * x[:, 1:] * layer.frequency[1] + layer.phase[1]) @ layer.weight[1] + layer.bias[1]
    )
    torch.testing.assert_close(out[:, 1, 1:], expected)


def test_plain_numbers_missing_parts_and_levels_out_of_range(rows):
    assert network(frequency=0.0)(rows).shape == (5, 3, 2)
    assert TableNetwork(0, 0, (4,), 1, width=8)(torch.ones(2, 1)).shape == (2, 8, 1)
    wrong = rows.clone()
    wrong[:, -1] = 99
    last = rows.clone()
    last[:, -1] = 4
    torch.testing.assert_close(network()(wrong), network()(last))
