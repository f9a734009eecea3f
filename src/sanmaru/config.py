"""The base of every config: frozen, keyword-only, and unknown keys are errors."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A part of the project file. Subclasses live beside the code they configure."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


def field_docs(config: type[Config]) -> dict[str, str]:
    """Return what the text below each field of a config says of it, by field; inherited fields included.

    pydantic can keep these texts itself (`use_attribute_docstrings`), and would then read the source of every config
    whenever Sanmaru starts; they are wanted for the schema only.
    """
    found: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if not issubclass(owner, Config) or owner is Config:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for line, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
                text = ast.literal_eval(below.value) if isinstance(below.value, ast.Constant) else None
                if isinstance(text, str):
                    found[line.target.id] = inspect.cleandoc(text).replace("\n", " ")
    return found


def all_configs(base: type[Config] = Config) -> Iterator[type[Config]]:
    """Yield every config that has been defined, those of configs included."""
    for config in base.__subclasses__():
        yield config
        yield from all_configs(config)
