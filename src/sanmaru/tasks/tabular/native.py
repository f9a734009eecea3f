"""Raw scores of a LightGBM model straight from its C library.

`import lightgbm` takes more than a second, because it imports pandas and scikit-learn, and its `Booster.predict` takes
thrice the time of the trees for a single row (docs/tasks/tabular.md). A served model needs neither: this module opens
the shared library that lies inside the installed package and calls the functions of `LightGBM/c_api.h`, single rows
through the `SingleRowFast` pair, which parses its parameters once.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_FLOAT64 = 1
"""C_API_DTYPE_FLOAT64."""
_RAW_SCORE = 1
"""C_API_PREDICT_RAW_SCORE."""
SMALL_BATCH = 4
"""Rows up to which one call per row beats one call for all."""


class Forest(Protocol):
    """A trained model that gives raw scores."""

    def raw(self, matrix: np.ndarray, threads: int = 1) -> np.ndarray:
        """Return raw scores float64 (n, n_scores) of a float64 matrix (n, width)."""
        ...


def load_forest(text: str, width: int) -> Forest:
    """Load a model from LightGBM's own text format.

    Args:
        text: What `Booster.model_to_string` gave.
        width: Number of features.
    """
    library = _library()
    return _NativeForest(library, text, width) if library is not None else _BoosterForest(text)


class _NativeForest:
    """A model behind the C interface. Safe to use from several threads."""

    def __init__(self, library: ctypes.CDLL, text: str, width: int) -> None:
        self._library = library
        self._booster = ctypes.c_void_p()
        self._fast = ctypes.c_void_p()
        self._lock = threading.Lock()
        self._width = width
        iterations = ctypes.c_int()
        self._call(
            "LGBM_BoosterLoadModelFromString", text.encode(), ctypes.byref(iterations), ctypes.byref(self._booster)
        )
        per_iteration = ctypes.c_int()
        self._call("LGBM_BoosterNumModelPerIteration", self._booster, ctypes.byref(per_iteration))
        self.n_scores = per_iteration.value
        self._row = np.empty(width)
        self._scores = np.empty(self.n_scores)
        self._row_at = self._row.ctypes.data_as(ctypes.c_void_p)
        self._scores_at = self._scores.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self._written = ctypes.c_int64()
        self._written_at = ctypes.byref(self._written)
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._booster,
            _RAW_SCORE,
            0,  # from the first iteration
            -1,  # to the last
            _FLOAT64,
            ctypes.c_int32(width),
            b"num_threads=1 verbosity=-1",
            ctypes.byref(self._fast),
        )
        self._predict_row = library.LGBM_BoosterPredictForMatSingleRowFast

    def raw(self, matrix: np.ndarray, threads: int = 1) -> np.ndarray:
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self._width:  # the C library would read beyond the array
            raise ValueError(f"the matrix should be (n, {self._width}), got {matrix.shape}")
        n = len(matrix)
        out = np.empty((n, self.n_scores))
        if n <= SMALL_BATCH:
            with self._lock:
                for place in range(n):
                    self._row[:] = matrix[place]
                    if self._predict_row(self._fast, self._row_at, self._written_at, self._scores_at):
                        self._fail()
                    out[place] = self._scores
            return out
        self._call(
            "LGBM_BoosterPredictForMat",
            self._booster,
            matrix.ctypes.data_as(ctypes.c_void_p),
            _FLOAT64,
            ctypes.c_int32(n),
            ctypes.c_int32(self._width),
            1,  # row-major
            _RAW_SCORE,
            0,
            -1,
            f"num_threads={threads} verbosity=-1".encode(),
            ctypes.byref(ctypes.c_int64()),
            out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        return out

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            self._fail()

    def _fail(self) -> None:
        raise RuntimeError("LightGBM: " + self._library.LGBM_GetLastError().decode(errors="replace"))

    def __del__(self) -> None:
        if self._fast:
            self._library.LGBM_FastConfigFree(self._fast)
        if self._booster:
            self._library.LGBM_BoosterFree(self._booster)


class _BoosterForest:
    """The same through LightGBM's Python package, where its C library is not where it usually lies."""

    def __init__(self, text: str) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_str=text)
        self.n_scores = int(self._booster.num_model_per_iteration())

    def raw(self, matrix: np.ndarray, threads: int = 1) -> np.ndarray:
        scores = self._booster.predict(matrix, raw_score=True, num_threads=threads)
        return np.asarray(scores, dtype=np.float64).reshape(len(matrix), self.n_scores)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Open the C library inside the installed package, or None where it lies elsewhere or lacks a function."""
    found = importlib.util.find_spec("lightgbm")
    suffix = {"win32": "dll", "darwin": "dylib"}.get(sys.platform, "so")
    for folder in found.submodule_search_locations or () if found else ():
        for name in (f"lib_lightgbm.{suffix}", "lib_lightgbm.so"):
            for path in (Path(folder) / "lib" / name, Path(folder) / "bin" / name):
                if path.is_file():
                    return _declared(ctypes.CDLL(str(path)))
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL | None:
    try:
        library.LGBM_GetLastError.restype = ctypes.c_char_p
        # Declared once, so that ctypes need not guess per call.
        library.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_double),
        ]
        for name in ("LGBM_BoosterPredictForMatSingleRowFastInit", "LGBM_FastConfigFree", "LGBM_BoosterPredictForMat"):
            getattr(library, name)
    except AttributeError:
        return None
    return library
