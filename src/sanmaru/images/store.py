"""The resident cache of pictures: decoded and resized once, then memory-mapped by every fold, run and process.

<cache>/images/64-v1/           64 pixels, reader version 1; 64-letterbox_edge-v1 where not just stretched
  lock
  3f0c.../images.npy            uint8 (n, 64, 64, 3)
  3f0c.../index.parquet         key, slot (-1 unreadable), reason, width, height, digest
  3f0c.../built.json            how long it took

A segment appears whole or not at all and is never changed. What is not in any segment yet is decoded into a new
one; a lock lets the second of two processes wait and find the first one's work.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.files import read_json, whole, write_json
from sanmaru.images.fit import Fit
from sanmaru.images.read import STRETCH, UnreadableImageError, content_hash, decode_square, encoding, load_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""

_INDEX = {
    "key": pl.String,
    "slot": pl.Int64,
    "reason": pl.String,
    "width": pl.Int64,
    "height": pl.Int64,
    "digest": pl.String,
}


@dataclass(frozen=True)
class Resident:
    """Pictures ready to be gathered: row i of what was asked for is `array[positions[i]]`."""

    array: NDArray[np.uint8]
    """(m, size, size, 3); memory-mapped where all pictures lie in one segment."""
    positions: NDArray[np.int64]
    """(n,); -1 where the picture cannot be read."""
    facts: pl.DataFrame
    """One row per picture asked for: reason (null where readable), width, height, digest (SHA-256 of the file)."""
    build_s: float
    """Seconds it took to decode the segments used here, now or by an earlier run."""

    def rows(self) -> NDArray[np.uint8]:
        """Return the pictures in the order asked for, (n, size, size, 3). All must be readable."""
        if len(self.array) == len(self.positions) and np.array_equal(self.positions, np.arange(len(self.positions))):
            return self.array
        return np.asarray(self.array[self.positions])


class ImageStore:
    """Decoded pictures of one size and one size policy under a cache folder."""

    def __init__(self, cache: Path, size: int, fit: Fit = STRETCH) -> None:
        self.size = size
        self.fit = fit
        self.folder = cache / "images" / encoding(size, fit)

    def load(
        self, sources: Sequence[str | bytes | None], *, threads: int = 1, progress: Progress | None = None
    ) -> Resident:
        """Return pictures, decoding those that are not in the cache yet.

        Args:
            sources: Paths or encoded bytes; None counts as unreadable.
            threads: Decoders at work at once (decoding and resizing release the interpreter's lock).
            progress: Called now and then while pictures are decoded.
        """
        keys = [_key(source) for source in sources]
        index = self._index()
        missing = self._missing(keys, index)
        if missing:
            with self._locked():
                index = self._index()
                missing = self._missing(keys, index)
                if missing:
                    self._build({key: sources[i] for key, i in missing.items()}, threads, progress)
                    index = self._index()
        return self._resident(keys, index)

    def _missing(self, keys: Sequence[str | None], index: pl.DataFrame) -> dict[str, int]:
        """Keys without an entry, each with the first place where it stands."""
        known = set(index["key"])
        out: dict[str, int] = {}
        for i, key in enumerate(keys):
            if key is not None and key not in known:
                out.setdefault(key, i)
        return out

    def _index(self) -> pl.DataFrame:
        tables = [
            pl.read_parquet(path).with_columns(segment=pl.lit(path.parent.name))
            for path in sorted(self.folder.glob("*/index.parquet"))
            if not path.parent.name.startswith(".")
        ]
        if not tables:
            return pl.DataFrame(schema={**_INDEX, "segment": pl.String})
        return pl.concat(tables).unique("key", keep="first", maintain_order=True)

    def _build(self, sources: dict[str, str | bytes | None], threads: int, progress: Progress | None) -> None:
        started = time.perf_counter()
        name = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
        with whole(self.folder / name) as folder:
            folder.mkdir()
            array = np.lib.format.open_memmap(
                folder / "images.npy", mode="w+", dtype=np.uint8, shape=(len(sources), self.size, self.size, 3)
            )

            def one(item: tuple[int, tuple[str, str | bytes | None]]) -> dict[str, object]:
                slot, (key, source) = item
                assert source is not None
                row: dict[str, object] = {"key": key, "slot": slot, "reason": None}
                try:
                    data = load_bytes(source)
                    row["digest"] = content_hash(data)
                    array[slot], decoded = decode_square(data, self.size, self.fit)
                except UnreadableImageError as error:
                    return {**row, "slot": -1, "reason": error.reason}
                return {**row, "width": decoded.width, "height": decoded.height}

            rows = []
            with ThreadPoolExecutor(max(1, threads)) as pool:
                for done, row in enumerate(pool.map(one, enumerate(sources.items())), start=1):
                    rows.append(row)
                    if progress is not None and (done % 64 == 0 or done == len(sources)):
                        progress(done, len(sources))
            array.flush()
            pl.DataFrame(rows, schema=_INDEX).write_parquet(folder / "index.parquet")
            write_json(folder / "built.json", {"pictures": len(rows), "build_s": time.perf_counter() - started})
            for path in folder.iterdir():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())

    def _resident(self, keys: Sequence[str | None], index: pl.DataFrame) -> Resident:
        asked = pl.DataFrame({"key": keys}, schema={"key": pl.String})
        facts = asked.join(index, on="key", how="left", maintain_order="left").with_columns(
            slot=pl.col("slot").fill_null(-1),
            reason=pl.when(pl.col("key").is_null()).then(pl.lit("there is no such file")).otherwise(pl.col("reason")),
        )
        segments = sorted(facts.filter(pl.col("slot") >= 0)["segment"].unique().to_list())
        slots = facts["slot"].to_numpy().astype(np.int64)
        build_s = sum(float(read_json(self.folder / name / "built.json")["build_s"]) for name in segments)
        if len(segments) == 1:
            array = self._open(segments[0])
            positions = slots
        else:
            array = np.empty((int((slots >= 0).sum()), self.size, self.size, 3), np.uint8)
            positions = np.where(slots >= 0, np.cumsum(slots >= 0) - 1, -1)
            names = facts["segment"].to_numpy()
            for name in segments:
                rows = np.flatnonzero((names == name) & (slots >= 0))
                array[positions[rows]] = self._open(name)[slots[rows]]
        return Resident(array, positions, facts.select("reason", "width", "height", "digest"), build_s)

    def _open(self, segment: str) -> NDArray[np.uint8]:
        # Copy-on-write: torch wants a writable array and nobody writes to it, so pages stay shared.
        return np.load(self.folder / segment / "images.npy", mmap_mode="c")  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            try:
                import fcntl
            except ImportError:  # Windows: two processes may then do the same work twice, which does no harm
                yield
                return
            fcntl.flock(handle, fcntl.LOCK_EX)  # given back by the system, also when the process is killed
            yield


def _key(source: str | bytes | None) -> str | None:
    if source is None:
        return None
    if isinstance(source, bytes):
        return "b" + hashlib.sha256(source).hexdigest()[:40]
    try:
        state = os.stat(source)
    except OSError:
        return None
    return "p" + hashlib.sha256(f"{source}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()[:40]
