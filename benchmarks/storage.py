"""Where should raw answers, tables, predictions and artefacts lie? Times, bytes and failures of each kind of storage.

    python benchmarks/storage.py [--data ../shared/data/air-seoul] [--rclone PATH] [--runs 3] [--write-docs]

Compares a local folder (Parquet and files, by `sanmaru.storage`), SQLite, PostgreSQL, MariaDB, and an S3-compatible
server (rclone's `serve s3`, started here; else moto's) on Seoul's air: 43,800 hours of the city and 18,250 days of
stations. Servers are those of SANMARU_POSTGRESQL and SANMARU_MYSQL, or on this machine. Figures are medians, to be
compared within one run. Disk-full trials of servers need the right to mount a small tmpfs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import platform
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import sqlalchemy as sa

from sanmaru.database import open_engine
from sanmaru.publish.rows import upsert_forecasts
from sanmaru.storage import ChangedError, Storage, open_storage

DOCS = Path(__file__).parents[1] / "docs/decisions/storage.md"
ARTEFACT_MB = 24
os.environ.setdefault("AWS_ACCESS_KEY_ID", "sanmarubench")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "sanmarubench")


class Files:
    """Parquet by month and plain files, in a folder or a bucket: each append makes its month anew, and a manifest."""

    def __init__(self, storage: Storage, size: Callable[[], int]) -> None:
        self.storage, self.size = storage, size
        self.months: dict[str, pl.DataFrame] = {}

    def write_table(self, table: pl.DataFrame) -> None:
        parts = table.with_columns(pl.col("time").dt.strftime("%Y-%m").alias("month")).partition_by(
            "month", as_dict=True, include_key=False
        )
        for key, part in parts.items():
            self._month(str(key[0]), part)

    def _month(self, month: str, part: pl.DataFrame, expected: int | None = None) -> None:
        content = io.BytesIO()
        part.write_parquet(content)
        self.storage.commit(f"table/{month}", {"part.parquet": content.getvalue()}, expected=expected)

    def _read_month(self, month: str) -> pl.DataFrame:
        return self._newest(month)[1]

    def _newest(self, month: str) -> tuple[int, pl.DataFrame]:
        manifest = self.storage.latest(f"table/{month}")
        assert manifest is not None
        return manifest.version, pl.read_parquet(self.storage.read(manifest, "part.parquet"))

    def read_table(self) -> int:
        names = [name for name in self.storage.names() if name.startswith("table/")]
        return sum(len(self._read_month(name.removeprefix("table/"))) for name in names)

    def point(self, moment: Any) -> int:
        return len(self._read_month(f"{moment:%Y-%m}").filter(pl.col("time") == moment))

    def append(self, rows: pl.DataFrame) -> None:
        month = f"{rows['time'][0]:%Y-%m}"
        while True:
            version, old = self._newest(month)
            new = pl.concat([old, rows]).unique(["series", "time"], keep="last", maintain_order=True)
            try:
                return self._month(month, new, expected=version)
            except ChangedError:  # another writer was first: append to what it wrote
                continue

    def put(self, name: str, content: bytes) -> None:
        self.storage.objects.put(f"raw/{name}", content)

    def get(self, name: str) -> bytes:
        return b"".join(self.storage.objects.get(f"raw/{name}"))

    def predict(self, forecast: pl.DataFrame) -> None:
        content = io.BytesIO()
        forecast.write_parquet(content)
        self.storage.commit("forecast", {"forecast.parquet": content.getvalue()})

    def close(self) -> None:
        pass


class Rows:
    """A database: one table of hours with an index by time, one of blobs, and the forecasts' own."""

    def __init__(self, engine: sa.Engine, size: Callable[[], int]) -> None:
        from sqlalchemy.dialects.mysql import LONGBLOB

        self.engine, self.size = engine, size
        meta = sa.MetaData()
        values = [sa.Column(name, sa.Double) for name in ("pm25", "pm10", "o3", "no2", "co", "so2")]
        self.table = sa.Table(
            "hours",
            meta,
            sa.Column("series", sa.String(40), primary_key=True),
            sa.Column("time", sa.DateTime, primary_key=True, index=True),
            *values,
            mysql_charset="utf8mb4",
        )
        blob = sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")
        self.blobs = sa.Table(
            "raw", meta, sa.Column("name", sa.String(80), primary_key=True), sa.Column("content", blob)
        )
        meta.create_all(engine)

    def write_table(self, table: pl.DataFrame) -> None:
        with self.engine.begin() as connection:
            for start in range(0, len(table), 20_000):
                self._insert(connection, table[start : start + 20_000].to_dicts())

    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        if self.engine.dialect.name == "postgresql":
            columns = ", ".join(rows[0])
            connection.execute(
                sa.text(
                    f"INSERT INTO hours ({columns}) SELECT {columns} FROM "
                    "json_populate_recordset(NULL::hours, CAST(:rows AS json))"
                ),
                {"rows": orjson.dumps(rows).decode()},
            )
        else:
            connection.execute(self.table.insert(), rows)

    def read_table(self) -> int:
        with self.engine.connect() as connection:
            return len(connection.execute(sa.select(self.table)).all())

    def point(self, moment: Any) -> int:
        with self.engine.connect() as connection:
            return len(connection.execute(sa.select(self.table).where(self.table.c.time == moment)).all())

    def append(self, rows: pl.DataFrame) -> None:
        with self.engine.begin() as connection:
            where = self.table.c.time.in_(rows["time"].to_list()) & (self.table.c.series == rows["series"][0])
            connection.execute(self.table.delete().where(where))
            self._insert(connection, rows.to_dicts())

    def put(self, name: str, content: bytes) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.blobs.delete().where(self.blobs.c.name == name))
            connection.execute(self.blobs.insert(), {"name": name, "content": content})

    def get(self, name: str) -> bytes:
        with self.engine.connect() as connection:
            return bytes(
                connection.execute(sa.select(self.blobs.c.content).where(self.blobs.c.name == name)).scalar_one()
            )

    def predict(self, forecast: pl.DataFrame) -> None:
        upsert_forecasts(self.engine, forecast, model="bench")

    def close(self) -> None:
        self.engine.dispose()


