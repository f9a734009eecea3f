import pytest
import torch

from sanmaru.networks.autoencoder import DenseAutoEncoder, LSTMAutoEncoder


@pytest.mark.parametrize(
    "network", [DenseAutoEncoder(5, 7, hidden=16, code=3), LSTMAutoEncoder(7, hidden=16, code=3)], ids=["dense", "lstm"]
)
def test_windows_keep_their_shape_and_do_not_see_each_other(network):
    network = network.double().eval()
    windows = torch.randn(4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = network(windows)
        alone = torch.cat([network(one[None]) for one in windows])
    assert together.shape == (4, 5, 7)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_everything_passes_through_the_code():
    """With a code of one number, all windows are restored on one curve: two numbers of output move together."""
    torch.manual_seed(0)
    network = DenseAutoEncoder(1, 3, hidden=8, code=1).eval()
    windows = torch.randn(50, 1, 3)
    with torch.no_grad():
        code = network.encode(windows.flatten(1))
        restored = network.decode(code)
        assert code.shape == (50, 1)
        torch.testing.assert_close(restored.view(50, 1, 3), network(windows))


def test_the_lstm_writes_the_last_row_first():
    torch.manual_seed(0)
    network = LSTMAutoEncoder(2, hidden=8, code=2).eval()
    windows = torch.randn(3, 6, 2)
    with torch.no_grad():
        _, (state, _) = network.read(windows)
        code = network.squeeze(state[-1])
        written, _ = network.write(code[:, None, :])
        torch.testing.assert_close(network.restore(written[:, 0]), network(windows)[:, -1])


@pytest.mark.parametrize("kind", ["dense", "lstm"])
def test_learns_to_restore_a_simple_wave(kind):
    torch.manual_seed(0)
    phase = torch.rand(256, 1, 1) * 6.28
    windows = torch.sin(phase + torch.arange(6).view(1, 6, 1) * 0.5)
    network = DenseAutoEncoder(6, 1, hidden=16, code=2) if kind == "dense" else LSTMAutoEncoder(1, hidden=16, code=2)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (network(windows) - windows).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * windows.var()
