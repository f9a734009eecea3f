"""Runs beside each other: a leaderboard, and for two runs whether one is really better."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sanmaru.errors import RunError, nearest
from sanmaru.experiments.compare_targets import TargetDifference, compare_targets
from sanmaru.experiments.environment import flat
from sanmaru.experiments.runs import Run
from sanmaru.experiments.verdict import Verdict
from sanmaru.project import Project

IGNORED = ("name", "problem", "goal", "constraints", "baseline", "storage", "cluster", "metric")
"""Parts of the project file that do not change what a run learns."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A finished run on the leaderboard."""

    run: str
    kind: str
    """`train` or `ensemble`."""
    model: str
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    seconds: float
    """Time the run took."""
    size_bytes: int
    """Of the model package; of the run's folder where there is no package."""
    parameters: Mapping[str, Any]
    """Those that differ among the compared runs, by dotted key."""
    incomparable: str = ""
    """Why its score cannot be compared with the others', with counts; empty where it can."""


@dataclass(frozen=True, kw_only=True)
class Unranked:
    """A run without a score, and why."""

    run: str
    kind: str
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` found."""

    metric: str
    title: str
    """The metric as people write it."""
    greater_is_better: bool
    entries: tuple[Entry, ...]
    """Best first; those that cannot be compared with the rest come last."""
    unranked: tuple[Unranked, ...]
    verdict: Verdict | None
    """For exactly two runs."""
    targets: tuple[TargetDifference, ...] = ()
    """For exactly two runs of the same several targets: each target by itself."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "metric": self.metric,
            "greater_is_better": self.greater_is_better,
            "runs": [asdict(entry) for entry in self.entries],
            "unranked": [asdict(entry) for entry in self.unranked],
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "targets": [target.to_json() for target in self.targets],
        }


def compare(project: Project, *names: str, metric: str | None = None) -> Comparison:
    """Rank runs of a project by a metric.

    Args:
        project: The project.
        names: Runs, by id, by a unique part of it, or `last`; every run of the project where absent.
        metric: The metric to rank by; the project's own, or the one of the newest run, where absent.

    Returns:
        The leaderboard, best first. Exactly two finished runs also get a verdict on their difference.

    Raises:
        RunError: when a run is not there, there is none, or a named one lacks the metric.
    """
    runs = _chosen(project, names)
    done = [run for run in runs if run.status == "done" and (run.folder / "scores.json").is_file()]
    unranked = [_unranked(run) for run in runs if run not in done]
    if not done:
        raise RunError(
            f"none of the {len(runs)} runs is finished: "
            + ", ".join(f"{u.run} ({u.status})" for u in unranked[:5])
            + ". Finish one with: sanmaru train --resume RUN"
        )
    scores = {run.id: run.score() for run in done}
    name = metric or project.file.metric or scores[done[-1].id].metric
    ranked = [run for run in done if name in scores[run.id].all]
    if not ranked or (names and len(ranked) < len(done)):
        lacking = next(run for run in done if run not in ranked)
        has = scores[lacking.id].all
        raise RunError(f"run {lacking.id} has no metric {name!r}. {nearest(name, has)} It has: {', '.join(has)}.")
    unranked += [
        Unranked(run=run.id, kind=_kind(run), status="done", reason=f"has no metric {name}")
        for run in done
        if run not in ranked
    ]
    from sanmaru.metrics.base import find_metric

    found = find_metric(name)
    odd = _incomparable(ranked)
    differing = _differing(ranked)
    entries = [_entry(run, name, differing[run.id], odd.get(run.id, "")) for run in ranked]
    entries.sort(key=lambda entry: _rank(entry, greater_is_better=found.greater_is_better))
    two = len(ranked) == 2 and len(runs) == 2
    return Comparison(
        metric=name,
        title=found.title,
        greater_is_better=found.greater_is_better,
        entries=tuple(entries),
        unranked=tuple(unranked),
        verdict=_verdict(ranked, found) if two else None,
        targets=compare_targets(*ranked) if two else (),
    )


def _chosen(project: Project, names: Sequence[str]) -> list[Run]:
    if not names:
        runs = Run.all(project)
        if not runs:
            raise RunError(f"there is no run in {project.runs_folder} yet. Make one with: sanmaru train")
        return runs
    runs = list({run.id: run for run in (Run.load(project, name) for name in names)}.values())
    if len(runs) < len(names):
        raise RunError(f"{len(names)} names were given, but they name only {len(runs)} different runs.")
    return runs


def _verdict(runs: Sequence[Run], metric: Any) -> Verdict:
    from sanmaru.experiments.verdict import verdict

    return verdict(runs[0], runs[1], metric)


def _entry(run: Run, metric: str, parameters: Mapping[str, Any], incomparable: str) -> Entry:
    low, high = _interval(run, metric)
    return Entry(
        run=run.id,
        kind=_kind(run),
        model=model_name(run),
        value=float(run.score().all[metric]),
        low=low,
        high=high,
        seconds=seconds_of(run),
        size_bytes=size_of(run),
        parameters=parameters,
        incomparable=incomparable,
    )


def _interval(run: Run, metric: str) -> tuple[float, float]:
    """The stored interval of the run's main metric; for another metric it is computed."""
    score = run.score()
    if metric == score.metric:
        return score.low, score.high
    from sanmaru.experiments.matching import scored_on, validated
    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import interval

    task = run.task()
    common = validated(run, task)
    scored = scored_on(run, task, common.rows)
    return interval(find_metric(metric), common.truth, scored, groups=common.groups)


def _incomparable(runs: Sequence[Run]) -> dict[str, str]:
    """Say of each run outside the largest set with equal rows and folds how it differs from that set's newest run."""
    from sanmaru.experiments.matching import differences, fingerprint

    prints = {run.id: fingerprint(run) for run in runs}
    counts = Counter(prints.values())
    most = max(counts.values())
    reference = [run for run in runs if counts[prints[run.id]] == most][-1]
    return {
        run.id: differences(run, reference).text("it", reference.id)
        for run in runs
        if prints[run.id] != prints[reference.id]
    }


def _differing(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return per run the parameters whose values are not the same in all runs that have them."""
    values = {run.id: _parameters(run) for run in runs}
    seen: dict[str, set[str]] = {}
    for parameters in values.values():
        for key, value in parameters.items():
            seen.setdefault(key, set()).add(repr(value))
    return {
        run: {key: value for key, value in parameters.items() if len(seen[key]) > 1}
        for run, parameters in values.items()
    }


def _parameters(run: Run) -> dict[str, Any]:
    if _kind(run) == "ensemble":
        return {}  # its members were trained with other project files than the one it lies beside
    content = {key: value for key, value in run.project.to_dict().items() if key not in IGNORED}
    return {key: value for key, value in flat(content).items() if key not in ("model.kind", "model.backbone")}


def _unranked(run: Run) -> Unranked:
    facts = run.facts
    reason = facts.get("reason")
    if not reason:
        reason = "not finished" if facts["status"] == "running" else "no score"
    return Unranked(run=run.id, kind=_kind(run), status=str(facts["status"]), reason=str(reason))


def _kind(run: Run) -> str:
    return str(run.facts["kind"])


def model_name(run: Run) -> str:
    """Return what the run is made of in a few words: `lightgbm`, `resnet-18`, `soft of 3`."""
    facts = run.facts
    if facts["kind"] == "ensemble":
        return f"{facts['method']} of {len(facts['members'])}"
    model = run.project.file.model
    return str(getattr(model, "backbone", model.kind))


def seconds_of(run: Run) -> float:
    """Return the time a run took: the sum of its stages."""
    seconds = run.facts.get("seconds", {})
    return float(sum(seconds.values())) if isinstance(seconds, Mapping) else float(seconds)


def size_of(run: Run) -> int:
    """Return the bytes of the model package, or of the run's folder where there is no package."""
    folder = run.package_folder if run.package_folder.is_dir() else run.folder
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _rank(entry: Entry, *, greater_is_better: bool) -> tuple[bool, bool, float]:
    missing = math.isnan(entry.value)
    value = -entry.value if greater_is_better else entry.value
    return bool(entry.incomparable), missing, 0.0 if missing else value
