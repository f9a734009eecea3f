"""An Airflow DAG of a pipeline, as one file that does not import Sanmaru.

Each task calls `sanmaru pipeline step`, which does the step through the ledger and says by its exit status how it
went. So Airflow only wakes the ledger: it may run late, twice, or for several intervals at once, and nothing is lost or
done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from sanmaru.errors import UserError, nearest
from sanmaru.pipelines.plan import Plan

_HEAD = '''\
"""{title}

Written by `sanmaru pipeline export airflow` for Airflow 3.2 or newer; write it anew when the project file changes.
Each task asks the ledger by `sanmaru pipeline step`; its exit status says how it went: 0 done, 99 nothing new
(skipped), 75 not ready (asked again later, which costs no retry), else failed. Needs of earlier intervals stand
in the ledger, which answers 75 until they are complete.
"""

import os
import subprocess
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
{imports}
SANMARU = os.environ.get("SANMARU_COMMAND", {command})
PROJECT = os.environ.get("SANMARU_PROJECT", {project})
NOT_READY, NOTHING_NEW = 75, 99


def do_step(step, data_interval_start=None, data_interval_end=None):
    """Do one step; False where it is to be asked again."""
{which}
    process = subprocess.Popen([SANMARU, "pipeline", "step", step, *which, "--project", PROJECT])
    try:
        status = process.wait()
    except BaseException:  # Airflow takes the task down: the step is handed back
        process.terminate()
        process.wait(60)
        raise
    if status == NOTHING_NEW:
        raise AirflowSkipException(f"{{step}}: nothing new")
    if status not in (0, NOT_READY):
        raise AirflowException(f"{{step}} ended with status {{status}}; its output stands above")
    return status == 0


def task(step, *, retries, retry_wait_s, poll_s, timeout_s):
    """One step: it waits without a slot until the ledger says that it is complete."""
    return PythonSensor(
        task_id=step,
        python_callable=do_step,
        op_kwargs={{"step": step}},
        mode="reschedule",
        poke_interval=poll_s,
        timeout=timedelta(days=3650),  # late data delays, and never fails
        retries=retries,
        retry_delay=timedelta(seconds=retry_wait_s),
        retry_exponential_backoff=2,
        max_retry_delay=timedelta(days=1),
        execution_timeout=timedelta(seconds=timeout_s),
        trigger_rule="none_failed",  # nothing new above is for the ledger to judge
        outlets=[asset(step)],
    )


def asset(step=None):
    """What is updated when a step has made something; without a name, when the whole pipeline has."""
    name = "/".join([{asset}, *([step] if step else [])])
    return Asset(name=name, uri=f"x-sanmaru://{{name}}")


'''
_BY_INTERVAL = """\
    # A moment in the middle names the interval, whatever the clocks did at its ends.
    which = ["--due"]
    if data_interval_start is not None:
        middle = data_interval_start + (data_interval_end - data_interval_start) / 2
        which = ["--interval", middle.astimezone(UTC).isoformat(timespec="seconds")]"""
_BY_ASSET = """\
    which = ["--due"]  # every interval that is due: several updates may wake one run"""
WAIT_S = 600
"""Added to a step's own limit: Sanmaru starts, and may wait for the ledger's database."""


