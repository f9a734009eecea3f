"""`use: collect`: fetch what a source has for the interval. Until it is complete, everything behind it waits."""

from __future__ import annotations

from typing import Any

from sanmaru.config import Config
from sanmaru.errors import ProjectFileError, nearest
from sanmaru.pipelines.context import StepContext
from sanmaru.steps.history import project_of


class Settings(Config):
    """`with:` of the step."""

    source: str | None = None
    """Name of the source in `collect:`; the only one where absent."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `rows` (the interval's long table), `count`, and `ahead` where the source looks ahead.

    Raises:
        NotReady: when rows of the interval are missing that may still come.
    """
    from sanmaru.collect.interval import collect_interval

    settings, project = Settings.model_validate(context.settings), project_of(context)
    sources = project.file.collect
    name = settings.source or (next(iter(sources)) if len(sources) == 1 else None)
    if name is None or name not in sources:
        said = f"there is no source {name!r}. {nearest(name, sources)}" if name else "say which source: with: {source:}"
        raise ProjectFileError(f"pipeline.steps.{context.step}: {said}")
    done = collect_interval(
        name, sources[name], context.start, context.end, project.collected_folder, project=project.folder
    )
    return done.outputs
