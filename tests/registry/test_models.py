from __future__ import annotations

import json
import multiprocessing
import shutil
import time

import polars as pl
import pytest

from sanmaru.errors import PackageError, RegistryError, RunError
from sanmaru.project import Project
from sanmaru.registry import models
from sanmaru.registry.models import load_model, promote, register, register_once, resolve, rollback, versions
from sanmaru.registry.store import store_of


def kinds(project: Project) -> list[tuple[str, int | None, str]]:
    return [(entry.kind, entry.version, entry.alias) for entry in models.log(project)]


def test_a_run_goes_all_the_way(project, run_maker, table_maker):
    run = run_maker(project)
    version = register(run)
    assert (version.name, version.version, version.aliases, version.run) == ("houses", 1, ("dev",), run.id)
    assert version.folder == project.models_folder / "houses" / "1"
    assert version.metric == "rmse"
    assert version.score == pytest.approx(run.score().value)
    staged = promote(project, "houses", to="staging", why="first")
    assert staged.previous is None
    assert [check.passed for check in staged.checks] == [True, True]
    assert "first version" in staged.checks[1].text
    moved = promote(project, "houses", to="production")
    assert moved.version.aliases == ("dev", "staging", "production")
    package = load_model("houses@production", project)
    assert len(package.predict(table_maker(5))) == 5
    for reference in ("houses", "houses@1", "houses@dev"):
        assert load_model(reference, project).fingerprint == package.fingerprint
    assert kinds(project) == [("register", 1, "dev"), ("promote", 1, "staging"), ("promote", 1, "production")]
    assert models.log(project)[1].why == "first"


def test_the_package_outlives_its_run(project, run_maker):
    run = run_maker(project)
    register(run)
    shutil.rmtree(run.folder)
    assert load_model("houses@1", project).golden_test() < 1e-4


def test_only_finished_runs_are_registered(project, run_maker):
    run = run_maker(project)
    run.update(status="running")
    with pytest.raises(RegistryError, match=rf"run {run.id} is running, not done"):
        register(run)
    run.update(status="done")
    shutil.rmtree(run.package_folder)
    with pytest.raises(RegistryError, match="has no package"):
        register(run)
    assert models.names(project) == []


def test_an_altered_package_is_not_registered(project, run_maker):
    run = run_maker(project)
    (run.package_folder / "card.json").write_text("{}")
    with pytest.raises(PackageError, match="not intact"):
        register(run)
    assert models.names(project) == []
    assert not [path for path in project.models_folder.iterdir() if path.is_dir()]


@pytest.mark.parametrize("fails", ["append", "set_alias"])
def test_what_a_crash_left_undone_of_a_registration_is_done(project, run_maker, monkeypatch, fails):
    register(run_maker(project))
    run, store = run_maker(project), store_of(project)
    broken = store.log if fails == "append" else store
    with monkeypatch.context() as patch:
        patch.setattr(type(broken), fails, lambda *_, **__: (_ for _ in ()).throw(OSError("the power went")))
        with pytest.raises(OSError, match="the power went"):
            register_once(run)
    assert store.aliases("houses") == {"dev": 1}
    for _ in range(2):
        version = register_once(run)
        assert (version.version, version.run, version.aliases) == (2, run.id, ("dev",))
    assert kinds(project) == [("register", 1, "dev"), ("register", 2, "dev")]


def test_an_older_run_registered_before_keeps_its_version_and_takes_no_alias(project, run_maker):
    first, second = run_maker(project), run_maker(project)
    assert register_once(first).version == 1
    register(second)
    assert register_once(first).aliases == ()
    assert store_of(project).aliases("houses") == {"dev": 2}


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 81, "it's"])
def test_odd_names_are_refused(project, run_maker, name):
    with pytest.raises(RegistryError, match="a model's name begins with"):
        register(run_maker(project), name)


def test_names_may_be_korean(project, run_maker):
    assert register(run_maker(project), "집값").folder.is_dir()
    assert models.names(project) == ["집값"]


def test_a_better_version_replaces_the_champion_and_can_be_rolled_back(project, run_maker):
    for noise in (5.0, 4.0):
        register(run_maker(project, noise=noise))
    promote(project, "houses", to="production", version=1)
    move = promote(project, "houses", to="production")
    assert (move.version.version, move.previous) == (2, 1)
    assert move.checks[2].name == "not worse than version 1 in production"
    assert "on 200 common rows" in move.checks[2].text
    back = rollback(project, "houses", why="negative prices")
    assert (back.version.version, back.previous) == (1, 2)
    assert resolve(project, "houses").version == 1
    with pytest.raises(RegistryError, match="only had version 1 in production; there is none to go back to"):
        rollback(project, "houses")
    assert kinds(project)[-1] == ("rollback", 1, "production")
    assert models.log(project)[-1].why == "negative prices"


