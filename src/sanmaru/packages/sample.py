"""The sample submission of a competition: what a file of predictions has to look like, to the letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.base import Output

Form = Literal["label", "number", "probability", "probabilities"]

_INTEGER = r"^\s*[+-]?\d+\s*$"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_BOOLEAN = r"^\s*(?i:true|false)\s*$"
_PLAIN_INTEGER = r"^(0|-?[1-9]\d{0,17})$"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the output has to match. Of the sample's rows only the ids are kept."""

    path: Path
    columns: tuple[str, ...]
    """In order, the id column among them."""
    id: str
    ids: pl.Series
    """As text, in the sample's order, distinct."""
    form: Form
    classes: tuple[int, ...] = ()
    """For `probabilities`: the class of each predicted column, in the order of `columns`."""
    true_text: str | None = None
    """How the sample writes true, where labels are booleans."""
    types: Mapping[str, pl.DataType] | None = None
    """Types to give the columns, where the sample is a Parquet file and so has types."""
    whole_numbers: bool = False
    """Whether numbers are rounded, as the caller allowed for a sample of whole numbers."""

    @property
    def predicted(self) -> tuple[str, ...]:
        """The columns to fill, in order."""
        return tuple(name for name in self.columns if name != self.id)


def read_sample(
    path: Path, output: Output, *, id_column: str, probability: bool = False, round_numbers: bool = False
) -> Sample:
    """Read a sample submission and check that a model's output can take its form.

    Args:
        path: csv, tsv, jsonl or parquet with an id column and the target, or one column per class.
        output: What the model predicts.
        id_column: The model's id column; where the sample has none of that name, its first column names the rows.
        probability: Fill the target's column with the probability of the second of two classes.
        round_numbers: Round predicted numbers where the sample holds whole ones.

    Raises:
        DataError: saying what differs: columns, duplicate ids, or types.
    """
    table = _scan(path)
    schema = table.collect_schema()
    columns = tuple(schema.names())
    if len(columns) < 2:
        raise DataError(f"the sample {path} should have an id column and predicted ones, got {', '.join(columns)!r}.")
    identifier = id_column if id_column in columns else columns[0]
    predicted = [name for name in columns if name != identifier]
    classes: tuple[int, ...] = ()
    form: Form
    if predicted == [output.name]:
        form = "number" if output.kind == "regression" else "probability" if probability else "label"
    else:
        form, classes = "probabilities", _classes(path, predicted, output)
    if form == "probability" and len(output.classes) != 2:
        raise DataError(
            f"the sample {path} has one column, {output.name!r}, which holds the probability of one of two classes; "
            f"the model has {len(output.classes)} classes. Leave out --probabilities to write labels."
        )
    kinds = _kinds(table, predicted)
    true_text = None
    for name in predicted:
        true_text = _check_type(path, name, kinds[name], form=form, output=output, round_numbers=round_numbers)
    ids = table.select(pl.col(identifier).cast(pl.String)).collect(engine="streaming").to_series()
    if not len(ids):
        raise DataError(f"the sample {path} holds a header and no row.")
    _check_distinct(ids, f"the sample {path}", identifier)
    types = None
    if path.suffix.lower() == ".parquet":
        # A placeholder of whole numbers does not make the numbers that go there whole.
        types = {name: t for name, t in schema.items() if name == identifier or form == "label" or t.is_float()}
        true_text = None if pl.Boolean in types.values() else true_text
    return Sample(
        path=path,
        columns=columns,
        id=identifier,
        ids=ids,
        form=form,
        classes=classes,
        true_text=true_text,
        types=types,
        whole_numbers=form == "number" and kinds[output.name].kind == "whole numbers" and round_numbers,
    )


