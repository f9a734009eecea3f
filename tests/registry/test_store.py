from __future__ import annotations

import os

from sanmaru.project import Project
from sanmaru.registry.store import Store, store_of


def test_the_store_is_kept_and_its_client_too(project, run_maker):
    assert store_of(project) is store_of(Project.from_dict(project.folder, project.to_dict()))
    assert store_of(project).client is store_of(project).client


def test_the_log_lies_in_the_registry_s_database_or_beside_the_packages(tmp_path):
    database = "postgresql+psycopg://me@host/db"
    assert Store(database, tmp_path).log.url == database
    served = Store("http://127.0.0.1:5000", tmp_path / "models")
    assert served.log.url == f"sqlite:///{tmp_path / 'models' / 'moves.db'}"
    assert not served.empty
    with served.lock():
        served.log.append(kind="register", name="a", version=1, alias="dev")
    assert os.path.exists(tmp_path / "models" / "moves.db")
    assert served.log.verify() == 1


def test_many_versions_are_listed_in_order(project):
    store = store_of(project)
    store.client.create_registered_model("many")
    for _ in range(12):
        store.client.create_model_version("many", source="file:///nowhere")
    store.set_alias("many", "production", 11)
    found = store.versions("many")
    assert [version.version for version in found] == list(range(1, 13))
    assert found[10].aliases == ("production",)
    assert found[0].score is None
