"""What a fit's time went into, in one line: is it the network that takes it, or something else?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALLEST = 0.005
"""Shares below this are left out of the line."""


def time_shares(spent_s: Mapping[str, float], step_shares: Mapping[str, float]) -> dict[str, float]:
    """Return what share of a fit's wall time went into what, the largest first.

    Args:
        spent_s: Seconds of `decode` (building the cache of pictures), `training`, `measuring` (the bare steps),
            `evaluation`, `logging` (curves and checkpoints).
        step_shares: Of the time of a training step, as measured on some of them: `gather`, `augment`, `step` ...
            Training is divided by them; without them it is all `step`.
    """
    parts = {name: seconds for name, seconds in spent_s.items() if name != "training"}
    training = spent_s.get("training", 0.0)
    known = sum(step_shares.values())
    for name, share in step_shares.items() if known > 0 else [("step", 1.0)]:
        parts[name] = parts.get(name, 0.0) + training * share / (known or 1.0)
    total = sum(parts.values())
    if total <= 0:
        return {}
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    return {name: round(seconds / total, 4) for name, seconds in ordered}


def bottleneck_line(shares: Mapping[str, float], honest: Mapping[str, Any]) -> str:
    """Return the shares as a sentence.

    >>> bottleneck_line({"step": 0.91, "augment": 0.07, "evaluation": 0.02}, {"honest_fraction": 0.97})
    'bottleneck: step 91 %, augment 7 %, evaluation 2 %; honest fraction 0.97'
    """
    if not shares:
        return ""
    text = "bottleneck: " + ", ".join(
        f"{name} {share:.0%}".replace("%", " %") for name, share in shares.items() if share >= SMALLEST
    )
    fraction = honest.get("honest_fraction")
    return text if fraction is None else f"{text}; honest fraction {fraction:.2f}"
