"""A proposal as the text of a project file: YAML with a comment above each choice."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from sanmaru.tables.propose import Proposal

SCHEMA_NAME = "sanmaru.schema.json"
_WIDTH = 100
_LISTED_SINGLY = 12
_TITLES = {
    "data": "Where the data lies and which column plays which role.",
    "forecast": "What is forecast: steps, horizon, and how much of the past a window shows.",
    "split": "How rows become folds.",
    "train": "How the network is trained; `sanmaru schema` lists every field.",
}


def project_text(proposal: Proposal) -> str:
    """Return the commented YAML of a proposal."""
    content = proposal.content
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_NAME}",
        *_comment(
            f"Proposed by `sanmaru new` from {content['data']['train']}: {proposal.source}. Every line may be changed.",
            0,
        ),
        f"name: {_scalar(content['name'])}",
        'problem: ""  # what is to be told from what, for whom; shown on reports and the model card',
        f"task: {content['task']}",
    ]
    if "problem_type" in content:
        lines.append(f"problem_type: {content['problem_type']}")
    for part in ("data", "forecast", "split", "model", "train"):
        if part in content:
            lines += ["", *(_comment(_TITLES[part], 0) if part in _TITLES else []), f"{part}:"]
            lines += _part(part, content[part], proposal)
    if "features" in content:
        title = "Columns made of other columns, learned inside each fold; the report says what each step gains."
        lines += ["", *_comment(title, 0), "features:"]
        for place, step in enumerate(content["features"]):
            lines += [*_comment(proposal.why[f"features.{place}"], 2), f"  - {_scalar(step)}"]
    lines += ["", *_comment(proposal.why.get("metric", ""), 0), f"metric: {content['metric']}"]
    return "\n".join(lines) + "\n"


def _part(part: str, values: Mapping[str, Any], proposal: Proposal) -> list[str]:
    lines: list[str] = []
    explained: set[str] = set()
    for key, value in values.items():
        if key == "drop":
            lines += _drop(value, proposal)
            continue
        lines += _comment(proposal.why.get(f"{part}.{key}", ""), 2)
        explained.add(f"{part}.{key}")
        lines.append(f"  {key}: {_scalar(value)}")
    for key, why in proposal.why.items():
        if key.startswith(part + ".") and key not in explained and key.removeprefix(part + ".") not in values:
            lines += _comment(f"{key.removeprefix(part + '.')}: {why}", 2)
    if part == "data":
        looked = told(proposal, dropped=False)
        if looked:
            lines += _comment("Worth a look:", 2)
            for text in looked:
                lines += _comment(f"- {text}.", 2, hang="  ")
        if proposal.set_aside:
            counts = ", ".join(f"{rule} {count:,}" for rule, count in proposal.set_aside.items())
            lines += _comment(f"Rows that will be set aside and counted: {counts}.", 2)
    return lines


def _drop(names: list[str], proposal: Proposal) -> list[str]:
    lines = ["  # Not learned from, for the reasons given; take a column out of the list to use it."]
    if len(names) <= _LISTED_SINGLY:
        reasons = {remark.column: remark.text for remark in proposal.remarks if remark.drop}
        lines.append("  drop:")
        for name in names:
            line = f"    - {_scalar(name)}  # {reasons[name]}"
            if len(line) > _WIDTH + 20:
                lines += _comment(f"{reasons[name]}:", 4)
                line = f"    - {_scalar(name)}"
            lines.append(line)
        return lines
    for text in told(proposal, dropped=True):
        lines += _comment(f"- {text}.", 2, hang="  ")
    line = "  drop: ["
    for name in names:
        item = _scalar(name) + ("]" if name == names[-1] else ",")
        if len(line) + len(item) > _WIDTH:
            lines.append(line.rstrip())
            line = "    "
        line += item + " "
    return [*lines, line.rstrip()]


def told(proposal: Proposal, *, dropped: bool) -> list[str]:
    """Return the remarks as sentences without full stop; columns of which the same is said share one."""
    said: dict[str, list[str]] = {}
    for remark in proposal.remarks:
        if remark.drop == dropped:
            said.setdefault(remark.text, []).append(remark.column)
    out = []
    for text, names in said.items():
        shown = ", ".join(names[:4])
        out.append(f"{shown} {text}" if len(names) <= 4 else f"{len(names)} columns ({shown}, ...): each {text}")
    return out


def _comment(text: str, indent: int, hang: str = "") -> list[str]:
    if not text:
        return []
    start = " " * indent + "# "
    flat = " ".join(text.split())
    return textwrap.wrap(flat, _WIDTH, initial_indent=start, subsequent_indent=start + hang, break_on_hyphens=False)


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("...").strip()