Store = Files | Rows


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def s3_server(folder: Path, rclone: str | None) -> Iterator[str]:
    """Start an S3-compatible server; yields the URL of a bucket."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    if rclone is None:
        command = [sys.executable, "-W", "ignore", "-c", "from moto.server import main; main()", "-p", str(port)]
    else:
        (folder / "bench").mkdir(parents=True, exist_ok=True)
        keys = f"{os.environ['AWS_ACCESS_KEY_ID']},{os.environ['AWS_SECRET_ACCESS_KEY']}"
        command = [rclone, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}", "--auth-key", keys]
        command.append(str(folder))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        if rclone is None:
            import urllib.request

            request = urllib.request.Request(f"http://127.0.0.1:{port}/bench", method="PUT")
            urllib.request.urlopen(request, timeout=30).close()
        yield f"s3://bench/x?endpoint=http://127.0.0.1:{port}&timeout_s=20"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def database(kind: str) -> Iterator[str | None]:
    """Make a fresh database on a server; yields its URL, or None where no server answers."""
    usual = {
        "postgresql": "postgresql+pg8000://postgres@127.0.0.1:5432/postgres",
        "mysql": "mysql+pymysql://root@127.0.0.1:3306",
    }
    url = sa.make_url(os.environ.get(f"SANMARU_{kind.upper()}", usual[kind]))
    name = f"sanmaru_bench_{secrets.token_hex(4)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except (sa.exc.DBAPIError, ImportError):
        yield None
        return
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name}"))
        admin.dispose()


def database_size(engine: sa.Engine) -> int:
    kind = engine.dialect.name
    with engine.connect() as connection:
        if kind == "postgresql":
            return int(
                connection.execute(
                    sa.text(
                        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
                        "WHERE relname IN ('hours', 'raw', 'sanmaru_forecasts')"
                    )
                ).scalar_one()
            )
        if kind == "sqlite":
            return int(
                connection.execute(
                    sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
                ).scalar_one()
            )
        connection.execute(sa.text("ANALYZE TABLE hours, raw, sanmaru_forecasts"))
        return int(
            connection.execute(
                sa.text(
                    "SELECT sum(data_length + index_length) FROM information_schema.tables "
                    "WHERE table_schema = database()"
                )
            ).scalar_one()
        )


def open_store(url: str, folder: Path) -> Store:
    if "sqlite" in url or "postgresql" in url or "mysql" in url:
        engine = open_engine(url, folder)
        return Rows(engine, lambda: database_size(engine))
    storage = open_storage(url, folder)
    return Files(storage, lambda: sum(one.size for one in storage.objects.list("")))


def read_data(data: Path) -> tuple[pl.DataFrame, dict[str, bytes], pl.DataFrame]:
    """Return hours and days as one long table, raw answers (a JSON per station and day), and a forecast."""
    names = ["pm25", "pm10", "o3", "no2", "co", "so2"]
    hours = pl.read_csv(data / "hourly.csv", null_values="-", try_parse_dates=True).unique("datetime").sort("datetime")
    city = hours.select(
        pl.lit("city").alias("series"), pl.col("datetime").alias("time"), pl.col(names).cast(pl.Float64)
    )
    days = pl.read_csv(data / "daily_by_station_2022.csv", null_values="", infer_schema_length=None)
    moment = pl.col("date").cast(pl.String).str.to_datetime("%Y%m%d")
    stations = days.select(pl.col("station").alias("series"), moment.alias("time"), pl.col(names).cast(pl.Float64))
    table = pl.concat([city.with_columns(pl.col("time").cast(pl.Datetime("us"))), stations])
    table = table.unique(["series", "time"]).sort("time", "series")
    raw = {
        f"{n:04d}.json.z": zlib.compress(json.dumps(row).encode()) for n, row in enumerate(days.head(600).to_dicts())
    }
    random = np.random.default_rng(0)
    origin = city["time"][-1]
    rows = [
        {"series": one, "origin": origin, "horizon": step, "time": origin + timedelta(hours=step)}
        | {
            f"{name}{end}": float(random.gamma(4, 8))
            for name in ("pm25", "pm10")
            for end in ("", ".q10", ".q50", ".q90")
        }
        for one in stations["series"].unique().sort().head(25)
        for step in range(1, 49)
    ]
    return table, raw, pl.DataFrame(rows).with_columns(pl.col("horizon").cast(pl.Int32))


def timed(act: Callable[[], object], runs: int) -> float | str:
    """Return the median seconds, or why it was refused."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        try:
            act()
        except Exception as error:
            return f"refused ({type(getattr(error, 'orig', error)).__name__})"
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def revised(table: pl.DataFrame) -> pl.DataFrame:
    """Return other numbers under the same keys: equal content would be no new version."""
    return table.with_columns(pl.col("pm25") + secrets.randbelow(10**6))


