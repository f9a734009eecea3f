"""Registering, promoting and rolling back models, and finding the one that an alias names."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sanmaru.errors import PackageError, RegistryError
from sanmaru.experiments.runs import Run
from sanmaru.project import Project
from sanmaru.registry import gates
from sanmaru.registry.contest import Contest
from sanmaru.registry.gates import TOLERANCE, Check
from sanmaru.registry.log import Entry
from sanmaru.registry.store import DEV, PRODUCTION, STAGING, TAG, Store, Version, store_of

if TYPE_CHECKING:
    from sanmaru.packages.package import Package

__all__ = [
    "Promotion",
    "Version",
    "load_model",
    "log",
    "names",
    "open_version",
    "promote",
    "register",
    "register_once",
    "resolve",
    "rollback",
    "versions",
]


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A move that was made."""

    version: Version
    alias: str
    previous: int | None
    """The version that held the alias before."""
    checks: tuple[Check, ...]
    forced: bool = False
    already: bool = False
    """Whether the version held the alias already, and nothing was moved."""


def register(run: Run, name: str | None = None) -> Version:
    """Copy a run's package into the registry as a new version, and give it the alias `dev`.

    Args:
        run: A run that is done.
        name: Name of the model; the project's name where absent.

    Raises:
        RegistryError: when the run is not done.
        PackageError: when its package is not intact.
    """
    from sanmaru.files import replace_folder
    from sanmaru.packages.package import Package

    if run.status != "done":
        advice = f" Finish it with: sanmaru train --resume {run.id}" if run.facts.get("kind") == "train" else ""
        raise RegistryError(f"run {run.id} is {run.status}, not done; only a finished run can be registered.{advice}")
    if not run.package_folder.is_dir():
        reason = run.facts.get("package_reason")
        raise RegistryError(
            f"run {run.id} has no package: {reason or f'{run.package_folder} is gone; train it again'}."
        )
    project, score = run.project, run.score()
    name = project.name if name is None else name
    _check_name(name)
    store = store_of(project)
    with store.lock():
        store.models_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=store.models_folder) as incoming:
            copied = Path(incoming) / "package"
            shutil.copytree(run.package_folder, copied)
            package = Package.load(copied)
            package.golden_test()
            tags = {
                "run": run.id, "metric": score.metric, "score": repr(score.value), "low": repr(score.low),
                "high": repr(score.high), "fingerprint": package.fingerprint, "task": package.signature.task,
            }  # fmt: skip
            _ensure_model(store, name)
            number = max((v.version for v in store.versions(name)), default=0) + 1
            (store.models_folder / name).mkdir(exist_ok=True)
            # The package stands before the version does, so that nobody finds a version without one.
            replace_folder(copied, store.folder(name, number))
        made = _create_version(store, name, number, tags, _mlflow_run(store, project, run))
        _give_dev(store, name, made, run)
    return store.version(name, made)


def register_once(run: Run, name: str | None = None) -> Version:
    """Return the version of a run, registered now if it was not; what a crash left undone of that is done.

    Raises:
        RegistryError: as `register`.
        PackageError: as `register`.
    """
    name = run.project.name if name is None else name
    store = store_of(run.project)
    with store.lock():
        known = store.versions(name) if name in store.names() else []
        made = next((one.version for one in known if one.run == run.id), None)
        if made is not None and made == max(one.version for one in known) and store.aliases(name).get(DEV) != made:
            _give_dev(store, name, made, run)
    return register(run, name) if made is None else store.version(name, made)


def _give_dev(store: Store, name: str, version: int, run: Run) -> None:
    """Book a new version, if that was not done yet, and give it the alias `dev`."""
    why = f"run {run.id}"  # a number can come again after a version was deleted, a run cannot
    if not any(
        (entry.kind, entry.version, entry.why) == ("register", version, why) for entry in store.log.entries(name)
    ):
        previous = store.aliases(name).get(DEV)
        store.log.append(kind="register", name=name, version=version, alias=DEV, previous=previous, why=why)
    store.set_alias(name, DEV, version)


