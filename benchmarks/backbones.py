"""What each backbone costs: pictures per second of a training step (forward, backward, AdamW) from scratch.

Measured in seconds of one core's own time, so that what else the machine does hardly matters; two cores give about
twice as much. Each number is the best of three rounds. `plain` is the same at the first size with torch's usual order
of memory instead of channels last, which fits use.

    python benchmarks/backbones.py [--sizes 64 112] [--models convnet resnet-18] [--seconds 3] [--batch 16]
"""

from __future__ import annotations

import argparse
import os
import platform
import time

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor, nn

from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.backbones.table import BACKBONES
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.training.config import TrainConfig
from sanmaru.training.optimizers import make_optimizer

CLASSES = 10


def pictures_per_s(name: str, size: int, batch: int, seconds: float, memory: torch.memory_format) -> float:
    """Return training pictures per second of one core."""
    torch.manual_seed(0)
    network: nn.Module = build(NetworkConfig(backbone=name, image_size=size), CLASSES).network
    network = network.to(memory_format=memory).train()  # type: ignore[call-overload]
    optimizer = make_optimizer(network, TrainConfig())
    images = torch.randn(batch, 3, size, size).to(memory_format=memory)
    labels = torch.arange(batch) % CLASSES

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss: Tensor = nn.functional.cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss

    step()
    best = 0.0
    for _ in range(3):
        began, steps = time.process_time(), 0
        while steps == 0 or time.process_time() - began < seconds / 3:
            step()
            steps += 1
        best = max(best, steps * batch / (time.process_time() - began))
    return best


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 112])
    parser.add_argument("--models", nargs="+", default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, batch {args.batch}\n")
    first = args.sizes[0]
    columns = ["backbone", "parameters, million", *(f"{size} px" for size in args.sizes), f"{first} px plain"]
    print("| " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * (len(columns) - 1))
    for name in args.models:
        with torch.device("meta"):
            parameters = build(NetworkConfig(backbone=name, image_size=first), CLASSES).parameters
        last = torch.channels_last
        rates = [pictures_per_s(name, size, args.batch, args.seconds, last) for size in args.sizes]
        rates.append(pictures_per_s(name, first, args.batch, args.seconds, torch.contiguous_format))
        print(
            " | ".join([f"| `{name}`", f"{parameters / 1e6:.1f}", *(f"{rate:.3g}" for rate in rates)]) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
