"""Write a trained network as ONNX: raw pixels in, logits out, so that serving needs neither torch nor preprocessing."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.tasks.image_classification.views import Views

TOLERANCE = 1e-4
"""Largest difference, absolute and relative, between ONNX Runtime's logits and torch's."""


class FromPixels(nn.Module):
    """A network with its normalisation: uint8 (B, H, W, 3) in, logits (B, classes) out.

    Args:
        network: Takes normalised pictures (B, 3, H, W).
        mean: Per channel, in 0..255.
        std: Per channel.
        tta: Views to average over, see `views.Views`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        tta: Sequence[Mapping[str, float]] = (),
    ) -> None:
        super().__init__()
        self.network = Views(network, tta) if tta else network
        scale = 1 / torch.tensor(std, dtype=torch.float32)
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", (-torch.tensor(mean, dtype=torch.float32) * scale)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network(images * self.scale + self.shift)
        return logits


def export_onnx(
    network: nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    pixels: NDArray[np.uint8],
    path: Path,
    *,
    tta: Sequence[Mapping[str, float]] = (),
) -> None:
    """Write `path` and check it against torch.

    Args:
        network: Trained; it is copied, not changed.
        mean: Per channel, in 0..255.
        std: Per channel.
        pixels: A few pictures (n, H, W, 3), n > 1, to trace with and to compare on.
        path: The file to write.
        tta: Views to average over, inside the graph.

    Raises:
        RuntimeError: when ONNX Runtime's logits differ from torch's by more than `TOLERANCE`.
    """
    plain = copy.deepcopy(network).cpu().float().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model = FromPixels(plain, mean, std, tta).eval()
    inputs = torch.from_numpy(np.array(pixels))
    with torch.no_grad(), warnings.catch_warnings():
        # The TorchScript exporter says that it is the older one (it is 10 times quicker, and as exact), and
        # the tracer that sizes become constants, which here they are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (inputs,),
            str(path),
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        expected = model(inputs).numpy()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for rows in (slice(None), slice(0, 1)):  # the second shows that the size of the batch was not fixed
        given = session.run(None, {"pixels": inputs.numpy()[rows]})[0]
        if not np.allclose(given, expected[rows], rtol=TOLERANCE, atol=TOLERANCE):
            worst = float(np.abs(given - expected[rows]).max())
            raise RuntimeError(f"the exported network differs from the trained one by up to {worst:.2g} in a logit")