def test_two_rollbacks_go_back_two_versions(project, run_maker):
    run = run_maker(project)
    for number in (1, 2, 3):
        register(run)
        promote(project, "houses", to="production", version=number)
    assert rollback(project, "houses").version.version == 2
    assert rollback(project, "houses").version.version == 1
    promote(project, "houses", to="production", version=3)
    assert rollback(project, "houses").version.version == 1


def test_a_worse_version_is_refused_and_the_refusal_logged(project, run_maker):
    register(run_maker(project, noise=5))
    promote(project, "houses", to="production")
    register(run_maker(project, noise=8))
    with pytest.raises(RegistryError, match=r"(?s)version 2 was not promoted to production.*passed  package intact.*"
                       r"FAILED  not worse.*the champion is better: RMSE .* on 200 common rows.*--force"):  # fmt: skip
        promote(project, "houses", to="production")
    assert resolve(project, "houses").version == 1
    last = models.log(project)[-1]
    assert (last.kind, last.version, last.previous) == ("refused", 2, 1)
    assert [check["passed"] for check in last.checks] == [True, True, False]


def test_a_little_worse_than_tolerated_is_refused_though_not_shown(project, run_maker, table_maker):
    table = table_maker(40)
    register(run_maker(project, noise=5, noise_seed=1, table=table))
    promote(project, "houses", to="production")
    register(run_maker(project, noise=5.8, noise_seed=2, table=table))
    with pytest.raises(RegistryError, match=r"FAILED  not worse than version 1 in production: worse by more than"):
        promote(project, "houses", to="production", tolerance=0.0)
    assert promote(project, "houses", to="production", tolerance=0.9).version.version == 2


def test_force_needs_a_reason_and_is_logged(project, run_maker):
    register(run_maker(project, noise=5))
    promote(project, "houses", to="production")
    register(run_maker(project, noise=9))
    with pytest.raises(RegistryError, match="a forced promotion needs a reason"):
        promote(project, "houses", to="production", force=True, why="  ")
    move = promote(project, "houses", to="production", force=True, why="new law")
    assert move.forced
    last = models.log(project)[-1]
    assert (last.kind, last.forced, last.why) == ("promote", True, "new law")


def test_a_broken_package_is_not_let_through_even_by_force(project, run_maker):
    version = register(run_maker(project))
    (version.folder / "card.json").write_text("{}")
    with pytest.raises(RegistryError, match=r"FAILED  package intact: .*card.json"):
        promote(project, "houses", to="production", force=True, why="now")
    with pytest.raises(PackageError, match="not intact"):
        load_model("houses@1", project)


def test_a_package_that_was_replaced_whole_is_found(project, run_maker):
    version = register(run_maker(project, noise=5))
    other = run_maker(project, noise=1)
    shutil.rmtree(version.folder)
    shutil.copytree(other.package_folder, version.folder)
    with pytest.raises(PackageError, match="not the one that was registered as houses version 1"):
        load_model("houses@1", project)
    with pytest.raises(RegistryError, match=r"FAILED  package intact: .* its manifest was replaced"):
        promote(project, "houses", to="staging")


def test_the_signature_has_to_fit_the_champion(project, run_maker):
    register(run_maker(project))
    promote(project, "houses", to="production")
    register(run_maker(project, features=("size", "rooms")))
    with pytest.raises(RegistryError, match=r"FAILED  signature compatible: it lacks the champion's inputs 'age'"):
        promote(project, "houses", to="production")
    register(run_maker(project, features=("size", "age", "rooms")))
    move = promote(project, "houses", to="production")
    assert "1 new optional inputs: rooms" in move.checks[1].text


def test_too_few_common_rows_are_refused_with_advice(project, run_maker, table_maker):
    register(run_maker(project))
    promote(project, "houses", to="production")
    table = table_maker().with_columns(id=pl.col("id") + 180)
    register(run_maker(project, table=table))
    with pytest.raises(RegistryError, match=r"only 0 rows were judged .*of 200 and 200.*split.reuse"):
        promote(project, "houses", to="production")


def test_staging_is_held_to_the_champion_in_production(project, run_maker):
    register(run_maker(project, noise=5))
    promote(project, "houses", to="staging")
    register(run_maker(project, noise=9))
    with pytest.raises(RegistryError, match="not worse than version 1 in staging"):
        promote(project, "houses", to="staging")
    promote(project, "houses", to="production", version=1)
    with pytest.raises(RegistryError, match="not worse than version 1 in production"):
        promote(project, "houses", to="staging", version=2)


def test_production_takes_the_version_in_staging(project, run_maker):
    run = run_maker(project)
    for _ in range(3):
        register(run)
    promote(project, "houses", to="staging", version=2)
    assert promote(project, "houses", to="production").version.version == 2
    again = promote(project, "houses", to="production")
    assert again.already
    assert len([kind for kind, *_ in kinds(project) if kind == "promote"]) == 2


