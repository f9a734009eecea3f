"""The tiny mode of the recipes on tables, and what they do to their tables first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

RunTiny = Callable[[str], dict[str, Any]]
Script = Callable[[str], ModuleType]


@pytest.mark.usefixtures("local_data")
@pytest.mark.parametrize("name", ["adult-income", "housing-ca"])
def test_tiny(name: str, run_tiny: RunTiny) -> None:
    results = run_tiny(name)
    assert results["facts"]["rows kept aside"] == 120


@pytest.mark.usefixtures("local_data")
def test_flats_are_told_from_earlier_contracts_only(run_tiny: RunTiny) -> None:
    results = run_tiny("apartment-price")
    facts, folder = results["facts"], results["folder"]
    assert facts["cancelled contracts set aside"] == 754
    train, aside = (pl.read_csv(folder / f"{name}.csv", infer_schema=False) for name in ("train", "aside"))
    assert train["계약날짜"].max() < aside["계약날짜"].min()  # type: ignore[operator]
    assert "," in train["거래금액(만원)"][0]  # as the register writes it: reading takes care of it
    assert not train.is_duplicated().any()


def test_the_census_file_gets_a_header_and_loses_its_blanks(tmp_path: Path, script: Script) -> None:
    recipe = script("adult-income/run.py")
    line = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, "
    (tmp_path / recipe.CENSUS.to).write_text(f"{line}United-States, <=50K\n\n")
    out = tmp_path / "out"
    out.mkdir()
    recipe.convert(tmp_path, out)
    row = pl.read_csv(out / "train.csv").row(0, named=True)
    assert row["workclass"] == "State-gov"
    assert row["income"] == "<=50K"
    assert len(row) == 15


def test_the_register_becomes_utf_8_without_lot_numbers(tmp_path: Path, script: Script) -> None:
    recipe = script("apartment-price/run.py")
    header = ["NO", "번지", *recipe.COLUMNS, "등기일자"]
    text = ",".join(header) + "\n" + ",".join(["1", "225", *recipe.COLUMNS, "-"]) + "\n"
    (tmp_path / recipe.REGISTER.to).write_bytes(text.encode("cp949"))
    out = tmp_path / "out"
    out.mkdir()
    recipe.convert(tmp_path, out)
    assert pl.read_csv(out / "trades_2022.csv").columns == recipe.COLUMNS