def _classes(path: Path, predicted: Sequence[str], output: Output) -> tuple[int, ...]:
    """Class of each column of a sample with one column per class; `dog` and `label_dog` both name `dog`."""
    known = {label: code for code, label in enumerate(output.classes)}
    for separator in ("_", ".", "-", " "):
        for code, label in enumerate(output.classes):
            known.setdefault(f"{output.name}{separator}{label}", code)
    unknown = [name for name in predicted if name not in known]
    if output.kind == "regression" or len(unknown) == len(predicted):
        raise DataError(
            f"the sample {path} has the columns {', '.join(map(repr, predicted))} beside its id; the model predicts "
            f"{output.name!r}. Give the sample of this problem, or a model of the other."
        )
    codes = [known[name] for name in predicted if name in known]
    absent = [label for code, label in enumerate(output.classes) if code not in codes]
    told = []
    if unknown:
        told.append(f"{len(unknown)} are no class ({unknown[0]!r}: {nearest(unknown[0], output.classes)})")
    if absent:
        told.append(f"{len(absent)} classes have no column ({', '.join(absent[:5])})")
    if len(set(codes)) < len(codes):
        told.append("a class has two columns")
    if told:
        n_classes = len(output.classes)
        raise DataError(f"the columns of the sample {path} do not match the {n_classes} classes: {'; '.join(told)}.")
    return tuple(codes)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What a column of the sample holds."""

    kind: Literal["whole numbers", "decimal numbers", "booleans", "texts"]
    example: str
    constant: bool
    true_text: str | None


def _kinds(table: pl.LazyFrame, names: Sequence[str]) -> dict[str, _Held]:
    asked = []
    for number, name in enumerate(names):
        text = pl.col(name).cast(pl.String)
        for key, pattern in (("integer", _INTEGER), ("number", _NUMBER), ("boolean", _BOOLEAN)):
            asked.append(text.str.contains(pattern).fill_null(False).all().alias(f"{number}.{key}"))
        asked.append(text.first().alias(f"{number}.first"))
        asked.append((text == text.first()).fill_null(False).all().alias(f"{number}.constant"))
        asked.append(text.filter(text.str.to_lowercase() == "true").first().alias(f"{number}.true"))
    row = table.select(asked).collect(engine="streaming").row(0, named=True)
    held = {}
    for number, name in enumerate(names):
        found = {key: row[f"{number}.{key}"] for key in ("integer", "number", "boolean", "first", "constant", "true")}
        kind: Literal["whole numbers", "decimal numbers", "booleans", "texts"] = (
            "whole numbers" if found["integer"]
            else "decimal numbers" if found["number"]
            else "booleans" if found["boolean"]
            else "texts"
        )  # fmt: skip
        true_text = found["true"] or {"False": "True", "FALSE": "TRUE"}.get(str(found["first"]), "true")
        held[name] = _Held(
            kind=kind,
            example=str(found["first"]),
            constant=bool(found["constant"]),
            true_text=true_text if kind == "booleans" else None,
        )
    return held


def _check_type(path: Path, name: str, held: _Held, *, form: Form, output: Output, round_numbers: bool) -> str | None:
    """Refuse a column whose type the predictions do not have; return how booleans are written."""
    gives: str
    advice = "Give the sample of this problem, or mend the column."
    if form != "label":
        gives = "decimal numbers"
        # A column of nothing but 0, or a 0 and 1 per class, is a placeholder for any number.
        placeholder = held.kind == "whole numbers" and (held.constant or form != "number")
        fits = held.kind == "decimal numbers" or placeholder or (held.kind == "whole numbers" and round_numbers)
        if form == "number" and held.kind == "whole numbers":
            advice = "Pass --round to round the predictions to whole numbers."
    else:
        spoken = {"integer": "whole numbers", "float": "decimal numbers", "boolean": "booleans"}
        gives = spoken.get(output.dtype, "texts")
        fits = held.kind == gives
        if held.kind == "decimal numbers" and len(output.classes) == 2:
            advice = f"If it asks for the probability of {output.classes[1]!r}, pass --probabilities."
    if not fits:
        raise DataError(
            f"the column {name!r} of the sample {path} holds {held.kind} (such as {held.example}); the model gives "
            f"{gives} for it. {advice}"
        )
    return held.true_text if form == "label" else None


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise DataError(f"there is no sample {path}.")
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv" | ".txt":
                separator = "\t" if path.suffix.lower() == ".tsv" else ","
                table = pl.scan_csv(path, infer_schema=False, separator=separator)
            case ".parquet":
                table = pl.scan_parquet(path)
            case ".jsonl" | ".ndjson":
                table = pl.scan_ndjson(path)
            case other:
                got = other or "no extension"
                raise DataError(f"the sample {path} should be csv, tsv, jsonl or parquet, got {got!r}.")
        table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"the sample {path} cannot be read: {error}") from error
    return table


def _check_distinct(ids: pl.Series, what: str, column: str) -> None:
    missing = ids.null_count()
    if missing:
        raise DataError(f"{what} has {missing} rows without an id in {column!r}.")
    distinct = ids.n_unique()
    if distinct < len(ids):
        examples = ids.filter(ids.is_duplicated()).unique(maintain_order=True).head(3).to_list()
        raise DataError(
            f"{what} has {len(ids) - distinct} duplicate ids in {column!r} ({', '.join(map(repr, examples))}). "
            "Every id may stand once."
        )


class Places:
    """Finds where each row of a stream stands in the sample, and counts what does not fit.

    Keeps the sample's ids and one bit-sized flag per id; nothing of the rows.
    """

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._table = pl.DataFrame({"id": sample.ids, "place": np.arange(len(sample.ids), dtype=np.int64)})
        self._seen = np.zeros(len(sample.ids) + 1, dtype=bool)  # the last, at -1, is nobody's
        self._next = 0
        self._unexpected: list[str] = []
        self._duplicates: list[str] = []
        self._counts = {"unexpected": 0, "duplicate": 0}

    def of(self, ids: pl.Series) -> np.ndarray:
        """Return the place of each id, int64 (n,); -1 where the sample lacks it or it came before."""
        texts = ids.cast(pl.String).rename("id")
        ahead = self._sample.ids.slice(self._next, len(texts))
        if len(ahead) == len(texts) and bool((ahead == texts).all()):  # the usual case: both in one order
            places = np.arange(self._next, self._next + len(texts), dtype=np.int64)
        else:
            found = texts.to_frame().with_row_index("n").join(self._table, on="id", how="inner").sort("n")
            places = np.full(len(texts), -1, dtype=np.int64)
            places[found["n"].to_numpy()] = found["place"].to_numpy()
        unexpected = np.flatnonzero(places < 0)
        self._count("unexpected", texts, unexpected, self._unexpected)
        inside = np.flatnonzero(places >= 0)
        first = np.zeros(len(places), dtype=bool)
        first[inside[np.unique(places[inside], return_index=True)[1]]] = True
        again = np.flatnonzero((places >= 0) & (~first | self._seen[places]))
        self._count("duplicate", texts, again, self._duplicates)
        self._seen[places[inside]] = True
        places[again] = -1
        self._next += len(texts)
        return places

    def check(self, quarantined: int, reasons: str) -> None:
        """Refuse unless every id of the sample came exactly once.

        Raises:
            DataError: with counts and examples of missing, unexpected and duplicate ids.
        """
        told = []
        missing = np.flatnonzero(~self._seen[:-1])
        if len(missing):
            first = ", ".join(repr(self._sample.ids[int(place)]) for place in missing[:3])
            told.append(f"{len(missing)} of the sample's {len(self._sample.ids)} ids have no prediction ({first})")
        for name, examples in (("unexpected", self._unexpected), ("duplicate", self._duplicates)):
            if self._counts[name]:
                what = "ids are not in the sample" if name == "unexpected" else "ids came more than once"
                told.append(f"{self._counts[name]} {what} ({', '.join(map(repr, examples))})")
        if told:
            aside = f" {quarantined} rows could not be used: {reasons}." if quarantined else ""
            raise DataError(f"the predictions do not match the sample {self._sample.path}: {'; '.join(told)}.{aside}")

    def _count(self, name: str, texts: pl.Series, positions: np.ndarray, examples: list[str]) -> None:
        self._counts[name] += len(positions)
        examples.extend(str(texts[int(position)]) for position in positions[: 3 - len(examples)])


def plain_ids(ids: pl.Series) -> pl.Series:
    """Return ids as whole numbers where every text is one as it would be written again, else as texts."""
    if len(ids) and bool(ids.str.contains(_PLAIN_INTEGER).all()):
        return ids.cast(pl.Int64)
    return ids
