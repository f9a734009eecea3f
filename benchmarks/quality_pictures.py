"""Our pictures' recipes against a plain ResNet-18 from scratch, on the same rows kept aside.

Run: python benchmarks/quality_pictures.py [--data recyclables ...] [--epochs 40] [--size 64] [--write-docs]

The plain network is trained here by torch alone: the usual ResNet-18 (7 x 7 stem and pooling), pictures resized to a
square, random resized crop and horizontal flip, SGD with momentum 0.9, learning rate 0.1, weight decay 5e-4, cosine to
zero, batches of 64, cross-entropy, the last epoch. It learns from all rows that are not kept aside. Ours is one variant
of the recipe (`OURS`), as its folds, five of the few document scans, whose mean predicts; their seconds are counted
together. Several targets are learned as joint classes by both.

Data: as the recipes read it (SANMARU_DATA, or fetched). About 60 minutes for the four sets on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HOME = Path(__file__).parents[1]
sys.path.insert(0, str(HOME / "benchmarks"))

from quality_common import Line, load_recipe, write_section  # noqa: E402

LONG = ("train.epochs=40", "train.schedule={kind: one-cycle}", "train.early_stopping=null")
"""A rate that rises and falls over all epochs, to the last one."""
OURS: dict[str, tuple[str, ...]] = {
    "recyclables": (*LONG, "train.learning_rate=5e-3", "model.tta=[hflip]"),
    "document-types": (
        *LONG,
        "train.learning_rate=5e-3",
        "split.folds=5",
        # The recipe's list for damaged scans has more; the rows kept aside are undamaged here.
        "train.augment=[hflip, vflip, {rotate: 15}, {blur: 1}, {noise: 20}, {crop: 0.1}, {border: edge}]",
        "model.tta=[hflip, vflip]",
    ),
    "faces-age-gender": ("model.heads=shared", "train.epochs=40", "model.tta=[hflip]"),
    "masks": (
        *LONG,
        "train.learning_rate=5e-3",
        "train.augment=[hflip, {rotate: 10}, {crop: 0.15}, {brightness: 0.2}]",
        "model.tta=[hflip]",
    ),
}
"""Overrides of the recipe's project file."""
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=tuple(OURS), default=tuple(OURS), metavar="RECIPE")
    parser.add_argument("--ours-alone", action="store_true", help="the plain network's lines of before stay")
    parser.add_argument("--epochs", type=int, default=40, help="of the plain network")
    parser.add_argument("--size", type=int, default=64, help="side in pixels, of both")
    parser.add_argument("--tiny", action="store_true", help="does it run?")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/quality.md")
    given = parser.parse_args()
    plain_epochs = 0 if given.ours_alone else given.epochs
    lines = [line for name in given.data for line in compare(name, plain_epochs, given.size, tiny=given.tiny)]
    if given.write_docs and not given.tiny:
        write_section("pictures", lines)


def compare(name: str, epochs: int, size: int, *, tiny: bool) -> list[Line]:
    """Train both on one data set, ours alone where `epochs` is 0."""
    from sanmaru import Project, train
    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import interval
    from sanmaru.recipes.course import predict_aside, score_aside
    from sanmaru.tables.read import read_data

    recipe = load_recipe(name).RECIPE
    lines = []
    with tempfile.TemporaryDirectory(prefix="quality-") as place:
        folder = Path(place)
        recipe.prepare(folder, tiny)
        shutil.copy(recipe.home / "sanmaru.yaml", folder / "sanmaru.yaml")
        small = ("train.epochs=1", "split.folds=2") if tiny else ()
        project = Project.load(folder, *OURS[name], f"model.image_size={size}", *small)
        wall, cpu = time.perf_counter(), time.process_time()
        run = train(project)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        metric = find_metric(run.score().metric)
        scores, low, high = score_aside(run, metric.name)
        ours = f"ours: {project.file.model.backbone}, {run.facts['folds']} folds"  # type: ignore[union-attr]
        lines.append(Line(name, metric.title, ours, scores[metric.name], low, high, cpu_s=cpu, wall_s=wall))
        lines[-1].show()
        if not epochs:
            return lines
        task, aside, _ = predict_aside(run)
        learned = read_data(project.file.data, folder, task=project.file.task).table
        classes, image = len(task.outputs[0].classes), task.roles.image or ""
        pictures = [load(table[image].to_list(), size) for table in (learned, aside)]
        wall, cpu = time.perf_counter(), time.process_time()
        scored = plain(*pictures, task.truth(learned), classes=classes, epochs=1 if tiny else epochs, size=size)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        truth = task.truth(aside)
        group = task.roles.group
        low, high = interval(metric, truth, scored, groups=aside[group].to_numpy() if group else None)
        value = metric(truth, scored)
        lines.append(Line(name, metric.title, "plain ResNet-18", value, low, high, cpu_s=cpu, wall_s=wall))
        lines[-1].show()
    return lines


def load(paths: list[str], size: int) -> np.ndarray:
    """Return pictures uint8 (n, 3, size * 9 / 8, size * 9 / 8): a little larger, to be cropped from."""
    from PIL import Image

    side = size * 9 // 8
    out = np.empty((len(paths), 3, side, side), dtype=np.uint8)
    for place, path in enumerate(paths):
        with Image.open(path) as image:
            square = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            out[place] = np.asarray(square).transpose(2, 0, 1)
    return out


def plain(X: np.ndarray, X_aside: np.ndarray, y: np.ndarray, *, classes: int, epochs: int, size: int) -> np.ndarray:
    """Train the plain ResNet-18 and return its probabilities float64 (n_aside, classes)."""
    import torch
    from torch import nn
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(SEED)
    usual = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", num_labels=classes
    )
    network = ResNetForImageClassification(usual)
    images, labels = torch.from_numpy(X), torch.from_numpy(y)
    mean = images.float().mean(dim=(0, 2, 3))[:, None, None]
    std = images.float().std(dim=(0, 2, 3))[:, None, None]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    batches = max(1, len(images) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for batch in range(batches):
            rows = order[batch * 64 : (batch + 1) * 64]
            seen = torch.stack([cropped(images[row].float(), size) for row in rows])
            logits = network(pixel_values=(seen - mean) / std).logits
            loss = nn.functional.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    edge = (X_aside.shape[-1] - size) // 2
    kept: Any = torch.from_numpy(X_aside)[..., edge : edge + size, edge : edge + size].float()
    with torch.no_grad():
        parts = [network(pixel_values=(part - mean) / std).logits.double().softmax(1) for part in kept.split(64)]
    return np.asarray(torch.cat(parts))


def cropped(image: Any, size: int) -> Any:
    """A random resized crop of 64 to 100 % of the area, flipped half of the time."""
    import torch

    side = image.shape[-1]
    part = int(side * torch.empty(1).uniform_(0.8, 1.0).item())
    top, left = (int(torch.randint(side - part + 1, (1,))) for _ in range(2))
    window = image[:, top : top + part, left : left + part]
    if torch.rand(1) < 0.5:
        window = window.flip(-1)
    return torch.nn.functional.interpolate(window[None], size=(size, size), mode="bilinear", align_corners=False)[0]


if __name__ == "__main__":
    main()
