"""What `sanmaru compare` prints, at the width of a small terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sanmaru.cli import compare as command
from sanmaru.experiments.compare import Comparison, Entry, Unranked
from sanmaru.experiments.verdict import Verdict
from sanmaru.metrics.bootstrap import Paired


def entry(word: str, value: float, **fields: object) -> Entry:
    given = {
        "run": f"20261121-024500-{word}",
        "kind": "train",
        "model": "lightgbm",
        "value": value,
        "low": value - 0.01,
        "high": value + 0.01,
        "seconds": 75.0,
        "size_bytes": 2_500_000,
        "parameters": {"model.trees": 200, "model.learning_rate": 0.05},
        **fields,
    }
    return Entry(**given)  # type: ignore[arg-type]


@pytest.fixture
def found() -> Comparison:
    paired = Paired(difference=0.012, low=0.004, high=0.020, greater_is_better=True)
    return Comparison(
        metric="macro_f1",
        title="macro F1",
        greater_is_better=True,
        entries=(
            entry("brave-otter-1a2b", 0.8123),
            entry("calm-fox-3c4d", 0.8003, model="greedy of 3", parameters={}),
            entry("eager-swan-5e6f", 0.99, incomparable="10 rows only in it"),
        ),
        unranked=(
            Unranked(run="20261121-024500-mild-owl-7a8b", kind="train", status="failed", reason="out of memory"),
        ),
        verdict=Verdict(
            a="20261121-024500-brave-otter-1a2b",
            b="20261121-024500-calm-fox-3c4d",
            metric="macro F1",
            paired=paired,
        ),
    )


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits_the_terminal(found, monkeypatch, capsys, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    command._print(found, [])
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= width
    assert "macro F1, higher is better" in text
    assert "0.8123 ± 0.010" in text
    assert "1:15" in text
    assert "2.5 MB" in text
    assert "model.trees=200" in text
    assert "* eager-swan-5e6f is not comparable with the others: 10 rows only in it" in text
    assert "mild-owl-7a8b: failed (out of memory)" in text
    assert "\nbrave-otter-1a2b is better by 0.012 macro F1, 95 % interval 0.004 to 0.020" in text
    assert ("20261121-024500-brave-otter-1a2b" in text) == (width == 160)


def test_a_runs_name_is_short_enough_to_type_and_long_enough_to_find() -> None:
    assert command.short("20261121-024500-brave-otter-1a2b") == "brave-otter-1a2b"
    assert command.short("my-own-folder") == "my-own-folder"


def test_a_short_name_that_fits_two_runs_is_not_used() -> None:
    twins = ["20261121-024500-brave-otter-1a2b", "20261122-101010-brave-otter-1a2b"]
    assert command.shortened(f"{twins[0]} is better", twins) == f"{twins[0]} is better"
    assert command.shortened(f"{twins[0]} is better", twins[:1]) == "brave-otter-1a2b is better"


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (43_123.4, 512.0, "43123 ± 512"),
        (56.0003, 3.8, "56.00 ± 3.8"),
        (0.8123, 0.01, "0.8123 ± 0.010"),
        (0.5, float("nan"), "0.5 ± nan"),
        (1.0, 0.0, "1 ± 0"),
    ],
)
def test_a_score_has_the_digits_that_its_interval_deserves(value: float, half: float, text: str) -> None:
    assert command._score(entry("a-b-1", value, low=value - half, high=value + half)) == text


def test_no_column_tells_that_nothing_differs(found, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    command._print(replace(found, entries=found.entries[1:2]), [])
    assert "differs" not in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "text"), [(4.21, "4.2 s"), (75, "1:15"), (7260, "2:01:00")])
def test_times_are_in_the_unit_that_people_choose(seconds: float, text: str) -> None:
    assert command.duration(seconds) == text


@pytest.mark.parametrize(("n_bytes", "text"), [(900, "900 B"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3.2e9, "3.2 GB")])
def test_sizes_are_in_the_unit_that_people_choose(n_bytes: float, text: str) -> None:
    assert command.size(n_bytes) == text


def test_of_long_lists_only_what_not_all_have_is_shown(found, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    many = [f"marker-{number}" for number in range(20)]
    parameters = ({"missing": [*many, "통신장애"]}, {"missing": many}, {"missing": many[::-1], "few": ["a", "b"]})
    entries = tuple(replace(one, parameters=own) for one, own in zip(found.entries, parameters, strict=True))
    command._print(replace(found, entries=entries), [])
    text = capsys.readouterr().out
    assert "missing=[…, '통신장애']" in text
    assert text.count("missing=[…]") == 2
    assert "few=['a', 'b']" in text
    assert "marker-" not in text
