"""How many numbers of which kind a window holds; `tasks.forecasting.windows` says how they lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WindowShape:
    """Counts."""

    targets: int
    past: int
    known: int
    static: int
    lookback: int
    horizon: int

    @property
    def channels(self) -> int:
        """Of the history: targets, past covariates, known covariates."""
        return self.targets + self.past + self.known

    @property
    def width(self) -> int:
        """Numbers in a window."""
        return self.lookback * self.channels + self.horizon * self.known + self.static
