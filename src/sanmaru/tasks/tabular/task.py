"""The tabular task: regression, binary or multiclass classification of one column of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sanmaru.errors import DataError
from sanmaru.html.blocks import Section
from sanmaru.tables.contract import Column
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import Estimator, FitContext, Output, Signature
from sanmaru.tasks.scoring import BaseScoredTask
from sanmaru.tasks.tabular.encode import Encoder
from sanmaru.tasks.tabular.features.build import Steps, open_steps
from sanmaru.tasks.tabular.features.config import Gain, StepConfig
from sanmaru.tasks.tabular.schema import Schema, column_kind, learn_schema
from sanmaru.tasks.targets import classification_output, joint_output, regression_output, usual_metrics

ProblemType = Literal["auto", "regression", "classification"]

FEW_VALUES = 20
"""Distinct whole numbers up to which a target is taken as classes."""
MOSTLY_EMPTY = 0.95
"""Fraction of missing values above which a column is named in the notes."""
ROWS_PER_VALUE = 10
"""Rows per distinct whole number that classes need on average."""


class Tabular(BaseScoredTask):
    """One target column learned from the other columns of a row."""

    name = "tabular"

    def __init__(
        self,
        roles: Roles,
        output: Output,
        metrics: Sequence[str],
        schema: Schema,
        *,
        reason: str = "",
        steps: Steps | None = None,
    ) -> None:
        self.roles = roles
        self.outputs = (output,)
        self.metrics = tuple(metrics)
        self.schema = schema
        self.reason = reason
        """Why the target is taken as classes or as numbers."""
        self.steps = steps or Steps()
        """What is made of the columns inside each fold, before a model sees them."""

    @classmethod
    def open(
        cls,
        table: pl.DataFrame,
        roles: Roles,
        *,
        problem_type: ProblemType = "auto",
        columns: Sequence[Column] | None = None,
        missing: Sequence[str] = (),
        features: Literal["auto"] | Sequence[StepConfig] = (),
        features_gain: Gain = "auto",
        quantiles: Sequence[float] = (),
        **_: Any,
    ) -> Tabular:
        """Decide the kind of problem from the target and learn what each feature is.

        Args:
            table: All usable training rows.
            roles: The columns' roles.
            problem_type: `auto` decides from the target.
            columns: What reading the table told of the features; told from their types where absent.
            missing: Cell texts that mean "no value".
            features: The feature steps of the project file.
            features_gain: How it is told what each of them gains.
            quantiles: Quantiles that the model predicts beside the number.

        Raises:
            DataError: when there is not exactly one target, it cannot be learned from, no feature carries anything, or
                a feature step names a column that is not there.
        """
        if len(roles.targets) != 1:
            named = ", ".join(repr(name) for name in roles.targets) or "none"
            raise DataError(f"a tabular task learns one target column, got {named}. Name one in data.target.")
        if not table.height:
            raise DataError("the table is empty: there are no rows to learn from.")
        name = roles.targets[0]
        if name not in table.columns:
            raise DataError(f"the table has no target column {name!r}. It has: {', '.join(table.columns)}.")
        target = table[name]
        if roles.joint is not None:
            kind, reason, output = "classification", "data.target names classes or bands", joint_output(roles.joint)
        else:
            kind, reason = decide(target, problem_type)
            output = classification_output(target) if kind == "classification" else regression_output(target)
        if quantiles:
            if kind == "classification":
                raise DataError(
                    f"model.quantiles is for numbers, and the target {name!r} is taken as classes: {reason}."
                )
            output = replace(output, quantiles=tuple(quantiles))
        told = {column.name: column for column in columns or ()}
        columns = [
            told.get(feature) or Column(name=feature, kind=column_kind(table[feature])) for feature in roles.features
        ]
        schema = learn_schema(table, columns, missing=missing)
        steps = open_steps(features, table, schema, missing, gain=features_gain)
        metrics = _ordered(usual_metrics(output, target), output)
        return cls(roles, output, metrics, schema, reason=reason, steps=steps)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on columns that carry nothing, or next to nothing."""
        out = []
        if self.schema.dropped:
            named = "; ".join(f"{name}: {reason}" for name, reason in self.schema.dropped)
            out.append(f"{len(self.schema.dropped)} columns carry nothing and were left out ({named})")
        empty = [one for one in self.schema.features if one.missing_fraction > MOSTLY_EMPTY]
        if empty:
            named = ", ".join(f"{one.name} ({one.missing_fraction:.1%})" for one in empty)
            out.append(f"{len(empty)} columns are mostly empty and were kept ({named}); data.drop leaves them out")
        return tuple(out)

    @cached_property
    def encoder(self) -> Encoder:
        """Rows to matrix, shared by every estimator of this task."""
        return Encoder(self.schema)

    @cached_property
    def encoding(self) -> str:
        """Name of what the encoder makes; equal for every fold and model of a run."""
        return self.schema.encoding()

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which `from_json` makes the same task."""
        return {
            "name": self.name,
            "roles": self.roles.to_json(),
            "output": self.output.to_json(),
            "metrics": list(self.metrics),
            "schema": self.schema.to_json(),
            "reason": self.reason,
            "steps": self.steps.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tabular:
        """Rebuild a task from `to_json`."""
        return cls(
            Roles.from_json(value["roles"]),
            Output.from_json(value["output"]),
            value["metrics"],
            Schema.from_json(value["schema"]),
            reason=value["reason"],
            steps=Steps.from_json(value["steps"]),
        )

    def signature(self) -> Signature:
        """Say what a model of this task takes and gives. No input is required: every model takes missing values."""
        return Signature(
            task=self.name,
            id=self.roles.id,
            inputs=tuple(feature.column() for feature in self.schema.features),
            outputs=self.outputs,
            missing=self.schema.missing,
        )

    def estimator(self, model: Any, train: Any) -> Estimator:
        """Make an unfitted estimator.

        Args:
            model: The config of a model for tables.
            train: A `TrainConfig`; models without epochs use its `selection` and `early_stopping` only.
        """
        from sanmaru.tasks.tabular.models import make_model

        estimator = make_model(self, model, train)
        if not self.steps:
            return estimator
        from sanmaru.tasks.tabular.features.featured import Featured

        return Featured(self, estimator)

    def load_estimator(self, folder: Path) -> Estimator:
        """Read what `Estimator.save` wrote.

        Raises:
            DataError: when the folder holds another kind of model, or one of another table.
        """
        from sanmaru.tasks.tabular.models import load_model

        if not self.steps:
            return load_model(self, folder)
        from sanmaru.tasks.tabular.features.featured import Featured

        return Featured.load(self, folder)

    def explore(self, table: pl.DataFrame, test: pl.DataFrame | None) -> Iterable[Section]:
        """Show the target, what each feature tells of it, and features that tell too much."""
        from sanmaru.tasks.tabular.explore import explore

        return explore(self, table, test)

    def examine(
        self,
        estimator: Estimator,
        valid: pl.DataFrame,
        context: FitContext,
        *,
        fit: pl.DataFrame,
        selection: pl.DataFrame | None,
    ) -> dict[str, Any]:
        """Ask a fold's model, on the fold's validation rows, which columns and feature steps it needs.

        Args:
            estimator: Fitted on `fit`, with `selection` to choose by.
            valid: Rows the estimator has not seen.
            context: Of the fit.
            fit: Rows the estimator learned from.
            selection: Rows that chose its best step, where there are any.

        Returns:
            Plain values that are kept with the estimator's own details.
        """
        from sanmaru.tasks.tabular.examine import examine

        return examine(self, estimator, valid, context, fit=fit, selection=selection)

    def diagnose(self, table: pl.DataFrame, predictions: pl.DataFrame) -> Iterable[Section]:
        """Analyse the errors of out-of-fold predictions, and find the values of features where they are largest.

        Raises:
            DataError: when a prediction's id is not in the table.
        """
        from sanmaru.tasks.tabular.segments import segments_section

        yield from super().diagnose(table, predictions)
        yield from segments_section(self, table, predictions)

    def importance(self, details: Sequence[Mapping[str, Any]]) -> list[Section]:
        """Show which columns and feature steps count, as means and spreads over folds.

        Args:
            details: `Estimator.details` of each fold.
        """
        from sanmaru.tasks.tabular.importance import importance_sections

        return importance_sections(details)


def decide(target: pl.Series, problem_type: ProblemType) -> tuple[Literal["classification", "regression"], str]:
    """Tell whether a target is to be taken as classes or as numbers, and why."""
    if problem_type != "auto":
        return problem_type, f"problem_type says {problem_type}"
    if not target.dtype.is_numeric():
        what = "true or false" if target.dtype == pl.Boolean else "text"
        return "classification", f"{target.name} holds {what}"
    values = target.drop_nulls()
    distinct = values.n_unique()
    if values.dtype.is_float() and not bool((values == values.round()).all()):
        return "regression", f"{target.name} holds numbers with decimals"
    if distinct <= FEW_VALUES and len(values) >= ROWS_PER_VALUE * distinct:
        return "classification", f"{target.name} holds {distinct} distinct whole numbers in {len(values)} rows"
    return "regression", f"{target.name} holds {distinct} distinct whole numbers in {len(values)} rows"


def _ordered(metrics: Sequence[str], output: Output) -> tuple[str, ...]:
    """The usual main metric first: for two classes, how well they are ranked (ROC AUC)."""
    if output.kind == "classification" and len(output.classes) == 2:
        first: tuple[str, ...] = ("roc_auc", "accuracy", "macro_f1")
    elif output.kind == "regression":
        first = ("rmse", "mae", "r2")
    else:
        first = ()
    return (*first, *(name for name in metrics if name not in first))
