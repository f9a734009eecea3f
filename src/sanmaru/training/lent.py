"""Arrays on their way to another process: a memory-mapped one is opened there again instead of being sent."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LentArray:
    """Where a memory-mapped array lies."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    fortran: bool

    def open(self) -> NDArray[Any]:
        """Map it; what is written to it stays in this process."""
        order: Any = "F" if self.fortran else "C"
        return np.memmap(self.path, np.dtype(self.dtype), "c", self.offset, self.shape, order)


def lend(array: NDArray[Any]) -> LentArray | NDArray[Any]:
    """Return where an array lies, if it is a whole memory-mapped file; else the array itself, which is then copied."""
    # A part of a mapped array keeps the name and the offset of the whole: they say nothing about it.
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename is not None:
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        return LentArray(str(array.filename), array.dtype.str, array.shape, array.offset, fortran)
    return array
