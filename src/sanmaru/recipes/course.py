"""The course of a recipe: variants trained under one validation, compared, combined, explained, registered, and scored
once on the rows kept aside.

Each step is one library function that the command line has too; a recipe says only what differs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import MissingExtraError, RegistryError, UserError
from sanmaru.files import write_json
from sanmaru.html.numbers import short
from sanmaru.project import FILE_NAME, Project

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.experiments.progress import Event
    from sanmaru.experiments.runs import Run
    from sanmaru.tasks.base import Task

Say = Callable[[str], None]
RESULTS = "results.json"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures of a recipe's own, for its README."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one recipe does otherwise than the others."""

    home: Path
    """Its folder, with `sanmaru.yaml` and `README.md`."""
    prepare: Callable[[Path, bool], Mapping[str, Any]]
    """Writes `train.csv`, `aside.csv` and `test.csv` into a folder, few rows where the second argument is true;
    returns facts worth showing."""
    variants: Mapping[str, Sequence[str]]
    """Overrides of the project file, by name. The first is the project file as it is, or nearly."""
    tiny: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Overrides that make a variant small, by its `model.kind`; those of "" are for all."""
    tiny_variants: Sequence[str] | None = None
    """Variants that a tiny run trains; of the others it only reads the project file. All where absent."""
    also: Sequence[str] = ()
    """Metrics shown beside the main one."""
    questions: Sequence[tuple[str, str]] = ()
    """Pairs of variants to be compared in pairs; each of the others with the best where absent."""
    ensemble: str | None = "soft"
    """How all variants are combined; None where they are not."""
    after: Callable[[Walked], Sequence[Table]] | None = None
    """The recipe's own last step."""
    minutes: int = 8
    """About what it takes on two cores, told before it begins."""


@dataclass(kw_only=True)
class Walked:
    """What the course has led to, for a recipe's own last step."""

    recipe: Recipe
    project: Project
    tiny: bool
    say: Say
    facts: dict[str, Any]
    runs: dict[str, Run] = field(default_factory=dict)
    """By variant; with `ensemble` where there is one."""
    best: str = ""


