"""The views of a picture that test-time augmentation averages over, by name. Needs no torch."""

from __future__ import annotations

from typing import Any

from sanmaru.errors import nearest

# Default and allowed range of each view's number; None where it takes none.
TTA: dict[str, tuple[float, float, float] | None] = {
    "hflip": None,
    "vflip": None,
    "rot90": None,
    "crop": (0.9, 0.1, 1.0),
    "five-crop": (0.875, 0.1, 1.0),
    "scale": (1.1, 0.25, 4.0),
}
"""`hflip`, `vflip`: mirrored. `rot90`: three views, turned by quarters. `crop`: the middle, a share of the side.
`five-crop`: five views, the corners and the middle. `scale`: larger (edges fall off) or smaller (edges go on)."""


def read_tta(value: Any) -> Any:
    """Turn ``["hflip", {"scale": [0.9, 1.1]}]`` into ``[{"hflip": 1}, {"scale": 0.9}, {"scale": 1.1}]``.

    Args:
        value: The list, as the project file has it. Anything else is returned as it is.

    Raises:
        ValueError: for an unknown name, naming the nearest known one, or a number out of range.
    """
    if not isinstance(value, list | tuple):
        return value
    out: list[dict[str, float]] = []
    for item in value:
        entry = {item: None} if isinstance(item, str) else item
        if not isinstance(entry, dict):
            raise ValueError(f"a view is a name or {{name: number}}, got {item!r}")
        for name, given in entry.items():
            for number in given if isinstance(given, list | tuple) else [given]:
                view = {str(name): _number(str(name), number)}
                if view in out:
                    raise ValueError(f"the view {view} is named twice: it would count double")
                out.append(view)
    return out


def count_views(tta: tuple[dict[str, float], ...]) -> int:
    """Return how many pictures are made of one, the picture itself among them."""
    return 1 + sum({"rot90": 3, "five-crop": 5}.get(name, 1) for entry in tta for name in entry)


def _number(name: str, value: Any) -> float:
    if name not in TTA:
        raise ValueError(f"unknown view {name!r}. {nearest(name, TTA)}")
    limits = TTA[name]
    if limits is None:
        if value is not None and value != 1:
            raise ValueError(f"{name!r} takes no number, got {value!r}")
        return 1.0
    default, low, high = limits
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name!r} must be a number in [{low:g}, {high:g}], got {value!r}")
    return float(value)
