"""`use: promote`: the challenger that won its contest goes into production; another waits in staging, with a reason."""

from __future__ import annotations

from typing import Any

from sanmaru.errors import RegistryError
from sanmaru.files import read_json
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.history import project_of


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
    why = f"pipeline, {context.interval}"
    try:
        promote(project, project.name, to="staging", version=version, contest=contest, why=why)
        if not contest.won:
            return {"version": version, "promoted": False, "reason": contest.reason}
        promote(project, project.name, to="production", version=version, contest=contest, why=why)
    except RegistryError as error:  # it is in the registry's log, too
        return {"version": version, "promoted": False, "reason": str(error)}
    return {"version": version, "promoted": True, "reason": contest.reason}
