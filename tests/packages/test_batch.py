from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.packages.batch import predict_file
from sanmaru.tasks.outputs import softmax


@pytest.fixture
def source(tmp_path: Path, people_table) -> Path:
    path = tmp_path / "test.csv"
    people_table(60, seed=4).drop("income", "level", "rich", "price").write_csv(path)
    return path


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl", "parquet"])
def test_every_form_of_output_holds_the_same(packages, people_table, source, tmp_path, extension):
    out = tmp_path / f"out.{extension}"
    seen: list[int] = []
    report = predict_file(packages["level"], source, out, batch_rows=25, watch=seen.append)
    assert (report.rows, report.quarantined, report.quarantine_file) == (60, 0, None)
    assert seen[-1] == 60
    assert len(seen) >= 3
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}
    found = pl.read_csv(out, separator="\t") if extension == "tsv" else read[extension](out)
    expected = packages["level"].predict(people_table(60, seed=4)).select("id", "level")
    assert found.equals(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, out.name])


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_every_form_of_input_gives_the_same(packages, people_table, tmp_path, extension):
    table = people_table(30, seed=4)
    path = tmp_path / f"in.{extension}"
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[extension](path)
    predict_file(packages["price"], path, tmp_path / "out.parquet", batch_rows=7)
    found = pl.read_parquet(tmp_path / "out.parquet")
    expected = packages["price"].predict(table)
    assert found["id"].to_list() == expected["id"].to_list()
    np.testing.assert_allclose(found["price"], expected["price"], rtol=1e-6)


def test_probabilities_add_a_column_per_class(packages, people_table, source, tmp_path):
    predict_file(packages["income"], source, tmp_path / "out.parquet", probabilities=True)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["id", "income", "income_<=50K", "income_>50K"]
    expected = softmax(packages["income"].outputs(people_table(60, seed=4)))
    np.testing.assert_allclose(found[:, 2:].to_numpy(), expected, atol=1e-6)


def test_rows_that_cannot_be_used_are_counted_and_kept_aside(packages, people_table, tmp_path):
    table = people_table(20).with_columns(age=pl.Series(["x" if row in (3, 12) else "44" for row in range(20)]))
    table.write_csv(tmp_path / "in.csv")
    out = tmp_path / "out.csv"
    report = predict_file(packages["price"], tmp_path / "in.csv", out, batch_rows=8)
    assert (report.rows, report.quarantined, report.reasons) == (18, 2, {"not-a-number": 2})
    aside = pl.read_csv(report.quarantine_file)
    assert aside["row"].to_list() == [3, 12]
    assert aside["id"].to_list() == ["p3", "p12"]
    assert aside["column"].to_list() == ["age", "age"]
    assert "p3" not in pl.read_csv(out)["id"].to_list()
    # A later prediction without such rows takes the file away: it would tell of other rows.
    people_table(20).write_csv(tmp_path / "in.csv")
    assert predict_file(packages["price"], tmp_path / "in.csv", out).quarantine_file is None
    assert not report.quarantine_file.exists()


def test_a_file_of_unusable_rows_gives_a_header(packages, people_table, tmp_path):
    people_table(3).with_columns(age=pl.lit("x")).write_csv(tmp_path / "in.csv")
    report = predict_file(packages["income"], tmp_path / "in.csv", tmp_path / "out.csv", probabilities=True)
    assert (report.rows, report.quarantined) == (0, 3)
    assert (tmp_path / "out.csv").read_text() == "id,income,income_<=50K,income_>50K\n"


