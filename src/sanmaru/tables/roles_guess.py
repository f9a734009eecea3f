"""Guessing which column plays which role, each guess with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from sanmaru.tables import pictures
from sanmaru.tables.profile import Profile, counts_on, holds_pictures, in_order, words
from sanmaru.tables.roles import ROW_ID


@dataclass(frozen=True)
class Guess:
    """A column, and why."""

    name: str
    why: str


_ID_WORDS = {"id", "ids", "idx", "index", "no", "num", "number", "key", "uuid", "guid", "serial", "rowid", "순번"}
_ID_ENDINGS = re.compile(r"(ID|번호|순번|아이디)$")
_TARGETS = ("target", "label", "labels", "y", "class", "category", "outcome", "response")
_TARGETS_KO = ("정답", "라벨", "레이블", "타겟", "타깃", "분류")
_TARGET_WORDS = {
    "price", "income", "salary", "sales", "revenue", "amount", "value", "score", "grade", "churn", "default", "count",
    "survived", "demand", "quality", "diagnosis", "fraud", "result", "가격", "금액", "매출", "점수", "여부", "결과",
}  # fmt: skip
_ENTITIES = {
    "person", "people", "subject", "patient", "user", "customer", "client", "member", "household", "family", "student",
    "speaker", "driver", "player", "session", "device", "group", "grp", "author", "owner", "employee", "site", "well",
    "사람", "고객", "환자", "회원", "사용자", "가구", "학생", "화자", "그룹", "대상자", "참가자",
}  # fmt: skip
_CALENDAR = (("year", "yr", "연도", "년"), ("month", "mon", "월"), ("day", "일"), ("hour", "hr", "시"))


def guess_image(columns: Mapping[str, Profile]) -> Guess | None:
    """Return the column with pictures' paths (or bytes)."""
    for column in columns.values():
        if holds_pictures(column):
            return Guess(column.name, f"its cells end like pictures, e.g. {column.values.drop_nulls()[0]}")
        if column.kind == "image":
            return Guess(column.name, "it holds bytes")
    return None


def guess_target(
    columns: Mapping[str, Profile], test: Sequence[str] | None, taken: set[str | None]
) -> tuple[Guess, bool] | None:
    """Return the column to predict, and whether that is sure."""
    usable = [c for c in columns.values() if c.name not in taken and c.distinct > 1 and c.kind not in ("date", "image")]
    if test is not None:
        absent = [column for column in usable if column.name not in test]
        if len(absent) == 1:
            return Guess(absent[0].name, "it is the only column that the test table lacks"), True
        usable = absent or usable
    for name in (*_TARGETS, *_TARGETS_KO):
        for column in usable:
            if column.name.strip().lower() == name:
                return Guess(column.name, "of its name"), True
    learnable = [c for c in usable if c.kind != "text" and not (c.kind == "category" and c.distinct > 0.5 * c.rows)]
    for column in reversed(learnable):
        korean = any(word in column.name for word in _TARGET_WORDS if ord(word[0]) > 127)
        if korean or _TARGET_WORDS & words(column.name):
            return Guess(column.name, "its name sounds like what one predicts"), False
    if learnable:
        return Guess(learnable[-1].name, "it is the last column"), False
    return None


def guess_id(columns: Mapping[str, Profile], test: Sequence[str] | None, taken: set[str | None]) -> Guess | None:
    """Return the column that names rows: unique, and called like it or counting on."""
    for column in columns.values():
        if column.name in taken or not column.unique or column.kind not in ("integer", "category", "text"):
            continue
        if test is not None and column.name not in test:
            continue
        if _ID_WORDS & words(column.name) or _ID_ENDINGS.search(column.name):
            return Guess(column.name, "it is different in every row and called like an id")
        if column.place == 0 and counts_on(column.values):
            return Guess(column.name, "it counts on by one from row to row")
    return None


def guess_group(columns: Mapping[str, Profile], image: str | None, target: str, taken: set[str | None]) -> Guess | None:
    """Return the column of the entity that several rows belong to."""
    for column in columns.values():
        if column.name in taken or column.kind not in ("integer", "category") or not _repeats(column.values):
            continue
        if _ENTITIES & words(column.name) or any(e in column.name for e in _ENTITIES if ord(e[0]) > 127):
            each = column.rows / column.distinct
            return Guess(column.name, f"{column.distinct:,} of them have {each:.1f} rows each on average")
    if image is not None and columns[image].values.dtype == pl.String:
        return _group_of_paths(columns, image, target)
    return None


def _group_of_paths(columns: Mapping[str, Profile], image: str, target: str) -> Guess | None:
    """See whether pictures lie in a folder per person or thing, which is not the folder of their class."""
    listed = columns.get(pictures.FOLDER)
    folders = pictures.parents(columns[image].values) if listed is None else listed.values
    labels = columns[target].distinct
    if folders.null_count() or not _repeats(folders) or folders.n_unique() <= 2 * labels:
        return None
    count = folders.n_unique()
    return Guess(
        pictures.FOLDER,
        f"the pictures lie in {count:,} folders of {len(folders) / count:.1f} each, likely one per person or thing",
    )


def _repeats(values: pl.Series) -> bool:
    distinct = values.drop_nulls().n_unique()
    return distinct >= 5 and len(values) >= 1.2 * distinct and values.null_count() <= 0.05 * len(values)


def guess_time(
    columns: Mapping[str, Profile], folds: int, taken: set[str | None], id_: str | None
) -> tuple[Guess, str] | None:
    """Return the column by which the rows stand in order of time, and the direction."""
    for column in columns.values():
        if column.name in taken or column.distinct <= folds:
            continue
        direction = in_order(column.values)
        if direction and column.kind == "date":
            return Guess(column.name, _ordered("dates", direction)), direction
        if direction and _year_months(column):
            return Guess(column.name, _ordered("months (such as 202612)", direction)), direction
    calendar = _calendar(columns)
    if len(calendar) >= 2:
        parts = [columns[name].values.cast(pl.Float64) for name in calendar]
        joint = sum((part * 100.0 ** (len(parts) - i) for i, part in enumerate(parts)), start=parts[0] * 0.0)
        direction = in_order(joint)
        if direction:
            shown = ", ".join(calendar)
            if id_ is not None and in_order(columns[id_].values) == direction:
                return Guess(id_, f"the rows are ordered by {shown}, and {id_} counts along"), direction
            if direction == "up" and id_ is None:
                return Guess(ROW_ID, f"the rows are ordered by {shown}, so their place is their time"), direction
    return None


def _ordered(what: str, direction: str) -> str:
    return f"it holds {what} and the rows are ordered by it" + (", latest first" if direction == "down" else "")


def _year_months(column: Profile) -> bool:
    if column.kind != "integer" or column.missing or column.odd_rows:
        return False
    years, months = column.values // 100, column.values % 100
    return bool(((years >= 1900) & (years <= 2100) & (months >= 1) & (months <= 12)).all())


def _calendar(columns: Mapping[str, Profile]) -> list[str]:
    """Return the columns of year, month, day and hour, as far as they are there from the year on."""
    found = []
    for names in _CALENDAR:
        name = next((c.name for c in columns.values() if c.name.lower() in names and c.kind == "integer"), None)
        if name is None or columns[name].missing:
            break
        found.append(name)
    return found
