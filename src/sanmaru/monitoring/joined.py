"""Predictions joined with the truth when it arrives: late, in parts, revised.

Two tables in a database. A prediction waits until the truth of its (series, time, target) is known; a truth that comes
again with another value is a revision, counted, and changes what was joined. Each call reads and writes only the times
that it brings, in one transaction, so joining again costs what is new and a crash leaves the state before or after.

Predictions of rows that have no time of their own (a table of customers, pictures) are joined by id: the id stands for
the series, and the truth for it has no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sanmaru.database import in_transaction
from sanmaru.errors import DataError, nearest

if TYPE_CHECKING:
    import polars as pl

_METADATA = sa.MetaData()
_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_FORECASTS = sa.Table(
    "sanmaru_joined",
    _METADATA,
    sa.Column("target", sa.String(80), primary_key=True),
    sa.Column("series", sa.String(120), primary_key=True),
    sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("model", sa.String(80), primary_key=True),
    sa.Column("version", sa.String(40), primary_key=True),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("point", sa.Double),
    sa.Column("q10", sa.Double),
    sa.Column("q50", sa.Double),
    sa.Column("q90", sa.Double),
    sa.Column("label", sa.String(200)),
    sa.Column("truth", sa.Double),
    sa.Column("truth_label", sa.String(200)),
    sa.Column("joined", sa.Boolean, nullable=False),
    sa.Column("revisions", sa.Integer, nullable=False),
    **_OPTIONS,
)
_TRUTH = sa.Table(
    "sanmaru_truth",
    _METADATA,
    sa.Column("target", sa.String(80), primary_key=True),
    sa.Column("series", sa.String(120), primary_key=True),
    sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double),
    sa.Column("label", sa.String(200)),
    sa.Column("revisions", sa.Integer, nullable=False),
    **_OPTIONS,
)
QUANTILES = ("q10", "q50", "q90")


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What a call did, in rows of one target each.

    Attributes:
        new: Predictions, or truths, that were not there.
        revised: That were there with another value.
        same: That were there already; they cost one look-up.
        joined: Predictions that got a truth, or another one.
    """

    new: int = 0
    revised: int = 0
    same: int = 0
    joined: int = 0


