"""Which columns a model leans on, as the mean and spread over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sanmaru.html.blocks import Bars, Block, Grid, Section, Text

MOST_SHOWN = 25


def importance_section(details: Sequence[Mapping[str, Any]]) -> Section | None:
    """Make a section of each fold's feature importance.

    Args:
        details: `Estimator.details` of each fold; those without `importance` are left out.

    Returns:
        None where no fold has told its importance.
    """
    told = [fold for fold in details if fold.get("importance")]
    if not told:
        return None
    names = list(dict.fromkeys(name for fold in told for name in fold["importance"]))
    shares = np.array([[float(fold["importance"].get(name, 0.0)) for name in names] for fold in told])
    mean, low, high = shares.mean(axis=0), shares.min(axis=0), shares.max(axis=0)
    order = np.argsort(-mean, kind="stable")
    top = [int(place) for place in order[:MOST_SHOWN]]
    kind = str(told[0].get("importance_kind", "importance"))
    folds = "one fit" if len(told) == 1 else f"{len(told)} folds"
    unused = [names[int(place)] for place in order if mean[place] == 0.0]
    blocks: list[Block] = [
        Bars(
            title="Feature importance",
            labels=[names[place] for place in top],
            series=[("mean over folds", [float(mean[place]) for place in top])],
            value_label=kind,
            intervals=[(float(low[place]), float(high[place])) for place in top] if len(told) > 1 else None,
        ),
        Grid(
            columns=["column", "mean", "smallest", "largest"],
            rows=[[names[i], round(float(mean[i]), 4), round(float(low[i]), 4), round(float(high[i]), 4)] for i in top],
            caption=f"{kind[:1].upper()}{kind[1:]}, {folds}.",
            bars="mean",
        ),
    ]
    if unused:
        shown = ", ".join(unused[:20]) + (" …" if len(unused) > 20 else "")
        blocks.append(Text(f"Not used by any fold ({len(unused)}): {shown}."))
    lead = (
        f"The model leans most on {names[top[0]]} ({mean[top[0]]:.0%}). Importance says what the model uses, not what "
        "causes the target; columns that tell the same share it between them."
    )
    return Section(title="Feature importance", lead=lead, blocks=blocks)
