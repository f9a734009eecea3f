from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from sanmaru.errors import DataError
from sanmaru.tables.config import SplitConfig
from sanmaru.tables.roles import Roles
from sanmaru.tables.split import Folds, inner, split

ROLES = Roles(id="id", targets=("y",))
GROUPED = Roles(id="id", targets=("y",), group="g")
TIMED = Roles(id="id", targets=("y",), time="t")


def table(y: object = None, **columns: object) -> pl.DataFrame:
    n = len(next(iter(columns.values()))) if y is None else len(y)  # type: ignore[arg-type]
    return pl.DataFrame({"id": np.arange(n), "y": np.zeros(n) if y is None else y, **columns})


def make(data: pl.DataFrame, roles: Roles = ROLES, *, classes: bool = True, **config: object) -> Folds:
    return split(data, roles, SplitConfig(**config), classes=classes)  # type: ignore[arg-type]


labels = st.lists(st.integers(0, 3), min_size=10, max_size=60)
kinds = st.sampled_from(["random", "stratified", "grouped", "stratified-grouped"])


@settings(max_examples=80, deadline=None)
@given(y=labels, kind=kinds, folds=st.integers(2, 5), seed=st.integers(0, 9), classes=st.booleans())
def test_groups_stay_whole_and_every_row_is_validated_once(
    y: list[int], kind: str, folds: int, seed: int, classes: bool
) -> None:
    groups = [(value * 7 + i * i) % 9 for i, value in enumerate(y)]
    if len(set(groups)) < folds:
        groups = list(range(len(y)))
    data = table(y, g=groups)
    result = make(data, GROUPED, kind=kind, folds=folds, seed=seed, classes=classes)
    assert data.with_columns(fold=result.fold).group_by("g").agg(pl.col("fold").n_unique())["fold"].max() == 1
    validated = np.concatenate([result.valid(k) for k in range(folds)])
    assert sorted(validated) == list(range(len(y)))
    for k in range(folds):
        assert len(result.valid(k)) > 0
        assert sorted([*result.train(k), *result.valid(k)]) == list(range(len(y)))
    again = make(data, GROUPED, kind=kind, folds=folds, seed=seed, classes=classes)
    assert np.array_equal(again.fold, result.fold)


@settings(max_examples=60, deadline=None)
@given(y=labels, folds=st.integers(2, 5), seed=st.integers(0, 9))
def test_stratified_folds_are_even_to_one_row(y: list[int], folds: int, seed: int) -> None:
    result = make(table(y), kind="stratified", folds=folds, seed=seed)
    sizes = np.bincount(result.fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in set(y):
        held = np.bincount(result.fold[np.array(y) == label], minlength=folds)
        assert held.max() - held.min() <= 1


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(0, 12), min_size=12, max_size=60),
    folds=st.integers(2, 4),
    gap=st.integers(0, 3),
    window=st.sampled_from(["expanding", "rolling"]),
)
def test_time_splits_train_on_the_past_only(times: list[int], folds: int, gap: int, window: str) -> None:
    data = table(t=times)
    try:
        result = make(data, TIMED, kind="time", folds=folds, gap=gap, window=window)
    except DataError:
        assert len(set(times)) <= folds or gap > 0
        return
    t = np.array(times)
    for k in range(folds):
        train, valid = result.train(k), result.valid(k)
        assert len(train) > 0
        assert len(valid) > 0
        # Strictly earlier: equal times are never torn, and `gap` rows lie between.
        assert t[train].max() < t[valid].min()
        if window == "expanding":
            assert len(train) == np.sum(t < t[valid].min()) - gap
        if k:
            assert t[result.valid(k - 1)].max() < t[valid].min()
    restored = Folds.restore(result.fold, result.to_json(), data["t"])
    assert all(np.array_equal(restored.train(k), result.train(k)) for k in range(folds))


def test_gap_and_window_count_rows() -> None:
    data = table(t=list(range(60)))
    grow = make(data, TIMED, kind="time", folds=5, gap=3)
    assert grow.valid(0).tolist() == list(range(10, 20))
    assert grow.train(0).tolist() == list(range(7))
    assert grow.train(4).tolist() == list(range(47))
    roll = make(data, TIMED, kind="time", folds=5, gap=3, window="rolling")
    assert roll.train(4).tolist() == list(range(37, 47))
    assert grow.latest().tolist() == list(range(60))
    assert roll.latest().tolist() == list(range(50, 60))
    assert (grow.fold == -1).sum() == 10