def promote(
    project: Project,
    name: str,
    *,
    to: Literal["staging", "production"],
    version: int | None = None,
    why: str = "",
    force: bool = False,
    tolerance: float = TOLERANCE,
    contest: Contest | None = None,
) -> Promotion:
    """Give an alias to a version, if the gate lets it through.

    The version must be intact, fit the champion's signature, and not be worse than the champion on the rows that both
    were judged on. The champion is the version in production, also for a move to staging, for staging is where the
    next production is tried; while nothing is in production it is the version that holds the alias now. The first
    version has nothing to be compared with.

    Args:
        project: The project whose registry is meant.
        name: The model.
        to: The alias.
        version: Which one; where absent the newest for staging, and the one in staging for production, or the newest
            where none is in staging.
        why: The reason, for the log. Needed with `force`.
        force: Move the alias although checks fail. A package that is altered or does not answer is never let through.
        tolerance: How much worse than the champion the score may be, as a fraction of the champion's.
        contest: What a recent window said of this version. It takes the place of the rows judged out of fold, and of
            the tolerance: for production the version must have won; staging, where challengers wait, only records it.

    Raises:
        RegistryError: when a check fails, with one line per check; the refusal is logged.
    """
    if to not in (STAGING, PRODUCTION):
        raise RegistryError(f"a version is promoted to {STAGING} or {PRODUCTION}, got {to!r}.")
    if force and not why.strip():
        raise RegistryError("a forced promotion needs a reason for the log. Say it with: --why TEXT")
    store = store_of(project)
    for _ in range(10):
        candidate = _candidate(store, name, to, version)
        holder = store.at(name, to)
        if holder is not None and holder.version == candidate.version:
            return Promotion(version=candidate, alias=to, previous=holder.version, checks=(), already=True)
        champion = store.at(name, PRODUCTION) or holder
        # The gate takes seconds and runs unlocked; if the champion changes meanwhile it is run again.
        judged = None if contest is None else contest.check(asked=to == PRODUCTION)
        checks = _gate(project, candidate, champion, tolerance, judged)
        with store.lock():
            now = store.at(name, to)
            if _number(now) != _number(holder) or _number(store.at(name, PRODUCTION) or now) != _number(champion):
                continue
            return _move_if_passed(store, candidate, to, holder, checks=checks, why=why, force=force)
    raise RegistryError(f"{name} is being promoted by others all the time. Try again.")


def rollback(project: Project, name: str, *, why: str = "") -> Promotion:
    """Give production back to the version that held it before.

    Raises:
        RegistryError: when none did, or its package is no longer intact.
    """
    store = store_of(project)
    with store.lock():
        current = store.at(name, PRODUCTION)
        if current is None:
            raise RegistryError(f"{name} has nothing in production to roll back.")
        _note_foreign_move(store, name, PRODUCTION, current.version)
        held = _held(store.log.entries(name), PRODUCTION)
        if len(held) < 2:
            raise RegistryError(
                f"{name} has only had version {current.version} in production; there is none to go back to. "
                f"Promote another with: sanmaru promote {name} --to production --version N"
            )
        target = store.version(name, held[-2])
        check, _ = gates.intact(target.folder, target.fingerprint)
        if not check.passed:
            _log(store, "refused", target, PRODUCTION, current, why=why, checks=(check,))
            raise RegistryError(f"{name} was not rolled back to version {target.version}:\n  {check}")
        _move(store, "rollback", target, PRODUCTION, current, why=why, checks=(check,))
    return Promotion(
        version=store.version(name, target.version), alias=PRODUCTION, previous=current.version, checks=(check,)
    )


def resolve(project: Project, name: str, alias_or_version: str | int = PRODUCTION) -> Version:
    """Find a version by an alias or a number. Cheap enough to be asked every second: a millisecond on SQLite.

    Raises:
        RegistryError: when the model or the version does not exist, or nothing holds the alias.
    """
    store = store_of(project)
    text = str(alias_or_version)
    if text.isdecimal():
        return store.version(name, int(text))
    found = store.at(name, text)
    if found is None:
        held = ", ".join(f"{alias} (version {v})" for alias, v in sorted(store.aliases(name).items()))
        advice = f" Promote one with: sanmaru promote {name} --to {text}" if text in (STAGING, PRODUCTION) else ""
        raise RegistryError(f"no version of {name} holds the alias {text!r}. Held: {held or 'none'}.{advice}")
    return found


