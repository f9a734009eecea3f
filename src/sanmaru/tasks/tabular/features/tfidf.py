"""Words, or runs of letters, of text columns, weighted by how rare they are (TF-IDF, as scikit-learn defines it).

A row's texts are counted once for all folds, over the terms that the most rows of the whole table hold (`Terms`, which
looks at no target). Each fold picks its own terms among them and learns how rare they are in its training rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tasks.tabular import cells
from sanmaru.tasks.tabular.features.config import TfidfConfig
from sanmaru.tasks.tabular.features.rows import Known

CANDIDATES = 2
"""Terms counted for each that a fold may pick."""
_WORD = re.compile(r"\w+")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms of one text column that are counted."""

    column: str
    analyzer: str
    ngrams: tuple[int, int]
    terms: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Terms:
        """Rebuild from `to_json`."""
        return cls(**{**value, "ngrams": tuple(value["ngrams"]), "terms": tuple(value["terms"])})


def learn_terms(config: TfidfConfig, table: pl.DataFrame, names: Sequence[str], missing: Sequence[str]) -> list[Terms]:
    """Find the terms that the most rows hold, of each text column.

    Raises:
        DataError: when a column holds no term at all.
    """
    ngrams = config.ngrams or ((1, 1) if config.analyzer == "word" else (2, 3))
    read = cells.plain_text(frozenset(missing))
    out = []
    for name in names:
        rows: Counter[str] = Counter()
        for text, count in table[name].value_counts().iter_rows():
            for term in set(terms_of(read(text), config.analyzer, ngrams)):
                rows[term] += count
        # A term that every row holds, or only one, tells rows apart no better than none.
        kept = {term: n for term, n in rows.items() if 1 < n < table.height}
        most = sorted(kept, key=lambda term: (-kept[term], term))[: config.terms * CANDIDATES]
        if not most:
            raise DataError(f"features: tfidf found no term in column {name!r} that two rows share. Leave it out.")
        out.append(Terms(column=name, analyzer=config.analyzer, ngrams=ngrams, terms=tuple(most)))
    return out


def terms_of(text: str, analyzer: str, ngrams: tuple[int, int]) -> list[str]:
    """Return the terms of a text, repeated as often as they occur; letters are lower-cased."""
    text = text.lower()
    units: Sequence[str] = _WORD.findall(text) if analyzer == "word" else _BLANKS.sub(" ", text)
    joint = " " if analyzer == "word" else ""
    low, high = ngrams
    return [joint.join(units[i : i + n]) for n in range(low, high + 1) for i in range(len(units) - n + 1)]


class TermCounter:
    """Counts terms of rows: what encoded rows get behind the columns of their schema."""

    def __init__(self, learned: Sequence[Terms], missing: Sequence[str]) -> None:
        self.learned = tuple(learned)
        self.width = sum(len(one.terms) for one in learned)
        self._read: Callable[[Any], str] = cells.plain_text(frozenset(missing))
        self._places = [{term: place for place, term in enumerate(one.terms)} for one in learned]
        content = json.dumps([one.to_json() for one in self.learned], sort_keys=True)
        self.name = "+terms-" + hashlib.sha256(content.encode()).hexdigest()[:16] if learned else ""
        """Tells this counting from another, as a part of the encoding's name."""

    def table(self, table: pl.DataFrame) -> np.ndarray:
        """Counts of a table's rows, float64 (n, width)."""
        parts = [np.empty((table.height, 0))]
        for place, one in enumerate(self.learned):
            if one.column not in table.columns:
                parts.append(np.zeros((table.height, len(one.terms))))
                continue
            series = table[one.column]
            distinct = series.unique(maintain_order=True)
            counted = np.stack([self._count(place, value) for value in distinct.to_list()])
            order = pl.DataFrame({"value": distinct}).with_row_index("place")
            joined = pl.DataFrame({"value": series}).join(
                order, on="value", how="left", nulls_equal=True, maintain_order="left"
            )
            parts.append(counted[joined["place"].to_numpy()])
        return np.concatenate(parts, axis=1)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `table`, from mappings.

        Raises:
            DataError: naming the row and column of a value that is no text.
        """
        out = np.zeros((len(rows), self.width))
        for position, row in enumerate(rows):
            start = 0
            for place, one in enumerate(self.learned):
                try:
                    out[position, start : start + len(one.terms)] = self._count(place, row.get(one.column))
                except cells.WrongCellError as error:
                    raise DataError(f"row {position}, column {one.column!r}: {error}.") from None
                start += len(one.terms)
        return out

    def _count(self, place: int, value: Any) -> np.ndarray:
        one, known = self.learned[place], self._places[place]
        out = np.zeros(len(one.terms))
        for term in terms_of(self._read(value), one.analyzer, one.ngrams):
            if term in known:
                out[known[term]] += 1.0
        return out


class Tfidf:
    """The terms that a fold keeps, of columns counted by `TermCounter`."""

    def __init__(self, config: TfidfConfig, learned: Sequence[Terms], start: int) -> None:
        self._learned = tuple(learned)
        self._terms = config.terms
        self._start = start
        """Place of the first counted term in the rows."""
        self._places: list[np.ndarray] = []
        self._idf: list[np.ndarray] = []

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the kept terms."""
        names = []
        first = self._start
        for one, places in zip(self._learned, self._places, strict=True):
            names += [f"{one.column} has {one.terms[place - first]!r}" for place in places.tolist()]
            first += len(one.terms)
        return tuple(names)

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        self._places, self._idf = [], []
        first = self._start
        for one in self._learned:
            rows = (matrix[:, first : first + len(one.terms)] > 0).sum(axis=0)
            kept = np.sort(np.argsort(-rows, kind="stable")[: self._terms])
            self._places.append(first + kept)
            self._idf.append(np.log((1 + len(matrix)) / (1 + rows[kept])) + 1.0)
            first += len(one.terms)
        return self.apply(matrix)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        out = [np.empty((len(matrix), 0))]
        for places, idf in zip(self._places, self._idf, strict=True):
            weighted = matrix[:, places] * idf
            # Summed term by term, so that a row has the same length in any batch.
            length = np.zeros(len(matrix))
            for column in weighted.T:
                length += column * column
            out.append(weighted / np.where(length > 0, np.sqrt(length), 1.0)[:, None])
        return np.concatenate(out, axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        out = {f"{i}.places": places for i, places in enumerate(self._places)}
        return out | {f"{i}.idf": idf for i, idf in enumerate(self._idf)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what was learned."""
        self._places = [arrays[f"{i}.places"] for i in range(len(self._learned))]
        self._idf = [arrays[f"{i}.idf"] for i in range(len(self._learned))]