def test_groups_are_drawn_together(project, run_maker):
    for _ in range(2):
        register(run_maker(project, groups=True))
    promote(project, "houses", to="production", version=1)
    assert promote(project, "houses", to="production", version=2).version.version == 2


def test_what_is_not_there_is_named(project, run_maker):
    with pytest.raises(RegistryError, match=r"no model 'houses' is registered\. None are known\."):
        resolve(project, "houses")
    register(run_maker(project))
    with pytest.raises(RegistryError, match=r"no model 'house' is registered. Did you mean 'houses'\?"):
        load_model("house", project)
    with pytest.raises(RegistryError, match=r"no version .* holds the alias 'production'. Held: dev \(version 1\)"):
        load_model("houses", project)
    with pytest.raises(RegistryError, match=r"houses has no version 7\. Known: 1"):
        load_model("houses@7", project)
    with pytest.raises(RegistryError, match="houses has no version 7"):
        promote(project, "houses", to="staging", version=7)
    with pytest.raises(RegistryError, match="nothing in production to roll back"):
        rollback(project, "houses")
    with pytest.raises(RegistryError, match="promoted to staging or production, got 'dev'"):
        promote(project, "houses", to="dev")


def test_nothing_is_made_by_looking(tmp_path):
    content = {"name": "empty", "task": "tabular", "data": {"train": "t.csv", "target": "y"}}
    project = Project.from_dict(tmp_path, content)
    assert models.names(project) == []
    assert models.log(project) == []
    with pytest.raises(RegistryError, match="nothing is registered yet"):
        versions(project, "empty")
    with pytest.raises(RegistryError, match="nothing is registered yet"):
        resolve(project, "empty")
    assert list(tmp_path.iterdir()) == []


def test_an_alias_moved_by_other_means_is_recorded(project, run_maker):
    run = run_maker(project)
    for _ in range(3):
        register(run)
    promote(project, "houses", to="production", version=1)
    store_of(project).client.set_registered_model_alias("houses", "production", "2")
    promote(project, "houses", to="production", version=3)
    assert [entry[:2] for entry in kinds(project)[-3:]] == [("promote", 1), ("found", 2), ("promote", 3)]
    assert rollback(project, "houses").version.version == 2


def test_a_version_deleted_in_mlflow_does_not_confuse_numbers(project, run_maker):
    run = run_maker(project)
    register(run)
    register(run)
    store_of(project).client.delete_model_version("houses", "2")
    assert register(run).version == 3
    assert load_model("houses@3", project)
    assert [version.version for version in versions(project, "houses")] == [1, 3]


def test_resolving_is_cheap(project, run_maker):
    register(run_maker(project))
    promote(project, "houses", to="production")
    resolve(project, "houses")
    start = time.perf_counter()
    for _ in range(20):
        resolve(project, "houses", "production")
    assert (time.perf_counter() - start) / 20 < 0.05  # about 2 ms; the bound is for a busy machine


def test_a_moved_project_finds_its_models(project, run_maker, tmp_path):
    register(run_maker(project))
    elsewhere = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.copytree(tmp_path, elsewhere)
    content = {**project.to_dict()}
    assert resolve(Project.from_dict(elsewhere, content), "houses", 1).folder == elsewhere / "models" / "houses" / "1"


def _promote_in_a_process(folder: str, content: str, version: int, results: object) -> None:
    project = Project.from_dict(folder, json.loads(content))
    try:
        move = promote(project, "houses", to="production", version=version, why=f"by {version}")
        results.put((version, move.previous))  # type: ignore[attr-defined]
    except RegistryError as error:
        results.put((version, str(error)))  # type: ignore[attr-defined]


def test_two_promotions_at_once_are_made_one_after_the_other(project, run_maker):
    run = run_maker(project)
    for _ in range(3):
        register(run)
    promote(project, "houses", to="production", version=1)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    content = json.dumps(project.to_dict())
    jobs = [
        context.Process(target=_promote_in_a_process, args=(str(project.folder), content, number, results))
        for number in (2, 3)
    ]
    for job in jobs:
        job.start()
    found = dict(results.get(timeout=100) for _ in jobs)
    for job in jobs:
        job.join(timeout=30)
    # One replaced version 1, the other replaced that one: neither was compared with a champion already gone.
    assert sorted(found.values()) in ([1, 2], [1, 3])
    first = next(version for version, previous in found.items() if previous == 1)
    assert found[5 - first] == first
    moves = [(entry.previous, entry.version) for entry in models.log(project) if entry.alias == "production"]
    assert moves == [(None, 1), (1, first), (first, 5 - first)]


def test_run_errors_stay_run_errors(project):
    from sanmaru.experiments.runs import Run

    with pytest.raises(RunError, match="no run"):
        Run.load(project, "nothing")