def versions(project: Project, name: str) -> list[Version]:
    """Every version of a model, oldest first.

    Raises:
        RegistryError: when no model has this name.
    """
    return store_of(project).versions(name)


def names(project: Project) -> list[str]:
    """The names of all registered models."""
    return store_of(project).names()


def log(project: Project, name: str | None = None) -> list[Entry]:
    """The moves made and refused, oldest first.

    Raises:
        RegistryError: when the log was tampered with.
    """
    store = store_of(project)
    if store.empty:
        return []
    store.log.verify()
    return store.log.entries(name)


def load_model(reference: str, project: Project | None = None, *, threads: int = 1) -> Package:
    """Load a registered model.

    Args:
        reference: `name@production`, another alias, `name@3` for a version, or `name` for the one in production.
        project: The project whose registry is meant; that of the working folder where absent.
        threads: Cores that a prediction may use.

    Raises:
        RegistryError: when there is no such version.
        PackageError: when its package is not the one that was registered.
    """
    project = Project.load() if project is None else project
    name, _, which = reference.partition("@")
    return open_version(resolve(project, name, which or PRODUCTION), threads=threads)


def open_version(version: Version, *, threads: int = 1) -> Package:
    """Load the package of a version and check that it is the one that was registered.

    Raises:
        PackageError: when it is not.
    """
    from sanmaru.packages.package import Package

    package = Package.load(version.folder, threads=threads)
    if version.fingerprint and package.fingerprint != version.fingerprint:
        raise PackageError(
            f"the package {version.folder} is not the one that was registered as {version.name} version "
            f"{version.version}: its manifest was replaced. Register the run {version.run} again."
        )
    return package


def _candidate(store: Store, name: str, to: str, version: int | None) -> Version:
    if version is not None:
        return store.version(name, version)
    staged = store.at(name, STAGING) if to == PRODUCTION else None
    if staged is not None:
        return staged
    known = store.versions(name)
    if not known:
        raise RegistryError(f"{name} has no version yet. Register a run with: sanmaru register RUN --name {name}")
    return known[-1]


def _gate(
    project: Project, candidate: Version, champion: Version | None, tolerance: float, judged: Check | None
) -> tuple[Check, ...]:
    from sanmaru.metrics.base import find_metric

    first, package = gates.intact(candidate.folder, candidate.fingerprint)
    if champion is None and judged is not None:
        return (first, judged)
    if champion is None:
        return (first, Check("not worse than the champion", True, "the first version: there is no champion yet"))
    if champion.version == candidate.version:
        return (first, Check("not worse than the champion", True, f"version {champion.version} is the champion itself"))
    if package is None:
        return (first,)
    title = f"version {champion.version} in {PRODUCTION if PRODUCTION in champion.aliases else STAGING}"
    try:
        theirs = open_version(champion)
    except PackageError as error:
        return (first, Check(f"not worse than {title}", False, f"the champion cannot be read: {error}"))
    fits = gates.compatible(package.signature, theirs.signature)
    if not fits.passed:
        return (first, fits)
    if judged is not None:
        return (first, fits, judged)
    metric = find_metric(project.file.metric or package.card.get("metric") or package.task.metrics[0])
    return (first, fits, gates.not_worse(package, theirs, title, metric, tolerance))


def _move_if_passed(
    store: Store,
    candidate: Version,
    to: str,
    holder: Version | None,
    *,
    checks: Sequence[Check],
    why: str,
    force: bool,
) -> Promotion:
    failed = [check for check in checks if not check.passed]
    broken = not checks[0].passed
    if broken or (failed and not force):
        _log(store, "refused", candidate, to, holder, why=why, checks=checks)
        advice = "" if broken else "\nTo promote it all the same: --force --why TEXT"
        lines = "".join(f"\n  {check}" for check in checks)
        raise RegistryError(f"{candidate.name} version {candidate.version} was not promoted to {to}:{lines}{advice}")
    _note_foreign_move(store, candidate.name, to, _number(holder))
    _move(store, "promote", candidate, to, holder, why=why, checks=checks, forced=bool(failed))
    return Promotion(
        version=store.version(candidate.name, candidate.version),
        alias=to,
        previous=_number(holder),
        checks=tuple(checks),
        forced=bool(failed),
    )


