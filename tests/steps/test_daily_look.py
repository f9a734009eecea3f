"""`monitor` looks for drift once a day, against what the champion learned from."""

from __future__ import annotations

import json

import polars as pl
from tests.steps.small import START, Service

from sanmaru.steps.versions import known_versions


def test_the_reference_is_what_the_champion_learned_from(service: Service) -> None:
    project = service.folder / "sanmaru.yaml"
    project.write_text(project.read_text() + "monitor: {window: 1d, data: [pm25], residuals: [pm25.residual]}\n")
    service.again("monitor", 1)  # 10:00 in Seoul
    service.run(hours=3)
    outputs = service.outputs("monitor", 1)
    assert "not_looked" not in outputs, outputs
    folder = service.folder / "service" / "monitor"
    facts = known_versions(service.folder)[2]
    reference = pl.read_parquet(folder / "reference-2-h2.parquet")
    assert reference["time"].max() < facts.until  # type: ignore[operator]
    assert reference["pm25.residual"].drop_nulls().len() > 100
    current = pl.read_parquet(folder / "current.parquet")
    assert current["time"].min() == facts.until
    assert current["time"].max() == START.replace(hour=1)
    told = json.loads((service.folder / outputs["report"]).read_text())
    assert told["version"] == 2
    assert outputs["drift_fraction"] == told["drift_fraction"]
    # Hours 0 and 2 are not the hour of the look.
    assert set(service.outputs("monitor", 2)) == {"predictions", "truths"}
    service.again("monitor", 1)
    service.run(hours=3)
    assert service.outputs("monitor", 1) == outputs
    # A look done again after a later one leaves what shows the present alone.
    later = service.folder / outputs["report"]
    later = later.with_name(later.name.replace("T01", "T03"))
    later.write_text("{}")
    (folder / "monitor.html").write_text("the later look's")
    before = (folder / "current.parquet").stat().st_mtime_ns
    service.again("monitor", 1)
    service.run(hours=3)
    assert service.outputs("monitor", 1) == outputs
    assert (folder / "monitor.html").read_text() == "the later look's"
    assert (folder / "current.parquet").stat().st_mtime_ns == before
