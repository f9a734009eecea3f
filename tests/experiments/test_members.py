"""Files of predictions that somebody else made: what is taken, and what is refused and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.experiments.members import LABEL_PROBABILITY, Member, check_names, of_file, of_run
from sanmaru.tasks.outputs import softmax


@pytest.fixture
def classes(written_runs):
    made = written_runs("classes", 6)
    return made.task(), made.table.drop("x")


@pytest.fixture
def prices(written_runs):
    made = written_runs("regression", 6)
    return made.task(), made.table.drop("x")


def write(folder: Path, text: str, name: str = "friend.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_probabilities_per_class_are_taken_in_any_order(classes, tmp_path: Path) -> None:
    task, rows = classes
    names = list(task.outputs[0].classes)
    probs = np.random.default_rng(0).dirichlet(np.ones(len(names)), 6)
    table = pl.DataFrame({"id": rows["id"], **dict(zip(names, probs.T, strict=True))})
    shuffled = table[[3, 1, 5, 0, 2, 4]].select(*reversed(names), "id")
    shuffled.write_csv(tmp_path / "a.csv")
    shuffled.write_csv(tmp_path / "a.tsv", separator="\t")
    shuffled.write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.tsv", "a.parquet"):
        member = of_file(tmp_path / name, task, rows)
        np.testing.assert_allclose(softmax(member.outputs), probs, atol=1e-5)
        assert (member.name, member.run) == (name, None)


def test_a_prediction_table_of_sanmaru_is_taken(classes, tmp_path: Path) -> None:
    task, rows = classes
    outputs = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    task.predictions(rows["id"], outputs).write_parquet(tmp_path / "p.parquet")
    found = of_file(tmp_path / "p.parquet", task, rows)
    np.testing.assert_allclose(softmax(found.outputs), softmax(outputs), atol=1e-6)


def test_the_folds_of_a_file_are_compared_with_those_of_the_rows(written_runs, tmp_path: Path) -> None:
    made = written_runs("regression", 30)
    run = made.run()
    stored = run.predictions()  # id, fold and the number, as Sanmaru writes them
    stored.write_parquet(tmp_path / "same.parquet")
    stored.write_csv(tmp_path / "same.csv")
    for name in ("same.parquet", "same.csv"):
        member = of_file(tmp_path / name, made.task(), run.rows())
        np.testing.assert_allclose(member.outputs[:, 0], stored["y"].to_numpy(), rtol=1e-6)
    moved = stored.with_columns(fold=pl.when(pl.int_range(pl.len()) < 4).then(9).otherwise(pl.col("fold")))
    moved.write_csv(tmp_path / "moved.csv")
    with pytest.raises(DataError, match=r"moved.csv: 4 of 30 rows lie in another 'fold' than in the runs"):
        of_file(tmp_path / "moved.csv", made.task(), run.rows())


def test_labels_count_as_near_certainty(classes, tmp_path: Path) -> None:
    task, rows = classes
    rows.select("id", pl.col("y").alias("guess")).write_csv(tmp_path / "labels.csv")
    probs = softmax(of_file(tmp_path / "labels.csv", task, rows).outputs)
    np.testing.assert_allclose(probs[np.arange(6), task.truth(rows)], LABEL_PROBABILITY, atol=1e-6)


def test_numbers_are_taken(prices, tmp_path: Path) -> None:
    task, rows = prices
    rows.reverse().select("id", pl.col("y") + 1).write_csv(tmp_path / "prices.csv")
    found = of_file(tmp_path / "prices.csv", task, rows)
    np.testing.assert_allclose(found.outputs[:, 0], rows["y"].to_numpy() + 1, rtol=1e-6)


IDS = [f"r{n:04d}" for n in range(6)]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("id,low,mid", "{id},0.5,0.5", r"1 are absent \(top\), 0 are no class"),
        ("id,low,mid,topp", "{id},0.5,0.5,0", r"1 are absent \(top\), 1 are no class \(topp\). Did you mean 'top'"),
        ("id,low,mid,top", "{id},0.5,0.5,0.5", "6 of 6 rows are no probabilities .* sum 1.5. Give probabilities"),
        ("id,low,mid,top", "{id},-2,1,2", "6 of 6 rows are no probabilities"),
        ("id,low,mid,top", "{id},0.5,x,0.5", "6 of 6 values of 'mid' are missing or no finite numbers, such as 'x'"),
        ("id,label", "{id},lowest", "6 of 6 labels in 'label' are not among the 3 classes"),
        ("name,label", "{id},low", "has no id column 'id'"),
    ],
)
def test_a_file_that_is_no_prediction_of_classes_is_refused(
    classes, tmp_path: Path, header: str, row: str, message: str
) -> None:
    task, rows = classes
    path = write(tmp_path, "\n".join([header, *(row.format(id=name) for name in IDS)]))
    with pytest.raises(DataError, match=message):
        of_file(path, task, rows)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[:4], "2 of 6 ids of the run are missing in"),
        ([*IDS, "other"], "has 1 ids that the run has not"),
        ([*IDS, IDS[0]], "1 ids stand more than once in"),
    ],
)
def test_ids_are_matched_strictly(prices, tmp_path: Path, ids: list[str], message: str) -> None:
    task, rows = prices
    path = write(tmp_path, "\n".join(["id,y", *(f"{name},1.0" for name in ids)]))
    with pytest.raises(DataError, match=message):
        of_file(path, task, rows)


def test_files_that_cannot_be_read_are_refused(prices, tmp_path: Path) -> None:
    task, rows = prices
    with pytest.raises(DataError, match="there is no file"):
        of_file(tmp_path / "nowhere.csv", task, rows)
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read as a table of predictions"):
        of_file(tmp_path / "broken.parquet", task, rows)
    path = write(tmp_path, "\n".join(["id,y,z", *(f"{name},1.0,2.0" for name in IDS)]))
    with pytest.raises(DataError, match=r"one column of numbers, and has 2 beside the id: y, z"):
        of_file(path, task, rows)


def test_a_run_gives_its_outputs_in_the_order_of_the_rows(written_runs) -> None:
    made = written_runs("binary", 30)
    run = made.run(0.4, 1)
    rows = run.rows().reverse()
    np.testing.assert_allclose(of_run(run, rows).outputs, made.outputs(0.4, 1)[::-1], rtol=1e-6)


def test_one_name_cannot_stand_for_two_members() -> None:
    member = Member(name="friend.csv", outputs=np.zeros((1, 1), dtype=np.float32), run=None)
    with pytest.raises(DataError, match=r"friend.csv was given more than once"):
        check_names([member, member])
