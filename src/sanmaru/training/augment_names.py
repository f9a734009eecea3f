"""The names of augmentations with their parameters, kept apart so that reading a config loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sanmaru.errors import nearest


@dataclass(frozen=True)
class Parameter:
    """One number of an augmentation."""

    name: str
    default: float
    low: float
    high: float
    meaning: str


def _p(default: float = 1.0) -> Parameter:
    return Parameter("p", default, 0, 1, "probability")


# The first parameter of each is its strength: what a plain number means.
GEOMETRY: dict[str, tuple[Parameter, ...]] = {
    "hflip": (_p(0.5),),
    "vflip": (_p(0.5),),
    "rotate": (Parameter("degrees", 10, 0, 180, "angle, uniform in ± this"), _p()),
    "crop": (Parameter("fraction", 0.1, 0, 0.9, "of the side cut away at most, at a random place"), _p()),
    "scale": (Parameter("range", 0.1, 0, 0.9, "zoom, uniform in 1 ± this"), _p()),
    "translate": (Parameter("fraction", 0.1, 0, 1, "of the side, shift uniform in ± this, both ways"), _p()),
    "shear": (Parameter("degrees", 10, 0, 60, "slant of both axes, uniform in ± this"), _p()),
    "perspective": (Parameter("fraction", 0.1, 0, 0.2, "of the side, by which each corner moves at most"), _p()),
}
COLOUR: dict[str, tuple[Parameter, ...]] = {
    "brightness": (Parameter("range", 0.2, 0, 1, "factor of light, uniform in 1 ± this"), _p()),
    "contrast": (Parameter("range", 0.2, 0, 1, "factor about the picture's mean grey, uniform in 1 ± this"), _p()),
    "saturation": (Parameter("range", 0.2, 0, 1, "factor about each pixel's grey, uniform in 1 ± this"), _p()),
    "hue": (Parameter("degrees", 10, 0, 180, "turn about the grey axis, uniform in ± this"), _p()),
    "grey": (_p(0.1),),
}
PIXELS: dict[str, tuple[Parameter, ...]] = {
    "blur": (Parameter("sigma", 1, 0, 10, "pixels of the network's picture, uniform from 0 to this"), _p(0.25)),
    "noise": (Parameter("std", 10, 0, 100, "grey levels of 255, uniform from 0 to this"), _p(0.25)),
    "jpeg": (
        Parameter("quality", 40, 1, 100, "lowest quality, uniform from this"),
        Parameter("best", 95, 1, 100, "highest quality"),
        _p(0.25),
    ),
}
HOLES: dict[str, tuple[Parameter, ...]] = {
    "griddropout": (
        Parameter("ratio", 0.5, 0, 0.9, "side of a hole as a share of its cell's"),
        Parameter("cells", 4, 1, 64, "cells along a side"),
        _p(0.5),
    ),
    "erasing": (
        Parameter("area", 0.33, 0.02, 0.9, "share of the picture erased at most; 0.02 at least"),
        Parameter("aspect", 3.3, 1, 10, "height : width, log-uniform from 1 : this to this : 1"),
        _p(0.5),
    ),
}
MIXING: dict[str, tuple[Parameter, ...]] = {
    "mixup": (Parameter("alpha", 0.2, 0.01, 10, "shares are drawn from Beta(alpha, alpha)"), _p(0.5)),
    "cutmix": (Parameter("alpha", 1, 0.01, 10, "areas are drawn from Beta(alpha, alpha)"), _p(0.5)),
}
AUGMENTATIONS: dict[str, tuple[Parameter, ...]] = {**GEOMETRY, **COLOUR, **PIXELS, **HOLES, **MIXING}

BORDER = "border"
BORDERS = ("reflect", "edge", "mean")
"""What is seen outside of a picture: its mirror image, its outermost pixels, or the mean that normalisation subtracts.
Named in the list as {border: edge}."""


def with_defaults(value: Any, *, mixing: bool = True) -> Any:
    """Turn ``["hflip", {"rotate": 5}]`` into ``[{"hflip": 0.5}, {"rotate": 5}]``.

    A strength stays a number; a mapping of parameters gets those it leaves out.

    Args:
        value: The list, as the project file has it. Anything else is returned as it is.
        mixing: Whether MixUp and CutMix may be in it.

    Raises:
        ValueError: for an unknown name, naming the nearest known one, or a number out of range.
    """
    if not isinstance(value, list | tuple):
        return value
    out: list[Any] = []
    seen = set()
    for item in value:
        entry = {item: None} if isinstance(item, str) else item
        if not isinstance(entry, dict):
            raise ValueError(f"an augmentation is a name or {{name: strength}}, got {item!r}")
        for name in entry:
            if name not in AUGMENTATIONS and name != BORDER:
                raise ValueError(f"unknown augmentation {name!r}. {nearest(str(name), [*AUGMENTATIONS, BORDER])}")
            if name in MIXING and not mixing:
                raise ValueError(f"{name!r} mixes pictures for training; it has no place in an evaluation list")
            if name in seen and name not in GEOMETRY and name not in COLOUR:
                raise ValueError(f"{name!r} stands twice in the list; only warps and colours can be repeated")
            seen.add(name)
        out.append({str(name): _checked(str(name), given) for name, given in entry.items()})
    return out


def parameters(name: str, given: Any) -> dict[str, float]:
    """Return all parameters of an augmentation: from a strength, a mapping of some of them, or None.

    Raises:
        ValueError: as `with_defaults`.
    """
    known = {parameter.name: parameter for parameter in AUGMENTATIONS[name]}
    if not isinstance(given, dict):
        given = {} if given is None else {next(iter(known)): _number(name, given)}
    for key in given:
        if key not in known:
            raise ValueError(f"unknown parameter {key!r} of augmentation {name!r}. {nearest(str(key), known)}")
    out = {key: parameter.default for key, parameter in known.items()}
    for key, number in given.items():
        out[key] = _in_range(f"{key!r} of {name!r}", known[key], number)
    if name == "jpeg" and out["quality"] > out["best"]:
        if "best" in given:
            raise ValueError(f"'quality' of 'jpeg' is the lowest and must not exceed 'best', got {given!r}")
        out["best"] = out["quality"]
    return out


def _checked(name: str, given: Any) -> Any:
    if name == BORDER:
        if given not in BORDERS:
            raise ValueError(f"'border' must be one of {', '.join(BORDERS)}, got {given!r}")
        return given
    if given is None:
        return float(AUGMENTATIONS[name][0].default)
    found = parameters(name, given)
    return found if isinstance(given, dict) else float(given)


def _number(name: str, value: Any) -> float:
    return _in_range(f"the strength of {name!r}", AUGMENTATIONS[name][0], value)


def _in_range(what: str, parameter: Parameter, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
        raise ValueError(f"{what} must be a number in [{parameter.low:g}, {parameter.high:g}], got {value!r}")
    return float(value)
