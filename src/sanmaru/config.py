"""The base of every config: frozen, keyword-only, and unknown keys are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A part of the project file. Subclasses live beside the code they configure."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())
