from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sanmaru.errors import DataError, PackageError
from sanmaru.packages.package import Package


def altered_copy(package: Package, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(package.folder, folder)
    return folder


@pytest.mark.parametrize("target", ["income", "level", "rich", "price", "trees"])
def test_a_reloaded_package_gives_the_mean_of_its_estimators(packages, people_table, target):
    package = Package.load(packages[target].folder)
    table = people_table(seed=5)
    found = package.predict(table)
    outputs = [e.forward(e.encode(table)) for e in package.estimators]
    assert len(outputs) == 2
    expected = package.task.predictions(table["id"], package.task.combine(outputs))
    assert found.columns == expected.columns
    for name in found.columns:
        if found[name].dtype.is_float() or isinstance(found[name].dtype, pl.Array):
            np.testing.assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), rtol=1e-5, atol=1e-6)
        else:
            assert found[name].to_list() == expected[name].to_list()


def test_labels_keep_the_type_of_the_target(packages, people_table):
    table = people_table(10)
    assert packages["income"].predict(table)["income"].dtype == pl.String
    assert packages["level"].predict(table)["level"].dtype == pl.Int64
    assert packages["rich"].predict(table)["rich"].dtype == pl.Boolean
    assert packages["price"].predict(table)["price"].dtype == pl.Float64


def test_pandas_in_pandas_out(packages, people_table):
    table = people_table(30)
    frame = table.to_pandas()
    frame.loc[3, "age"] = np.nan  # pandas turns the column into floats
    found = packages["income"].predict(frame)
    assert isinstance(found, pd.DataFrame)
    gap = pl.when(pl.col("id") == "p3").then(None).otherwise("age")
    expected = packages["income"].predict(table.with_columns(age=gap))
    assert found["income"].tolist() == expected["income"].to_list()
    np.testing.assert_allclose(np.stack(found["income.probs"]), expected["income.probs"].to_numpy())


def test_rows_without_an_id_are_numbered(packages, people_table):
    found = packages["price"].predict(people_table(4).drop("id"))
    assert found["row"].to_list() == [0, 1, 2, 3]


def test_columns_may_stand_in_any_order_beside_others_and_as_texts(packages, people_table):
    table = people_table(20)
    expected = packages["price"].predict(table)["price"]
    shuffled = table.select(reversed(table.columns))
    shuffled = shuffled.with_columns(pl.col("age", "hours").cast(pl.String), other=pl.lit(1))
    assert packages["price"].predict(shuffled)["price"].to_list() == pytest.approx(expected.to_list())


def test_an_empty_table_gives_an_empty_one(packages, people_table):
    found = packages["income"].predict(people_table(5).clear())
    assert len(found) == 0
    assert found.columns[:2] == ["id", "income"]


def test_a_missing_column_names_the_nearest(packages, people_table):
    table = people_table(5).rename({"hours": "Hours_"})
    with pytest.raises(DataError, match=r"1 of the model's 4 .* 'hours' is missing. Did you mean 'Hours_'\?"):
        packages["income"].predict(table)


def test_rows_that_break_the_signature_are_counted_with_examples(packages, people_table):
    table = people_table(6).with_columns(age=pl.Series(["30", "old", "41", "NA", "x", "20"]))
    with pytest.raises(DataError, match=r"2 of 6 rows do not fit .* row 1, age 'old': is not an? \w+; row 4"):
        packages["income"].predict(table)


def test_the_online_path_agrees_with_the_table_path(packages, people_table):
    table = people_table(40, seed=3)
    for package in packages.values():
        rows = table.to_dicts()
        rows[0].pop("age")
        encoded = package.encode_rows(rows)
        assert all(len(array) == 40 for array in encoded)
        changed = table.with_columns(age=pl.when(pl.col("id") == "p0").then(None).otherwise("age"))
        np.testing.assert_allclose(package.forward(encoded), package.outputs(changed), rtol=1e-4, atol=1e-5)


def test_encoded_rows_can_be_put_together(packages, people_table):
    package = packages["trees"]
    rows = people_table(6).to_dicts()
    apart = [package.encode_rows([row]) for row in rows]
    together = tuple(np.concatenate(arrays) for arrays in zip(*apart, strict=True))
    np.testing.assert_allclose(package.forward(together), package.forward(package.encode_rows(rows)), rtol=1e-6)


