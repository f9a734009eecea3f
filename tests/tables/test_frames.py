from __future__ import annotations

import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.frames import like, to_polars


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas", "arrow", "columns", "rows"])
def test_tables_of_every_kind_come_in(kind: str) -> None:
    table = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    frame = {
        "polars": lambda: table,
        "lazy": table.lazy,
        "pandas": table.to_pandas,
        "arrow": table.to_arrow,
        "columns": lambda: table.to_dict(as_series=False),
        "rows": table.to_dicts,
    }[kind]()
    assert to_polars(frame).equals(table)


def test_pandas_goes_out_as_it_came_in() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2]}, index=["p", "q"])
    out = like(frame, pl.DataFrame({"y": [0.5, 1.5]}))
    assert list(out.index) == ["p", "q"]
    assert list(out["y"]) == [0.5, 1.5]
    assert isinstance(like(pl.DataFrame(), pl.DataFrame({"y": [1]})), pl.DataFrame)
    assert to_polars(frame.rename_axis("id")).columns == ["id", "a"]


def test_what_is_no_table_is_named() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match=r"got builtins\.int"):
        to_polars(3)
    with pytest.raises(DataError, match="column 'a' more than once"):
        to_polars(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="mixed types"):
        to_polars(pandas.DataFrame({"a": [1, "x", [2]]}))
