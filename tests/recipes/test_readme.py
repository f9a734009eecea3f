from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sanmaru.errors import UserError
from sanmaru.recipes.readme import BEGIN, END, lines_of, number, write_block

RESULTS: dict[str, Any] = {
    "facts": {"rows to learn from": 26029},
    "best": "trees",
    "titles": ["ROC AUC", "accuracy"],
    "lines": [
        {
            "variant": "trees", "out of fold": [0.9271, 0.92, 0.93], "aside": [0.926, 0.92, 0.931], "also": [0.87],
            "minutes": 1.25,
        },
        {
            "variant": "linear", "out of fold": [0.9, 0.89, 0.91], "aside": [0.9, 0.89, 0.91], "also": [None],
            "minutes": 0.5,
        },
    ],
    "verdicts": ["trees against linear: trees is better."],
    "tables": [{"title": "Damage", "header": ["kind", "accuracy"], "rows": [["blur", "0.5"]]}],
    "minutes": 2.2,
    "made with": {"date": "2026-11-21", "sanmaru": "0.1.0", "python": "3.11.7", "cores": 2},
}  # fmt: skip


def test_the_block_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_block(readme, ["new", "lines"])
    write_block(readme, ["new", "lines"])
    assert readme.read_text() == f"# Title\n\n{BEGIN}\n\nnew\nlines\n\n{END}\n\nafter\n"


def test_a_readme_without_marks_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n")
    with pytest.raises(UserError, match="should hold the lines"):
        write_block(readme, ["new"])
    assert readme.read_text() == "# Title\n"


def test_figures_become_tables() -> None:
    text = "\n".join(lines_of(RESULTS))
    assert "rows to learn from 26,029" in text
    assert "| variant | ROC AUC, out of fold | ROC AUC, kept aside | accuracy, kept aside | minutes |" in text
    assert "| **trees** | 0.9271 (0.9200 to 0.9300) | 0.9260 (0.9200 to 0.9310) | 0.8700 | 1.2 |" in text
    assert "| linear | 0.9000 (0.8900 to 0.9100) | 0.9000 (0.8900 to 0.9100) |  | 0.5 |" in text
    assert "- trees against linear: trees is better." in text
    assert "Damage:\n\n| kind | accuracy |\n| --- | ---: |\n| blur | 0.5 |" in text


def test_numbers_read_well() -> None:
    assert [number(0.92736), number(45864.3), number(-3.14159)] == ["0.9274", "45,864", "-3.1416"]
