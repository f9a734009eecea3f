"""`use: promote`: the challenger that won its contest goes into production; another waits in staging, with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanmaru.errors import RegistryError
from sanmaru.files import read_json
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.history import project_of
from sanmaru.steps.versions import holder

if TYPE_CHECKING:
    from sanmaru.project import Project


def run(context: StepContext) -> dict[str, Any]:
    """Return `version`, `promoted`, and `reason`.

    Raises:
        NothingNew: when there was no contest.
    """
    from sanmaru.registry.contest import Contest
    from sanmaru.registry.models import promote

    judged = [one for step in context.inputs.values() for one in step.values() if "contest" in one]
    if not judged:
        raise NothingNew("there was no contest")
    project = project_of(context)
    version = int(judged[0]["version"])
    contest = Contest.from_json(read_json(context.folder / judged[0]["contest"]))
    if contest.won and _was_in_production(project, version):  # done once more: what came after it stands
        return {"version": version, "promoted": True, "reason": contest.reason}
    why = f"pipeline, {context.interval}"
    try:
        promote(project, project.name, to="staging", version=version, contest=contest, why=why)
        if not contest.won:
            return {"version": version, "promoted": False, "reason": contest.reason}
        promote(project, project.name, to="production", version=version, contest=contest, why=why)
    except RegistryError as error:  # it is in the registry's log, too
        return {"version": version, "promoted": False, "reason": str(error)}
    return {"version": version, "promoted": True, "reason": contest.reason}


def _was_in_production(project: Project, version: int) -> bool:
    """Whether a version was given production before, whoever holds it now.

    The log's line is written before the alias is moved; one that nothing followed may be of a move that was cut off.
    """
    from sanmaru.registry.models import log

    moves = [one for one in log(project, project.name) if one.alias == "production" and one.kind != "refused"]
    places = [n for n, one in enumerate(moves) if one.version == version and one.kind == "promote"]
    if not places:
        return False
    current = holder(project, "production")
    return places[-1] < len(moves) - 1 or (current is not None and current.version == version)
