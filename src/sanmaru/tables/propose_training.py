"""The metric, network and training that data speaks for."""

from __future__ import annotations

from typing import Any

import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.profile import Profile


def metric(target: Profile, why: dict[str, str], *, ratio: float | None, ranked: bool) -> str:
    """Choose the metric and write the reason into `why`.

    Args:
        target: The column to predict.
        why: Reasons by key; gets `metric`.
        ratio: Rows of the commonest class for one of the rarest; None for numbers.
        ranked: Whether two classes are scored by how well they are ranked.
    """
    if ratio is not None:
        if target.distinct == 2 and ranked:
            why["metric"] = "Two classes: how well rows of one are ranked above the other, whatever the threshold."
            return "roc_auc"
        if ratio > 1.5:
            why["metric"] = "The classes are uneven, so each counts the same."
            return "macro_f1"
        why["metric"] = "The classes are about even, so the fraction of right answers says it all."
        return "accuracy"
    values = target.values.drop_nulls().cast(pl.Float64)
    half, most = float(values.quantile(0.5) or 0.0), float(values.quantile(0.99) or 0.0)
    if float(values.min()) > 0 and most > 4 * half:  # type: ignore[arg-type]
        why["metric"] = "Positive with a long tail: errors count in proportion, not in units."
        return "rmsle"
    why["metric"] = "The usual error of a number, in its own units; large errors count most."
    return "rmse"


def network(rows: int, why: dict[str, str], cells: pl.Series) -> dict[str, Any]:
    """Choose network and training by the pictures' size and number."""
    width, height = _picture_size(cells)
    side = min(width, height)
    if side <= 32:
        size = max(8, -(-side // 4) * 4)
        augment: list[Any] = [{"translate": 0.1}]
        why["model.image_size"] = f"The pictures are {width} x {height} pixels."
        why["train.augment"] = (
            "Small pictures are often digits or signs, which must not be mirrored; add hflip if yours may be."
        )
    else:
        size = 64
        augment = ["hflip", {"rotate": 10}]
        why["model.image_size"] = (
            f"The pictures are {width} x {height} pixels (median). 64 trains fast on a CPU; 128 shows more and takes "
            "four times as long."
        )
        why["train.augment"] = "Mirrored and slightly turned pictures keep their class; take hflip out if yours do not."
    why["model.backbone"] = "Small, for CPUs. With a GPU compare resnet-18 and vit-small (pretrained: true)."
    batch = 32 if rows < 2000 else 64
    # About 600 steps: a small network from scratch needs hundreds, and few pictures make few steps per epoch.
    epochs = min(max(round(600 / max(1, rows * 0.72 / batch)), 8), 30)
    why["train.epochs"] = f"{rows:,} pictures make about {round(rows * 0.72 / batch)} steps per epoch and fold."
    return {
        "model": {"kind": "network", "backbone": "convnet", "image_size": size},
        "train": {"epochs": epochs, "batch_size": batch, "augment": augment},
    }


def _picture_size(cells: pl.Series) -> tuple[int, int]:
    """Return the median width and height of some pictures (paths or bytes), from their headers."""
    import io
    import statistics

    from PIL import Image, UnidentifiedImageError

    sizes = []
    for cell in cells.to_list():
        try:
            with Image.open(io.BytesIO(cell) if isinstance(cell, bytes) else cell) as picture:
                sizes.append(picture.size)
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
            continue
    if not sizes:
        shown = "" if cells.dtype == pl.Binary else f", e.g. {cells[0]}"
        raise DataError(f"none of {len(cells)} pictures that were tried can be opened{shown}.")
    return int(statistics.median(w for w, _ in sizes)), int(statistics.median(h for _, h in sizes))
