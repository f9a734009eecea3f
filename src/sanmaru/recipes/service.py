"""What a recipe of a service has beside the others: hours done one after another, and figures of what became of them.

Everything is read from what the service keeps anyway: the ledger, the joined log, the decisions, the registry.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sanmaru.errors import UserError
from sanmaru.files import read_json
from sanmaru.recipes.course import Table
from sanmaru.steps.history import SERVICE, collected
from sanmaru.steps.versions import known_versions

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.monitoring.joined import JoinedLog
    from sanmaru.pipelines.ledger import Ledger
    from sanmaru.pipelines.plan import Plan
    from sanmaru.pipelines.runner import Summary
    from sanmaru.project import Project

HORIZONS = ((1, 1), (2, 6), (7, 24), (25, 48))
"""Steps ahead that are scored together."""
SELDOM = ("train", "judge", "promote")
"""Steps that most hours have no work for."""


def plan_of(project: Project) -> Plan:
    """Return the pipeline of a project, the settings of its steps checked.

    Raises:
        UserError: when it has none.
        ProjectFileError: when the settings of a step are wrong.
    """
    from sanmaru.pipelines.functions import check_settings
    from sanmaru.pipelines.plan import Plan
    from sanmaru.project import FILE_NAME

    config = project.file.pipeline
    if config is None:
        raise UserError(f"the project file of {project.name} has no pipeline: with steps.")
    check_settings(config, project.lines, str(project.folder / FILE_NAME), project.file)
    return Plan(project.name, config, project.folder)


@contextmanager
def ledger_of(project: Project) -> Iterator[Ledger]:
    """Open the ledger of a project's pipeline."""
    from sanmaru.database import open_engine
    from sanmaru.pipelines.ledger import Ledger

    plan = plan_of(project)
    engine = open_engine(plan.config.ledger, project.folder)
    try:
        yield Ledger(engine, project.name)
    finally:
        engine.dispose()


def do_hours(project: Project, until: datetime) -> Summary:
    """Do what can be done of the intervals that end by a time, one after another.

    Raises:
        UserError: when a step fails, with what it said.
    """
    from sanmaru.pipelines.runner import Runner

    failures: list[str] = []
    plan = plan_of(project)
    with ledger_of(project) as ledger:

        def tell(what: str, entry: Any, text: str) -> None:
            if what == "failed":
                failures.append(f"{entry.step} of {entry.start}: {text}")
                runner.stop()

        with Runner(plan, ledger, workers=1, tell=tell) as runner:
            summary = runner.run(until=until)
    if failures:
        raise UserError(f"the step {failures[0]}. What it printed: {project.folder / plan.config.logs}")
    return summary


def revise(project: Project, step: str, start: datetime) -> None:
    """Ask for a complete step of one interval once more, as `sanmaru pipeline retry STEP --again` does."""
    name = plan_of(project).every.at(start).name
    with ledger_of(project) as ledger:
        ledger.ask_again([step], [name], "revised at the source", failed_only=False, span=True)


@contextmanager
def _log(project: Project) -> Iterator[JoinedLog]:
    from sanmaru.steps.monitor import joined_log

    log = joined_log(project)
    try:
        yield log
    finally:
        log.engine.dispose()


def scores(project: Project, spans: Mapping[str, tuple[datetime, datetime]]) -> Table:
    """Return how far the service's own forecasts were off, beside the naive ones of the same hours and origins.

    Args:
        project: Of the service.
        spans: Name to the first time, and the end, of the hours that are scored.

    Returns:
        Per target, span and steps ahead: pairs, mean absolute error of service, persistence and seasonal-naive, and how
        often the truth lay within the band from 10 to 90 %. Only pairs that all three can be told for count.
    """
    import polars as pl

    rows = []
    with _log(project) as log:
        for target in project.file.data.target_names:
            pairs = _with_naive(project, log.read(target), target)
            for name, (begin, end) in spans.items():
                for first, last in HORIZONS:
                    part = pairs.filter(
                        pl.col("time").is_between(begin, end, closed="left") & pl.col("horizon").is_between(first, last)
                    )
                    if not part.is_empty():
                        rows.append(_score(target, name, first, last, part))
    return Table(
        title="Mean absolute error of the published forecasts in µg/m³, on hours that came",
        header=("target", "hours", "ahead", "pairs", "service", "persistence", "seasonal-naive", "in the 10-90 % band"),
        rows=tuple(rows),
    )


