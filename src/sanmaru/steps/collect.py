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


def misfit(settings: Settings, project_file: Any) -> str | None:
    """Say which source `collect:` lacks, or None."""
    sources = project_file.collect
    if settings.source is None and len(sources) != 1:
        return f"say which source: with: {{source: ...}}. collect: has {', '.join(sources) or 'none'}."
    if settings.source is not None and settings.source not in sources:
        return f"there is no source {settings.source!r} in collect:. {nearest(settings.source, sources)}"
    return None


def run(context: StepContext) -> dict[str, Any]:
    """Return `rows` (the interval's long table), `count`, and `ahead` where the source looks ahead.

    Raises:
        NotReady: when rows of the interval are missing that may still come.
    """
    from sanmaru.collect.interval import collect_interval

    settings, project = Settings.model_validate(context.settings), project_of(context)
    if said := misfit(settings, project.file):
        raise ProjectFileError(f"pipeline.steps.{context.step}: {said}")
    sources = project.file.collect
    name = settings.source or next(iter(sources))
    done = collect_interval(
        name, sources[name], context.start, context.end, project.collected_folder, project=project.folder
    )
    return done.outputs
