"""`use: check`: the data contract, on each new batch. Values that break it are set aside with the reason."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sanmaru.config import Config
from sanmaru.errors import DataError
from sanmaru.files import whole
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.history import joined, keep_table, place_of, project_of, rows_of_inputs


class Settings(Config):
    """`with:` of the step."""

    most: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of a batch's values that may break the contract; beyond it the batch is refused, for then the source is
    broken and not a value."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `rows` (what may be used), `count`, `set_aside` and, where there is any, `quarantine` (csv with reasons).

    Raises:
        NothingNew: when there are no rows.
        DataError: when too many values break the contract.
    """
    from sanmaru.tables.rules import apply_rules

    settings, project = Settings.model_validate(context.settings), project_of(context)
    parts = rows_of_inputs(context)
    rows = joined(parts) if parts else None
    if rows is None or rows.is_empty():
        raise NothingNew("no rows came for the interval")
    kept, broken = apply_rules(rows, project.file.contract)
    values = rows.height * max(1, len(project.file.contract))
    if broken.height > settings.most * values:
        rules = ", ".join(f"{column} {rule} ({n})" for column, rule, n in _counted(broken)[:5])
        raise DataError(
            f"{broken.height} of {values} values that the contract speaks of break it: {rules}. The source has "
            "changed, or the contract is wrong."
        )
    outputs: dict[str, Any] = {
        "rows": keep_table(place_of(context, ".parquet"), kept), "count": kept.height, "set_aside": broken.height
    }  # fmt: skip
    quarantine = place_of(context, ".quarantine.csv")
    if broken.height:
        with whole(quarantine) as beside:
            broken.write_csv(beside)
        outputs["quarantine"] = quarantine
    else:
        quarantine.unlink(missing_ok=True)  # of an earlier attempt, whose values have been revised
    return outputs


def _counted(broken: Any) -> list[tuple[str, str, int]]:
    found = broken.group_by("column", "rule").len().sort("len", "column", descending=[True, False])
    return [(str(column), str(rule), int(n)) for column, rule, n in found.rows()]
