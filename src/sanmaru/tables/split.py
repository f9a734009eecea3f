"""Folds: who is validated when. Own, seeded and deterministic; groups are never torn.

Every kind gives each row one fold, or -1 for a row that is only ever trained on. For all kinds but `time`, fold k
trains on every row that it does not validate; in time it trains on what lies before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.config import SplitConfig
from sanmaru.tables.match import align
from sanmaru.tables.roles import Roles


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """A division of a table's rows."""

    fold: np.ndarray
    """int32 (n,): the fold in which a row is validated; -1 for never."""
    kind: str
    """What was really done: `stratified` becomes `stratified-grouped` where rows belong to groups."""
    n_folds: int
    notes: tuple[str, ...] = ()
    """Sentences that the reader of a report should know, such as classes rarer than folds."""
    gap: int = 0
    window: str = "expanding"
    order: np.ndarray | None = None
    """int64 (n,): positions in time order, kind `time` only."""

    def train(self, k: int) -> np.ndarray:
        """Return the positions, int64 and ascending, that fold k trains on."""
        if self.order is None:
            return np.flatnonzero(self.fold != k)
        in_order = self.fold[self.order]
        first = int(np.flatnonzero(in_order == k)[0])
        end = max(first - self.gap, 0)
        # A rolling window is as long as what the first fold has to learn from.
        start = max(end - int(np.flatnonzero(in_order >= 0)[0]), 0) if self.window == "rolling" else 0
        return np.sort(self.order[start:end])

    def valid(self, k: int) -> np.ndarray:
        """Return the positions, int64 and ascending, that fold k validates on."""
        return np.flatnonzero(self.fold == k)

    def latest(self) -> np.ndarray:
        """Return the positions, int64 and ascending, that a model for later rows trains on: all, or a window."""
        if self.order is None or self.window != "rolling":
            return np.arange(len(self.fold))
        length = int(np.flatnonzero(self.fold[self.order] >= 0)[0])
        return np.sort(self.order[-length:])

    def to_json(self) -> dict[str, Any]:
        """Return all but the arrays, as plain values that `restore` takes back with them."""
        return {
            "kind": self.kind,
            "n_folds": self.n_folds,
            "notes": list(self.notes),
            "gap": self.gap,
            "window": self.window,
        }

    @classmethod
    def restore(cls, fold: np.ndarray, value: Mapping[str, Any], time: pl.Series | None = None) -> Folds:
        """Rebuild folds from the stored fold of each row, `to_json`, and for kind `time` the time column.

        Raises:
            DataError: when folds in time come without the time column.
        """
        if value["kind"] == "time" and time is None:
            raise DataError("folds in time order need the time column; set data.time as in the run they come from.")
        return cls(
            fold=np.asarray(fold, dtype=np.int32),
            kind=value["kind"],
            n_folds=int(value["n_folds"]),
            notes=tuple(value.get("notes", ())),
            gap=int(value.get("gap", 0)),
            window=str(value.get("window", "expanding")),
            order=_time_order(time) if value["kind"] == "time" and time is not None else None,
        )


