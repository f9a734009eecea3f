"""Which pictures can be read: asked once, before rows are split into folds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from sanmaru.images.fit import Fit
from sanmaru.images.store import ImageStore, Progress
from sanmaru.tables.contract import Quarantine, Violation
from sanmaru.tables.roles import ROW_ID, Roles


def usable(
    table: pl.DataFrame,
    roles: Roles,
    cache: Path | None = None,
    *,
    image_size: int = 64,
    fit: Fit | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[pl.DataFrame, Quarantine]:
    """Return the rows whose picture can be read, and the others as violations of the rule `unreadable-image`.

    The only proof that a picture can be read is to read it; so the pixels are kept in the resident cache at
    `image_size`, fitted by `fit`, and the training that follows finds them there. A second call reads nothing but the
    index.

    Args:
        table: With the image column (paths or encoded bytes).
        roles: Which column it is; a table without one is returned as it is.
        cache: The cache folder; without one, pictures are decoded and nothing is kept.
        image_size: The side that the network will want, so that pictures are decoded once.
        fit: How pictures become that square; stretched without one.
        threads: Decoders at work at once.
        progress: Called with (pictures done, pictures in all).
    """
    if roles.image is None or not len(table):
        return table, Quarantine()
    sources = table[roles.image].to_list()
    if cache is None:
        with tempfile.TemporaryDirectory() as folder:
            found = ImageStore(Path(folder), image_size, fit or Fit()).load(sources, threads=threads, progress=progress)
    else:
        found = ImageStore(cache, image_size, fit or Fit()).load(sources, threads=threads, progress=progress)
    facts, reasons = found.facts, found.facts["reason"].to_list()
    broken = [place for place, reason in enumerate(reasons) if reason is not None]
    if not broken:
        return table, Quarantine()
    ids = table[roles.id].to_list()
    violations = []
    for place in broken:
        source = sources[place]
        violations.append(
            Violation(
                # A numbered id is the place in the source; rows set aside earlier are gone from the table.
                row=int(ids[place]) if roles.id == ROW_ID else place,
                id=str(ids[place]),
                column=roles.image,
                value=source[:200] if isinstance(source, str) else "" if source is None else f"{len(source)} bytes",
                rule="unreadable-image",
                reason=reasons[place] if source is not None else "there is no picture",
            )
        )
    return table.filter(facts["reason"].is_null()), Quarantine(tuple(violations))
