"""The tasks of a billing DAG: plan, bill each billing task, sum up.

The work is done in `include.billing_plan` and `include.billing.runs`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from airflow.sdk import BaseOperator, Connection
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowNotFoundException,
    TaskDeferred,
)

from include.kit.operators import run_in_worker

if TYPE_CHECKING:
    from include.billing_plan.model import ItemReport
    from include.billing_plan.source import SourceLogin
    from include.kit.db import Database

#: How long to let the worker go when another run is billing the same task.
BUSY_DELAY = timedelta(seconds=10)

#: The Airflow connection of the source of readings; without one nothing is pulled.
SOURCE_CONNECTION = "meter_source"


class _BillingOperator(BaseOperator):
    """What the three share.

    :param schedule_id: of the table `schedule`
    """

    ui_color = "#cfe8cf"

    def __init__(self, *, schedule_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule_id = schedule_id


class PlanOperator(_BillingOperator):
    """Returns which billing tasks are due at which instants, for one mapped task each.

    :param expression: canonical crontab of the schedule, by the clocks of `zone`
    """

    def __init__(self, *, expression: str, zone: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.zone = zone

    def execute(self, context: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = run_in_worker(self._plan(context["dag_run"], context))
        self.log.info("%d billing tasks are due", len(items))
        for item in items:
            self.log.info("%s (%s): %s", item["name"], item["definition_id"], ", ".join(item["due_at"]))
        return items

    async def _plan(self, dag_run: Any, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        from include.billing_plan.model import DagRun
        from include.billing_plan.planning import BillingPlan, read_definition_ids
        from include.cron import CronSchedule
        from include.ledger.windows import Window

        # A run that was triggered without a logical date has no data interval.
        start, end = (
            _plain(context.get(f"data_interval_{side}") or dag_run.run_after) for side in ("start", "end")
        )
        async with _database() as database, database.transaction() as connection:
            plan = BillingPlan(connection, DagRun(self.schedule_id, dag_run.run_id))
            if dag_run.run_type == "scheduled":
                cron = CronSchedule.from_canonical(self.expression, self.zone)
                items = await plan.of_window(Window(start, end), cron)
            else:
                items = await plan.of_moment(end, read_definition_ids(dag_run.conf))
        return [item.as_json() for item in items]


class BillingRunOperator(_BillingOperator):
    """Bills one billing task at its instants.

    :param item: of the plan
    """

    def __init__(self, *, item: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.item = item

    def execute(self, context: Any, event: Any = None) -> dict[str, Any]:
        report: ItemReport | None = run_in_worker(self._bill(context, _find_source()))
        if report is None:
            from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

            self.log.info("another run is billing %s: waiting for it", self.item["name"])
            raise TaskDeferred(trigger=TimeDeltaTrigger(BUSY_DELAY), method_name="execute")
        document = report.as_json()
        if report.state == "failed":
            # What is returned is kept; a task that fails returns nothing.
            context["ti"].xcom_push(key="return_value", value=document)
            raise AirflowFailException(f"{self.item['name']}: see the instants above")
        return document

    async def _bill(self, context: Any, source: SourceLogin | None) -> ItemReport | None:
        from include.billing.runs import BillingRuns
        from include.billing_plan.model import DagRun, Item
        from include.billing_plan.performing import TaskBilling
        from include.billing_plan.source import pulling

        task_instance = context["ti"]
        async with _database() as database, pulling(database, source) as pull:
            return await TaskBilling(
                database,
                BillingRuns(database, say=self.log.info),
                DagRun(self.schedule_id, context["dag_run"].run_id),
                pull=pull,
                run_try=task_instance.try_number,
                last_try=task_instance.try_number > task_instance.max_tries,
                say=self.log.info,
            ).bill(Item.from_json(self.item))


class SummaryOperator(_BillingOperator):
    """Sums up a run; fails when a billing task failed, so that the run does."""

    def __init__(self, *, plan_task: str, billing_task: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_task = plan_task
        self.billing_task = billing_task

    def execute(self, context: Any) -> dict[str, Any]:
        from include.billing_plan.summary import lines, summarise

        task_instance = context["ti"]
        plan = task_instance.xcom_pull(task_ids=self.plan_task, map_indexes=-1)
        if plan is None:
            raise AirflowFailException("there is no plan")
        found = task_instance.xcom_pull(task_ids=[self.billing_task]) if plan else []
        run_in_worker(self._end(context["dag_run"].run_id))
        summary = summarise(plan, [report for report in found if report])
        for line in lines(summary):
            self.log.info(line)
        if summary["failed"]:
            task_instance.xcom_push(key="return_value", value=summary)
            raise AirflowFailException(f"{summary['failed']} of {summary['tasks']} billing tasks failed")
        return summary

    async def _end(self, run_id: str) -> None:
        from include.billing_plan.ending import end_run
        from include.billing_plan.model import DagRun

        async with _database() as database:
            await end_run(database, DagRun(self.schedule_id, run_id))


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    from include.kit.db import Database, database_url
    from include.settings import get_settings

    settings = get_settings()
    # One connection a chunk in work, and one for the ledger beside them.
    most = max(settings.pool_size, settings.billing_workers + 1)
    database = await Database(database_url(), max_size=most).open()
    try:
        yield database
    finally:
        await database.close()


def _find_source() -> SourceLogin | None:
    from include.billing_plan.source import SourceLogin

    try:
        found = Connection.get(SOURCE_CONNECTION)
    except AirflowNotFoundException:
        return None
    return SourceLogin(_base_url(found), found.login, found.password, found.extra_dejson.get("token"))


def _base_url(connection: Any) -> str:
    """The host of an HTTP connection may be a whole URL."""
    host = connection.host or ""
    url = urlsplit(host if "://" in host else f"{connection.schema or 'http'}://{host}")
    place = f"{url.netloc}:{connection.port}" if connection.port else url.netloc
    return urlunsplit(url._replace(netloc=place))


def _plain(moment: datetime) -> datetime:
    """Airflow's moments are pendulum's, whose arithmetic differs from the standard one."""
    return datetime.fromisoformat(moment.isoformat()).astimezone(UTC)
