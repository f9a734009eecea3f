"""Text tables (csv, tsv): bytes to records, whole or block by block, with ragged rows set aside.

Quotes are followed by parity: a separator or line end counts only where the number of quotes before it in its record
is even, which is exactly RFC 4180 (a doubled quote toggles twice). Many files that people call tsv do not quote at
all and have a lone quote somewhere; then reading without quotes tears fewer rows, and that reading is taken.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.contract import Violation

BLOCK_BYTES = 8 << 20
LONGEST_RECORD_BYTES = 64 << 20
_SEPARATORS = (",", "\t", ";", "|")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a text table is laid out."""

    names: tuple[str, ...]
    separator: str
    quoted: bool
    records: int
    """Rows after the header, ragged ones included, blank lines not."""
    ragged: int
    """Rows whose number of fields is not that of the header."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a text table."""

    table: pl.DataFrame
    """Well-formed rows, every column as text; an empty cell is null."""
    positions: np.ndarray
    """Position of each row in the source, int64 (n,), from 0, header not counted."""
    violations: tuple[Violation, ...]
    """The ragged rows."""


class _OpenQuoteError(DataError):
    """Read with quotes, the file has a record that does not end."""


def utf8_blocks(path: Path, encoding: str = "utf-8", block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a file's content as valid UTF-8, without byte order mark.

    Raises:
        DataError: naming byte and line where the file is not in that encoding, with the encodings that would do.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise DataError(f"data.encoding {encoding!r} is unknown. Use e.g. utf-8, cp949, utf-16 or latin-1.") from None
    plain = codecs.lookup(encoding).name == "utf-8"
    offset = 0
    with path.open("rb") as handle:
        for chunk in iter(partial(handle.read, block_bytes), b""):
            if offset == 0:
                _refuse_binary(path, chunk, encoding)
            # Bytes of a character that the last chunk cut in two; an error's position counts from them.
            held = decoder.getstate()[0]
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise _wrong_encoding(path, encoding, offset - len(held) + error.start) from None
            out = held + chunk if plain else text.encode()
            if plain:
                cut = len(decoder.getstate()[0])
                out = out[: len(out) - cut] if cut else out
            if offset == 0:
                out = out.removeprefix(codecs.BOM_UTF8)
            offset += len(chunk)
            yield out
    held = decoder.getstate()[0]
    if held:
        raise _wrong_encoding(path, encoding, offset - len(held))


def survey(path: Path, encoding: str = "utf-8") -> Layout:
    """Read a text table once, in constant memory, for its header, separator, quoting and ragged rows.

    Raises:
        DataError: when the file is empty, has only a header, or its header is not one.
    """
    first = _first_record(path, encoding)
    separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else _separator(first)
    names = _header(path, first, separator)
    readings: list[Layout] = []
    # Office programs quote csv; tsv is mostly written without quoting, so that a quote in it is a letter.
    for quoted in (False, True) if separator == "\t" else (True, False):
        reading, quotes_seen = _count(
            path, encoding, Layout(names=names, separator=separator, quoted=quoted, records=0, ragged=0)
        )
        if reading is not None:
            readings.append(reading)
            if reading.ragged == 0 or not quotes_seen:
                break
    layout = min(readings, key=lambda reading: reading.ragged)
    if layout.records <= 0:
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise DataError(f"{path} holds a header ({shown}) and no row.")
    if layout.ragged * 2 > layout.records:
        example = next(v for block in blocks(path, layout, encoding) for v in block.violations)
        raise DataError(
            f"{path}: {layout.ragged:,} of {layout.records:,} rows do not fit the header's {len(names)} columns, "
            f"e.g. {example.reason}. "
            f"Columns are taken to be separated by {separator!r}; is that so, and is the first line the header?"
        )
    return layout


def blocks(
    path: Path,
    layout: Layout,
    encoding: str = "utf-8",
    block_bytes: int = BLOCK_BYTES,
    only: str | None = None,
) -> Iterator[Block]:
    """Yield the rows of a text table, some megabytes at a time. Memory does not grow with the file.

    `only` names a single column to parse.
    """
    row = line = 0
    width = len(layout.names)
    for number, raw in enumerate(_whole_records(path, encoding, layout.quoted, block_bytes)):
        bytes_ = np.frombuffer(raw, dtype=np.uint8)
        starts, ends, fields = _records(bytes_, layout.separator, layout.quoted)
        blank = _blank(bytes_, starts, ends)
        if number == 0:
            blank[np.flatnonzero(~blank)[0]] = True  # the header
        kept = ~blank & (fields == width)
        positions = row + np.cumsum(~blank) - 1
        row += int(np.count_nonzero(~blank))
        ragged = np.flatnonzero(~blank & ~kept)
        line_ends = np.flatnonzero(bytes_ == 10) if len(ragged) else starts[:0]
        lines = line + 1 + np.searchsorted(line_ends, starts[ragged])
        line += raw.count(b"\n")
        violations = tuple(
            Violation(
                row=int(positions[i]),
                id=None,
                column="",
                value=raw[starts[i] : ends[i]].decode("utf-8", "replace").strip()[:200],
                rule="ragged-row",
                reason=f"line {at} has {fields[i]} fields, the header has {width}",
            )
            for i, at in zip(ragged, lines, strict=True)
        )
        body = raw if kept.all() else bytes_[np.repeat(kept, ends - starts)].tobytes()
        yield Block(_parse(path, body, layout, only), positions[kept].astype(np.int64), violations)


def _parse(path: Path, body: bytes, layout: Layout, only: str | None) -> pl.DataFrame:
    schema = dict.fromkeys(layout.names, pl.String())
    if not body:
        return pl.DataFrame(schema={only: pl.String()} if only else schema)
    try:
        return pl.read_csv(
            body,
            has_header=False,
            schema=schema,
            columns=[layout.names.index(only)] if only else None,
            separator=layout.separator,
            quote_char='"' if layout.quoted else None,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as a table separated by {layout.separator!r}: {error}") from error


def _whole_records(path: Path, encoding: str, quoted: bool, block_bytes: int) -> Iterator[bytes]:
    carry = b""
    for chunk in utf8_blocks(path, encoding, block_bytes):
        buffer = carry + chunk
        cut = _last_end(buffer, quoted)
        if len(buffer) - cut > LONGEST_RECORD_BYTES:
            megabytes = LONGEST_RECORD_BYTES >> 20
            raise _OpenQuoteError(f"{path}: a row is longer than {megabytes} MB; is a quote left open?")
        if cut:
            yield buffer[:cut]
        carry = buffer[cut:]
    if carry:
        if quoted and carry.count(b'"') % 2:
            raise _OpenQuoteError(f"{path}: a quote opened near {carry[:60]!r} is never closed.")
        yield carry + b"\n"


def whole_lines(path: Path, encoding: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield blocks of whole lines (of a jsonl file, where a line end is always the end of a row)."""
    return _whole_records(path, encoding, quoted=False, block_bytes=block_bytes)


def _last_end(buffer: bytes, quoted: bool) -> int:
    """Return the position after the last line end outside quotes. `buffer` begins with a record."""
    if not quoted or b'"' not in buffer:
        return buffer.rfind(b"\n") + 1
    array = np.frombuffer(buffer, dtype=np.uint8)
    ends = np.flatnonzero((array == 10) & ~_inside_quotes(array))
    return int(ends[-1]) + 1 if len(ends) else 0


def _inside_quotes(array: np.ndarray) -> np.ndarray:
    # The cumulative sum wraps at 256, which keeps its parity.
    return (np.cumsum(array == 34, dtype=np.uint8) & 1).astype(bool)


def _records(array: np.ndarray, separator: str, quoted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start, end (line end included) and number of fields of each record, int64 each."""
    is_end, is_separator = array == 10, array == ord(separator)
    if quoted and (array == 34).any():
        outside = ~_inside_quotes(array)
        is_end &= outside
        is_separator &= outside
    ends = np.flatnonzero(is_end) + 1
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    separators = np.searchsorted(np.flatnonzero(is_separator), ends)
    return starts, ends, np.diff(separators, prepend=0) + 1


def _blank(array: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    length = ends - starts
    blank: np.ndarray = (length == 1) | ((length == 2) & (array[starts] == 13))
    return blank


def _count(path: Path, encoding: str, layout: Layout) -> tuple[Layout | None, bool]:
    """Count rows and ragged rows; None where a quote stays open. Also tell whether any quote was seen."""
    records = ragged = 0
    seen = False
    try:
        for raw in _whole_records(path, encoding, layout.quoted, BLOCK_BYTES):
            seen = seen or b'"' in raw
            array = np.frombuffer(raw, dtype=np.uint8)
            starts, ends, fields = _records(array, layout.separator, layout.quoted)
            filled = ~_blank(array, starts, ends)
            records += int(np.count_nonzero(filled))
            ragged += int(np.count_nonzero(filled & (fields != len(layout.names))))
    except _OpenQuoteError:
        return None, True
    return replace(layout, records=records - 1, ragged=ragged), seen


def _first_record(path: Path, encoding: str) -> str:
    head = b""
    for chunk in utf8_blocks(path, encoding, 1 << 16):
        head += chunk
        stripped = head.lstrip(b"\r\n ")
        if b"\n" in stripped and (cut := _last_end(stripped[: 1 << 20], quoted=True)):
            return next(iter(_csv_records(stripped[:cut].decode())))
        if len(head) > 1 << 20:
            break
    text = head.decode("utf-8", "ignore").strip()
    if not text:
        raise DataError(f"{path} is empty.")
    return text.split("\n")[0].rstrip("\r")


def _csv_records(text: str) -> Iterator[str]:
    """Yield records of csv text; a line end inside quotes belongs to the record."""
    record = ""
    for line in text.split("\n"):  # splitlines would also end a line at characters that may stand in a name
        record += line + "\n"
        if record.count('"') % 2 == 0:
            yield record.rstrip("\r\n")
            record = ""
    if record.strip():
        yield record.rstrip("\r\n")


def _separator(header: str) -> str:
    outside = "".join(header.split('"')[::2])
    if "," in outside:
        return ","
    return max(_SEPARATORS, key=outside.count) if any(s in outside for s in _SEPARATORS) else ","


def _header(path: Path, record: str, separator: str) -> tuple[str, ...]:
    names = [name.strip() for name in next(csv.reader([record], delimiter=separator))]
    if len(names) > 1 and all(_is_number(name) for name in names):
        raise DataError(
            f"{path}: the first line holds only numbers ({record[:60]}), so it is data and not a header. "
            "Add a line with the names of the columns."
        )
    names = [name or f"column_{place}" for place, name in enumerate(names, 1)]
    check_names(path, names)
    return tuple(names)


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse a table in which a column name stands twice.

    Raises:
        DataError: with the name and the places.
    """
    repeated = {name: [i for i, other in enumerate(names, 1) if other == name] for name in names}
    repeated = {name: places for name, places in repeated.items() if len(places) > 1}
    if repeated:
        shown = "; ".join(f"{name!r} at columns {', '.join(map(str, at))}" for name, at in list(repeated.items())[:3])
        raise DataError(f"{path}: {len(repeated)} column name(s) stand more than once: {shown}. Rename them.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_binary(path: Path, chunk: bytes, encoding: str) -> None:
    if chunk[:2] == b"PK":
        raise DataError(f"{path} is a zip or Excel file, not text. Save the sheet as csv (UTF-8) or parquet.")
    if chunk[:2] == b"\x1f\x8b":
        raise DataError(f"{path} is compressed with gzip. Unpack it first.")
    if chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and "16" not in encoding:
        raise DataError(f"{path} is UTF-16. Set data.encoding: utf-16, or save it as UTF-8.")


def _wrong_encoding(path: Path, encoding: str, byte: int) -> DataError:
    with path.open("rb") as handle:
        line = 1 + sum(
            block.count(b"\n") for block in iter(lambda: handle.read(min(1 << 20, byte - handle.tell())), b"")
        )
        sample = path.read_bytes()[:BLOCK_BYTES]
        handle.seek(byte)
        found = handle.read(1)
    fitting = []
    for name in ("cp949", "utf-8", "shift_jis", "cp1252"):
        try:
            # A character may be cut in two at the end of the sample.
            codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        if name != encoding:
            fitting.append(name)
    advice = f"Set data.encoding: {fitting[0]}" if fitting else "Find out its encoding, set data.encoding to it"
    return DataError(
        f"{path} is not {encoding.upper()}: byte {byte:,} (line {line:,}) is 0x{found.hex()}. {advice}, "
        "or save the file as UTF-8."
    )
