"""A pipeline that cannot run says so before anything runs, with the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.steps.small import Service

from sanmaru.cli.main import app
from sanmaru.errors import UserError


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("needs: check,", "needs: chekc,", r"step 'anomalies' needs 'chekc'. Did you mean 'check'\?"),
        ("refit_days: 1", "refit_days: often", r"line \d+: pipeline.steps.anomalies.with.refit_days: .*valid integer"),
        ("refit_days: 1", "refit: 1", r"line \d+: unknown key 'pipeline.steps.anomalies.with.refit'"),
        ("window_days: 9", "window_days: 0", r"line \d+: pipeline.steps.train.with.window_days: .*greater than 0"),
        ("every_hours: 6", "metric: [1]", r"line \d+: pipeline.steps.judge.with.metric"),
        ("{use: promote,", "{use: promote, with: {to: x},", r"line \d+: pipeline.steps.promote: .*takes no settings"),
        ("{use: check,", "{use: chek,", r"line \d+: pipeline.steps.check: use: 'chek' is no built-in step. Did you"),
        ("live: false", "language: fr", r"line \d+: pipeline.steps.publish.with.language: .*'en' or 'ko'"),
        ("kind: replay", "kind: reply", r"line \d+: unknown collect.air.kind 'reply'"),
        (
            "{use: collect",
            "{use: collect, with: {source: aix}",
            r"line \d+: pipeline.steps.collect: there is no source 'aix' in collect:. Did you mean 'air'\?",
        ),
        ("look_at: 10", "look_at: 25", r"line \d+: pipeline.steps.monitor.with.look_at: .*less than or equal to 23"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    make_service: Callable[..., Service], tmp_path: Path, before: str, after: str, told: str
) -> None:
    service = make_service(tmp_path)
    text = (tmp_path / "sanmaru.yaml").read_text()
    assert before in text
    (tmp_path / "sanmaru.yaml").write_text(text.replace(before, after, 1))
    with pytest.raises(UserError, match=told):
        app(["pipeline", "status", "--project", str(service.folder)], standalone_mode=False)
