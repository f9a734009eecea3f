from datetime import UTC, datetime

import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.config import DataConfig
from sanmaru.tasks.anomalies.read import LongColumns, read_long


@pytest.fixture
def written(tmp_path):
    def write(text: str, name: str = "rows.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_rows_stay_as_they_are(written):
    path = written(
        "when,station,co,note\n2024-01-01 09:00,b,0.4,x\n2024-01-01 09:00,b,-,x\n2024-01-01 08:00,a, 0.5 ,y\n"
    )
    table = read_long(path, LongColumns(time=("when",), series="station", zone="Asia/Seoul"))
    assert table.columns == ["series", "time", "co"]  # `note` holds no numbers
    assert table["series"].to_list() == ["b", "b", "a"]
    assert table["time"][0] == datetime(2024, 1, 1, 0, tzinfo=UTC)
    assert table["co"].to_list() == [0.4, None, 0.5]


@pytest.mark.parametrize(
    ("head", "row", "columns", "format_"),
    [
        ("t,x", "2024-03-05 07:00,1", ("t",), None),
        ("t,x", "2024-03-05T07:00:00,1", ("t",), None),
        ("t,x", "2024030507,1", ("t",), None),
        ("year,month,day,hour,x", "2024,3,5,7,1", ("year", "month", "day", "hour"), None),
        ("d,h,x", "05/03/2024,7,1", ("d", "h"), "%d/%m/%Y %H"),
    ],
)
def test_times_as_people_write_them(written, head, row, columns, format_):
    table = read_long(written(f"{head}\n{row}\n"), LongColumns(time=columns, time_format=format_, columns=("x",)))
    assert table["time"].to_list() == [datetime(2024, 3, 5, 7, tzinfo=UTC)]
    assert table["series"].to_list() == ["all"]


def test_parquet_keeps_its_times(tmp_path):
    when = datetime(2024, 1, 1, 5, tzinfo=UTC)
    pl.DataFrame({"t": [when], "x": [3]}).write_parquet(tmp_path / "rows.parquet")
    table = read_long(tmp_path / "rows.parquet", LongColumns(time=("t",), zone="Asia/Seoul"))
    assert table["time"].to_list() == [when]
    assert table["x"].to_list() == [3.0]


@pytest.mark.parametrize(
    ("text", "roles", "message"),
    [
        ("t,x\n2024-01-01,1\n", {"time": ("time",)}, "no column 'time'"),
        ("t,x\n2024-01-01,1\n", {"time": ("t",), "columns": ("y",)}, "no column 'y'"),
        ("t,x\nsoon,1\n", {"time": ("t",)}, "row 1: 't' is 'soon', which is no time"),
        (
            "t,x\n2024-01-01,1\n2024-01-02,통신장애\n",
            {"time": ("t",), "columns": ("x",)},
            "row 2: 'x' is '통신장애', not a",
        ),
        ("t,x\n2024-01-01,a\n", {"time": ("t",)}, "no column of numbers"),
        ("t,x\n2024-03-31 02:30,1\n", {"time": ("t",), "zone": "Europe/Berlin"}, "does not exist in the zone"),
    ],
)
def test_what_cannot_be_read_is_named(written, text, roles, message):
    with pytest.raises(DataError, match=message):
        read_long(written(text), LongColumns(**roles))


def test_files_that_are_no_tables(tmp_path, written):
    with pytest.raises(DataError, match="is absent"):
        read_long(tmp_path / "none.csv", LongColumns(time=("t",)))
    with pytest.raises(DataError, match=r"should be csv, tsv or parquet, got \.txt"):
        read_long(written("x", "rows.txt"), LongColumns(time=("t",)))


def test_roles_come_from_the_project_file():
    data = DataConfig(train="x.csv", time={"columns": ["d", "h"], "format": "%d/%m/%Y %H"}, features=("a",))
    roles = LongColumns.of(data, zone="Asia/Seoul")
    assert (roles.time, roles.time_format, roles.columns) == (("d", "h"), "%d/%m/%Y %H", ("a",))
    with pytest.raises(DataError, match=r"data\.time names no column"):
        LongColumns.of(DataConfig(train="x.csv"))
