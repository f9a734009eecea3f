"""What the data report shows of pictures with classes: balance, sizes, contact sheets, means, colours, exact copies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl

from sanmaru.html.blocks import Bars, Block, Finding, Grid, Histogram, Picture, Pictures, Section, Text
from sanmaru.images.read import Measured, UnreadableImageError, measure, read_square, thumbnail
from sanmaru.tasks.image_classification.copies import exact_copies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sanmaru.tasks.image_classification.task import ImageClassification

SIDE = 64
"""Pixels of the mean pictures and of the pictures that colours are measured on."""
SAMPLED = 2000
"""Pictures decoded at most, an even share of each class."""
SHEETS = 30
"""Classes that get a contact sheet at most, the largest first."""
PER_SHEET = 12

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """Decoded pictures with their classes."""

    pixels: NDArray[np.uint8]
    """(n, SIDE, SIDE, 3)."""
    codes: NDArray[np.int64]
    """(n,)."""


def explore(task: ImageClassification, table: pl.DataFrame, test: pl.DataFrame | None) -> Iterator[Section]:
    """Yield the sections.

    Args:
        task: Opened on the table.
        table: Training rows with usable targets.
        test: Rows to predict, if there are any.
    """
    codes = task.truth(table)
    sources = table[task.image].to_list()
    measured = each(_measured, sources)
    ids = table[task.roles.id]
    yield balance(task.shown.classes, codes)
    yield sizes(ids, measured)
    sample = take_sample(sources, codes, len(task.shown.classes))
    yield sheets(task.shown.classes, sources, codes)
    if len(sample.codes):
        yield means(task.shown.classes, sample)
        yield colours(task.shown.classes, sample)
    others = None
    if test is not None and task.image in test.columns:
        others = (test[task.roles.id], each(_measured, test[task.image].to_list()))
    yield exact_copies(task.shown.classes, ids, codes, measured, others)


def balance(classes: Sequence[str], codes: NDArray[np.int64]) -> Section:
    """Show pictures per class; name rare classes and strong imbalance."""
    counts = np.bincount(codes, minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    largest, smallest = int(order[0]), int(order[-1])
    findings = []
    ratio = counts[largest] / max(1, counts[smallest])
    if ratio >= 5:
        findings.append(
            Finding(
                title="Classes are unequal",
                severity="warning" if ratio >= 20 else "info",
                evidence=f"{classes[largest]!r} has {counts[largest]:,} pictures, {classes[smallest]!r} has "
                f"{counts[smallest]:,}: {ratio:.0f} to 1.",
                advice="Choose by macro F1 rather than accuracy, and split stratified. Under Imbalance stands what the "
                "project does about it.",
                kind="class-imbalance",
            )
        )
    rare = [classes[code] for code in order if counts[code] < 20]
    if rare:
        findings.append(
            Finding(
                title=f"{len(rare)} of {len(classes)} classes have fewer than 20 pictures",
                severity="warning",
                evidence=", ".join(rare[:10]),
                advice="Scores of such classes swing with a single picture. Collect more or merge classes.",
                kind="rare-class",
            )
        )
    shown = order[:50]
    bars = Bars(
        title="Pictures per class" if len(classes) <= 50 else "Pictures per class, the 50 largest",
        labels=[classes[code] for code in shown],
        series=(("pictures", [float(counts[code]) for code in shown]),),
        value_label="pictures",
    )
    lead = f"{len(codes):,} pictures in {len(classes)} classes."
    return Section(title="Class balance", lead=lead, blocks=(bars,), findings=tuple(findings))


def sizes(ids: pl.Series, measured: Sequence[Measured | None]) -> Section:
    """Show widths, heights, aspect ratios, formats; count what cannot be read and what is tiny."""
    known = [m for m in measured if m is not None]
    findings = []
    broken = [str(ids[place]) for place, m in enumerate(measured) if m is None]
    if broken:
        findings.append(
            Finding(
                title=f"{len(broken)} pictures cannot be read",
                severity="problem",
                evidence=f"{len(broken)} of {len(measured)} files are absent or of no known format.",
                advice="They are set aside in training and listed in the run's quarantine.csv. Mend or remove them.",
                ids=tuple(broken[:20]),
                kind="unreadable-images",
            )
        )
    if not known:
        return Section(title="Picture sizes", lead="No picture can be read.", findings=tuple(findings))
    values = {
        "width, pixels": np.array([m.width for m in known], float),
        "height, pixels": np.array([m.height for m in known], float),
        "width : height": np.array([m.width / m.height for m in known]),
        "file size, kB": np.array([m.size_bytes / 1000 for m in known]),
    }
    rows = [
        (name, *(round(float(np.quantile(v, q)), 2) for q in (0, 0.05, 0.5, 0.95, 1))) for name, v in values.items()
    ]
    blocks: list[Block] = [Grid(columns=("", "smallest", "5 %", "median", "95 %", "largest"), rows=rows)]
    different = {(m.width, m.height) for m in known}
    if len(different) > 1:
        both = np.concatenate([values["width, pixels"], values["height, pixels"]])
        edges = np.histogram_bin_edges(both, bins=24)
        series = [
            (name.split(",")[0], np.histogram(values[name], bins=edges)[0].astype(float).tolist())
            for name in ("width, pixels", "height, pixels")
        ]
        blocks.append(Histogram(title="Sides", x_label="pixels", edges=edges.tolist(), series=series))
        wide = np.quantile(values["width : height"], [0.05, 0.95])
        if wide[1] / wide[0] > 1.8:
            findings.append(
                Finding(
                    title="Aspect ratios differ widely",
                    severity="info",
                    evidence=f"Width : height runs from {wide[0]:.2f} to {wide[1]:.2f} (5 % to 95 %).",
                    advice="By model.fit: stretch they are squeezed to a square. Where shape matters, take letterbox "
                    "or center-crop; under What the network sees stands what becomes of them.",
                    kind="aspect-ratios",
                )
            )
    kinds: dict[str, int] = {}
    for m in known:
        kinds[f"{m.format} {m.mode}"] = kinds.get(f"{m.format} {m.mode}", 0) + 1
    listed = ", ".join(f"{name} ({count:,})" for name, count in sorted(kinds.items(), key=lambda kv: -kv[1])[:8])
    blocks.append(Text(f"Formats and colour modes: {listed}."))
    first = next(iter(different))
    lead = f"All are {first[0]} x {first[1]} pixels." if len(different) == 1 else f"{len(different):,} sizes."
    return Section(title="Picture sizes", lead=lead, blocks=tuple(blocks), findings=tuple(findings))


def take_sample(sources: Sequence[str | bytes | None], codes: NDArray[np.int64], n_classes: int) -> Sample:
    """Decode an even share of each class, `SAMPLED` pictures at most, evenly spaced over the rows."""
    share = max(1, SAMPLED // n_classes)
    chosen = np.sort(np.concatenate([_spread(np.flatnonzero(codes == code), share) for code in range(n_classes)]))

    def one(place: int) -> NDArray[np.uint8] | None:
        source = sources[place]
        try:
            return None if source is None else read_square(source, SIDE)
        except UnreadableImageError:
            return None

    pictures = each(one, chosen.tolist())
    kept = [(picture, codes[place]) for picture, place in zip(pictures, chosen, strict=True) if picture is not None]
    pixels = np.stack([picture for picture, _ in kept]) if kept else np.empty((0, SIDE, SIDE, 3), np.uint8)
    return Sample(pixels, np.array([code for _, code in kept], dtype=np.int64))


def sheets(classes: Sequence[str], sources: Sequence[str | bytes | None], codes: NDArray[np.int64]) -> Section:
    """Show some pictures of each class."""
    counts = np.bincount(codes, minlength=len(classes))
    shown = np.argsort(-counts, kind="stable")[:SHEETS]

    def one(place: int) -> Picture | None:
        source = sources[place]
        try:
            return None if source is None else Picture(data=thumbnail(source, SIDE))
        except UnreadableImageError:
            return None

    blocks = []
    for code in sorted(shown):
        places = _spread(np.flatnonzero(codes == code), PER_SHEET)
        pictures = [picture for picture in each(one, places.tolist()) if picture is not None]
        if pictures:
            blocks.append(Pictures(title=f"{classes[code]} ({counts[code]:,})", pictures=tuple(pictures)))
    lead = "Evenly spaced over the rows of each class."
    if len(classes) > SHEETS:
        lead += f" The {SHEETS} largest of {len(classes)} classes."
    return Section(title="Pictures per class", lead=lead, blocks=tuple(blocks))


def means(classes: Sequence[str], sample: Sample) -> Section:
    """Show the mean picture of everything and of each class: what position, light and background give away."""
    pictures = [Picture(data=_jpeg(sample.pixels.mean(axis=0)), caption="all")]
    for code in np.unique(sample.codes)[:SHEETS]:
        mean = sample.pixels[sample.codes == code].mean(axis=0)
        pictures.append(Picture(data=_jpeg(mean), caption=classes[code]))
    return Section(
        title="Mean pictures",
        lead=f"Over {len(sample.codes):,} pictures at {SIDE} x {SIDE} pixels. Where classes differ only in light or "
        "background, a model will learn just that.",
        blocks=(Pictures(title="Mean picture", pictures=tuple(pictures)),),
    )


def colours(classes: Sequence[str], sample: Sample) -> Section:
    """Show grey levels and colours per class, and how spread they are."""
    grey = sample.pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    rows = []
    for code in np.unique(sample.codes):
        mine = sample.codes == code
        red, green, blue = sample.pixels[mine].reshape(-1, 3).mean(axis=0)
        contrast = grey[mine].std(axis=(1, 2)).mean()
        rows.append((classes[code], *(round(float(v), 1) for v in (red, green, blue, grey[mine].mean(), contrast))))
    edges = np.linspace(0, 256, 33)
    series = [
        (name, (np.histogram(sample.pixels[..., channel], bins=edges)[0] / sample.pixels[..., 0].size).tolist())
        for channel, name in enumerate(("red", "green", "blue"))
    ]
    coloured = np.ptp(sample.pixels.astype(np.int16), axis=3).mean() > 2
    if not coloured:
        series = [("grey", (np.histogram(grey, bins=edges)[0] / grey.size).tolist())]
    return Section(
        title="Light and colour",
        lead=("The pictures are in colour." if coloured else "The pictures are grey.") + " Levels run from 0 to 255.",
        blocks=(
            Histogram(title="Levels", x_label="level", edges=edges.tolist(), series=series),
            Grid(columns=("class", "red", "green", "blue", "light", "contrast"), rows=rows, caption="Mean levels"),
        ),
    )


def each(function: Callable[..., T], items: Sequence[object]) -> list[T]:
    """Apply a function that reads a picture to each item, a few at once."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def _measured(source: str | bytes | None) -> Measured | None:
    try:
        return None if source is None else measure(source)
    except UnreadableImageError:
        return None


def _spread(places: NDArray[np.int64], at_most: int) -> NDArray[np.int64]:
    return places[np.unique(np.linspace(0, len(places) - 1, min(at_most, len(places))).astype(np.int64))]


def _jpeg(mean: NDArray[np.floating]) -> bytes:
    return thumbnail(np.clip(mean + 0.5, 0, 255).astype(np.uint8), SIDE, quality=90)
