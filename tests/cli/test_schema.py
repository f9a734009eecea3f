import json
import subprocess
import sys
from pathlib import Path

from sanmaru.cli.field_page import field_page
from sanmaru.config import Config, field_docs
from sanmaru.project import json_schema

HOME = Path(__file__).parents[2]


def sanmaru(*arguments: str) -> str:
    command = [sys.executable, "-c", "from sanmaru.cli.main import main; main()", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_schema_says_what_fields_mean() -> None:
    schema = json.loads(sanmaru("schema"))
    assert schema == json.loads(json.dumps(json_schema()))
    data = schema["$defs"]["DataConfig"]["properties"]
    assert data["group"]["description"].startswith("Column of the entity that a row belongs to")
    step = schema["$defs"]["StepConfig"]["properties"]
    assert step["with"]["description"].startswith("Handed to the step as they are")  # under the name users write


def test_the_page_of_fields_is_that_of_the_code(tmp_path: Path) -> None:
    sanmaru("schema", "--format", "markdown", "-o", str(tmp_path / "fields.md"))
    page = (tmp_path / "fields.md").read_text(encoding="utf-8")
    assert page == (HOME / "docs" / "fields.md").read_text(encoding="utf-8"), (
        "write it anew: sanmaru schema --format markdown -o docs/fields.md"
    )
    assert "| `seed` | integer | `7` | Of everything random" in page
    assert '| `layout` | `table`, `person-folders` | `"table"` |' in page


def test_every_part_of_the_file_is_on_the_page_once() -> None:
    schema = json_schema()
    page = field_page(schema)
    for name, definition in schema["$defs"].items():
        assert page.count(f"\n## {name}\n") == ("properties" in definition), name


class Base(Config):
    kept: int = 1
    """Of the base."""
    changed: int = 1
    """Of the base, too."""


class Derived(Base):
    changed: int = 2
    """Of the
    derived."""
    silent: int = 3
    other: int = 4
    "In one line."


def test_texts_below_fields_are_found_with_those_of_bases() -> None:
    assert field_docs(Derived) == {"kept": "Of the base.", "changed": "Of the derived.", "other": "In one line."}