def test_a_file_without_rows_is_refused(packages, people_table, tmp_path):
    people_table(3).clear().write_csv(tmp_path / "in.csv")
    with pytest.raises(DataError, match="no row"):
        predict_file(packages["income"], tmp_path / "in.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_missing_column_or_odd_extension_writes_nothing(packages, people_table, source, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"should end with one of \.csv, .* got '\.txt'"):
        predict_file(packages["income"], source, tmp_path / "out.txt")
    people_table(3).drop("age").write_csv(source)
    with pytest.raises(DataError, match="age"):
        predict_file(packages["income"], source, tmp_path / "out.csv")
    assert sorted(tmp_path.iterdir()) == before


def sample(tmp_path: Path, content: dict | pl.DataFrame, name: str = "sample.csv") -> Path:
    path = tmp_path / name
    pl.DataFrame(content).write_csv(path)
    return path


def test_the_output_takes_the_sample_s_columns_order_and_text(packages, people_table, source, tmp_path):
    ids = [f"p{row}" for row in reversed(range(60))]
    asked = sample(tmp_path, {"income": ["<=50K"] * 60, "id": ids})
    predict_file(packages["income"], source, tmp_path / "out.csv", sample=asked, batch_rows=17)
    found = pl.read_csv(tmp_path / "out.csv")
    assert found.columns == ["income", "id"]
    assert found["id"].to_list() == ids
    expected = packages["income"].predict(people_table(60, seed=4))
    assert found["income"].to_list() == expected["income"].reverse().to_list()


def test_a_sample_with_a_column_per_class_gets_probabilities(packages, people_table, source, tmp_path):
    ids = [f"p{row}" for row in range(60)]
    asked = sample(tmp_path, {"id": ids, "3": [0.2] * 60, "1": [0.5] * 60, "2": [0.3] * 60})
    predict_file(packages["level"], source, tmp_path / "out.csv", sample=asked)
    found = pl.read_csv(tmp_path / "out.csv")
    assert found.columns == ["id", "3", "1", "2"]
    expected = softmax(packages["level"].outputs(people_table(60, seed=4)))
    np.testing.assert_allclose(found.select("1", "2", "3").to_numpy(), expected, atol=1e-6)
    named = sample(tmp_path, {"id": ids, "level_1": [0] * 60, "level_2": [1] * 60, "level_3": [0] * 60})
    predict_file(packages["level"], source, tmp_path / "out.csv", sample=named)
    np.testing.assert_allclose(pl.read_csv(tmp_path / "out.csv")[:, 1:].to_numpy(), expected, atol=1e-6)


def test_booleans_are_spelled_as_in_the_sample(packages, people_table, source, tmp_path):
    path = tmp_path / "sample.csv"
    path.write_text("id,rich\n" + "".join(f"p{row},False\n" for row in range(60)))
    predict_file(packages["rich"], source, tmp_path / "out.csv", sample=path)
    words = set((tmp_path / "out.csv").read_text().replace("\n", ",").split(",")) & {"True", "False", "true", "false"}
    assert words == {"True", "False"}


def test_a_sample_with_whole_numbers_for_a_number(packages, people_table, source, tmp_path):
    ids = [f"p{row}" for row in range(60)]
    placeholder = sample(tmp_path, {"id": ids, "price": [0] * 60})
    predict_file(packages["price"], source, tmp_path / "out.csv", sample=placeholder)
    expected = packages["price"].predict(people_table(60, seed=4))["price"]
    np.testing.assert_allclose(pl.read_csv(tmp_path / "out.csv")["price"], expected, rtol=1e-6)
    real = sample(tmp_path, {"id": ids, "price": list(range(60))})
    with pytest.raises(DataError, match=r"'price' .* whole numbers \(such as 0\); the model gives decimal .*--round"):
        predict_file(packages["price"], source, tmp_path / "other.csv", sample=real)
    assert not (tmp_path / "other.csv").exists()
    predict_file(packages["price"], source, tmp_path / "out.csv", sample=real, round_numbers=True)
    assert pl.read_csv(tmp_path / "out.csv")["price"].to_list() == expected.round().cast(pl.Int64).to_list()


def test_one_probability_of_two_classes(packages, people_table, source, tmp_path):
    ids = [f"p{row}" for row in range(60)]
    asked = sample(tmp_path, {"id": ids, "income": [0.5] * 60})
    with pytest.raises(DataError, match=r"holds decimal numbers .* gives texts .*'>50K', pass --probabilities"):
        predict_file(packages["income"], source, tmp_path / "out.csv", sample=asked)
    predict_file(packages["income"], source, tmp_path / "out.csv", sample=asked, probabilities=True)
    expected = softmax(packages["income"].outputs(people_table(60, seed=4)))[:, 1]
    np.testing.assert_allclose(pl.read_csv(tmp_path / "out.csv")["income"], expected, atol=1e-6)
    asked = sample(tmp_path, {"id": ids, "level": [0.5] * 60})
    with pytest.raises(DataError, match="one of two classes; the model has 3 classes"):
        predict_file(packages["level"], source, tmp_path / "out.csv", sample=asked, probabilities=True)


IDS = [f"p{row}" for row in range(60)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"id": IDS, "wage": ["a"] * 60}, r"has the columns 'wage' beside its id; the model predicts 'income'"),
        ({"id": IDS, "<=50K": [0.1] * 60, ">60K": [0.1] * 60}, r"1 are no class \('>60K': Did you mean '>50K'\?\)"),
        ({"id": IDS, "<=50K": [0.1] * 60, "income_<=50K": [0.1] * 60}, r"1 classes have no column .* two columns"),
        ({"id": IDS, "income": [3] * 60}, r"holds whole numbers \(such as 3\); the model gives texts"),
        ({"id": IDS[:-2], "income": ["x"] * 58}, r"2 ids are not in the sample \('p58', 'p59'\)"),
        ({"id": [*IDS, "q1"], "income": ["x"] * 61}, r"1 of the sample's 61 ids have no prediction \('q1'\)"),
        ({"id": [*IDS[:-1], "p0"], "income": ["x"] * 60}, r"1 duplicate ids in 'id' \('p0'\)"),
        ({"id": [*IDS[:-1], None], "income": ["x"] * 60}, r"1 rows without an id in 'id'"),
        ({"id": IDS}, r"should have an id column and predicted ones, got 'id'"),
    ],
)
def test_what_does_not_match_the_sample_is_told_and_nothing_written(packages, source, tmp_path, content, message):
    asked = sample(tmp_path, content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=message):
        predict_file(packages["income"], source, tmp_path / "out.csv", sample=asked)
    assert sorted(tmp_path.iterdir()) == before


