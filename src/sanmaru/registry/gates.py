"""The gate before an alias: what a version must show before it may stand where others rely on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import PackageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.metrics.base import Metric
    from sanmaru.packages.package import Package
    from sanmaru.tasks.base import Signature

TOLERANCE = 0.01
"""How much worse than the champion a version may look on the same rows, as a fraction of the champion's score."""
FEWEST_ROWS = 30
"""With fewer common rows an average says too little to let a version pass."""


@dataclass(frozen=True)
class Check:
    """What one check of the gate found."""

    name: str
    passed: bool
    text: str
    """One sentence with the figures."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for the log."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.name}: {self.text}"


def intact(folder: Path, fingerprint: str) -> tuple[Check, Package | None]:
    """Check that a package is the one that was registered and gives its golden answers."""
    from sanmaru.packages.golden import golden_rows
    from sanmaru.packages.package import Package

    name = "package intact"
    try:
        package = Package.load(folder)
        if fingerprint and package.fingerprint != fingerprint:
            raise PackageError(f"the package {folder} is not the one that was registered: its manifest was replaced.")
        worst = package.golden_test()
    except PackageError as error:
        return Check(name, False, str(error)), None
    rows = len(golden_rows(package))
    text = f"every file as registered, {rows} golden rows reproduce (largest difference {worst:.1g})"
    return Check(name, True, text), package


def compatible(candidate: Signature, champion: Signature) -> Check:
    """Check that whoever calls the champion can call the candidate.

    Inputs of the champion must be there with the same kind, outputs the same with the same classes. The candidate may
    take more inputs as long as none is required, and may do without some.
    """
    name = "signature compatible"
    old = {column.name: column for column in champion.inputs}
    new = {column.name: column for column in candidate.inputs}
    wrong: list[str] = []
    for column in new.values():
        known = old.get(column.name)
        if known is None and column.required:
            wrong.append(f"it requires a new input {column.name!r} ({column.kind}), which callers do not send")
        elif known is not None and not _takes(column.kind, known.kind):
            wrong.append(f"the input {column.name!r} was {known.kind} and is {column.kind}")
        elif known is not None and column.required and not known.required:
            wrong.append(f"the input {column.name!r} may no longer be missing")
    gone = [column for column in old if column not in new]
    if gone:
        wrong.append(f"it lacks the champion's inputs {', '.join(map(repr, gone[:5]))}")
    outputs = {output.name: output for output in candidate.outputs}
    for output in champion.outputs:
        found = outputs.get(output.name)
        if found is None:
            wrong.append(f"it does not predict {output.name!r}")
        elif (found.kind, found.classes, found.dtype) != (output.kind, output.classes, output.dtype):
            gained = sorted(set(found.classes) - set(output.classes))
            lost = sorted(set(output.classes) - set(found.classes))
            detail = f" (new: {gained[:5]}, gone: {lost[:5]})" if gained or lost else ""
            was, now = f"{output.kind} of {output.dtype}", f"{found.kind} of {found.dtype}"
            wrong.append(f"{output.name!r} was {was} and is {now}{detail}")
        elif lost_levels := sorted(set(output.quantiles) - set(found.quantiles)):
            wrong.append(f"it lacks the quantiles {lost_levels} of {output.name!r}")
    if wrong:
        return Check(name, False, "; ".join(wrong))
    extra = [column for column in new if column not in old]
    also = f", and {len(extra)} new optional inputs: {', '.join(extra[:5])}" if extra else ""
    return Check(name, True, f"same inputs ({len(old)}) and outputs ({len(champion.outputs)}){also}")


def _takes(new: str, old: str) -> bool:
    """Whether a column of kind `new` takes values that were sent for kind `old`."""
    words, figures = {"category", "text"}, {"number", "integer"}
    return new == old or {new, old} <= words or (new == "number" and old in figures)


def not_worse(
    candidate: Package, champion: Package, champion_name: str, metric: Metric, tolerance: float = TOLERANCE
) -> Check:
    """Check that the candidate is not worse than the champion on the rows that both were judged on out of fold.

    Fails when the champion is shown to be better (95 % interval of a paired bootstrap), when the score is worse by
    more than `tolerance` times the champion's, or when there are fewer than 30 common rows.
    """
    from sanmaru.metrics.bootstrap import paired

    name = f"not worse than {champion_name}"
    rows = common_rows(candidate, champion)
    n_rows = len(rows.truth)
    if n_rows < FEWEST_ROWS:
        return Check(
            name,
            False,
            f"only {n_rows} rows were judged out of fold in both with the same truth (of {rows.ours} and "
            f"{rows.theirs}), at least {FEWEST_ROWS} are needed. Train the new one on data that holds the champion's "
            "rows (split.reuse takes its folds), or pass --force and say why.",
        )
    ours, theirs = metric(rows.truth, rows.candidate), metric(rows.truth, rows.champion)
    verdict = paired(metric, rows.truth, rows.candidate, rows.champion, groups=rows.groups, seed=0, rounds=2000)
    figures = (
        f"{metric.title} {ours:.4g} against {theirs:.4g} on {n_rows} common rows, difference {verdict.difference:+.3g} "
        f"(95 % interval {verdict.low:+.3g} to {verdict.high:+.3g})"
    )
    allowed = tolerance * abs(theirs)
    worse_by = theirs - ours if metric.greater_is_better else ours - theirs
    if verdict.b_better:
        return Check(name, False, f"the champion is better: {figures}")
    if not worse_by <= allowed:  # also where a score is not a number
        return Check(name, False, f"worse by more than {allowed:.3g} ({tolerance:.1%} of the champion's): {figures}")
    return Check(name, True, f"{figures}, tolerance {allowed:.3g}")


@dataclass(frozen=True, kw_only=True)
class Common:
    """Rows that two packages predicted out of fold, side by side."""

    truth: np.ndarray
    candidate: np.ndarray
    """What metrics take, as `Task.scored` gives it."""
    champion: np.ndarray
    groups: np.ndarray | None
    ours: int
    """Rows that the candidate was judged on."""
    theirs: int


def common_rows(candidate: Package, champion: Package) -> Common:
    """Match the evaluation rows of two packages by id (as text); rows whose truth has changed are left out."""
    import numpy as np
    import polars as pl

    ours, theirs = _judged(candidate), _judged(champion)
    key = ["id", "n", "checksum" if _is_windows(candidate) else "truth"]
    joined = ours.select(key).join(theirs.select(key), on="id", suffix="_theirs").sort("n")
    if _is_windows(candidate):
        same = pl.col("checksum") == pl.col("checksum_theirs")
    elif candidate.output.kind == "regression":
        same = (pl.col("truth") - pl.col("truth_theirs")).abs() <= 1e-9 * pl.col("truth").abs()
    else:
        same = pl.col("truth") == pl.col("truth_theirs")
    joined = joined.filter(same)
    here, there = joined["n"].to_numpy(), joined["n_theirs"].to_numpy()
    groups = ours["group"].gather(here).cast(pl.String).fill_null("").to_numpy() if "group" in ours.columns else None
    truth = candidate.task.truth(ours) if _is_windows(candidate) else ours["truth"].to_numpy()
    return Common(
        truth=truth[here],
        candidate=_scored(candidate, ours, here),
        champion=_scored(champion, theirs, there),
        groups=None if groups is None else np.asarray(groups, dtype=str),
        ours=len(ours),
        theirs=len(theirs),
    )


def _judged(package: Package) -> pl.DataFrame:
    """The evaluation table with `id` as text, `truth` as codes or numbers, and the row number `n`."""
    import polars as pl

    table = package.evaluation().filter(pl.col("fold") >= 0)
    if not _is_windows(package):
        labels = table.select(pl.col("truth").alias(package.output.name))
        table = table.with_columns(truth=pl.Series(package.task.truth(labels)))
    table = table.with_columns(pl.col(package.task.roles.id).cast(pl.String).alias("id"))
    return table.unique("id", keep="none", maintain_order=True).with_row_index("n")


def _is_windows(package: Package) -> bool:
    """Whether the rows are windows of series, whose truth is many numbers and a checksum of them."""
    return package.signature.task == "forecasting"


def _scored(package: Package, table: pl.DataFrame, rows: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.asarray(package.task.scored(table)[rows])
