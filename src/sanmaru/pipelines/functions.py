"""The function behind a step: `call:` names it, `use:` names a built-in one; and what stands for its code in a key."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sanmaru.config import Config
from sanmaru.errors import ProjectFileError, UserError, nearest
from sanmaru.pipelines.config import PipelineConfig, StepConfig
from sanmaru.pipelines.context import StepContext

BUILT_IN = "sanmaru.steps"
"""Package of built-in steps: a module of the step's name with `run(context)` and, for `with:`, a config `Settings`.

`misfit(settings, project_file)`, where the module has it, says what the settings name and the rest of the project file
lacks, or None.
"""


def call_of(step: StepConfig) -> str | None:
    """Return the function that a step calls, as `module:function`; None for a command."""
    return step.call if step.use is None else f"{BUILT_IN}.{step.use}:run"


def code_of(step: StepConfig, folder: Path) -> str:
    """Return what stands for a step's code in its key: the command, or the function's name and source.

    Of a built-in step it is the whole module's source, for its helpers stand beside it.

    Raises:
        UserError: when there is no such function.
    """
    call = call_of(step)
    if call is None:
        return f"command {step.command}"
    found = built_in(step.use) if step.use is not None else find_function(call, folder)
    try:
        return f"call {call}\n{inspect.getsource(found)}"
    except (OSError, TypeError):
        return f"call {call}"


def find_function(call: str, folder: Path) -> Callable[[StepContext], Any]:
    """Return the function that a `call:` names.

    Raises:
        UserError: when the module or file cannot be imported, or has no such function.
    """
    place, _, name = call.partition(":")
    try:
        if place.endswith(".py"):
            path = folder / place
            spec = importlib.util.spec_from_file_location(path.stem, path)
            if spec is None or spec.loader is None or not path.is_file():
                raise UserError(f"call: {call!r}: there is no file {path}")
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(path.stem, module)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except ImportError as error:
        raise UserError(f"call: {call!r} cannot be imported: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UserError(f"call: {call!r}: {place} has no function {name!r}")
    return found  # type: ignore[no-any-return]


def built_in(name: str) -> ModuleType:
    """Return the module of a built-in step.

    Raises:
        UserError: when there is none of that name, or it cannot be imported.
    """
    known = built_in_names()
    if name not in known:
        raise UserError(f"use: {name!r} is no built-in step. {nearest(name, known)}")
    try:
        return importlib.import_module(f"{BUILT_IN}.{name}")
    except ImportError as error:
        raise UserError(f"use: {name!r} cannot be imported: {error}") from error


def built_in_names() -> list[str]:
    """Return the names of the built-in steps: the modules that define `run`, found without importing them."""
    package = importlib.import_module(BUILT_IN)
    files = sorted(file for folder in package.__path__ for file in Path(folder).glob("*.py"))
    return [file.stem for file in files if file.stem != "__init__" and _defines_run(file)]


def _defines_run(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    if "\ndef run(" not in text:
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in ast.parse(text).body)


def check_settings(
    config: PipelineConfig, lines: Mapping[tuple[str, ...], int], source: str, project_file: Config
) -> None:
    """Check `with:` of every built-in step against the settings of its module and the rest of the project file.

    Args:
        config: `pipeline:` of the project file.
        lines: Line of each key of the project file, where known.
        source: Name of the project file, for messages.
        project_file: All of it.

    Raises:
        ProjectFileError: naming every wrong key, its line, and the nearest right one.
    """
    problems: list[str] = []
    for name, step in config.steps.items():
        place = ("pipeline", "steps", name)
        if step.use is None:
            continue
        try:
            module = built_in(step.use)
        except UserError as error:
            problems.append(f"{_at(lines, (*place, 'use'))}{'.'.join(place)}: {error}")
            continue
        settings: type[Config] | None = getattr(module, "Settings", None)
        if settings is not None:
            wrong = _problems(settings, step.settings, (*place, "with"), lines)
            said = None
            if not wrong and hasattr(module, "misfit"):
                said = module.misfit(settings.model_validate(step.settings), project_file)
            problems += wrong if said is None else [f"{_at(lines, (*place, 'with'))}{'.'.join(place)}: {said}"]
        elif step.settings:
            problems.append(f"{_at(lines, (*place, 'with'))}{'.'.join(place)}: use: {step.use!r} takes no settings.")
    if problems:
        raise ProjectFileError(f"{source}: " + "\n  ".join(problems))


def _problems(
    settings: type[Config], given: Mapping[str, Any], place: tuple[str, ...], lines: Mapping[tuple[str, ...], int]
) -> list[str]:
    from pydantic import ValidationError

    try:
        settings.model_validate(given)
    except ValidationError as error:
        return [_explain(settings, problem, place, lines) for problem in error.errors()]
    return []


def _explain(
    settings: type[Config], problem: Mapping[str, Any], place: tuple[str, ...], lines: Mapping[tuple[str, ...], int]
) -> str:
    location = (*place, *(str(part) for part in problem["loc"]))
    key, at = ".".join(location), _at(lines, location)
    if problem["type"] == "extra_forbidden":
        known = (
            [field.alias or name for name, field in settings.model_fields.items()] if len(problem["loc"]) == 1 else []
        )
        return f"{at}unknown key {key!r}. {nearest(location[-1], known) if known else ''}".rstrip()
    if problem["type"] == "missing":
        return f"{at}the key {key!r} is missing."
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem.get("input"), dict) else f" (got {problem.get('input')!r})"
    return f"{at}{key}: {message}{shown}"


def _at(lines: Mapping[tuple[str, ...], int], location: tuple[str, ...]) -> str:
    line = next((lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), None)
    return f"line {line}: " if line else ""