def split(
    table: pl.DataFrame,
    roles: Roles,
    config: SplitConfig,
    *,
    classes: bool,
    previous: pl.DataFrame | None = None,
    previous_json: Mapping[str, Any] | None = None,
) -> Folds:
    """Divide the rows of a table into folds.

    Args:
        table: With the columns that `roles` names and, for kind `column`, `config.column`.
        roles: Where `roles.group` is set, `random` and `stratified` keep groups whole as well.
        config: What the project file says.
        classes: Whether the targets are classes; numbers are stratified on `config.bins` quantile bins.
        previous: Columns `id` (or the id column's name) and `fold` of an earlier run: its folds are taken as they
            are. It may have rows that `table` has not.
        previous_json: `Folds.to_json` of the earlier run, which tells a split in time from others; without it
            `config.kind` does.

    Raises:
        DataError: when the split cannot be made: fewer groups (or times, or rows) than folds, a missing role, folds
            that tear a group, ids that do not match.
    """
    if previous is not None:
        return _reused(table, roles, config, previous, previous_json)
    n = len(table)
    if config.kind != "column" and n < config.folds:
        raise DataError(f"{n} rows cannot make {config.folds} folds. Lower split.folds or bring more rows.")
    if config.kind == "time":
        return _in_time(table, roles, config)
    if config.kind == "column":
        return _from_column(table, roles, config)
    generator = np.random.default_rng(config.seed)
    groups = _group_codes(table, roles, config.kind)
    stratify = "stratified" in config.kind
    notes: list[str] = []
    strata = _strata(table, roles, config, classes) if stratify else np.zeros(n, dtype=np.int64)
    if groups is None:
        fold = _deal(strata, config.folds, generator)
        kind = "stratified" if stratify else "random"
    else:
        if groups.max() + 1 < config.folds:
            raise DataError(
                f"column {roles.group!r} has {groups.max() + 1} groups, too few for {config.folds} folds that keep "
                "groups whole. Lower split.folds."
            )
        fold = _deal_groups(groups, strata, config.folds, generator)
        kind = "stratified-grouped" if stratify else "grouped"
        if kind != config.kind:
            notes.append(f"The split is {kind}, not {config.kind}: rows of one {roles.group} are never torn apart.")
    if stratify and classes:
        notes += _rare(table, roles, groups, fold, config.folds)
    return Folds(fold=fold, kind=kind, n_folds=config.folds, notes=tuple(notes))