def test_rows_out_of_order_are_split_by_time() -> None:
    data = table(t=list(range(59, -1, -1)))
    result = make(data, TIMED, kind="time", folds=5)
    assert result.valid(4).tolist() == list(range(10))
    assert result.train(0).tolist() == list(range(50, 60))


def test_class_balance_is_as_good_as_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    y = generator.choice(3, size=997, p=[0.7, 0.25, 0.05])
    groups = generator.integers(0, 120, size=997)

    def worst(folds: list[np.ndarray]) -> float:
        return max(abs(np.mean(y[rows] == label) - np.mean(y == label)) for rows in folds for label in range(3))

    ours = make(table(y), kind="stratified")
    theirs = [valid for _, valid in StratifiedKFold(5, shuffle=True, random_state=0).split(y, y)]
    assert worst([ours.valid(k) for k in range(5)]) <= worst(theirs) + 1e-3

    grouped = make(table(y, g=groups), GROUPED, kind="stratified-grouped")
    theirs = [valid for _, valid in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(y, y, groups)]
    assert worst([grouped.valid(k) for k in range(5)]) <= worst(theirs) + 5e-3
    sizes = np.bincount(grouped.fold)
    assert sizes.max() - sizes.min() <= max(10, *(abs(len(rows) - 199) for rows in theirs))


def test_numbers_are_stratified_on_quantile_bins() -> None:
    y = np.random.default_rng(1).lognormal(size=500)
    result = make(table(y), kind="stratified", classes=False)
    bins = (pl.Series(y).rank() - 0.5).to_numpy() * 10 // 500
    for k in range(5):
        assert np.bincount(bins[result.valid(k)].astype(int), minlength=10).tolist() == [10] * 10


