"""What the two quality benchmarks share: a line of figures, a recipe's script, the page they write."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sanmaru.recipes.readme import markdown, number

HOME = Path(__file__).parents[1]
PAGE = HOME / "docs" / "quality.md"
HEADER = ("data", "metric", "contender", "kept aside (95 % interval)", "CPU s", "wall s", "")


@dataclass
class Line:
    """One contender on one data set."""

    data: str
    metric: str
    who: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The line as the page shows it."""
        score = (
            "" if self.value is None else f"{number(self.value)} ({number(self.low or 0)} to {number(self.high or 0)})"
        )
        seconds = ["" if value is None else f"{value:,.0f}" for value in (self.cpu_s, self.wall_s)]
        return (self.data, self.metric, self.who, score, *seconds, self.note)

    def show(self) -> None:
        """Print it as soon as it is known."""
        print(f"| {' | '.join(self.cells())} |", flush=True)


def load_recipe(name: str) -> Any:
    """Import a recipe's script, whose folder is no package."""
    path = HOME / "recipes" / name / "run.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{name.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write_section(name: str, lines: list[Line]) -> None:
    """Put lines into the page, between the marks of a section; lines there of other data or contenders stay."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: written by benchmarks/quality_{name}.py -->", f"<!-- end of {name} -->"
    head, rest = text.split(begin)
    old, tail = rest.split(end)
    new = {(line.data, line.who.split(":")[0]) for line in lines}
    rows = []
    for row in old.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        data, who = (cells[0], cells[2].split(":")[0]) if len(cells) == len(HEADER) else ("", "")
        if row.startswith("| ") and data not in ("data", "---") and (data, who) not in new:
            rows.append(row)
    table = markdown(HEADER, [line.cells() for line in lines])
    rows += table[2:]
    order = list(dict.fromkeys(row.split(" | ")[0] for row in rows))
    rows.sort(key=lambda row: (order.index(row.split(" | ")[0]), "| ours" not in row))
    stamp = f"{datetime.now(UTC).date()}, Python {platform.python_version()}, {os.cpu_count()} cores."
    block = "\n".join([*table[:2], *rows])
    PAGE.write_text(f"{head}{begin}\n\n{stamp}\n\n{block}\n\n{end}{tail}", encoding="utf-8")
