"""A network as ONNX is believed only after it was compared with torch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from sanmaru.training.export import export_checked


def test_what_is_exported_answers_batches_of_any_size() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    graph = export_checked(model, torch.randn(5, 3), given="rows", said="scores")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for n in (1, 2, 17):
        rows = torch.randn(n, 3)
        (found,) = session.run(["scores"], {"rows": rows.numpy()})
        np.testing.assert_allclose(found, model(rows).detach().numpy(), rtol=1e-5, atol=1e-6)


class Unsteady(nn.Module):
    """Says something else each time, which tracing cannot see."""

    calls = 0

    def forward(self, rows: Tensor) -> Tensor:
        Unsteady.calls += 1
        return rows * float(Unsteady.calls)


def test_a_graph_that_says_something_else_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"the exported network differs from the trained one by up to"):
        export_checked(Unsteady(), torch.ones(2, 3), given="rows", said="scores")