class JoinedLog:
    """The joined log in a database.

    Args:
        engine: As `sanmaru.database.open_engine` returns it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        _METADATA.create_all(engine)

    def add_predictions(self, table: pl.DataFrame, targets: Iterable[str]) -> Joined:
        """Add predictions; one that is there already takes the new values.

        Args:
            table: A forecast table (series, origin, horizon, time, targets with quantiles, model, version); or
                rows with `id` in the place of series, horizon and time, and `origin` for when they were predicted.
                Texts in a target's column are predicted classes.
            targets: Columns with predictions.

        Raises:
            DataError: when a column is absent.
        """
        done = Joined()
        for target in targets:
            rows = _prediction_rows(table, target)
            written = in_transaction(self.engine, partial(self._write_predictions, target=target, rows=rows))
            done = _sum(done, written)
        return done

    def add_truth(self, table: pl.DataFrame, targets: Iterable[str]) -> Joined:
        """Add what really came, and join the predictions that wait for it.

        Args:
            table: Long table: `series` and `time`, or `id`, and the targets. Nulls are not known yet and passed over.
            targets: Columns with the truth.

        Raises:
            DataError: when a column is absent.
        """
        done = Joined()
        for target in targets:
            rows = [row for row in _truth_rows(table, target) if row["value"] is not None or row["label"] is not None]
            written = in_transaction(self.engine, partial(self._write_truth, target=target, rows=rows))
            done = _sum(done, written)
        return done

    def counts(self, target: str) -> dict[str, int]:
        """Return how many predictions wait, are joined, and were joined again after a revision."""
        found = sa.select(
            sa.func.count(),
            sa.func.sum(sa.case((_FORECASTS.c.joined, 1), else_=0)),
            sa.func.sum(sa.case((_FORECASTS.c.revisions > 0, 1), else_=0)),
        ).where(_FORECASTS.c.target == target)
        with self.engine.connect() as connection:
            every, joined, revised = (int(one or 0) for one in connection.execute(found).one())
        return {"waiting": every - joined, "joined": joined, "revised": revised}

    def residuals_by_horizon(self, target: str) -> pl.DataFrame:
        """Return how large residuals are, by horizon.

        Returns:
            Columns horizon, rows, bias (mean of truth minus prediction), mae, rmse, and inside: the share of truths
            between q10 and q90, null without quantiles.
        """
        import polars as pl

        table = self.read(target).filter(pl.col(f"{target}.residual").is_not_null())
        off, truth = pl.col(f"{target}.residual"), pl.col(f"{target}.truth")
        return (
            table.group_by("horizon")
            .agg(
                rows=pl.len(),
                bias=off.mean(),
                mae=off.abs().mean(),
                rmse=(off**2).mean().sqrt(),
                inside=((truth >= pl.col(f"{target}.q10")) & (truth <= pl.col(f"{target}.q90"))).mean(),
            )
            .sort("horizon")
        )

    def read(self, target: str, since: int | None = None) -> pl.DataFrame:
        """Return the joined log of a target, in order of time.

        Args:
            target: Its name.
            since: Microseconds since 1970 UTC; rows before are left out.

        Returns:
            Columns series, origin, horizon, time, model, version, `t`, `t.q10`, `t.q50`, `t.q90`, `t.truth`,
            `t.residual` (truth minus prediction), `revisions`; for classes `t` and `t.truth` are texts, and `t.error`,
            0 or 1, stands in place of the residual. What waits has null in them.
        """
        import polars as pl

        rows = sa.select(_FORECASTS).where(_FORECASTS.c.target == target)
        if since is not None:
            rows = rows.where(_FORECASTS.c.time >= since)
        schema: dict[str, Any] = {
            "target": pl.String, "series": pl.String, "time": pl.Int64, "origin": pl.Int64, "model": pl.String,
            "version": pl.String, "horizon": pl.Int32, "point": pl.Float64, "q10": pl.Float64, "q50": pl.Float64,
            "q90": pl.Float64, "label": pl.String, "truth": pl.Float64, "truth_label": pl.String, "joined": pl.Boolean,
            "revisions": pl.Int32,
        }  # fmt: skip
        with self.engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(rows)]
        table = pl.DataFrame(found, schema=schema, orient="row")
        classes = table["label"].is_not_null().any()
        point, truth = ("label", "truth_label") if classes else ("point", "truth")
        away = (pl.col(point) != pl.col(truth)).cast(pl.Float64) if classes else pl.col(truth) - pl.col(point)
        times = (pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for name in ("origin", "time"))
        return (
            table.with_columns(*times)
            .with_columns(away.alias(f"{target}.error" if classes else f"{target}.residual"))
            .select(
                *("series", "origin", "horizon", "time", "model", "version"),
                pl.col(point).alias(target),
                *(pl.col(name).alias(f"{target}.{name}") for name in QUANTILES),
                pl.col(truth).alias(f"{target}.truth"),
                f"{target}.error" if classes else f"{target}.residual",
                "revisions",
            )
            .sort("time", "origin", "series")
        )

    def _write_predictions(self, connection: sa.Connection, target: str, rows: list[dict[str, Any]]) -> Joined:
        if not rows:
            return Joined()
        truths = self._known(connection, _TRUTH, target, rows, ("series", "time"))
        key = ("series", "time", "origin", "model", "version")
        there = self._known(connection, _FORECASTS, target, rows, key)
        fields = ("horizon", "point", *QUANTILES, "label")
        new, changed, joined = [], [], 0
        for row in rows:
            place = tuple(row[name] for name in key)
            truth = truths.get((row["series"], row["time"]))
            old = there.get(place)
            if old is None:
                joined += truth is not None
                known = {"truth": None, "truth_label": None, "joined": False, "revisions": 0}
                if truth is not None:
                    known = {"truth": truth["value"], "truth_label": truth["label"], "joined": True, "revisions": 0}
                new.append({**row, **known})
                there[place] = row
            elif any(old[name] != row[name] for name in fields):
                changed.append(row)
        if new:
            connection.execute(sa.insert(_FORECASTS), new)
        if changed:
            where = [_FORECASTS.c[name] == sa.bindparam(f"b_{name}") for name in ("target", *key)]
            values: dict[str, Any] = {name: sa.bindparam(f"v_{name}") for name in fields}
            given = [
                {f"b_{name}": row[name] for name in ("target", *key)} | {f"v_{name}": row[name] for name in fields}
                for row in changed
            ]
            connection.execute(sa.update(_FORECASTS).where(*where).values(**values), given)
        return Joined(new=len(new), revised=len(changed), same=len(rows) - len(new) - len(changed), joined=joined)

    def _write_truth(self, connection: sa.Connection, target: str, rows: list[dict[str, Any]]) -> Joined:
        if not rows:
            return Joined()
        rows = list({(row["series"], row["time"]): row for row in rows}.values())  # of repeated ones the last
        there = self._known(connection, _TRUTH, target, rows, ("series", "time"))
        new, changed = [], []
        for row in rows:
            old = there.get((row["series"], row["time"]))
            if old is None:
                new.append(row)
            elif (old["value"], old["label"]) != (row["value"], row["label"]):
                changed.append(row)
        if new:
            connection.execute(sa.insert(_TRUTH), [{**row, "revisions": 0} for row in new])
        joined = 0
        given: dict[str, Any] = {"value": sa.bindparam("v_value"), "label": sa.bindparam("v_label")}
        if changed:
            revision = sa.update(_TRUTH).where(*_places(_TRUTH)).values(**given, revisions=_TRUTH.c.revisions + 1)
            connection.execute(revision, [_bound(row) for row in changed])
        for some, again in ((new, 0), (changed, 1)):
            if some:
                change = sa.update(_FORECASTS).where(*_places(_FORECASTS)).values(
                    truth=sa.bindparam("v_value"), truth_label=sa.bindparam("v_label"), joined=True,
                    revisions=_FORECASTS.c.revisions + again,
                )  # fmt: skip
                joined += max(0, connection.execute(change, [_bound(row) for row in some]).rowcount)
        same = len(rows) - len(new) - len(changed)
        return Joined(new=len(new), revised=len(changed), same=same, joined=joined)

    def _known(
        self, connection: sa.Connection, table: sa.Table, target: str, rows: list[dict[str, Any]], key: tuple[str, ...]
    ) -> dict[tuple[Any, ...], Any]:
        """Rows of a table that lie in the span of times of new rows (or have their ids), by key."""
        times = [row["time"] for row in rows]
        chosen = sa.select(table).where(table.c.target == target, table.c.time.between(min(times), max(times)))
        series = sorted({row["series"] for row in rows})
        found: dict[tuple[Any, ...], Any] = {}
        for start in range(0, len(series), 500):
            part = chosen.where(table.c.series.in_(series[start : start + 500]))
            for row in connection.execute(part).mappings():
                found[tuple(row[name] for name in key)] = row
        return found


def _bound(row: dict[str, Any]) -> dict[str, Any]:
    return {f"b_{name}": row[name] for name in ("target", "series", "time")} | {
        f"v_{name}": row[name] for name in ("value", "label")
    }


def _places(table: sa.Table) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == sa.bindparam(f"b_{name}") for name in ("target", "series", "time")]


def _sum(a: Joined, b: Joined) -> Joined:
    return Joined(**{name: getattr(a, name) + getattr(b, name) for name in vars(a)})


def _prediction_rows(table: pl.DataFrame, target: str) -> list[dict[str, Any]]:
    import polars as pl

    by_id = "id" in table.columns and "series" not in table.columns
    for name in (target, "origin", *(("id",) if by_id else ("series", "time", "horizon"))):
        if name not in table.columns:
            raise DataError(f"the predictions have no column {name!r}. {nearest(name, table.columns)}")
    classes = not table[target].dtype.is_numeric()
    nothing = pl.lit(None)
    kept = table.select(
        pl.lit(target).alias("target"),
        pl.col("id" if by_id else "series").cast(pl.String).alias("series"),
        (pl.lit(0, pl.Int64) if by_id else _microseconds(table, "time")).alias("time"),
        _microseconds(table, "origin").alias("origin"),
        *(
            (pl.col(name).cast(pl.String).fill_null("") if name in table.columns else pl.lit("")).alias(name)
            for name in ("model", "version")
        ),
        (pl.lit(0) if by_id else pl.col("horizon").cast(pl.Int64)).alias("horizon"),
        (nothing if classes else _number(target)).alias("point"),
        *(
            (_number(f"{target}.{name}") if f"{target}.{name}" in table.columns else nothing).alias(name)
            for name in QUANTILES
        ),
        (pl.col(target).cast(pl.String) if classes else nothing).alias("label"),
    )
    return _with_keys(kept, "predictions")


def _truth_rows(table: pl.DataFrame, target: str) -> list[dict[str, Any]]:
    import polars as pl

    by_id = "id" in table.columns and "series" not in table.columns
    for name in (target, *(("id",) if by_id else ("series", "time"))):
        if name not in table.columns:
            raise DataError(f"the truth has no column {name!r}. {nearest(name, table.columns)}")
    classes = not table[target].dtype.is_numeric()
    kept = table.select(
        pl.lit(target).alias("target"),
        pl.col("id" if by_id else "series").cast(pl.String).alias("series"),
        (pl.lit(0, pl.Int64) if by_id else _microseconds(table, "time")).alias("time"),
        (pl.lit(None) if classes else _number(target)).alias("value"),
        (pl.col(target).cast(pl.String) if classes else pl.lit(None)).alias("label"),
    )
    return _with_keys(kept, "truth")


def _with_keys(table: pl.DataFrame, which: str) -> list[dict[str, Any]]:
    import polars as pl

    lacking = table.filter(pl.any_horizontal(pl.col("series", "time").is_null()))
    if len(lacking):
        raise DataError(f"{len(lacking)} of {len(table)} rows of the {which} have no series (or id) or no time.")
    return table.to_dicts()


def _number(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).cast(pl.Float64).fill_nan(None)


def _microseconds(table: pl.DataFrame, name: str) -> pl.Expr:
    import polars as pl

    if table[name].dtype != pl.Datetime:
        raise DataError(f"column {name!r} should hold times in UTC, got {table[name].dtype}.")
    return pl.col(name).dt.timestamp("us")
