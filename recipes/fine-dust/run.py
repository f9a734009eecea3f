"""Fine dust in Seoul as a service: recorded hours are replayed, one after another, with faults put in on purpose.

python recipes/fine-dust/run.py            ten days of hours, about 10 minutes on two cores
python recipes/fine-dust/run.py --tiny     does it run? sixteen hours and few trees
"""

import contextlib
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import yaml

from sanmaru.collect.interval import collect_interval
from sanmaru.errors import UserError
from sanmaru.files import write_json, write_text
from sanmaru.pipelines.context import NotReady
from sanmaru.project import FILE_NAME, Project
from sanmaru.recipes.command import command
from sanmaru.recipes.course import RESULTS, Say, Table, made_with
from sanmaru.recipes.served import asked
from sanmaru.recipes.service import (
    alarms,
    contests,
    decisions,
    do_hours,
    flagged,
    lines_of_service,
    revise,
    scores,
    seconds,
)
from sanmaru.recipes.sources import Download, obtain
from sanmaru.steps.history import SERVICE, collected

HOME = Path(__file__).parent
SEOUL = ZoneInfo("Asia/Seoul")
FORM = "%Y-%m-%d %H:%M"
SEED = 2026
AIR = Download(
    url="https://raw.githubusercontent.com/SeojinSeojin/aai2009/789257b5e5431ce113e727e30bb8164a117a6339/"
    "data/rawfiles/seoul-air.csv",
    sha256="066aa31855ab4944f2f509c63f03c0173bfa63c7dfba6cb835f79ff06ca79158",
    to="seoul-air.csv",
)
NAMES = {"일시": "datetime", "초미세먼지": "pm25", "미세먼지": "pm10", "오존": "o3", "이산화탄소": "no2",
         "일산화탄소": "co", "아황산가스": "so2"}  # fmt: skip
"""Columns of the file. What it heads carbon dioxide is nitrogen dioxide."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happens when, in hours after the service begins."""

    begin: datetime = datetime(2021, 12, 1, tzinfo=SEOUL)
    since: datetime = datetime(2018, 1, 1, tzinfo=SEOUL)
    """Start of the history that is taken in first."""
    late: int = 26
    """This hour is not there when its turn comes."""
    revised: int = 45
    """This hour is told wrong first."""
    stuck: tuple[int, int] = (60, 78)
    """PM10 repeats one value from the first of these hours on, up to and without the other."""
    bias: int = 120
    """From this hour on the sensor of PM2.5 reads too much."""
    hours: int = 240

    def at(self, hour: int) -> datetime:
        """Return the time of an hour."""
        return self.begin.astimezone(UTC) + timedelta(hours=hour)


WHOLE = Story()
TINY = Story(since=datetime(2021, 8, 15, tzinfo=SEOUL), late=2, revised=4, stuck=(7, 12), bias=12, hours=16)
SMALL: dict[str, Any] = {
    "model": {"trees": 10},
    "forecast": {"horizon": 24, "lookback": 24, "origins": {"every": "1d", "reach": "20d"}},
}
"""Fields of the project file that are others in a tiny run."""


def convert(raw: Path, folder: Path) -> None:
    """Give the columns short names, and hour 24 its place at midnight of the next day."""
    table = pl.read_csv(raw / AIR.to, infer_schema=False).select(pl.col(old).alias(new) for old, new in NAMES.items())
    day = pl.col("datetime").str.slice(0, 10).str.to_datetime("%Y-%m-%d")
    hour = pl.col("datetime").str.slice(11, 2).cast(pl.Int32)
    table.with_columns((day + pl.duration(hours=hour)).dt.strftime(FORM).alias("datetime")).write_csv(
        folder / "hourly.csv"
    )


def with_faults(recorded: pl.DataFrame, story: Story) -> pl.DataFrame:
    """Return the recorded hours of a story, PM10 stuck for a while and PM2.5 too high from some hour on.

    The sensor then reads 1.3 times what it should and 18 µg/m³ more, with noise of 2 µg/m³.
    """
    times = pl.col("datetime").str.to_datetime(FORM).dt.replace_time_zone("Asia/Seoul")
    hour = (times - story.begin).dt.total_hours()
    rows = recorded.with_columns(hour=hour).filter(
        (times >= story.since) & (pl.col("hour") < story.hours)
    )  # what the city will have measured later is nobody's to know
    noise = np.random.default_rng(SEED).normal(0, 2, len(rows))
    too_much = (pl.col("pm25").cast(pl.Float64) * 1.3 + 18 + pl.Series(noise)).clip(1).round().cast(pl.Int64)
    first, last = story.stuck
    held = rows.filter(pl.col("hour") == first)["pm10"].item()
    return rows.with_columns(
        pm25=pl.when(pl.col("hour") >= story.bias).then(too_much.cast(pl.String)).otherwise("pm25"),
        pm10=pl.when(pl.col("hour").is_between(first, last - 1)).then(pl.lit(held)).otherwise("pm10"),
    )