def measure(store: Store, data: Any, runs: int) -> dict[str, float | str]:
    table, raw, forecast = data
    artefact = np.random.default_rng(1).bytes(ARTEFACT_MB << 20)
    day = table.filter(pl.col("series") == "city").tail(25).head(24)
    some = list(table["time"].sample(runs * 10, seed=3))
    found: dict[str, float | str] = {f"table: write {len(table):,} rows": timed(lambda: store.write_table(table), 1)}
    found["table: read all"] = timed(store.read_table, runs)
    found["table: rows of one hour"] = timed(lambda: store.point(some.pop()), runs * 3)
    found["table: append a day of hours"] = timed(lambda: store.append(revised(day)), runs * 3)
    found["bytes: table"] = float(store.size())
    found["raw: put 100 answers"] = timed(lambda: [store.put(name, raw[name]) for name in list(raw)[:100]], runs)
    found["raw: get one"] = timed(lambda: store.get("0042.json.z"), runs * 5)
    found["forecast: publish 25 × 48 h"] = timed(lambda: store.predict(revised(forecast)), runs * 2)
    found[f"artefact: put {ARTEFACT_MB} MB"] = timed(lambda: store.put("model.bin", artefact), runs)
    found[f"artefact: get {ARTEFACT_MB} MB"] = timed(lambda: store.get("model.bin"), runs)
    return found


# What fails, and what is left then -----------------------------------------------------------------------------------

DYING = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import storage, polars as pl
store = storage.open_store(sys.argv[2], Path(sys.argv[3]))
table = pl.read_parquet(sys.argv[4])
if isinstance(store, storage.Files):
    put, count = store.storage.objects.put, [0]
    def dying(key, content, **options):
        count[0] += 1
        if count[0] == 2: os.kill(os.getpid(), signal.SIGKILL)   # the part is there, its manifest is not
        put(key, content, **options)
    store.storage.objects.conditional(); store.storage.objects.put = dying
    store.append(table)
else:
    with store.engine.begin() as connection:
        store._insert(connection, table.to_dicts())
        os.kill(os.getpid(), signal.SIGKILL)
"""

WRITING = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import storage, polars as pl
from datetime import timedelta
store = storage.open_store(sys.argv[2], Path(sys.argv[3]))
table = pl.read_parquet(sys.argv[4]).head(1)
for n in range(10):
    rows = table.with_columns(pl.col("time") + timedelta(minutes=int(sys.argv[5]) + n + 1))
    store.append(rows)
"""


