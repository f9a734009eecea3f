"""What a run was made of: data, split, parameters, environment, and the commands to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sanmaru.experiments.environment import flat
from sanmaru.experiments.runs import FOLD, Run
from sanmaru.html.blocks import Bars, Block, Code, Finding, Grid, Section, Text, Tiles
from sanmaru.html.numbers import NOTHING, percent, short
from sanmaru.project import Project

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import Task

MOST_CLASSES = 20
_PROSE = {"name", "problem", "goal", "constraints", "baseline", "task"}


def data_section(run: Run, task: Task) -> Section:
    """Show which data it was, and what of it could not be used."""
    facts, data = run.facts, run.project.file.data
    aside = int(facts.get("quarantined", 0))
    usable = int(facts.get("rows", 0))
    roles = task.roles
    named = getattr(task, "shown_roles", None) or {
        "target": ", ".join(roles.targets) + (f" ({' x '.join(roles.parts)})" if roles.parts else ""),
        "id": roles.id,
        "group": roles.group,
        "time": roles.time,
        "image": roles.image,
        "features": f"{len(roles.features)}" if roles.features else None,
    }
    tiles = [
        ("Usable rows", f"{usable:,}", f"of {usable + aside:,} read"),
        ("Fingerprint", str(facts.get("fingerprint", NOTHING))[:12], "of the content; the same data gives the same"),
    ]
    blocks: list[Block] = [
        Tiles(tiles=tiles),
        Grid(columns=["role", "column"], rows=[[role, name] for role, name in named.items() if name]),
    ]
    findings = []
    rules: Mapping[str, int] = facts.get("quarantine_rules", {})
    if aside:
        blocks.append(
            Bars(
                title="Rows set aside, by rule",
                labels=list(rules),
                series=[("", list(rules.values()))],
                value_label="rows",
            )
        )
        blocks += _examples(run)
        share = aside / (usable + aside)
        findings.append(
            Finding(
                title=f"{aside:,} row{'' if aside == 1 else 's'} could not be used",
                severity="problem" if share > 0.05 else "warning",
                evidence=f"{percent(share)} of the rows: "
                + ", ".join(f"{rule} {n:,}" for rule, n in rules.items())
                + ".",
                advice=f"All of them are listed in {run.folder.name}/quarantine.csv. Mend the source and train again.",
                kind="quarantine",
            )
        )
    return Section(title="Data", lead=f"Read from {data.train}.", blocks=blocks, findings=findings)


def _examples(run: Run) -> list[Block]:
    import polars as pl

    path = run.folder / "quarantine.csv"
    if not path.is_file():
        return []
    table = pl.read_csv(path, infer_schema=False)
    few = table.group_by("rule", maintain_order=True).head(5).select("row", "id", "column", "value", "rule", "reason")
    return [Grid(columns=few.columns, rows=few.rows(), caption="Examples, at most 5 per rule")]


def split_section(run: Run, task: Task, rows: pl.DataFrame) -> Section:
    """Show how rows were divided: sizes, groups and classes of each fold."""
    import polars as pl

    split, roles = run.project.file.split, task.roles
    target, output = roles.targets[0], task.outputs[0]
    known = target in rows.columns and task.name != "forecasting"
    columns = ["fold", "rows", "share"]
    counted = [pl.len().alias("rows"), (pl.len() / rows.height).alias("share")]
    if roles.group and roles.group in rows.columns:
        columns.append("groups")
        counted.append(pl.col(roles.group).n_unique().alias("groups"))
    if roles.time and roles.time in rows.columns:
        columns += ["first", "last"]
        counted += [
            pl.col(roles.time).min().cast(pl.String).alias("first"),
            pl.col(roles.time).max().cast(pl.String).alias("last"),
        ]
    if known and output.kind == "regression":
        columns += ["mean target", "its spread"]
        counted += [pl.col(target).mean().alias("mean target"), pl.col(target).std().alias("its spread")]
    table = rows.group_by(FOLD).agg(counted).sort(FOLD)
    names = [f"fold {fold}" if fold >= 0 else "never scored" for fold in table[FOLD]]
    cells = [[name, *row] for name, row in zip(names, table.select(columns[1:]).iter_rows(), strict=True)]
    if known and output.kind == "classification" and len(output.classes) <= MOST_CLASSES:
        wide = (
            rows.group_by(FOLD, pl.col(target).cast(pl.String)).len().pivot(target, index=FOLD, values="len").sort(FOLD)
        )
        for label in output.classes:
            columns.append(label)
            counts = wide[label].fill_null(0).to_list() if label in wide.columns else [0] * len(cells)
            for cell, count in zip(cells, counts, strict=True):
                cell.append(count)
    n_folds = sum(fold >= 0 for fold in table[FOLD])
    lead = f"{split.kind[:1].upper()}{split.kind[1:]} split into {n_folds} folds, seed {split.seed}."
    if split.reuse:
        lead += f" The folds are those of run {split.reuse}."
    if roles.group and split.kind in {"grouped", "stratified-grouped"}:
        lead += f" Rows of one {roles.group} are never torn apart."
    never = int((rows[FOLD] < 0).sum())
    note: list[Block] = []
    if never:
        note = [Text(f"{never:,} rows are trained on but never scored ({percent(never / rows.height)}).")]
    return Section(title="Split", lead=lead, blocks=[Grid(columns=columns, rows=cells, bars="rows"), *note])


def parameters_section(run: Run) -> Section:
    """Show every field that differs from its default, and the whole project file folded away."""
    rows = [[key, _shown(value), _shown(default)] for key, value, default in changed(run.project)]
    grid: Block = (
        Grid(columns=["field", "value", "default"], rows=rows) if rows else Text("Every field has its default.")
    )
    text = (run.folder / "project.yaml").read_text(encoding="utf-8")
    return Section(
        title="Parameters",
        lead="Fields of the project file that differ from their defaults.",
        blocks=[grid, Code(title="Project file with every field", text=text, folded=True)],
    )


def changed(project: Project) -> list[tuple[str, Any, Any]]:
    """Return (field, value, default) of each field that differs from what it is when not written.

    What a project cannot do without (its name, task and data) and its prose are left out.
    """
    content = project.to_dict()
    kept: dict[str, Any] = {"name": project.name, "task": content["task"], "data": {"train": content["data"]["train"]}}
    if "kind" in content["model"]:
        kept["model"] = {"kind": content["model"]["kind"]}
    plain = flat(Project.from_dict(project.folder, kept).to_dict())
    usual = flat(Project.from_dict(project.folder, {k: v for k, v in kept.items() if k != "model"}).to_dict())
    plain["model.kind"] = usual.get("model.kind", plain.get("model.kind"))
    return [
        (key, value, plain.get(key))
        for key, value in flat(content).items()
        if key not in _PROSE and not key.startswith("data.") and value != plain.get(key)
    ]


def _shown(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) or "none"
    if isinstance(value, float):
        return short(value)
    return str(value)


def environment_section(run: Run) -> Section:
    """Show versions, machine and commit, and the commands that make the run again and use it."""
    facts = run.facts
    rows = [[name, str(value)] for name, value in facts.get("environment", {}).items()]
    if facts.get("git_commit"):
        rows.append(["git commit", facts["git_commit"]])
    if "seed" in facts:
        rows.append(["seed", str(facts["seed"])])
    blocks: list[Block] = [Code(title="Commands", text=commands(run))]
    if rows:
        blocks.append(Grid(columns=["what", "version"], rows=rows, caption="Made with"))
    return Section(
        title="To repeat", lead="The same data, seed and versions give the same scores on a CPU.", blocks=blocks
    )


def commands(run: Run) -> str:
    """Return shell lines that repeat a run and use its model."""
    facts, file = run.facts, run.project.file
    lines = [f"cd {shlex.quote(facts['folder'])}"]
    if facts["kind"] == "train":
        given = [f"{key}={_yaml(value)}" for key, value in facts.get("overrides", {}).items()]
        lines.append(shlex.join(["sanmaru", "train", *given]))
    elif facts["kind"] == "ensemble":
        runs = [member["name"] for member in facts["members"] if member["kind"] == "run"]
        files = [part for member in facts["members"] if member["kind"] == "file" for part in ("--file", member["name"])]
        lines.append(shlex.join(["sanmaru", "ensemble", *runs, *files, "--method", facts["method"]]))
    lines.append(f"sanmaru report {run.id}")
    data = file.data.test or file.data.train
    lines.append(shlex.join(["sanmaru", "predict", run.id, data, "-o", "predictions.csv"]))
    lines.append(f"sanmaru register {run.id}")
    return "\n".join(lines)


def _yaml(value: Any) -> str:
    import json

    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