def test_groups_turn_plain_kinds_into_grouped_ones() -> None:
    data = table([0, 1] * 10, g=[i // 2 for i in range(20)])
    result = make(data, GROUPED, kind="stratified", folds=2)
    assert result.kind == "stratified-grouped"
    assert result.notes == ("The split is stratified-grouped, not stratified: rows of one g are never torn apart.",)
    assert make(data, GROUPED, kind="random", folds=2).kind == "grouped"


def test_rare_classes_are_noted() -> None:
    result = make(table(["a"] * 20 + ["b"] * 3), kind="stratified")
    assert result.notes == ("Class 'b' of y has 3 rows: 2 of 5 folds have none to validate.",)


def test_two_targets_are_stratified_together() -> None:
    roles = Roles(id="id", targets=("y", "z"))
    data = table([0, 1] * 20, z=["p", "p", "q", "q"] * 10)
    result = make(data, roles, kind="stratified")
    counts = data.with_columns(fold=result.fold).group_by("fold", "y", "z").len()["len"]
    assert counts.to_list() == [2] * 20


def test_a_given_column() -> None:
    data = table([0, 1, 0, 1, 0], fold=["0", "1", None, "0", "1"])
    result = make(data, kind="column", column="fold")
    assert result.fold.tolist() == [0, 1, -1, 0, 1]
    assert result.train(0).tolist() == [1, 2, 4]
    assert result.n_folds == 2


def test_earlier_folds_are_taken_back_by_id() -> None:
    data = table([0, 1] * 10)
    first = make(data, kind="stratified", folds=2)
    previous = pl.DataFrame({"id": data["id"].cast(pl.String), "fold": first.fold}).sample(fraction=1.0, shuffle=True)
    again = split(data[::-1], ROLES, SplitConfig(reuse="r"), classes=True, previous=previous)
    assert again.fold.tolist() == first.fold[::-1].tolist()
    assert again.notes == ("Folds are those of run r.",)
    with pytest.raises(DataError, match="2 of 20 ids of the table are missing in run r"):
        split(data, ROLES, SplitConfig(reuse="r"), classes=True, previous=previous.filter(pl.col("id").cast(int) > 1))


def test_earlier_folds_in_time_stay_in_time() -> None:
    data = table(t=list(range(24)))
    first = make(data, TIMED, kind="time", folds=3)
    previous = pl.DataFrame({"id": data["id"], "fold": first.fold})
    again = split(data, TIMED, SplitConfig(), classes=True, previous=previous, previous_json=first.to_json())
    assert again.train(1).tolist() == first.train(1).tolist()
    by_config = split(data, TIMED, SplitConfig(kind="time"), classes=True, previous=previous)
    assert by_config.train(1).tolist() == first.train(1).tolist()
    with pytest.raises(DataError, match=r"need the time column; set data\.time"):
        split(data, ROLES, SplitConfig(), classes=True, previous=previous, previous_json=first.to_json())


@pytest.mark.parametrize(
    ("config", "roles", "columns", "message"),
    [
        ({"kind": "grouped"}, ROLES, {}, r"'grouped' needs data\.group"),
        ({"kind": "time"}, ROLES, {}, r"needs data\.time"),
        ({"kind": "grouped", "folds": 4}, GROUPED, {"g": [1, 1, 2, 2, 3, 3]}, "has 3 groups, too few for 4 folds"),
        ({"kind": "random", "folds": 7}, ROLES, {"g": [0] * 6}, "6 rows cannot make 7 folds"),
        ({"kind": "grouped", "folds": 2}, GROUPED, {"g": [1, None, 2, 2, 3, 3]}, "is empty in 1 rows"),
        ({"kind": "time", "folds": 3}, TIMED, {"t": [1, 1, 2, 2, 3, 3]}, "has 3 different times, too few for 3 folds"),
        (
            {"kind": "time", "folds": 2, "gap": 2},
            TIMED,
            {"t": [1, 2, 3, 4, 5, 6]},
            "gap of 2 rows leaves nothing",
        ),
        ({"kind": "column", "column": "f"}, ROLES, {"f": ["0", "1", "x", "0", "1", "1"]}, "holds 'x'; folds are whole"),
        ({"kind": "column", "column": "f"}, ROLES, {"f": [0, 2, 0, 2, 0, 2]}, r"has the folds \[0, 2\]"),
        ({"kind": "column", "column": "no"}, ROLES, {"f": [0] * 6}, "'no' is not a column"),
        (
            {"kind": "column", "column": "f"},
            GROUPED,
            {"f": [0, 1, 0, 1, 0, 1], "g": [1, 1, 2, 3, 4, 5]},
            r"tears 1 groups apart, e\.g\. g 1 into folds \[0, 1\]",
        ),
    ],
)
def test_splits_that_cannot_be_made(config: dict, roles: Roles, columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(table([0, 1] * 3, **columns), roles, **config)


@settings(max_examples=60, deadline=None)
@given(y=labels, kind=kinds, grouped=st.booleans(), seed=st.integers(0, 9))
def test_inner_rows_keep_the_same_promises(y: list[int], kind: str, grouped: bool, seed: int) -> None:
    grouped = grouped or "grouped" in kind
    groups = [i // 3 for i in range(len(y))]
    data = table(y, g=groups)
    fit, select = inner(
        data, GROUPED if grouped else ROLES, SplitConfig(kind=kind), classes=True, fraction=0.2, seed=seed
    )
    assert sorted([*fit, *select]) == list(range(len(y)))
    assert 0 < len(select) <= 0.5 * len(y)
    if grouped:
        assert not {groups[i] for i in fit} & {groups[i] for i in select}
    else:
        assert abs(len(select) - 0.2 * len(y)) <= 1 + len(set(y))
        assert {y[i] for i in select} <= {y[i] for i in fit}


def test_inner_rows_are_the_last_in_time() -> None:
    data = table(t=[5, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    fit, select = inner(data, TIMED, SplitConfig(kind="time", gap=2), classes=False, fraction=0.2, seed=0)
    assert select.tolist() == [8, 9]
    assert fit.tolist() == [0, 1, 2, 3, 4, 5]


def test_too_few_rows_for_inner_ones() -> None:
    with pytest.raises(DataError, match=r"1 rows cannot be divided.*train\.selection: none"):
        inner(table([1]), ROLES, SplitConfig(), classes=True, seed=0)
    with pytest.raises(DataError, match="all belong to one g"):
        inner(table([1, 0], g=[1, 1]), GROUPED, SplitConfig(), classes=True, seed=0)
    with pytest.raises(DataError, match="too few different times"):
        inner(table(t=[1, 1, 1]), TIMED, SplitConfig(kind="time"), classes=True, seed=0)
