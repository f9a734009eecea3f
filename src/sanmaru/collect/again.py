"""Reading all kept answers anew, without a network: after a change of columns, units or parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.collect import table
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.interval import note_reading, with_known
from sanmaru.collect.opening import open_source
from sanmaru.collect.store import RawStore

_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class ParseReport:
    """What was read from the answers of a source."""

    answers: int
    rows: int
    """Rows of all answers; most stand in several."""
    set_aside: int
    table: int
    """Rows of the collected table, without revisions."""


def parse_again(
    name: str,
    config: SourceConfig,
    folder: Path,
    *,
    project: Path | None = None,
    tell: Callable[[int], None] | None = None,
) -> ParseReport:
    """Make the collected table of a source anew from its raw answers.

    Whoever reads the table meanwhile finds the earlier one; the new one takes its place at the end, in one step.

    Args:
        name: Of the source.
        config: Its config.
        folder: Where answers and tables are kept.
        project: Folder of the project; the parent of `folder` where absent.
        tell: Called with the number of answers read.

    Raises:
        CollectError: when an answer cannot be read with this config.
        DataError: when a kept answer is absent or altered.
    """
    counts = {"answers": 0, "rows": 0, "set_aside": 0}
    ahead: list[pl.DataFrame] = []
    with RawStore(folder) as store:
        source = open_source(name, config, store, project or folder.parent)

        def batches() -> Iterator[pl.DataFrame]:
            batch: list[pl.DataFrame] = []
            for answer in store.answers(name):
                if source.problem(answer) is not None:  # judged good then, and not by today's rules
                    continue
                parsed = source.parse(answer)
                note_reading(store, name, answer, parsed)
                counts["answers"] += 1
                counts["rows"] += parsed.rows.height
                counts["set_aside"] += len(parsed.quarantine)
                batch.append(with_known(answer, parsed.rows))
                if parsed.ahead is not None:
                    ahead.append(with_known(answer, parsed.ahead))
                if len(batch) == _BATCH:
                    yield pl.concat(batch)
                    batch.clear()
                if tell is not None:
                    tell(counts["answers"])
            if batch:
                yield pl.concat(batch)

        table.rebuild(folder / "tables" / name, batches())
        if ahead:
            table.rebuild(folder / "tables" / f"{name}-ahead", ahead)
    return ParseReport(**counts, table=table.read(folder / "tables" / name).height)


def status(name: str, folder: Path) -> dict[str, Any]:
    """Return how a source stands: attempts, answers, what was set aside and why, how far the table reaches."""
    rows = table.read(folder / "tables" / name, known=True)
    with RawStore(folder) as store:
        (attempts,) = store.catalogue.rows(
            "SELECT count(*) AS attempts, coalesce(sum(problem IS NULL), 0) AS good, count(DISTINCT body) AS bodies, "
            "max(fetched_at) AS last FROM attempts WHERE source = ?",
            (name,),
        )
        problems = store.catalogue.rows(
            "SELECT problem, fetched_at FROM attempts WHERE source = ? AND problem IS NOT NULL "
            "ORDER BY id DESC LIMIT 5",
            (name,),
        )
        aside = store.catalogue.rows(
            "SELECT rule, count(*) AS rows FROM (SELECT DISTINCT rule, attempt, row FROM set_aside WHERE source = ?) "
            "GROUP BY rule",
            (name,),
        )
        sweeps = store.catalogue.rows(
            "SELECT coalesce(outcome, 'open') AS outcome, count(DISTINCT start || end) AS spans FROM sweeps "
            "WHERE source = ? GROUP BY 1",
            (name,),
        )
    time, known = rows["time"], rows[table.KNOWN]
    return {
        "source": name,
        "attempts": attempts["attempts"],
        "good": attempts["good"],
        "distinct_answers": attempts["bodies"],
        "last_attempt": attempts["last"],
        "problems": [{"at": row["fetched_at"], "problem": row["problem"]} for row in problems],
        "set_aside": {row["rule"]: row["rows"] for row in aside},
        "intervals": {row["outcome"]: row["spans"] for row in sweeps},
        "rows": rows.height,
        "series": rows["series"].n_unique(),
        "first": str(time.min()) if rows.height else None,
        "last": str(time.max()) if rows.height else None,
        "last_known": str(known.max()) if rows.height else None,
    }
