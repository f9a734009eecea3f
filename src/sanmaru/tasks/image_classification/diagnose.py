"""The worst mistakes of a run, with their pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Picture, Pictures, Section, Text
from sanmaru.images.read import UnreadableImageError, thumbnail
from sanmaru.tables.match import align
from sanmaru.tasks.classification_errors import mistakes_by_confidence

if TYPE_CHECKING:
    from sanmaru.tasks.image_classification.task import ImageClassification

SHOWN = 24
SIDE = 112


def worst_mistakes(task: ImageClassification, table: pl.DataFrame, predictions: pl.DataFrame) -> Section:
    """Show the pictures whose wrong class was given with most confidence.

    Args:
        task: The task with its classes.
        table: Rows with target and pictures; where the image column is absent, captions alone are given.
        predictions: Out-of-fold predictions.

    Raises:
        DataError: when a prediction's id is not in the table.
    """
    ids = predictions[task.roles.id]
    places = align(ids, table[task.roles.id], left_name="the predictions", right_name="the table", subset=True)
    rows = table[places]
    truth, probs = task.truth(rows), task.scored(predictions)
    classes = task.output.classes
    worst = mistakes_by_confidence(truth, probs, SHOWN)
    title = "Worst mistakes"
    if not len(worst):
        return Section(title=title, lead="Every row is given its right class.")
    wrong = int(np.sum(probs.argmax(axis=1) != truth))
    lead = f"The {len(worst)} most confident of {wrong} mistakes. They are often wrong labels."
    pictures, lost = [], []
    for place in worst.tolist():
        chosen = int(probs[place].argmax())
        caption = f"{ids[place]}: {classes[truth[place]]}, taken for {classes[chosen]} ({probs[place, chosen]:.0%})"
        source = rows[task.image][place] if task.image in rows.columns else None
        try:
            if source is None:
                raise UnreadableImageError("there is no picture")
            pictures.append(Picture(data=thumbnail(source, SIDE), caption=caption, wrong=True))
        except UnreadableImageError:
            lost.append(caption)
    blocks: list[Pictures | Text] = [Pictures(title=title, pictures=tuple(pictures))] if pictures else []
    if lost:
        blocks.append(Text(f"Without their pictures, which are no longer there: {'; '.join(lost)}."))
    return Section(title=title, lead=lead, blocks=tuple(blocks))