def dag_file(
    plan: Plan,
    *,
    command: str = "sanmaru",
    steps: Sequence[str] | None = None,
    triggered: bool = False,
    catchup: bool = True,
) -> str:
    """Return the text of a DAG file.

    Args:
        plan: The pipeline.
        command: How Airflow's machines call Sanmaru; the environment variable SANMARU_COMMAND has precedence.
        steps: Only these; all of them where absent.
        triggered: Run whenever the steps that these need from outside have made something, instead of by the clock.
        catchup: Make runs for intervals that ended before the DAG was switched on.

    Raises:
        UserError: when a step is unknown, or nothing would trigger the DAG.
    """
    names = _chosen(plan, steps)
    ties = [(need, name) for name in names for need in _needed(plan, name) if need in names]
    outside = [need for name in names for need in _needed(plan, name) if need not in names]
    sources = list(dict.fromkeys(outside))
    if triggered and not sources:
        raise UserError("--triggered needs --steps that need others: their updates would trigger the DAG.")
    dag_id = plan.name if steps is None else f"{plan.name}.{'.'.join(names)}"
    title = f"{plan.name}: {', '.join(names)}" if steps is not None else f"{plan.name}: a pipeline tied by completion."
    schedule, imports = (_assets(sources), "") if triggered else _timetable(plan)
    lines = [
        "with DAG(",
        f"    dag_id={_text(dag_id)},",
        f"    schedule={schedule},",
        f"    start_date={_moment(plan)},",
        f"    catchup={catchup and not triggered},",
        f"    max_active_runs={1 if triggered else 16},",
        '    tags=["sanmaru"],',
        "):",
        "    steps = {}",
    ]
    for name in names:
        config = plan.step(name)
        numbers = {
            "retries": config.retries,
            "retry_wait_s": config.retry_wait_s,
            "poll_s": config.poll_s,
            "timeout_s": config.timeout_s + WAIT_S,
        }
        told = ", ".join(f"{key}={value:.12g}" for key, value in numbers.items())
        lines.append(f"    steps[{_text(name)}] = task({_text(name)}, {told})")
    lines += [f"    steps[{_text(above)}] >> steps[{_text(below)}]" for above, below in ties]
    above = {need for need, _ in ties}
    leaves = ", ".join(f"steps[{_text(name)}]" for name in names if name not in above)
    if steps is None:
        lines += [
            '    made = EmptyOperator(task_id="made", outlets=[asset()], trigger_rule="none_failed_min_one_success")',
            f"    [{leaves}] >> made",
        ]
    head = _HEAD.format(
        title=title,
        imports=imports,
        command=_text(command),
        project=_text(str(plan.folder)),
        asset=_text(f"sanmaru/{quote(plan.name)}"),
        which=_BY_ASSET if triggered else _BY_INTERVAL,
    )
    return head + "\n".join(lines) + "\n"


def _chosen(plan: Plan, steps: Sequence[str] | None) -> list[str]:
    wanted = plan.order if steps is None else steps
    for name in wanted:
        if name not in plan.rank:
            raise UserError(f"there is no step {name!r}. {nearest(name, plan.order)}")
    return [name for name in plan.order if name in wanted]


def _needed(plan: Plan, name: str) -> list[str]:
    return list(dict.fromkeys(need.step for need in plan.step(name).needs))


def _assets(sources: Sequence[str]) -> str:
    return "(" + " | ".join(f"asset({_text(name)})" for name in sources) + ")"


def _timetable(plan: Plan) -> tuple[str, str]:
    """Return the schedule and the import it needs: cron where cron can say it, else a length from the start on."""
    count, unit = plan.every.count, plan.every.unit
    minutes = count * {"min": 1, "h": 60}.get(unit, 0)
    cron, zone = "", plan.config.zone
    if minutes:
        zone = "UTC"  # minutes and hours are counted from the epoch
        if minutes < 60 and 60 % minutes == 0:
            cron = f"*/{minutes} * * * *"
        elif minutes % 60 == 0 and 24 % (minutes // 60) == 0:
            cron = f"0 */{minutes // 60} * * *" if minutes < 1440 else "0 0 * * *"
    elif count == 1:
        cron = "0 0 * * *" if unit == "d" else "0 0 * * 1"
    if cron:
        text = f"CronDataIntervalTimetable({_text(cron)}, timezone={_text(zone)})"
        return text, "from airflow.timetables.interval import CronDataIntervalTimetable\n"
    length = f"minutes={minutes}" if minutes else f"days={count * (7 if unit == 'w' else 1)}"
    text = f"DeltaDataIntervalTimetable(timedelta({length}))"
    return text, "from airflow.timetables.interval import DeltaDataIntervalTimetable\n"


def _moment(plan: Plan) -> str:
    start = plan.first.start
    return f"datetime({start.year}, {start.month}, {start.day}, {start.hour}, {start.minute}, tzinfo=UTC)"


def _text(value: str) -> str:
    """A Python string in double quotes, as formatters like it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
