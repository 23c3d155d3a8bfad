"""The factory: every active schedule becomes a DAG.

A DAG depends on its schedule only, never on the definitions that hang on it, so adding the ten-thousandth
definition to a crontab changes no DAG.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule
from psycopg.rows import dict_row

from include.billing.operators import BillingRunOperator, PlanOperator, SummaryOperator
from include.errors import DatabaseUnavailableError
from include.kit.db import database_url
from include.kit.operators import DEFAULTS
from include.kit.sql import load_queries
from include.ledger.operators import FireOperator, start_args
from include.maintenance.operators import EvaluateOperator
from include.schedules.model import Schedule
from include.schedules.parsing import requested_dag_ids
from include.schedules.snapshot import read_snapshot, write_snapshot
from include.schedules.timetables import CrontabTimetable, OnceTimetable, WindowTimetable
from include.settings import get_settings
from include.statistics.model import STATISTICS_ASSET

log = logging.getLogger(__name__)
queries = load_queries(__file__)

#: How long a new schedule stays in the file of recent ones: longer than the DAG processor may take to come
#: round to the file of all (`min_file_process_interval`, 300 s).
RECENT = timedelta(minutes=10)

CONNECT_SECONDS = 5
STATEMENT_MS = 10_000

#: A schedule that takes longer to bill than its period gets few runs at once; the next one holds the rest.
BILLING_RUNS = 4

HEAD = """\
**{description}** (`{expression}`, {zone})

"""

DOC = (
    HEAD
    + """\
Fires every enabled {kind} definition of this schedule at its instant. Each run is created {lead:g} s ahead.

- *Trigger DAG* runs every enabled definition once, now; `{{"definition_ids": [1, 2]}}` names some of them.
- *Clear* executes again what did not succeed in that run.
- What a run did stands in its task's log, and in `/carillon/v1/executions?schedule_id={id}`.
"""
)

BILLING_DOC = (
    HEAD
    + """\
Bills every enabled billing task of this schedule up to its instant: `plan`, one `bill` a task, `summary`.

- *Trigger DAG* bills every enabled task once, up to now; `{{"definition_ids": [1, 2]}}` names some of them,
  and a logical date in the past bills up to that one.
- *Clear* bills what did not succeed in that run, and what was parked. Nothing is billed twice.
- After an outage one run bills each task at all instants that were missed, the oldest first.
- What a run did stands in the log of `summary`, and in `/carillon/v1/executions?schedule_id={id}`.
"""
)


MAINTENANCE_DOC = (
    HEAD
    + """\
Looks at every active maintenance project of this cycle: opens the tasks that have their notice, moves those
that are due or overdue by now.

