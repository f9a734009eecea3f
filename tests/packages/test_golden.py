from __future__ import annotations

import polars as pl
import pytest

from sanmaru.errors import PackageError
from sanmaru.packages.golden import MOST_ROWS, golden_rows
from sanmaru.packages.manifest import write_manifest
from sanmaru.packages.package import Package


def test_golden_rows_reproduce(packages):
    for package in packages.values():
        assert len(golden_rows(package)) == MOST_ROWS
        assert package.golden_test() < 1e-5


def test_a_changed_answer_is_found(package_maker, tmp_path):
    package = package_maker(tmp_path / "p", "price")
    path = package.folder / "golden" / "outputs.parquet"
    stored = pl.read_parquet(path)
    values = stored["outputs"].to_numpy().copy()
    values[3, 0] += 1
    pl.DataFrame({"outputs": pl.Series(values, dtype=pl.Array(pl.Float32, 1))}).write_parquet(path)
    write_manifest(package.folder)  # as one who alters a package with care would do
    altered = Package.load(package.folder)
    with pytest.raises(PackageError, match="golden row 3 predicted as a table is off by"):
        altered.golden_test()
    assert altered.golden_test(tolerance=0.5) > 1e-3


def test_outputs_of_another_shape_are_found(package_maker, packages, tmp_path):
    package = package_maker(tmp_path / "p", "price")
    (package.folder / "golden" / "outputs.parquet").write_bytes(
        (packages["level"].folder / "golden" / "outputs.parquet").read_bytes()
    )
    write_manifest(package.folder)
    with pytest.raises(PackageError, match=r"shape \(16, 1\) for its golden rows, \(16, 3\) were stored"):
        Package.load(package.folder).golden_test()


def test_without_rows_there_is_no_package(package_maker, people_table, tmp_path, packages):
    from sanmaru.packages.write import write_package

    package = packages["income"]
    with pytest.raises(PackageError, match="the golden rows are empty"):
        write_package(
            tmp_path / "p", task=package.task, estimators=[package.folder / "estimators" / "0"],
            golden=people_table(5).clear(), evaluation=package.evaluation(), card={},
        )  # fmt: skip