def child(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def killed(url: str, folder: Path, rows: Path) -> str:
    store = open_store(url, folder)
    before = store.read_table()
    process = child(DYING, url, folder, rows)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    after = store.read_table()
    store.close()
    return "old state whole" if after == before else f"BROKEN: {before} rows became {after}"


def two_writers(url: str, folder: Path, rows: Path) -> str:
    store = open_store(url, folder)
    before = store.read_table()
    processes = [child(WRITING, url, folder, rows, start) for start in (0, 20)]
    said = [process.communicate()[1].decode().strip().splitlines() for process in processes]
    got = store.read_table() - before
    store.close()
    errors = [next((line for line in lines if "Error" in line), lines[-1])[-80:] for lines in said if lines]
    return f"{got} of 20 rows" + (f"; {errors[0]}" if errors else "")


def server_gone(url: str, folder: Path) -> str:
    """Put a proxy between, which cuts every connection after the first kilobytes of a large write."""
    inner = sa.make_url(url) if "://" in url and not url.startswith("s3") else None
    if inner is not None:
        port = inner.port or {"postgresql": 5432, "mysql": 3306}[inner.get_backend_name()]
    else:
        port = int(url.partition("127.0.0.1:")[2].partition("&")[0])
    with Proxy(port) as proxy:
        through = (
            inner.set(port=proxy.port).render_as_string(hide_password=False)
            if inner
            else url.replace(f":{port}", f":{proxy.port}")
        )
        store = open_store(through, folder)
        store.put("kept", b"old")
        proxy.limit = 200_000
        began = time.perf_counter()
        try:
            store.put("kept", b"new" * 3_000_000)
            said = "NO ERROR"
        except Exception as error:
            said = type(error).__name__
        took = time.perf_counter() - began
        store.close()
    store = open_store(url, folder)
    kept = "old state whole" if store.get("kept") == b"old" else "BROKEN"
    store.close()
    return f"{kept}; {said} after {took:.1f} s"


class Proxy:
    """Passes bytes on to a port of this machine, and cuts a connection once more than `limit` went up."""

    def __init__(self, port: int) -> None:
        self.target, self.limit = port, 1 << 40
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.closing = False

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing = True
        self.socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.closing:
                client, _ = self.socket.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        n = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                n += len(piece)
                if up and n > self.limit:
                    break
                target.sendall(piece)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextlib.contextmanager
def small_disk(folder: Path, owner: str | None = None, mb: int = 12) -> Iterator[Path | None]:
    """Mount a tmpfs of a few MB; yields None where that is not allowed."""
    place = folder / f"small-{secrets.token_hex(3)}"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode:
        yield None
        return
    try:
        if owner:
            shutil.chown(place, owner)
            place.chmod(0o700)
        yield place
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)


def fill(store: Store) -> str:
    """Put answers until the disk is full; the last one that was accepted must read back."""
    random, accepted = np.random.default_rng(0), -1
    try:
        for n in range(40):
            store.put(f"{n}", random.bytes(1 << 20))
            accepted = n
    except Exception as error:
        said = type(getattr(error, "orig", error)).__name__
    else:
        return "not full after 40 MB"
    whole = all(len(store.get(f"{n}")) == 1 << 20 for n in range(accepted + 1))
    try:
        torn = len(store.get(f"{accepted + 1}"))
        rest = f"; the failed one reads as {torn} bytes"
    except Exception:
        rest = ""
    return f"{'old state whole' if whole else 'BROKEN'}; {said} after {accepted + 1} MB{rest}"


def disk_full(kind: str, url: str, folder: Path, rclone: str | None, *, risk: bool) -> str:
    if kind in ("folder", "SQLite"):
        with small_disk(folder) as place:
            if place is None:
                return "not tried (no right to mount)"
            store = open_store(str(place / "store") if kind == "folder" else f"sqlite:///{place}/full.db", folder)
            said = fill(store)
            store.close()
            return said
    if kind == "S3":
        with small_disk(folder) as place:
            if place is None or rclone is None:
                return "not tried (needs rclone and the right to mount)"
            with s3_server(place, rclone) as small:
                return fill(open_store(small, folder))
    if not risk:
        return "not tried (--risk-servers)"
    return fill_table(kind, url, folder)