def walk(recipe: Recipe, folder: Path, *, tiny: bool, say: Say) -> dict[str, Any]:
    """Go the whole way in a folder, and return (and write there, as `results.json`) the figures.

    Raises:
        UserError: when the data cannot be had, or anything else that a user can mend.
    """
    from sanmaru.experiments.explore import explore
    from sanmaru.experiments.report import report

    began = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    if not tiny:
        say(f"about {recipe.minutes} minutes on two cores; everything is kept in {folder}")
    facts = dict(recipe.prepare(folder, tiny))
    say("prepared: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    shutil.copy(recipe.home / FILE_NAME, folder / FILE_NAME)
    walked = Walked(
        recipe=recipe,
        project=Project.load(folder, *(recipe.tiny.get("", ()) if tiny else ())),
        tiny=tiny,
        say=say,
        facts=facts,
    )
    say(f"explored: {explore(walked.project)}")
    _train(walked)
    entries, verdicts = _compare(walked)
    say(f"reported: {report(walked.runs[walked.best])}")
    _serve_ready(walked)
    results = {
        "recipe": recipe.home.name,
        "tiny": tiny,
        "facts": walked.facts,
        "best": walked.best,
        **entries,
        "verdicts": verdicts,
        "tables": [],
    }
    if recipe.after is not None:
        results["tables"] = [
            {"title": table.title, "header": list(table.header), "rows": [list(row) for row in table.rows]}
            for table in recipe.after(walked)
        ]
    results["minutes"] = round((time.perf_counter() - began) / 60, 1)
    results["made with"] = made_with()
    write_json(folder / RESULTS, results)
    return results


def _train(walked: Walked) -> None:
    from sanmaru.experiments.ensemble import ensemble
    from sanmaru.experiments.train import train

    recipe, folder = walked.recipe, walked.project.folder
    for name, overrides in recipe.variants.items():
        # From the file each time: a variant of another kind drops the fields of the file's kind.
        project = Project.load(folder, *overrides)
        if walked.tiny:
            small = (*recipe.tiny.get("", ()), *recipe.tiny.get(project.file.model.kind, ()))
            project = Project.load(folder, *overrides, *small)
            if recipe.tiny_variants is not None and name not in recipe.tiny_variants:
                continue
        walked.say(f"training {name}")
        try:
            run = train(project, watch=_watch(walked.say))
        except MissingExtraError as error:
            walked.say(f"  left out: {error}")
            walked.facts[f"left out, {name}"] = "its extra is not installed"
            continue
        walked.runs[name] = run
        walked.say(f"  {run.score().metric} {short(run.score().value)} out of fold")
    if recipe.ensemble is not None and len(walked.runs) > 1:
        ids = [run.id for run in walked.runs.values()]
        combined = ensemble(walked.project, ids, method=recipe.ensemble)
        walked.runs["ensemble"] = combined
        walked.say(f"ensemble ({recipe.ensemble}): {combined.score().metric} {short(combined.score().value)}")


def _watch(say: Say) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if event.kind == "fold":
            scores = event.facts.get("scores") or {}
            value = scores.get(event.facts.get("metric"))
            say(f"  fold {event.fold}: {short(value)}" if isinstance(value, float) else f"  fold {event.fold} done")
        elif event.kind == "warning":
            say(f"  {event.facts.get('text')}")

    return watch


def _compare(walked: Walked) -> tuple[dict[str, Any], list[str]]:
    """The leaderboard with the score on the rows kept aside, and the verdicts."""
    from sanmaru.experiments.compare import compare
    from sanmaru.metrics.base import find_metric

    runs = walked.runs
    found = compare(walked.project, *(run.id for run in runs.values()))
    names = {run.id: name for name, run in runs.items()}
    walked.best = names[found.entries[0].run]
    metric = find_metric(found.metric)
    shown = [found.metric, *(name for name in walked.recipe.also if name != found.metric)]
    lines = []
    for entry in found.entries:
        scores, low, high = score_aside(runs[names[entry.run]], found.metric)
        lines.append(
            {
                "variant": names[entry.run],
                "model": entry.model,
                "out of fold": [entry.value, entry.low, entry.high],
                "aside": [scores[found.metric], low, high],
                "also": [scores.get(name) for name in shown[1:]],
                "minutes": entry.seconds / 60,
            }
        )
    others = [name for name in names.values() if name not in (walked.best, "ensemble")]
    pairs = walked.recipe.questions or [(walked.best, name) for name in others]
    pairs = [pair for pair in pairs if set(pair) <= set(runs)]
    verdicts = []
    for a, b in pairs:
        verdict = compare(walked.project, runs[a].id, runs[b].id).verdict
        assert verdict is not None
        text = verdict.text.replace(runs[a].id, a).replace(runs[b].id, b)
        verdicts.append(f"{a} against {b}: {text}.")
        walked.say(verdicts[-1])
    titles = [find_metric(name).title for name in shown]
    return {"metric": metric.title, "titles": titles, "lines": lines}, verdicts


def score_aside(run: Run, metric: str, file: str = "aside.csv") -> tuple[dict[str, float], float, float]:
    """Score a run's model package on rows kept aside.

    Returns:
        Every metric of the task, and the 95 % interval of the one named.
    """
    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import interval

    task, table, predictions = predict_aside(run, file)
    group = task.roles.group
    low, high = interval(
        find_metric(metric),
        task.truth(table),
        task.scored(predictions),
        groups=None if group is None or group not in table.columns else table[group].to_numpy(),
    )
    return task.score(table, predictions), low, high


def predict_aside(run: Run, file: str = "aside.csv") -> tuple[Task, pl.DataFrame, pl.DataFrame]:
    """Return the task, the rows of a file of the project's folder with their truth, and a run's predictions of them."""
    from sanmaru.packages.package import Package
    from sanmaru.tables.read import read_data

    project = run.project
    package = Package.load(run.package_folder)
    data = project.file.data.model_copy(update={"train": file, "test": None})
    dataset = read_data(data, project.folder, task=project.file.task, columns=package.signature.inputs)
    if len(dataset.quarantine):
        raise UserError(f"{len(dataset.quarantine)} rows of {file} cannot be read: {dataset.quarantine.counts()}")
    return run.task(), dataset.table, package.predict_table(dataset.table)


def _serve_ready(walked: Walked) -> None:
    """Register the best run, promote it if the gate lets it, and predict the test rows with it."""
    from sanmaru.packages.batch import predict_file
    from sanmaru.packages.package import Package
    from sanmaru.registry.models import promote, register

    project, best = walked.project, walked.runs[walked.best]
    version = register(best)
    try:
        promote(project, project.name, to="production", version=version.version, why="best out of fold")
        state = "in production"
    except RegistryError as refused:  # an earlier walk in this folder left a champion that is better
        state = f"not promoted: {refused}"
    data = project.file.data
    images = project.path(data.images) if data.images and data.layout == "table" else None
    out = project.folder / "predictions.csv"
    report = predict_file(Package.load(best.package_folder), project.path(data.test or "test.csv"), out, images=images)
    walked.say(f"registered {project.name} version {version.version}, {state}; predicted {report.rows} rows: {out}")


def made_with() -> dict[str, Any]:
    """Return what the figures were made with: date, versions, cores."""
    from datetime import UTC, datetime

    from sanmaru.experiments.environment import environment

    kept = ("python", "sanmaru", "torch", "lightgbm", "cores")
    found = environment()
    return {"date": datetime.now(UTC).date().isoformat(), **{name: found[name] for name in kept if name in found}}
