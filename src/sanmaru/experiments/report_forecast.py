"""What the report of a forecasting run shows besides: the naive forecasts beside it, and where its errors lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanmaru.experiments.runs import Run
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Section
from sanmaru.html.numbers import short

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import Task


def forecast_sections(run: Run, task: Task, rows: pl.DataFrame, predictions: pl.DataFrame) -> list[Section]:
    """Return the sections on what was scored, on the naive forecasts, and on the errors."""
    import polars as pl

    from sanmaru.tasks.forecasting.diagnose import diagnose, left_out_section
    from sanmaru.tasks.forecasting.task import Forecasting

    assert isinstance(task, Forecasting)
    others = {path.stem: pl.read_parquet(path) for path in sorted((run.folder / "baselines").glob("*.parquet"))}
    found = [baselines_section(run), left_out_section(task), *diagnose(task, rows, predictions, others)]
    return [section for section in found if section is not None]


def baselines_section(run: Run) -> Section | None:
    """Show the model beside the naive forecasts; None for a run that was not compared with them."""
    from sanmaru.metrics.base import find_metric

    found: list[dict[str, Any]] = run.facts.get("baselines", [])
    if not found:
        return None
    score = run.score()
    metrics = list(score.all)
    rows: list[list[object]] = [["model", *(score.all[name] for name in metrics), "", ""]]
    for one in found:
        difference = f"{short(one['difference'])} ({short(one['low'])} to {short(one['high'])})"
        rows.append([one["kind"], *(one["scores"].get(name) for name in metrics), difference, _yes(one["beaten"])])
    title = find_metric(score.metric).title
    columns = ["", *(find_metric(name).title for name in metrics), f"difference in {title}", "beaten"]
    chart = Bars(
        title=f"{title}, lower is better",
        labels=["model", *(one["kind"] for one in found)],
        series=[("", [score.value, *(one["value"] for one in found)])],
        value_label=title,
    )
    blocks: list[Block] = [Grid(columns=columns, rows=rows, caption="On the same origins"), chart]
    unbeaten = [one for one in found if not one["beaten"]]
    findings = [
        Finding(
            title=f"The model is not shown to beat {one['kind']}",
            severity="problem",
            evidence=f"{one['text'][:1].upper()}{one['text'][1:]}.",
            advice="A forecast that costs nothing does as well. Bring other covariates, more history or another model.",
            kind="no-better-than-naive",
        )
        for one in unbeaten
    ]
    lead = "What a forecast must beat to be worth anything: the last value, and the value one season before."
    return Section(title="Beside naive forecasts", lead=lead, blocks=blocks, findings=findings)


def _yes(beaten: bool) -> str:
    return "yes" if beaten else "no"