- *Trigger DAG* and *Clear* look again, at the present moment; no task is made twice, and none is lost.
- What a run did stands in its task's log, by project; the tasks in `/carillon/v1/maintenance`.
"""
)

#: When maintenance is looked at whose clock runs fast.
EVERY_MINUTE = "0 * * * * *"


def build_dags(*, recent: timedelta | None = None) -> dict[str, DAG]:
    """Return the DAGs of all active schedules by id; where Airflow asks for some, those.

    :param recent: only of schedules that came or changed within this time (ADR 0011)
    """
    dags: dict[str, DAG] = {}
    for schedule in load_schedules(requested_dag_ids(), recent):
        try:
            dags[schedule.dag_id] = build_dag(schedule)
        except Exception:  # one unusable row must not take the others with it
            log.exception("schedule %s (%s) cannot become a DAG", schedule.id, schedule.expression)
    return dags


def load_schedules(dag_ids: Collection[str] | None = None, recent: timedelta | None = None) -> list[Schedule]:
    """Return the active schedules, or those of these DAGs; the last good ones when the database is away."""
    snapshot = get_settings().home / "schedules.json"
    try:
        schedules = _query(dag_ids, recent)
    except (psycopg.OperationalError, DatabaseUnavailableError) as error:
        if recent is not None:
            return []  # the other file has them all
        log.warning("the database is away, using the last good schedules: %s", error)
        return [s for s in read_snapshot(snapshot) if dag_ids is None or s.dag_id in dag_ids]
    if dag_ids is None and recent is None:
        write_snapshot(Path(snapshot), schedules)
    return schedules


def _query(dag_ids: Collection[str] | None, recent: timedelta | None) -> list[Schedule]:
    options = f"-c statement_timeout={STATEMENT_MS} -c timezone=UTC"
    with psycopg.connect(
        database_url(), connect_timeout=CONNECT_SECONDS, options=options, row_factory=dict_row
    ) as connection:
        parameters = {"dag_ids": None if dag_ids is None else list(dag_ids), "recent": recent}
        rows = connection.execute(queries.active_schedules, parameters).fetchall()
    return [Schedule(**row) for row in rows]


def build_dag(schedule: Schedule) -> DAG:
    """Return the DAG of one schedule."""
    make = {"billing": _billing_dag, "maintenance": _maintenance_dag}.get(schedule.kind, _firing_dag)
    return make(schedule)


def _firing_dag(schedule: Schedule) -> DAG:
    """One task, a shard each: arm, sleep, fire, record."""
    lead = get_settings().lead_seconds
    timetable = _timetable(schedule, lead)
    fire = fire_arguments(schedule, dense=timetable.dense)
    with _dag(schedule, timetable, DOC, lead=lead, max_active_runs=256) as dag:
        FireOperator.partial(
            task_id="fire",
            fire=fire,
            start_trigger_args=start_args(fire),
            start_from_trigger=True,
            retries=0,
        ).expand(shard=list(range(schedule.shards)))
    return dag


def _billing_dag(schedule: Schedule) -> DAG:
    """Plan, bill each billing task, sum up."""
    # Without lead: nothing is armed ahead. What is due is planned once it is, and late readings count.
    timetable = _timetable(schedule, lead=0)
    with _dag(schedule, timetable, BILLING_DOC, max_active_runs=BILLING_RUNS, default_args=DEFAULTS) as dag:
        plan = PlanOperator(
            task_id="plan",
            schedule_id=schedule.id,
            expression=schedule.expression,
            zone=schedule.timezone,
        )
        bill = BillingRunOperator.partial(
            task_id="bill",
            schedule_id=schedule.id,
            # Airflow keeps 250 characters.
            map_index_template="{{ task.item['name'][:200] }}",
        ).expand(item=plan.output)
        summary = SummaryOperator(
            task_id="summary",
            schedule_id=schedule.id,
            plan_task=plan.task_id,
            billing_task="bill",
            # Also after a task that failed, and where none was due.
            trigger_rule="all_done",
        )
        bill >> summary
    return dag


def _maintenance_dag(schedule: Schedule) -> DAG:
    """One task: evaluate."""
    if get_settings().maintenance_speed != 1:
        schedule = replace(schedule, expression=EVERY_MINUTE)
    timetable: WindowTimetable | AssetOrTimeSchedule = _timetable(schedule, lead=0)
    if schedule.cycle == "statistics":
        timetable = AssetOrTimeSchedule(timetable=timetable, assets=[Asset(STATISTICS_ASSET)])
    with _dag(schedule, timetable, MAINTENANCE_DOC, max_active_runs=1, default_args=DEFAULTS) as dag:
        EvaluateOperator(task_id="evaluate", schedule_id=schedule.id)
    return dag


def _dag(
    schedule: Schedule,
    timetable: WindowTimetable | AssetOrTimeSchedule,
    doc: str,
    *,
    lead: float = 0,
    **options: Any,
) -> DAG:
    """What the DAGs of all kinds have in common."""
    return DAG(
        dag_id=schedule.dag_id,
        dag_display_name=f"{schedule.kind}: {schedule.description}",
        schedule=timetable,
        catchup=False,  # the timetable itself makes one run of all that was missed
        tags=[schedule.kind, schedule.timezone],
        doc_md=doc.format(
            description=schedule.description,
            expression=schedule.expression,
            zone=schedule.timezone,
            kind=schedule.kind,
            lead=lead,
            id=schedule.id,
        ),
        **options,
    )


def fire_arguments(schedule: Schedule, *, dense: bool) -> dict[str, Any]:
    """Return the arguments of `FireTrigger` that do not change from run to run."""
    return {
        "schedule_id": schedule.id,
        "kind": schedule.kind,
        "expression": schedule.expression,
        "zone": schedule.timezone,
        "dense": dense,
        "shards": schedule.shards,
    }


def _timetable(schedule: Schedule, lead: float) -> WindowTimetable:
    since = (schedule.active_since or datetime.now(UTC)).astimezone(UTC).isoformat()
    if schedule.is_once:
        return OnceTimetable(lead=lead, since=since, zone=schedule.timezone)
    return CrontabTimetable(expression=schedule.expression, zone=schedule.timezone, lead=lead, since=since)
