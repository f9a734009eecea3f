"""Writing model packages: everything goes beside the final folder, which then appears whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import PackageError
from sanmaru.files import share_folder, whole, write_json
from sanmaru.packages.golden import write_golden
from sanmaru.packages.manifest import verify, write_manifest
from sanmaru.packages.package import Package
from sanmaru.tables.contract import Column
from sanmaru.tasks.base import Signature, Task

if TYPE_CHECKING:
    import polars as pl


def write_package(
    folder: Path,
    *,
    task: Task,
    estimators: Sequence[Path],
    golden: pl.DataFrame,
    evaluation: pl.DataFrame,
    card: Mapping[str, Any],
) -> Package:
    """Write a package whose estimators, usually one per fold, are averaged.

    Args:
        folder: Where the package appears, whole or not at all; an earlier one is replaced.
        task: The task that the estimators were fitted for.
        estimators: Folders that `Estimator.save` wrote. Their files are shared, not copied.
        golden: Some input rows (16 are taken). Their pictures are copied into the package.
        evaluation: The id column, `truth` (labels or numbers as in the data), `fold` and the out-of-fold prediction
            columns, and `group` where rows are grouped.
        card: What the model is for and how good it is, as plain values.

    Raises:
        PackageError: when there is no estimator, or the columns of `evaluation` are not as said.
    """
    if not estimators:
        raise PackageError("a package needs at least one estimator, got none.")

    def fill(beside: Path) -> None:
        for number, source in enumerate(estimators):
            share_folder(source, beside / "estimators" / str(number))

    given = _Given(golden=golden, evaluation=evaluation, card=card, combine={"method": "mean"})
    return _write(folder, task, task.signature(), fill, given)


def write_ensemble_package(
    folder: Path,
    *,
    task: Task,
    members: Sequence[Path],
    combine: Mapping[str, Any],
    golden: pl.DataFrame,
    evaluation: pl.DataFrame,
    card: Mapping[str, Any],
) -> Package:
    """Write a package whose members are packages.

    Args:
        folder: Where the package appears, whole or not at all; an earlier one is replaced.
        task: The task whose outputs the ensemble gives.
        members: Folders of the members' packages. Their files are shared; they may be ensembles themselves.
        combine: How outputs become one, as `packages.combine` reads it.
        golden: Some input rows (16 are taken) with the inputs of all members.
        evaluation: As in `write_package`.
        card: As in `write_package`.

    Raises:
        PackageError: when there is no member, a member is not intact, or members disagree on inputs or outputs.
    """
    if not members:
        raise PackageError("an ensemble needs at least one member, got none.")
    loaded = [Package.load(member) for member in members]
    signature = joint_signature(task.signature(), [member.signature for member in loaded])

    def fill(beside: Path) -> None:
        for number, member in enumerate(loaded):
            share_folder(member.folder, beside / "members" / str(number))

    given = _Given(golden=golden, evaluation=evaluation, card=card, combine=combine)
    return _write(folder, task, signature, fill, given)


def joint_signature(base: Signature, members: Sequence[Signature]) -> Signature:
    """Return the signature of an ensemble: the inputs of all members.

    Raises:
        PackageError: when members take a column of one name as different kinds, or give different outputs.
    """
    inputs: dict[str, Column] = {}
    for number, member in enumerate(members):
        for ours, theirs in zip(base.outputs, member.outputs, strict=True):
            if (ours.name, ours.kind, ours.classes) != (theirs.name, theirs.kind, theirs.classes):
                raise PackageError(
                    f"member {number} predicts {theirs.name!r} ({theirs.kind}, {len(theirs.classes)} classes) and the "
                    f"ensemble {ours.name!r} ({ours.kind}, {len(ours.classes)} classes). Leave that run out."
                )
        for column in member.inputs:
            known = inputs.setdefault(column.name, column)
            if known.kind != column.kind:
                raise PackageError(
                    f"member {number} takes the column {column.name!r} as {column.kind}, an earlier member as "
                    f"{known.kind}. Train both on the same columns."
                )
    return Signature(
        task=base.task, id=base.id, inputs=tuple(inputs.values()), outputs=base.outputs, missing=base.missing
    )


@dataclass(frozen=True, kw_only=True)
class _Given:
    golden: pl.DataFrame
    evaluation: pl.DataFrame
    card: Mapping[str, Any]
    combine: Mapping[str, Any]


def _write(folder: Path, task: Task, signature: Signature, fill: Callable[[Path], None], given: _Given) -> Package:
    evaluation = given.evaluation
    if task.roles.id not in evaluation.columns and "id" in evaluation.columns:
        evaluation = evaluation.rename({"id": task.roles.id})
    needed = (task.roles.id, "truth", "fold", task.outputs[0].name)
    absent = [name for name in needed if name not in evaluation.columns]
    if absent:
        raise PackageError(f"the evaluation table lacks {', '.join(absent)}; it has {', '.join(evaluation.columns)}.")
    with whole(Path(folder)) as beside:
        beside.mkdir(parents=True)
        fill(beside)
        write_json(beside / "signature.json", signature.to_json())
        write_json(beside / "task.json", task.to_json())
        write_json(beside / "combine.json", dict(given.combine))
        write_json(beside / "card.json", dict(given.card))
        evaluation.write_parquet(beside / "evaluation.parquet")
        write_golden(Package.open(beside, fingerprint=""), given.golden)
        write_manifest(beside)
    return Package.open(Path(folder), fingerprint=verify(Path(folder)))