def _move(
    store: Store,
    kind: Literal["promote", "rollback"],
    version: Version,
    alias: str,
    previous: Version | None,
    *,
    why: str,
    checks: Sequence[Check],
    forced: bool = False,
) -> None:
    """Log a move, then make it: an alias that moved without a line in the log cannot come about."""
    _log(store, kind, version, alias, previous, why=why, checks=checks, forced=forced)
    try:
        store.set_alias(version.name, alias, version.version)
    except Exception as error:
        _log(store, "failed", version, alias, previous, why=f"{type(error).__name__}: {error}")
        raise RegistryError(f"the registry {store.tracking_uri} did not take the alias {alias!r}: {error}") from error


def _log(
    store: Store,
    kind: Literal["promote", "rollback", "refused", "failed"],
    version: Version,
    alias: str,
    previous: Version | None,
    *,
    why: str = "",
    checks: Sequence[Check] = (),
    forced: bool = False,
) -> None:
    store.log.append(
        kind=kind,
        name=version.name,
        version=version.version,
        alias=alias,
        previous=_number(previous),
        forced=forced,
        why=why,
        checks=[check.to_json() for check in checks],
    )


def _held(entries: Sequence[Entry], alias: str) -> list[int]:
    """The versions that hold an alias on top of one another: a promotion adds one, a rollback takes one away."""
    held: list[int] = []
    undo: list[int] = []
    for entry in entries:
        if entry.alias != alias or entry.version is None:
            continue
        match entry.kind:
            case "promote" | "found":
                undo = list(held)
                held.append(entry.version)
            case "rollback":
                undo = list(held)
                held.pop()
            case "failed":
                held = undo
    return held


def _note_foreign_move(store: Store, name: str, alias: str, holder: int | None) -> None:
    """Record an alias that MLflow's own tools moved, or that a crash kept from moving, as it is found."""
    held = _held(store.log.entries(name), alias)
    logged = held[-1] if held else None
    if holder is not None and holder != logged:
        store.log.append(
            kind="found", name=name, version=holder, alias=alias, previous=logged,
            why="the alias was moved by other means, or a logged move was cut short",
        )  # fmt: skip


def _number(version: Version | None) -> int | None:
    return None if version is None else version.version


def _check_name(name: str) -> None:
    import re

    if not re.fullmatch(r"[^\W_][\w.-]{0,79}", name):
        raise RegistryError(
            "a model's name begins with a letter or digit and has up to 80 letters, digits, '.', '_' and '-', "
            f"got {name!r}."
        )


def _ensure_model(store: Store, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise RegistryError(f"the registry {store.tracking_uri} did not take the name {name!r}: {error}") from error


def _create_version(store: Store, name: str, number: int, tags: dict[str, str], mlflow_run: str | None) -> int:
    """Make the version in MLflow; its number is what MLflow says, and the package is moved there if need be."""
    from sanmaru.files import replace_folder

    folder = store.folder(name, number)
    record = store.client.create_model_version(
        name, source=folder.as_uri(), run_id=mlflow_run, tags={TAG + key: value for key, value in tags.items()}
    )
    made = int(record.version)
    if made != number:  # a version was deleted, or made by other means meanwhile
        replace_folder(folder, store.folder(name, made))
    return made


def _mlflow_run(store: Store, project: Project, run: Run) -> str | None:
    """The run's mirror in MLflow, if there is one."""
    with contextlib.suppress(Exception):  # a link for convenience; the tags name the run anyhow
        experiment: Any = store.client.get_experiment_by_name(project.name)
        if experiment is not None:
            wanted = f"tags.`sanmaru.run` = '{run.id}'"
            found = store.client.search_runs([experiment.experiment_id], wanted, max_results=1)
            return str(found[0].info.run_id) if found else None
    return None
