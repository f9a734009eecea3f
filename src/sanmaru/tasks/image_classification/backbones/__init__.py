"""Networks for pictures by one name each: from scratch, or with pretrained weights.

`table` lists them, and needs no torch; `build` makes one. Each family has a module: how it is made from scratch, how it
is fitted to the size of the pictures, and where its stages are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sanmaru.tasks.image_classification.backbones.make import Built, build

__all__ = ["Built", "build"]


def __getattr__(name: str) -> Any:
    # The project file's config reads `table` from this package, and must not load torch for it.
    if name in __all__:
        from sanmaru.tasks.image_classification.backbones import make

        return getattr(make, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