def test_folds_share_one_encoding(packages):
    assert len(packages["income"].encode_rows([{"age": 30}])) == 1


def test_answers_are_plain_and_in_the_target_s_type(packages, people_table):
    row = people_table(1).to_dicts()[0]
    answer = packages["level"].answers(packages["level"].forward(packages["level"].encode_rows([row])))[0]
    assert set(answer) == {"level", "probabilities"}
    assert type(answer["level"]) is int
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert max(answer["probabilities"], key=answer["probabilities"].get) == str(answer["level"])
    json.dumps(answer)
    price = packages["price"].answers(packages["price"].forward(packages["price"].encode_rows([row])))[0]
    assert type(price["price"]) is float
    assert set(price) == {"price"}
    rich = packages["rich"].answers(packages["rich"].forward(packages["rich"].encode_rows([row])))[0]
    assert type(rich["rich"]) is bool


def test_a_slip_in_a_row_s_key_is_not_taken_for_a_missing_value(packages):
    with pytest.raises(DataError, match="unknown column 'Age' in a row that lacks 'age'"):
        packages["income"].encode_rows([{"Age": 30, "hours": 40, "city": "Seoul", "member": True}])
    with pytest.raises(DataError, match="unknown column 'hour' in a row that lacks 'hours'"):
        packages["income"].encode_rows([{"age": 30, "hour": 40}])
    with pytest.raises(DataError, match="none of the model's inputs"):
        packages["income"].encode_rows([{"colour": "red"}])


def test_a_row_s_wrong_value_is_named(packages):
    with pytest.raises(DataError, match=r"row 1.*age"):
        packages["income"].encode_rows([{"age": 30}, {"age": "old"}])


def test_an_altered_file_is_refused(packages, tmp_path):
    folder = altered_copy(packages["income"], tmp_path)
    card = folder / "card.json"
    card.write_text(card.read_text().replace("people", "peeple"))
    with pytest.raises(PackageError, match=r"not intact: 1 altered since it was written \(card.json\)"):
        Package.load(folder)


def test_a_missing_file_is_refused(packages, tmp_path):
    folder = altered_copy(packages["income"], tmp_path)
    shutil.rmtree(folder / "estimators" / "1")
    with pytest.raises(PackageError, match=r"not intact: \d+ missing \(estimators/1"):
        Package.load(folder)


def test_a_newer_format_is_refused(packages, tmp_path):
    folder = altered_copy(packages["income"], tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 2, "sanmaru": "9.1"}))
    with pytest.raises(PackageError, match=r"format 2, written by Sanmaru 9.1; this version reads .* up to 1. Upgrade"):
        Package.load(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../b"])
def test_a_manifest_cannot_name_files_outside(packages, tmp_path, name):
    folder = altered_copy(packages["income"], tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="lies outside the package"):
        Package.load(folder)


def test_what_is_no_package_is_refused(tmp_path):
    with pytest.raises(PackageError, match="is no model package"):
        Package.load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(PackageError, match="is damaged"):
        Package.load(tmp_path)


def test_nothing_in_a_package_is_a_pickle(packages):
    files = [path for package in packages.values() for path in package.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert path.suffix in {".json", ".parquet", ".txt", ".safetensors", ".npy", ".npz"}, path
        assert not path.read_bytes().startswith(b"\x80"), path


def test_dates_reach_the_model_by_both_paths(tmp_path, package_maker, people_table, monkeypatch):
    days = [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=i % 300) for i in range(240)]
    table = people_table().with_columns(pl.Series("city", days))
    package = package_maker(tmp_path / "dated", "price", table=table)
    assert {c.name: c.kind for c in package.signature.inputs}["city"] == "date"
    rows = [{**row, "city": row["city"].isoformat()} for row in table.head(5).to_dicts()]
    np.testing.assert_allclose(
        package.forward(package.encode_rows(rows)), package.outputs(table.head(5)), rtol=1e-5, atol=1e-4
    )
    assert package.golden_test() < 1e-4
