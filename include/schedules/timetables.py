"""The timetables: thin Airflow faces over `include.ledger.windows`.

Pure functions of their arguments and of the present moment; no database. The arguments are all that is
serialised, so every process computes the same windows.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from airflow.utils.types import DagRunType

from include.cron import CronSchedule
from include.kit.clock import system_clock
from include.ledger.windows import Planned, Window, from_interval, is_dense, plan_cron, plan_once, to_interval


class WindowTimetable(Timetable):
    """Contiguous windows, each run created `lead` seconds before its first instant.

    :param lead: seconds between the creation of a run and its first instant
    :param since: ISO 8601 moment at which the schedule became active; windows start there
    """

    #: Runs overlap while a late one still retries; the ledger keeps them apart.
    active_runs_limit = None
    dense = True

    def __init__(self, *, lead: float, since: str, zone: str) -> None:
        self.lead = timedelta(seconds=lead)
        self.since = datetime.fromisoformat(since).astimezone(UTC)
        self.zone = zone

    @abstractmethod
    def plan(self, previous_end: datetime, now: datetime) -> Planned:
        """Return the window after `previous_end` and when to create its run."""

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        previous_end = self.since
        if last_automated_data_interval is not None:
            last = from_interval(_window(last_automated_data_interval), dense=self.dense)
            previous_end = max(last.end, self.since)
        planned = self.plan(previous_end, system_clock())
        interval = to_interval(planned.window, dense=self.dense)
        return DagRunInfo(
            run_after=pendulum.instance(planned.run_after),
            data_interval=DataInterval(pendulum.instance(interval.start), pendulum.instance(interval.end)),
        )

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """A manual run has no window: its interval is the single moment at which it was asked for."""
        return DataInterval.exact(run_after)

    def generate_run_id(
        self,
        *,
        run_type: DagRunType,
        run_after: pendulum.DateTime,
        data_interval: DataInterval | None,
        **extra: Any,
    ) -> str:
        """Name a scheduled run after its last instant, in the schedule's own zone."""
        if run_type != DagRunType.SCHEDULED or data_interval is None:
            return str(run_type.generate_run_id(suffix=run_after.isoformat()))
        window = from_interval(_window(data_interval), dense=self.dense)
        suffix = window.end.astimezone(ZoneInfo(self.zone)).isoformat()
        return str(run_type.generate_run_id(suffix=suffix))

    def serialize(self) -> dict[str, Any]:
        return {"lead": self.lead.total_seconds(), "since": self.since.isoformat(), "zone": self.zone}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        return cls(**data)


class CrontabTimetable(WindowTimetable):
    """Windows of a cron expression or `@every` in the canonical form of `include.cron`."""

    def __init__(self, *, expression: str, zone: str, lead: float, since: str) -> None:
        super().__init__(lead=lead, since=since, zone=zone)
        self.expression = expression
        self.cron = CronSchedule.from_canonical(expression, zone)
        self.dense = is_dense(self.cron)
        self.description = self.cron.describe()

    def plan(self, previous_end: datetime, now: datetime) -> Planned:
        return plan_cron(self.cron, previous_end, now, self.lead)

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "expression": self.expression}

    @property
    def summary(self) -> str:
        return f"{self.expression} {self.zone}"


class OnceTimetable(WindowTimetable):
    """One-minute windows for one-shots and reruns, which are data rather than crontabs."""

    description = "Every minute while a one-shot or rerun is pending"

    def plan(self, previous_end: datetime, now: datetime) -> Planned:
        return plan_once(previous_end, now, self.lead)

    @property
    def summary(self) -> str:
        return "one-shots"


def _window(interval: DataInterval) -> Window:
    return Window(_plain(interval.start), _plain(interval.end))


def _plain(moment: datetime) -> datetime:
    """Airflow's moments are pendulum's, whose naive and aware arithmetic differs from the standard one."""
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, UTC)
