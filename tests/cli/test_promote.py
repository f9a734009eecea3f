"""register, promote, rollback and models, in the order in which they are used."""

from __future__ import annotations

import json


def test_nothing_is_registered_at_first(trained_project, command):
    assert command("models")[1] == ""
    assert json.loads(command("models", "--format", "json")[1]) == []
    assert "None are known" in command("models", "houses")[2]
    assert command("models", "houses")[0] == 1


def test_a_model_is_registered_promoted_and_rolled_back(trained_project, command):
    status, out, err = command("register", "last")
    assert (status, err) == (0, "")
    assert out.startswith("registered houses version 1 from run ")
    assert "rmse" in out
    assert "sanmaru promote houses --to staging" in out
    status, out, _ = command("promote", "houses", "--to", "staging")
    assert status == 0
    assert "  passed  package intact:" in out
    assert out.endswith("houses version 1 is in staging now\n")
    assert command("promote", "houses", "--to", "production", "--why", "first")[0] == 0
    assert command("promote", "houses", "--to", "production")[1] == "houses version 1 is in production already\n"
    status, _, err = command("rollback", "houses")
    assert status == 1
    assert "there is none to go back to" in err
    command("register", "last")
    status, out, _ = command("promote", "houses", "--to", "production", "--version", "2")
    assert out.endswith("houses version 2 is in production now, in place of version 1\n")
    status, out, _ = command("rollback", "houses", "--why", "too dear")
    assert (status, out) == (0, "houses version 1 is in production again, in place of version 2\n")

    table = command("models")[1].splitlines()
    assert table[0].split() == ["model", "version", "alias", "score", "run", "registered"]
    assert table[1].split()[:3] == ["houses", "2", "dev"]
    assert "staging, production" in table[2]
    found = json.loads(command("models", "houses", "--format", "json")[1])
    assert [(version["version"], version["aliases"]) for version in found] == [
        (2, ["dev"]), (1, ["staging", "production"])
    ]  # fmt: skip
    log = command("models", "houses", "--log")[1]
    assert "too dear" in log
    assert "2 > 1" in log
    moves = json.loads(command("models", "--log", "--format", "json")[1])
    assert [move["kind"] for move in moves] == ["register", "promote", "promote", "register", "promote", "rollback"]
    assert command("predict", "houses@staging", "test.csv", "-o", "out.csv")[0] == 0


def test_a_refusal_prints_every_check(trained_project, command):
    command("register", "last")
    card = trained_project / "models" / "houses" / "1" / "card.json"
    card.write_text("{}")
    status, out, err = command("promote", "houses", "--to", "production")
    assert (status, out) == (1, "")
    assert "houses version 1 was not promoted to production:" in err
    assert "FAILED  package intact: " in err
    log = json.loads(command("models", "--log", "--format", "json")[1])
    assert log[-1]["kind"] == "refused"
    assert not log[-1]["checks"][0]["passed"]


def test_an_unknown_stage_or_name_is_refused(trained_project, command):
    assert command("promote", "houses", "--to", "moon")[0] == 2
    assert "no model 'house'" in command("promote", "house", "--to", "staging")[2]
    assert "no run 'nope'" in command("register", "nope")[2]