def test_duplicate_rows_in_the_input_do_not_match(packages, people_table, tmp_path):
    table = people_table(10)
    pl.concat([table, table[2:4]]).write_csv(tmp_path / "in.csv")
    asked = sample(tmp_path, {"id": table["id"], "income": ["x"] * 10})
    for batch_rows in (4, 100):
        with pytest.raises(DataError, match=r"2 ids came more than once \('p2', 'p3'\)"):
            predict_file(
                packages["income"], tmp_path / "in.csv", tmp_path / "o.csv", sample=asked, batch_rows=batch_rows
            )


def test_a_quarantined_row_that_the_sample_needs_refuses(packages, people_table, tmp_path):
    table = people_table(10).with_columns(age=pl.Series(["x" if row == 3 else "44" for row in range(10)]))
    table.write_csv(tmp_path / "in.csv")
    asked = sample(tmp_path, {"id": table["id"], "income": ["x"] * 10})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"no prediction \('p3'\)\. 1 rows could not be used: not-a-number 1"):
        predict_file(packages["income"], tmp_path / "in.csv", tmp_path / "out.csv", sample=asked)
    assert sorted(tmp_path.iterdir()) == before


def test_number_ids_match_their_texts_and_the_sample_s_own_id_column(packages, people_table, tmp_path):
    table = people_table(12).with_columns(PassengerId=np.arange(100, 112)).drop("id")
    table.write_csv(tmp_path / "in.csv")
    asked = sample(tmp_path, {"PassengerId": np.arange(100, 112), "income": ["x"] * 12})
    predict_file(packages["income"], tmp_path / "in.csv", tmp_path / "out.parquet", sample=asked)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.schema == {"PassengerId": pl.Int64, "income": pl.String}
    assert found["income"].to_list() == packages["income"].predict(table)["income"].to_list()


def test_leading_zeros_of_ids_are_kept(packages, people_table, tmp_path):
    ids = [f"{row:04d}" for row in range(12)]
    people_table(12).with_columns(id=pl.Series(ids)).write_csv(tmp_path / "in.csv")
    asked = sample(tmp_path, {"id": ids, "income": ["x"] * 12})
    predict_file(packages["income"], tmp_path / "in.csv", tmp_path / "out.csv", sample=asked)
    assert pl.read_csv(tmp_path / "out.csv", infer_schema=False)["id"].to_list() == ids


MEASURE = """
import re, sys
from pathlib import Path
from sanmaru.packages.batch import predict_file
from sanmaru.packages.package import Package

package, source, sample = sys.argv[1:]
output = Path(source).with_name("out.csv")
report = predict_file(
    Package.load(package), Path(source), output, sample=Path(sample) if sample else None, batch_rows=5000
)
# The peak of this program in MiB; getrusage would also count the one that started it.
print(report.rows, int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak memory from Linux's /proc")
@pytest.mark.parametrize("with_sample", [False, True])
def test_memory_does_not_grow_with_the_file(packages, people_table, tmp_path, with_sample):
    block = people_table(5000, seed=1).drop("income", "level", "rich", "price").with_columns(note=pl.lit("x" * 200))
    peaks = []
    for blocks in (10, 50):
        source, sample_path = tmp_path / "in.csv", tmp_path / "sample.csv"
        with source.open("wb") as handle:
            for number in range(blocks):
                part = block.with_columns(id=pl.Series(np.arange(5000) + 5000 * number))
                part.write_csv(handle, include_header=number == 0)
        ids = np.arange(5000 * blocks)
        pl.DataFrame({"id": ids, "income": ["x"] * len(ids)}).write_csv(sample_path)
        words = [str(packages["income"].folder), str(source), str(sample_path) if with_sample else ""]
        done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
        rows, peak_mib = done.stdout.split()
        assert int(rows) == 5000 * blocks
        peaks.append(float(peak_mib))
    # The second file is 40 MiB longer, with 200,000 more ids. The allocator wanders by some 10 MiB, and a sample takes
    # some 200 bytes per id at the worst moment.
    assert source.stat().st_size > 50 * 2**20
    assert peaks[1] - peaks[0] < (70 if with_sample else 25), peaks
