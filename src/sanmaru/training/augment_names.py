"""The names of augmentations and their default strengths, kept apart so that reading a config loads no torch."""

from __future__ import annotations

from typing import Any

from sanmaru.errors import nearest

DEFAULTS: dict[str, float] = {
    "hflip": 0.5,  # probability
    "vflip": 0.5,  # probability
    "rotate": 10.0,  # degrees, uniform in ± this
    "crop": 0.1,  # fraction of the side cut away at most, at a random place
    "scale": 0.1,  # zoom uniform in 1 ± this
    "translate": 0.1,  # shift as a fraction of the side, uniform in ± this
}

LIMITS: dict[str, float] = {"hflip": 1, "vflip": 1, "rotate": 180, "crop": 0.9, "scale": 0.9, "translate": 1}
"""Largest strength; the smallest is 0."""


def with_defaults(value: Any) -> Any:
    """Turn ``["hflip", {"rotate": 5}]`` into ``[{"hflip": 0.5}, {"rotate": 5}]``.

    Raises:
        ValueError: for an unknown name, naming the nearest known one, or a strength out of range.
    """
    if not isinstance(value, list | tuple):
        return value
    out: list[Any] = []
    for item in value:
        entry = {item: None} if isinstance(item, str) else item
        if not isinstance(entry, dict):
            raise ValueError(f"an augmentation is a name or {{name: strength}}, got {item!r}")
        for name in entry:
            if name not in DEFAULTS:
                raise ValueError(f"unknown augmentation {name!r}. {nearest(str(name), DEFAULTS)}")
        out.append({str(name): _strength(str(name), strength) for name, strength in entry.items()})
    return out


def _strength(name: str, value: Any) -> float:
    if value is None:
        return DEFAULTS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LIMITS[name]:
        raise ValueError(f"the strength of {name!r} must be a number in [0, {LIMITS[name]:g}], got {value!r}")
    return float(value)