def fill_table(kind: str, url: str, folder: Path) -> str:
    """Give one table of a server's database a small disk of its own: a tablespace, or a data directory."""
    postgres = kind == "PostgreSQL"
    base = Path(tempfile.mkdtemp(dir="/tmp"))
    base.chmod(0o755)
    with small_disk(base, "postgres" if postgres else "mysql") as place:
        if place is None:
            return "not tried (no right to mount)"
        space = f"bench_{secrets.token_hex(4)}"
        columns = f"(name varchar(80) PRIMARY KEY, content {'bytea' if postgres else 'longblob'})"
        statements = [
            "DROP TABLE raw",
            f"CREATE TABLESPACE {space} LOCATION '{place}'",
            f"CREATE TABLE raw {columns} TABLESPACE {space}",
        ]
        if not postgres:
            statements[1:] = [f"CREATE TABLE raw {columns} DATA DIRECTORY='{place}'"]
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        try:
            with admin.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
            store = open_store(url, folder)
            said = fill(store)
            store.close()
        except sa.exc.DBAPIError as error:
            said = f"not tried ({str(error.orig)[:90]})"
        with admin.connect() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS raw")
            if postgres:
                connection.exec_driver_sql(f"DROP TABLESPACE IF EXISTS {space}")
    shutil.rmtree(base, ignore_errors=True)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/air-seoul")
    parser.add_argument("--rclone", default=shutil.which("rclone"))
    parser.add_argument(
        "--risk-servers",
        action="store_true",
        help="fill the disk of database servers too: only on a server of your own; MariaDB 10.11 dies of it",
    )
    parser.add_argument("--only", nargs="*", help="kinds, such as folder MariaDB")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/decisions/storage.md")
    arguments = parser.parse_args()
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # connections are cut on purpose
    data = read_data(arguments.data)
    times: dict[str, dict[str, float | str]] = {}
    failures: dict[str, dict[str, str]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = folder / "rows.parquet"
        data[0].filter(pl.col("series") == "city").tail(25).head(24).with_columns(series=pl.lit("new")).write_parquet(
            rows
        )
        urls = {
            "folder": str(folder / "local"),
            "SQLite": f"sqlite:///{folder}/bench.db",
            "PostgreSQL": stack.enter_context(database("postgresql")),
            "MariaDB": stack.enter_context(database("mysql")),
            "S3": stack.enter_context(s3_server(folder / "s3", arguments.rclone)),
        }
        for kind, url in urls.items():
            if arguments.only and kind not in arguments.only:
                continue
            if url is None:
                print(f"{kind}: no server answers", file=sys.stderr)
                continue
            store = open_store(url, folder)
            times[kind] = measure(store, data, arguments.runs)
            store.close()
            failures[kind] = {
                "killed in the middle of a write": killed(url, folder, rows),
                "two writers, 10 appends each": two_writers(url, folder, rows),
                "connection cut in the middle": "no server"
                if kind in ("folder", "SQLite")
                else server_gone(url, folder),
                "disk full": disk_full(kind, url, folder, arguments.rclone, risk=arguments.risk_servers),
            }
            print(kind, times[kind], failures[kind], file=sys.stderr)
    server = "rclone serve s3" if arguments.rclone else "moto"
    text = tables(times, failures, server)
    print(text)
    if arguments.write_docs:
        begin, end = "<!-- figures: benchmarks/storage.py --write-docs -->", "<!-- end of figures -->"
        before, rest = DOCS.read_text(encoding="utf-8").split(begin)
        after = rest.split(end)[1]
        DOCS.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def tables(times: dict[str, dict[str, float | str]], failures: dict[str, dict[str, str]], server: str) -> str:
    """Milliseconds (bytes in MB) with the ratio to the folder's, then what failed."""
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; S3 is "
        f"{server} on the same machine. Milliseconds, in brackets times the folder's.",
        "",
        f"| what | {' | '.join(times)} |",
        f"| --- |{' ---: |' * len(times)}",
    ]
    for what in next(iter(times.values())):
        cells = []
        base = times["folder"][what]
        for kind in times:
            value = times[kind][what]
            if isinstance(value, str):
                cells.append(value)
            elif what.startswith("bytes"):
                cells.append(f"{value / 1e6:.1f} MB")
            else:
                ratio = "" if kind == "folder" or isinstance(base, str) else f" ({value / base:.2g}×)"
                cells.append(f"{value * 1000:,.{0 if value >= 0.1 else 1}f}{ratio}")
        lines.append(f"| {what} | {' | '.join(cells)} |")
    lines += ["", f"| failure | {' | '.join(failures)} |", f"| --- |{' --- |' * len(failures)}"]
    for what in next(iter(failures.values())):
        lines.append(f"| {what} | {' | '.join(failures[kind][what] for kind in failures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
