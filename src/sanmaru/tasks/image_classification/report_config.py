"""What the report of a run with pictures shows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from sanmaru.config import Config

USUAL = 24


class ReportConfig(Config):
    """The report of a run with pictures."""

    explain: Annotated[int, Field(ge=0, le=100)] = USUAL
    """Mistakes shown with a heat map of where the network looked (Grad-CAM, or attention roll-out); `true` is 24,
    `false` is none."""

    @field_validator("explain", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return (USUAL if value else 0) if isinstance(value, bool) else value