def _with_naive(project: Project, said: pl.DataFrame, target: str) -> pl.DataFrame:
    """Add what persistence and seasonal-naive say: the value at the origin, and of the same hour on the last day known.

    A value that is missing is looked for in the hours before, as the baselines of the task do.
    """
    import polars as pl

    known = said.drop_nulls(f"{target}.residual")
    if known.is_empty():
        return known.with_columns(persistence=pl.lit(None, pl.Float64), seasonal=pl.lit(None, pl.Float64))
    newest: Any = known["time"].max()
    past = collected(project, None, newest).select("series", "time", pl.col(target).cast(pl.Float64).alias("was"))
    past = past.drop_nulls().sort("time")
    back = ((pl.col("horizon") + 23) // 24) * timedelta(hours=24)
    known = known.with_columns(before=pl.col("time") - back)
    found = known.sort("origin").join_asof(
        past.rename({"time": "last", "was": "persistence"}), left_on="origin", right_on="last", by="series",
        strategy="backward", check_sortedness=False,
    )  # fmt: skip
    found = found.join(past.rename({"time": "before", "was": "seasonal"}), on=["series", "before"], how="left")
    return found.drop_nulls(["persistence", "seasonal"]).with_columns(
        truth=pl.col(f"{target}.truth"), point=pl.col(target), low=pl.col(f"{target}.q10"),
        high=pl.col(f"{target}.q90"),
    )  # fmt: skip


def _score(target: str, name: str, first: int, last: int, part: pl.DataFrame) -> tuple[str, ...]:
    import polars as pl

    off = part.select(
        (pl.col(said) - pl.col("truth")).abs().mean().alias(said) for said in ("point", "persistence", "seasonal")
    ).row(0)
    inside = part.select(pl.col("truth").is_between(pl.col("low"), pl.col("high")).mean()).item()
    ahead = f"{first} h" if first == last else f"{first}-{last} h"
    return (target, name, ahead, f"{part.height:,}", *(f"{value:.1f}" for value in off), f"{inside:.0%}")


def decisions(project: Project) -> Table:
    """Return the decisions to train, and how many said no, with their reasons."""
    from sanmaru.database import open_engine
    from sanmaru.steps.decisions import Decisions

    engine = open_engine(plan_of(project).config.ledger, project.folder)
    try:
        found = list(reversed(Decisions(engine, project.name).newest(100_000)))
    finally:
        engine.dispose()
    rows = [(_hour(one.interval), "yes", one.trigger, one.reason) for one in found if one.yes]
    for trigger in sorted({one.trigger for one in found if not one.yes}):
        same = [one for one in found if not one.yes and one.trigger == trigger]
        rows.append((f"{len(same)} hours", "no", trigger, f"last: {same[-1].reason}"))
    return Table(
        title="Decisions to train again", header=("hour (UTC)", "train", "trigger", "reason"), rows=tuple(rows)
    )


def contests(project: Project) -> Table:
    """Return every version, what it learned from, and how its contest went."""
    from sanmaru.registry.models import versions

    judged = {
        int(one["version"]): one
        for one in (read_json(path) for path in sorted((project.folder / SERVICE / "judge").glob("*/*.json")))
    }
    facts = known_versions(project.folder)
    rows = []
    for version in sorted(versions(project, project.name), key=lambda one: one.version):
        known, contest = facts[version.version], judged.get(version.version)
        told = "the first champion: no contest" if contest is None else str(contest["reason"])
        learned = f"{known.rows:,} hours to {known.until:%Y-%m-%d}"
        rows.append((str(version.version), known.kind, learned, ", ".join(version.aliases) or "-", told))
    return Table(
        title="Versions and their contests (errors in units of seasonal-naive's)",
        header=("version", "model", "learned from", "alias at the end", "contest"),
        rows=tuple(rows),
    )


def seconds(project: Project, hours: int) -> Table:
    """Return what each step took per hour of data, by the ledger.

    Args:
        project: Of the service.
        hours: Newest intervals that are counted; trainings and what follows them are counted over all.
    """
    plan = plan_of(project)
    with ledger_of(project) as ledger:
        done = ledger.entries(states=["done"])
    newest = set(sorted({one.start for one in done})[-hours:])
    rows, total = [], 0.0
    for step in plan.order:
        seldom = step in SELDOM
        taken = [one.seconds for one in done if one.step == step and (seldom or one.start in newest)]
        if taken:
            median = statistics.median(taken)
            total += 0.0 if seldom else median
            rows.append((step, str(len(taken)), f"{median:.2f}", f"{max(taken):.2f}"))
    rows.append(("one hour, from collection to publication", "", f"{total:.2f}", ""))
    return Table(
        title=f"Seconds of each step over the newest {len(newest)} hours; of trainings over all",
        header=("step", "times", "median", "longest"),
        rows=tuple(rows),
    )


def flagged(project: Project, spans: Mapping[str, tuple[datetime, datetime]]) -> Table:
    """Return how many rows the anomaly detector flagged, and for what."""
    import polars as pl

    from sanmaru.collect import table
    from sanmaru.steps.history import VERDICTS

    verdicts = table.read(project.collected_folder / "tables" / VERDICTS)
    rows = []
    for name, (begin, end) in spans.items():
        part = verdicts.filter(pl.col("time").is_between(begin, end, closed="left") & pl.col("anomaly").is_not_null())
        strange = part.filter("anomaly")
        reasons = strange.group_by("anomaly.reason").len().sort("len", "anomaly.reason", descending=[True, False])
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.head(4).rows())
        rows.append((name, f"{part.height}", f"{strange.height}", told or "-"))
    return Table(title="Rows flagged on arrival", header=("hours", "judged", "flagged", "for"), rows=tuple(rows))


def alarms(project: Project, onset: datetime) -> Table:
    """Return the alarms that were raised and cleared, in order, with the hours since a fault began."""
    import json

    config = project.file.monitor
    path = project.folder / ((config.alerts.file if config is not None else None) or "alerts.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = []
    for one in (json.loads(line) for line in lines):
        after = (datetime.fromisoformat(one["at"].replace("Z", "+00:00")) - onset) / timedelta(hours=1)
        rows.append((_hour(one["at"]), one["event"], one["cause"], f"{after:+.0f}", one["text"]))
    return Table(
        title="Alarms", header=("at (UTC)", "event", "cause", "hours after the fault", "text"), rows=tuple(rows)
    )


def _hour(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z").removesuffix(":00")[:16]


def lines_of_service(results: Mapping[str, Any]) -> list[str]:
    """Write the figures of a service's recipe as Markdown."""
    from sanmaru.recipes.readme import made_line, markdown

    out = [made_line(results), ""]
    out += [f"- {text}" for text in results["told"]]
    for table in results["tables"]:
        rows = markdown(table["header"], table["rows"]) if table["rows"] else ["None."]
        out += ["", f"{table['title']}:", "", *rows]
    return out