def inner(
    table: pl.DataFrame,
    roles: Roles,
    config: SplitConfig,
    *,
    classes: bool,
    fraction: float = 0.1,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide a fold's training rows into rows to fit and rows that select the best epoch or number of trees.

    The same promises hold as for the folds: groups stay whole, classes are stratified, and in time the selecting rows
    are the last ones, `config.gap` rows after the others.

    Returns:
        Positions in `table` to fit on and to select with, int64 and ascending; about `fraction` of the rows select.

    Raises:
        DataError: when there are too few rows, groups or times to divide.
    """
    n = len(table)
    wanted = max(1, round(n * fraction))
    advice = "Set train.selection: none to do without."
    if n < 2:
        raise DataError(f"{n} rows cannot be divided into rows to fit and rows to select with. {advice}")
    if config.kind == "time" and roles.time is not None:
        order = _time_order(table[roles.time])
        cuts = _cuts(table[roles.time].gather(order))
        usable = cuts[cuts > config.gap]
        if not len(usable):
            raise DataError(f"the {n} rows before a fold hold too few different times to select with. {advice}")
        cut = int(usable[np.argmin(np.abs(usable - (n - wanted)))])
        return np.sort(order[: cut - config.gap]), np.sort(order[cut:])
    generator = np.random.default_rng(seed)
    strata = _strata(table, roles, config, classes) if classes or "stratified" in config.kind else np.zeros(n, np.int64)
    groups = _group_codes(table, roles, config.kind)
    parts = max(2, round(n / wanted))
    if groups is None:
        # A class with one row is fitted, never only looked at.
        alone = np.bincount(strata, minlength=strata.max() + 1)[strata] == 1
        fold = np.full(n, -1, dtype=np.int32)
        candidates = np.flatnonzero(~alone) if (~alone).sum() >= 2 else np.arange(n)
        fold[candidates] = _deal(strata[candidates], min(parts, len(candidates)), generator)
        select = fold == 0
    else:
        n_groups = int(groups.max()) + 1
        if n_groups < 2:
            raise DataError(
                f"the rows all belong to one {roles.group}, so none can be kept apart to select with. {advice}"
            )
        fold = _deal_groups(groups, strata, min(parts, n_groups), generator)
        sizes = np.bincount(fold)
        select = fold == int(np.argmin(np.abs(sizes - wanted)))
    return np.flatnonzero(~select), np.flatnonzero(select)


def _deal(strata: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Deal rows out like cards, stratum after stratum: every stratum and the whole are even to one row."""
    n = len(strata)
    shuffled = generator.permutation(n)
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    fold = np.empty(n, dtype=np.int32)
    fold[by_stratum] = np.arange(n) % folds
    return fold


def _deal_groups(groups: np.ndarray, strata: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Give whole groups to folds, largest first, each to the fold where it adds least to the unevenness.

    Unevenness is the sum over folds of the squared share of each stratum and of the rows; a rare stratum's share
    weighs as much as a frequent one's. Like scikit-learn's StratifiedGroupKFold, with that other measure.
    """
    n_groups, n_strata = int(groups.max()) + 1, int(strata.max()) + 1
    counts = np.zeros((n_groups, n_strata))
    np.add.at(counts, (groups, strata), 1.0)
    shares: np.ndarray = counts / counts.sum(axis=0)
    # The last column balances the number of rows; it counts as much as all strata together.
    shares = np.column_stack([shares, counts.sum(axis=1) / len(groups) * np.sqrt(n_strata)])
    shuffled = generator.permutation(n_groups)
    order = shuffled[np.argsort(-(shares[shuffled] ** 2).sum(axis=1), kind="stable")]
    held = np.zeros((folds, shares.shape[1]))
    fold_of = np.empty(n_groups, dtype=np.int32)
    for place, group in enumerate(order):
        if n_groups - place <= (empty := np.flatnonzero(held[:, -1] == 0)).size:
            best = int(empty[0])  # no fold may stay without a group
        else:
            best = int(np.argmin(held @ shares[group]))
        held[best] += shares[group]
        fold_of[group] = best
    fold: np.ndarray = fold_of[groups]
    return fold


def _strata(table: pl.DataFrame, roles: Roles, config: SplitConfig, classes: bool) -> np.ndarray:
    """Return a code per row, int64 (n,): the joint label of all targets, or the quantile bin of a number."""
    if not roles.targets:
        raise DataError(f"split.kind {config.kind!r} needs data.target.")
    if missing := sum(table[name].null_count() for name in roles.targets):
        raise DataError(f"{missing} targets are missing, so rows cannot be stratified.")
    if classes:
        return _codes(table.select(pl.concat_str(pl.col(roles.targets).cast(pl.String), separator="\0")).to_series())
    parts = []
    for name in roles.targets:
        ranks = table[name].rank("average").to_numpy()
        parts.append(np.minimum((ranks - 0.5) * config.bins // len(table), config.bins - 1).astype(np.int64))
    return _codes(pl.Series(["/".join(map(str, row)) for row in zip(*parts, strict=True)]))


def _codes(values: pl.Series) -> np.ndarray:
    """Return ranks of the distinct texts, int64 (n,), so that the order of rows plays no part."""
    codes: np.ndarray = (values.cast(pl.String).rank("dense") - 1).cast(pl.Int64).to_numpy()
    return codes


def _group_codes(table: pl.DataFrame, roles: Roles, kind: str) -> np.ndarray | None:
    if roles.group is None:
        if "grouped" in kind:
            raise DataError(f"split.kind {kind!r} needs data.group: the column of the entity that a row belongs to.")
        return None
    missing = table[roles.group].null_count()
    if missing:
        raise DataError(f"column {roles.group!r} (data.group) is empty in {missing:,} rows, so groups are not known.")
    return _codes(table[roles.group])


def _rare(table: pl.DataFrame, roles: Roles, groups: np.ndarray | None, fold: np.ndarray, folds: int) -> list[str]:
    notes = []
    for name in roles.targets:
        labels = table[name].cast(pl.String)
        frame = pl.DataFrame({"label": labels, "fold": fold, "group": fold if groups is None else groups})
        for label, rows, held, of in (
            frame.group_by("label")
            .agg(pl.len(), pl.col("fold").n_unique(), pl.col("group").n_unique().alias("groups"))
            .sort("label")
            .iter_rows()
        ):
            if held < folds:
                what = f"{rows} rows" if groups is None else f"{rows} rows in {of} groups"
                notes.append(
                    f"Class {label!r} of {name} has {what}: {folds - held} of {folds} folds have none to validate."
                )
    return notes


def _time_order(time: pl.Series) -> np.ndarray:
    """Return positions in time order, int64 (n,); equal times stay in the order of the rows."""
    order: np.ndarray = np.argsort(time.rank("dense").to_numpy(), kind="stable")
    return order


def _cuts(ordered: pl.Series) -> np.ndarray:
    """Return the positions at which an ordered time column may be cut without tearing equal times."""
    changes: np.ndarray = np.flatnonzero((ordered != ordered.shift(1)).fill_null(False).to_numpy())
    return changes


def _in_time(table: pl.DataFrame, roles: Roles, config: SplitConfig) -> Folds:
    if roles.time is None:
        raise DataError("split.kind 'time' needs data.time: the column that orders rows in time.")
    time = table[roles.time]
    if time.null_count():
        raise DataError(f"column {roles.time!r} (data.time) is empty in {time.null_count():,} rows.")
    order = _time_order(time)
    possible = _cuts(time.gather(order))
    n, blocks = len(table), config.folds + 1
    if len(possible) + 1 < blocks:
        raise DataError(
            f"column {roles.time!r} has {len(possible) + 1} different times, too few for {config.folds} folds "
            f"({blocks} parts, the first only trained on). Lower split.folds."
        )
    cuts: list[int] = []
    for i in range(1, blocks):
        # Leave enough possible cuts on both sides for the other parts.
        after = possible[possible > (cuts[-1] if cuts else 0)]
        left = after[: len(after) - (blocks - 1 - i)]
        cuts.append(int(left[np.argmin(np.abs(left - round(i * n / blocks)))]))
    if config.gap >= cuts[0]:
        raise DataError(
            f"split.gap of {config.gap} rows leaves nothing to train the first fold on: {cuts[0]} rows lie before it. "
            "Lower split.gap or split.folds."
        )
    fold = np.full(n, -1, dtype=np.int32)
    for k, (start, end) in enumerate(zip(cuts, [*cuts[1:], n], strict=True)):
        fold[order[start:end]] = k
    return Folds(fold=fold, kind="time", n_folds=config.folds, gap=config.gap, window=config.window, order=order)


def _from_column(table: pl.DataFrame, roles: Roles, config: SplitConfig) -> Folds:
    name = str(config.column)
    if name not in table.columns:
        raise DataError(f"split.column {name!r} is not a column of the table.")
    numbers = table[name].cast(pl.Float64, strict=False)
    is_fold = (numbers == numbers.floor()) & (numbers >= -1)
    wrong = table[name].is_not_null() & ~is_fold.fill_null(False)
    if wrong.any():
        raise DataError(
            f"split.column {name!r} holds {table[name].filter(wrong)[0]!r}; folds are whole numbers from 0, and empty "
            "for rows that are only trained on."
        )
    fold = numbers.fill_null(-1).cast(pl.Int32).to_numpy()
    return _checked(table, roles, fold, "column", name)


def _checked(table: pl.DataFrame, roles: Roles, fold: np.ndarray, kind: str, source: str) -> Folds:
    present = sorted({int(k) for k in np.unique(fold)} - {-1})
    if len(present) < 2 or present != list(range(len(present))):
        raise DataError(f"{source} has the folds {present}; at least 0 and 1 are needed, and none may be left out.")
    if roles.group is not None:
        torn = (
            pl.DataFrame({"group": table[roles.group], "fold": fold})
            .group_by("group")
            .agg(pl.col("fold").unique().sort())
            .filter(pl.col("fold").list.len() > 1)
            .sort("group")
        )
        if len(torn):
            group, folds = torn.row(0)
            raise DataError(
                f"{source} tears {len(torn):,} groups apart, e.g. {roles.group} {group!r} into folds {folds}. "
                "Mend it, or leave data.group out."
            )
    return Folds(fold=fold, kind=kind, n_folds=len(present))


def _reused(
    table: pl.DataFrame,
    roles: Roles,
    config: SplitConfig,
    previous: pl.DataFrame,
    previous_json: Mapping[str, Any] | None,
) -> Folds:
    source = f"run {config.reuse}" if config.reuse else "the earlier run"
    ids = previous["id"] if "id" in previous.columns else previous[roles.id]
    at = align(table[roles.id], ids, left_name="the table", right_name=source, subset=True)
    fold = previous["fold"].gather(at).cast(pl.Int32).to_numpy()
    kind = "time" if config.kind == "time" else "reused"
    value = dict(previous_json or {"kind": kind, "gap": config.gap, "window": config.window})
    value.setdefault("notes", ())
    if value["kind"] == "time":
        checked = _checked(table, replace(roles, group=None), fold, "time", source)
    else:
        checked = _checked(table, roles, fold, value["kind"], source)
    value["n_folds"] = checked.n_folds
    note = f"Folds are those of {source}."
    value["notes"] = (*(text for text in value["notes"] if text != note), note)
    return Folds.restore(fold, value, None if roles.time is None else table[roles.time])
