"""The worst mistakes of a run, with their pictures and where the network looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.errors import UserError
from sanmaru.html.blocks import Block, Picture, Pictures, Section, Text
from sanmaru.images.read import UnreadableImageError, thumbnail
from sanmaru.tables.match import align
from sanmaru.tasks.classification_errors import mistakes_by_confidence
from sanmaru.tasks.image_classification.explainer import SIDE, Explainer, Look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sanmaru.tasks.image_classification.task import ImageClassification

SHOWN = 24
FOLD = "fold"
"""Column of out-of-fold predictions: the fold whose network gave them."""


def worst_mistakes(
    task: ImageClassification, table: pl.DataFrame, predictions: pl.DataFrame, explainer: Explainer | None = None
) -> Section:
    """Show the pictures whose wrong class was given with most confidence.

    Args:
        task: The task with its classes.
        table: Rows with target and pictures; where the image column is absent, captions alone are given.
        predictions: Out-of-fold predictions, with their fold where they are to be explained.
        explainer: Adds heat maps; without one there are none.

    Raises:
        DataError: when a prediction's id is not in the table.
    """
    ids = predictions[task.roles.id]
    places = align(ids, table[task.roles.id], left_name="the predictions", right_name="the table", subset=True)
    rows = table[places]
    truth, probs = task.truth(rows), task.scored(predictions)
    classes = task.shown.classes
    worst = mistakes_by_confidence(truth, probs, max(SHOWN, explainer.limit if explainer else 0))
    title = "Worst mistakes"
    if not len(worst):
        return Section(title=title, lead="Every row is given its right class.")
    wrong = int(np.sum(probs.argmax(axis=1) != truth))
    lead = f"The {len(worst)} most confident of {wrong} mistakes. They are often wrong labels."
    looks, note = _looks(task, rows, predictions, explainer, truth=truth, probs=probs, worst=worst)
    pictures, lost = [], []
    for number, place in enumerate(worst.tolist()):
        chosen = int(probs[place].argmax())
        caption = f"{classes[truth[place]]}, taken for {classes[chosen]} ({probs[place, chosen]:.0%})\n{ids[place]}"
        source = rows[task.image][place] if task.image in rows.columns else None
        try:
            if source is None:
                raise UnreadableImageError("there is no picture")
            look = looks.get(number)
            beside = [] if look is None else _beside(look, classes[chosen], classes[truth[place]])
            pictures.append(Picture(data=thumbnail(source, SIDE), caption=caption, wrong=True, beside=beside))
        except UnreadableImageError:
            lost.append(caption)
    blocks: list[Block] = [Text(note)] if note else []
    blocks += [Pictures(title="", pictures=tuple(pictures))] if pictures else []
    if lost:
        named = "; ".join(caption.replace("\n", ", ") for caption in lost)
        blocks.append(Text(f"Without their pictures, which are no longer there: {named}."))
    return Section(title=title, lead=lead, blocks=tuple(blocks))


def _looks(
    task: ImageClassification,
    rows: pl.DataFrame,
    predictions: pl.DataFrame,
    explainer: Explainer | None,
    *,
    truth: NDArray[np.int64],
    probs: NDArray[np.float64],
    worst: NDArray[np.int64],
) -> tuple[dict[int, Look], str]:
    """Heat maps by number in `worst`, and a sentence on how to read them or why there are none."""
    if explainer is None or not explainer.limit or FOLD not in predictions.columns or task.image not in rows.columns:
        return {}, ""
    some = worst[: explainer.limit]
    folds = predictions[FOLD].to_numpy()[some].astype(np.int64)
    try:
        looks = explainer.looks(task, rows[some], folds=folds, predicted=probs[some].argmax(axis=1), truth=truth[some])
    except (UserError, OSError, ValueError) as error:
        return {}, f"Where the network looked cannot be shown: {error}"
    if not looks:
        return {}, ""
    who = "the network of the fold that had not seen the picture"
    if any(look.true is not None for look in looks.values()):
        return looks, (
            f"Beside each picture, what {who} found for the class it gave, and what it found for the true class "
            "(Grad-CAM): the lighter the colour, the more the place spoke for that class; a dark picture has nothing "
            "that did."
        )
    return looks, (
        f"Beside each picture, where the attention of {who} went (attention roll-out): the lighter the colour, the "
        "more. It is the same for every class."
    )


def _beside(look: Look, given: str, true: str) -> list[tuple[bytes, str]]:
    if look.true is None:
        return [(look.predicted, "where attention went")]
    return [(look.predicted, f"for {given}"), (look.true, f"for {true}")]