def feed(folder: Path, rows: pl.DataFrame) -> None:
    """Write the file that the service collects from."""
    write_text(folder / "recorded" / "hourly.csv", rows.drop("hour").write_csv())


def prepare(folder: Path, story: Story, *, tiny: bool) -> Project:
    """Write the project file, and take in the history before the service begins."""
    if tiny:
        content = yaml.safe_load((HOME / FILE_NAME).read_text(encoding="utf-8"))
        for section, fields in SMALL.items():
            content[section] |= fields
        content["pipeline"]["steps"]["train"]["with"] = {"window_days": 10}
        write_text(folder / FILE_NAME, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    else:
        shutil.copy(HOME / FILE_NAME, folder / FILE_NAME)
    project = Project.load(folder)
    begin, end = story.since.astimezone(UTC), story.begin.astimezone(UTC)
    with contextlib.suppress(NotReady):  # told as waiting where too much of the history is absent; what is there is in
        collect_interval("air", project.file.collect["air"], begin, end, project.collected_folder, project=folder)
    return project


def play(project: Project, rows: pl.DataFrame, story: Story, say: Say) -> list[str]:
    """Let the service live through the story; return what became of the late hour and of the revision."""
    folder, told = project.folder, []
    wrong = rows.with_columns(
        pm25=pl.when(pl.col("hour") == story.revised).then(pl.lit("8")).otherwise("pm25"),
    )
    feed(folder, wrong.filter(pl.col("hour") != story.late))
    began = do_hours(project, story.at(1))
    say(f"first hour, with the first training: {began.done} steps done")
    waited = do_hours(project, story.at(story.late + 3))
    kept_back = [place for place in waited.blocked if f"@{story.at(story.late):%Y-%m-%dT%H:%MZ}" in place]
    told.append(
        f"The hour {story.at(story.late):%Y-%m-%d %H:%M} UTC was not there: {len(kept_back)} of its steps waited, and "
        "the two hours after it were done meanwhile."
    )
    say(told[-1])
    feed(folder, wrong)
    time.sleep(1.1)  # `poll_s` of its collection
    came = do_hours(project, story.at(story.late + 3))
    told.append(f"When it came, {came.done} steps of it were done, and no other hour was done again.")
    say(told[-1])
    do_hours(project, story.at(story.revised + 6))
    feed(folder, rows)
    revise(project, "collect", story.at(story.revised))
    again = do_hours(project, story.at(story.revised + 6))
    told.append(
        f"Six hours later PM2.5 of {story.at(story.revised):%Y-%m-%d %H:%M} UTC was put right: {again.done} steps of "
        "that hour were done again, and none of another."
    )
    say(told[-1])
    for hour in range(story.revised + 6, story.hours, 24):
        reached = min(hour + 24, story.hours)
        do_hours(project, story.at(reached))
        say(f"replayed {reached} of {story.hours} hours")
    return told


def figures(project: Project, story: Story) -> list[Table]:
    """Return what the service made of the story, read from what it kept."""
    sound = (story.at(0), story.at(story.bias))
    spans = {"before the fault": sound, "with it": (story.at(story.bias), story.at(story.hours))}
    stuck = (story.at(story.stuck[0]), story.at(story.stuck[1]))
    site = project.folder / SERVICE / "published" / project.name
    return [
        scores(project, spans),
        flagged(project, {"all before the fault": sound, "of these, with PM10 stuck": stuck,
                          "PM2.5 too high": spans["with it"]}),
        alarms(project, story.at(story.bias)),
        decisions(project),
        contests(project),
        seconds(project, 48),
        asked(project, collected(project, story.at(story.hours - 120), story.at(story.hours)), site),
    ]  # fmt: skip


def walk(folder: Path, tiny: bool, say: Say) -> dict[str, Any]:
    """Go the whole way in a folder; return, and write there, the figures.

    Raises:
        UserError: when the folder holds an earlier run, the data cannot be had, or a step fails.
    """
    began, story = time.perf_counter(), TINY if tiny else WHOLE
    if (folder / "pipeline.db").exists():
        raise UserError(f"{folder} holds an earlier run of this service. Remove it, or name another with --folder.")
    (folder / "recorded").mkdir(parents=True, exist_ok=True)
    recorded = pl.read_csv(obtain("air-seoul", [AIR], convert) / "hourly.csv", infer_schema=False)
    rows = with_faults(recorded, story)
    feed(folder, rows)
    project = prepare(folder, story, tiny=tiny)
    say(f"history taken in: {len(rows.filter(pl.col('hour') < 0)):,} rows before {story.begin:%Y-%m-%d}")
    replayed = time.perf_counter()
    told = play(project, rows, story, say)
    replayed = time.perf_counter() - replayed
    results = {
        "recipe": HOME.name,
        "tiny": tiny,
        "facts": {"hours replayed": story.hours, "wall seconds for each": round(replayed / story.hours, 1)},
        "told": told,
        "tables": [asdict(one) for one in figures(project, story)],
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "made with": made_with(),
    }  # fmt: skip
    write_json(folder / RESULTS, results)
    return results


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(command(HOME, walk, lines_of_service, about=__doc__))
