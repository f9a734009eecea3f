from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import PackageError
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_ensemble_package, write_package
from sanmaru.tasks.outputs import softmax


def ensemble(folder: Path, members: list[Package], table: pl.DataFrame) -> Package:
    return write_ensemble_package(
        folder, task=members[0].task, members=[member.folder for member in members], combine={"method": "mean"},
        golden=table.head(8), evaluation=members[0].evaluation(), card={"name": "both"},
    )  # fmt: skip


def test_an_ensemble_averages_its_members_and_may_hold_ensembles(packages, people_table, tmp_path):
    table = people_table(50, seed=9)
    linear, trees = packages["income"], packages["trees"]
    both = ensemble(tmp_path / "both", [linear, trees], table)
    mean = (softmax(linear.outputs(table)) + softmax(trees.outputs(table))) / 2
    np.testing.assert_allclose(softmax(both.outputs(table)), mean, atol=1e-6)
    # Both were trained on one task: a row is encoded once for all four estimators.
    assert len(both.encode_rows(table.to_dicts())) == 1
    nested = ensemble(tmp_path / "nested", [both, trees], table)
    np.testing.assert_allclose(softmax(nested.outputs(table)), (mean + softmax(trees.outputs(table))) / 2, atol=1e-6)
    assert Package.load(tmp_path / "nested").golden_test() < 1e-6


def test_members_with_other_outputs_are_refused(packages, people_table, tmp_path):
    with pytest.raises(PackageError, match=r"member 1 predicts 'price' \(regression"):
        ensemble(tmp_path / "mixed", [packages["income"], packages["price"]], people_table(10))
    assert not list(tmp_path.iterdir())


def test_an_altered_member_is_refused(packages, people_table, package_maker, tmp_path):
    member = package_maker(tmp_path / "member")
    (member.folder / "card.json").write_text("{}")
    with pytest.raises(PackageError, match="not intact"):
        ensemble(tmp_path / "out", [member], people_table(10))


def test_a_failed_write_leaves_the_old_package(packages, tmp_path, package_maker, people_table):
    package = package_maker(tmp_path / "package")
    before = package.fingerprint
    with pytest.raises(PackageError, match="the golden rows lack age"):
        write_package(
            package.folder, task=package.task, estimators=[package.folder / "estimators" / "0"],
            golden=people_table(5).drop("age"), evaluation=package.evaluation(), card={},
        )  # fmt: skip
    assert Package.load(package.folder).fingerprint == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_evaluation_table_is_checked(packages, tmp_path, people_table):
    package = packages["income"]
    with pytest.raises(PackageError, match="the evaluation table lacks truth"):
        write_package(
            tmp_path / "p", task=package.task, estimators=[package.folder / "estimators" / "0"],
            golden=people_table(5), evaluation=package.evaluation().drop("truth"), card={},
        )  # fmt: skip


def test_a_package_needs_estimators(packages, tmp_path, people_table):
    with pytest.raises(PackageError, match="at least one estimator"):
        write_package(
            tmp_path / "p", task=packages["income"].task, estimators=[], golden=people_table(5),
            evaluation=packages["income"].evaluation(), card={},
        )  # fmt: skip
    with pytest.raises(PackageError, match="at least one member"):
        write_ensemble_package(
            tmp_path / "p", task=packages["income"].task, members=[], combine={"method": "mean"},
            golden=people_table(5), evaluation=packages["income"].evaluation(), card={},
        )  # fmt: skip
