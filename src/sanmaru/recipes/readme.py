"""The block of figures in a recipe's README: written by the run that made them, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sanmaru.errors import UserError
from sanmaru.files import write_text

BEGIN = "<!-- figures: written by `run.py --write-readme`, not by hand -->"
END = "<!-- end of figures -->"


def write_block(readme: Path, lines: Sequence[str]) -> None:
    """Put lines between the two marks of a README, in place of what stands there.

    Raises:
        UserError: when the marks are not there once each, in this order.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{readme} should hold the lines {BEGIN!r} and {END!r} once each, in this order.")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    write_text(readme, head + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + tail)


def lines_of(results: Mapping[str, Any]) -> list[str]:
    """Write what `course.walk` returned as Markdown."""
    title, *also = results["titles"]
    header = ["variant", f"{title}, out of fold", f"{title}, kept aside", *(f"{name}, kept aside" for name in also)]
    rows = [
        [
            f"**{line['variant']}**" if line["variant"] == results["best"] else line["variant"],
            _interval(line["out of fold"]),
            _interval(line["aside"]),
            *("" if value is None else number(value) for value in line["also"]),
            f"{line['minutes']:.1f}",
        ]
        for line in results["lines"]
    ]
    out = [
        made_line(results),
        "Scores with their 95 % intervals; the variant in bold was chosen by its out-of-fold score.",
        "",
        *markdown([*header, "minutes"], rows),
    ]
    if results["verdicts"]:
        out += ["", "In pairs, on the out-of-fold predictions:", "", *(f"- {text}" for text in results["verdicts"])]
    for table in results["tables"]:
        out += ["", f"{table['title']}:", "", *markdown(table["header"], table["rows"])]
    return out


def made_line(results: Mapping[str, Any]) -> str:
    """Say when, with what and in which time figures were made, and the facts."""
    made = results["made with"]
    with_ = ", ".join(f"{name} {made[name]}" for name in ("sanmaru", "python", "torch", "lightgbm") if name in made)
    facts = ", ".join(f"{name} {_count(value)}" for name, value in results["facts"].items())
    return (
        f"Made on {made['date']} with {with_}, on {made['cores']} cores, in {results['minutes']:.0f} minutes. {facts}."
    )


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table; columns after the first are set to the right."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]


def number(value: float) -> str:
    """Write a score: four decimals below 10, else whole numbers with thousands."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.0f}"


def _interval(values: Sequence[float]) -> str:
    value, low, high = values
    return f"{number(value)} ({number(low)} to {number(high)})"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
