"""A trained network as ONNX, compared with torch before it is believed."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn


def export_checked(
    model: nn.Module, rows: Tensor, *, given: str, said: str, unit: float = 1.0, tolerance: float = 1e-4
) -> bytes:
    """Return a network as ONNX after comparing it with torch on a few rows.

    Args:
        model: In evaluation mode, on the CPU.
        rows: Some inputs, (n, ...).
        given: Name of the graph's input.
        said: Name of its output.
        unit: Size of usual outputs, by which an absolute difference is judged.
        tolerance: Largest difference between ONNX Runtime and torch: relative and, times the unit, absolute.

    Raises:
        RuntimeError: when ONNX Runtime's outputs differ from torch's by more than `tolerance`.
    """
    import onnxruntime

    rows = torch.cat([rows, rows])  # never one row alone, or its number would be taken for fixed
    out = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # The TorchScript exporter says that it is the older one (it is 10 times quicker, and as exact), and that LSTMs
        # fix the size of the batch, which the check below refutes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (rows,),
            out,  # type: ignore[arg-type]  # takes a buffer too
            input_names=[given],
            output_names=[said],
            dynamic_axes={given: {0: "batch"}, said: {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        expected = model(rows).numpy()
    session = onnxruntime.InferenceSession(out.getvalue(), providers=["CPUExecutionProvider"])
    for chosen in (slice(None), slice(0, 1)):  # the second shows that the size of the batch was not fixed
        found = session.run(None, {given: rows.numpy()[chosen]})[0]
        if not np.allclose(found, expected[chosen], rtol=tolerance, atol=tolerance * unit):
            worst = float(np.abs(found - expected[chosen]).max())
            raise RuntimeError(f"the exported network differs from the trained one by up to {worst:.2g}")
    return out.getvalue()
