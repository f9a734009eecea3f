"""Which classes are taken for which, in words and with examples."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Picture, Pictures, Section
from sanmaru.html.numbers import percent
from sanmaru.images.read import UnreadableImageError, thumbnail
from sanmaru.metrics.classification import confusion
from sanmaru.tables.match import align

if TYPE_CHECKING:
    from sanmaru.tasks.image_classification.task import ImageClassification

PAIRS = 6
"""Pairs of classes shown at most."""
EXAMPLES = 8
"""Pictures per pair at most."""
SIDE = 112


def confused_section(task: ImageClassification, table: pl.DataFrame, predictions: pl.DataFrame) -> Section | None:
    """Show the pairs of classes that are confused most, the surest mistakes of each first.

    None for two classes, where the worst mistakes say it all, and where nothing is confused or no picture is there.

    Args:
        task: With the classes.
        table: Rows with target and pictures.
        predictions: Out-of-fold predictions.

    Raises:
        DataError: when a prediction's id is not in the table.
    """
    classes = task.output.classes
    if len(classes) < 3 or task.image not in table.columns:
        return None
    ids = predictions[task.roles.id]
    places = align(ids, table[task.roles.id], left_name="the predictions", right_name="the table", subset=True)
    rows = table[places]
    truth, probs = task.truth(rows), task.scored(predictions)
    chosen = probs.argmax(axis=1)
    matrix = confusion(truth, chosen, len(classes)).astype(np.int64)
    wrong = matrix - np.diag(np.diag(matrix))
    pairs = [divmod(int(cell), len(classes)) for cell in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]]
    blocks = []
    for true, given in pairs:
        count = int(wrong[true, given])
        if not count:
            break
        mine = np.flatnonzero((truth == true) & (chosen == given))
        surest = mine[np.argsort(-probs[mine, given], kind="stable")]
        pictures: list[Picture] = []
        for place in surest.tolist():
            source = rows[task.image][place]
            try:
                if source is not None:
                    name = PurePath(str(ids[place])).name  # an id that is a path begins with the class
                    caption = f"{probs[place, given]:.0%}\n{name}"
                    pictures.append(Picture(data=thumbnail(source, SIDE), caption=caption))
            except UnreadableImageError:
                continue
            if len(pictures) == EXAMPLES:
                break
        if pictures:
            share = percent(count / matrix[true].sum())
            title = f"{classes[true]}, taken for {classes[given]}: {count:,} of {matrix[true].sum():,} ({share})"
            blocks.append(Pictures(title=title, pictures=pictures))
    if not blocks:
        return None
    return Section(
        title="Confused classes",
        lead="The pairs that occur most, and the rows of each of which the model was surest.",
        blocks=blocks,
    )
