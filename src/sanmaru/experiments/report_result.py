"""The first screen of a run's report: what was asked, how well it works, and what to keep in mind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from sanmaru.experiments.runs import Run
from sanmaru.html.blocks import Block, Finding, Section, Text, Tiles
from sanmaru.html.numbers import duration, percent, short, size

if TYPE_CHECKING:
    from sanmaru.tasks.base import Task


def result_section(run: Run, task: Task, details: Sequence[Mapping[str, Any]]) -> Section:
    """Show the problem, the final score with its interval, the other metrics, rows, time and size."""
    from sanmaru.metrics.base import find_metric

    file, score, facts = run.project.file, run.score(), run.facts
    main = find_metric(score.metric)
    way = "higher is better" if main.greater_is_better else "lower is better"
    tiles = [
        (
            f"{main.title} ({way})",
            short(score.value),
            f"95 % interval {short(score.low)} to {short(score.high)}, on rows the model had not seen",
        )
    ]
    tiles += [(find_metric(name).title, short(value), "") for name, value in score.all.items() if name != score.metric]
    aside = int(facts.get("quarantined", 0))
    if "rows" in facts:
        tiles.append(("Rows", f"{facts['rows']:,}", f"{aside:,} set aside" if aside else "all usable"))
    seconds = facts.get("seconds", {})
    if seconds:
        tiles.append(
            (
                "Time",
                duration(sum(seconds.values())),
                f"{duration(seconds['folds'])} in folds" if "folds" in seconds else "",
            )
        )
    if run.package_folder.is_dir():
        n_bytes = sum(path.stat().st_size for path in run.package_folder.rglob("*") if path.is_file())
        what = "forecast" if file.task == "forecasting" else task.outputs[0].kind
        tiles.append(("Model package", size(n_bytes), f"{what} of {', '.join(one.name for one in task.outputs)}"))
    honest = [float(one["honest_fraction"]) for one in details if one.get("honest_fraction") is not None]
    if honest:
        tiles.append(("Honest fraction", percent(median(honest)), "of training time is the bare step"))
    lines = [("Goal", file.goal), ("Constraints", file.constraints), ("Today, or to beat", file.baseline)]
    blocks: list[Block] = [Tiles(tiles=tiles, hero=True)]
    blocks += [Text(f"{name}: {text}") for name, text in lines if text]
    return Section(title="Result", lead=file.problem, blocks=blocks, findings=_caveats(run, details))


def _caveats(run: Run, details: Sequence[Mapping[str, Any]]) -> list[Finding]:
    from sanmaru.experiments.report_curves import read_done

    findings = []
    done = read_done(run)
    train = run.project.file.train
    if train.selection == "fold" and any(fold["selection_rows"] for fold in done):
        findings.append(
            Finding(
                title="The score is flattered by its own selection",
                severity="warning",
                evidence="train.selection is `fold`: the rows that chose the best epoch or trees also score it.",
                advice="Report a score from train.selection=inner. The difference is largest for small data.",
                kind="selection-on-fold",
            )
        )
    limit = _limit(run)
    at_end = [one for one in details if limit and _best(one) == limit]
    if limit and len(at_end) * 2 > len(details) > 0:
        findings.append(
            Finding(
                title="Training was still getting better when it ended",
                severity="info",
                evidence=f"In {len(at_end)} of {len(details)} folds the last of {limit} steps was the best.",
                advice="Raise train.epochs (or model.trees) and compare.",
                kind="ended-early",
            )
        )
    return findings


def _limit(run: Run) -> int | None:
    """The number of epochs or trees that a fit may take at most, where it chooses its best one."""
    file = run.project.file
    if file.train.selection == "none":
        return None
    if file.task == "image-classification":
        return file.train.epochs
    trees = getattr(file.model, "trees", None)
    return int(trees) if trees is not None else None


def _best(details: Mapping[str, Any]) -> Any:
    return details.get("best_step", details.get("best_epoch"))
