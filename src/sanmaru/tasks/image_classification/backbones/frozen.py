"""What `model.freeze` means, by the names of stages. Needs no torch."""

from __future__ import annotations

from sanmaru.errors import ProjectFileError


def frozen_stages(names: list[str] | tuple[str, ...], upto: str | int) -> int:
    """Return how many stages are frozen.

    Args:
        names: Of the stages, from stem to head.
        upto: See `freeze`.

    Raises:
        ProjectFileError: for a stage that is not there, or the head.
    """
    body = list(names)[:-1]
    if upto == "none":
        return 0
    if upto == "all":
        return len(body)
    if isinstance(upto, int) and upto in range(len(body)):
        return upto + 1
    if isinstance(upto, str) and upto in body:
        return body.index(upto) + 1
    raise ProjectFileError(
        f"model.freeze: there is no stage {upto!r}. This network has none, all, {', '.join(body)} (or 0 to "
        f"{len(body) - 1})."
    )
