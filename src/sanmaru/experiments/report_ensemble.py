"""What an ensemble is made of, and what it gained on rows it had not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sanmaru.experiments.runs import Run
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Section, Tiles
from sanmaru.html.numbers import short

_METHODS = {
    "soft": "the mean of the members' probabilities or numbers",
    "hard": "a vote of the members; ties go to the best one",
    "weights": "a weighted mean of the members",
    "greedy": "members added one by one while they help",
    "rank": "the mean of the members' ranks",
    "stack": "a linear model on the members' outputs",
}


def _word(member: Mapping[str, Any]) -> str:
    name = str(member["name"])
    return name.split("-", 2)[-1] if member["kind"] == "run" else name


def ensemble_section(run: Run) -> Section | None:
    """Show members, weights and the nested gain; None for a run that is no ensemble."""
    from sanmaru.metrics.base import find_metric

    facts = run.facts
    if facts["kind"] != "ensemble":
        return None
    score = run.score()
    title = find_metric(score.metric).title
    members: list[Mapping[str, Any]] = facts["members"]
    weights = facts.get("combine", {}).get("weights")
    rows = [
        [member["name"], member["kind"], member["score"], *([weights[place]] if weights else [])]
        for place, member in enumerate(members)
    ]
    blocks: list[Block] = []
    gain = facts.get("gain")
    if gain:
        seen = facts.get("score_not_nested")
        tiles = [
            (f"Best member ({title})", short(facts["best_member_score"]), str(facts["best_member"])),
            (f"Ensemble ({title})", short(score.value), "learned on the other folds"),
        ]
        if seen is not None:
            tiles.append(
                ("Had it learned on all rows", short(seen), "flattering: it has seen the rows it is scored on")
            )
        blocks.append(Tiles(tiles=tiles))
    # Of a run's id the word is what people remember; the time before it would fill the chart.
    labels = [*(_word(member) for member in members), "ensemble"]
    blocks.append(
        Bars(
            title=f"{title} of the members and of the ensemble",
            labels=labels,
            series=[("", [*(float(member["score"]) for member in members), score.value])],
            value_label=title,
            dots=True,
        )
    )
    blocks.append(
        Grid(columns=["member", "kind", title, *(["weight"] if weights else [])], rows=rows, caption="Members")
    )
    findings = []
    if facts.get("package") is False:
        findings.append(
            Finding(
                title="This ensemble has no model package",
                severity="info",
                evidence=str(facts.get("package_reason", "")),
                advice="It can be compared and reported, but not registered or served.",
                kind="no-package",
            )
        )
    lead = f"Method {facts['method']}: {_METHODS.get(facts['method'], '')}."
    if gain and gain.get("text"):
        text = str(gain["text"])
        lead += f" {text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
    return Section(title="Members", lead=lead, blocks=blocks, findings=findings)
