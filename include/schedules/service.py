"""What definitions do to schedules: hang on one, leave one, and so make its DAG appear or vanish."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from include.cron import CronSchedule
from include.schedules.model import ONCE, Kind, dag_id_for
from include.schedules.repository import ScheduleRepository
from include.settings import get_settings

#: How long a one-shot schedule stays armed after its last work.
ONCE_LINGER = timedelta(minutes=5)

#: An open execution that is overdue by this much has nobody who looks after it.
ORPHANED_AFTER = timedelta(minutes=2)


class ScheduleService:
    """Use cases on schedules inside the caller's transaction."""

    def __init__(self, repository: ScheduleRepository) -> None:
        self.repository = repository
        self.settings = get_settings()

    async def ensure(self, kind: Kind, cron: CronSchedule) -> int:
        """Return the id of the schedule for this expression, made where it is new."""
        return await self._ensure(kind, cron.expression, str(cron.zone), cron.describe())

    async def ensure_cycle(self, cycle: str, cron: CronSchedule) -> int:
        """Return the id of the schedule of a maintenance cycle.

        :param cycle: such as `every_2_days`
        :param cron: when its projects are looked at
        """
        words = cycle.replace("_", " ")
        return await self._ensure("maintenance", cron.expression, str(cron.zone), words, cycle)

    async def ensure_once(self, kind: Kind) -> int:
        """Return the id of the schedule on which the one-shots of a kind hang."""
        return await self._ensure(kind, ONCE, "UTC", "One-shots and reruns")

    async def _ensure(self, kind: Kind, expression: str, zone: str, description: str, cycle: str = "") -> int:
        return await self.repository.ensure_schedule(
            kind=kind,
            expression=expression,
            timezone=zone,
            cycle=cycle,
            dag_id=dag_id_for(kind, cycle or expression, zone),
            description=description,
        )

    async def changed(self, schedule_ids: Iterable[int], now: datetime) -> None:
        """Tell schedules, and the triggers that have them armed, that what hangs on them changed."""
        ids = sorted(set(schedule_ids))
        if not ids:
            return
        # It is sent with the commit wherever it stands, and others wait for the lock that comes after it.
        await self.repository.notify_schedules(ids)
        await self.repository.lock_schedules(ids)
        await self.repository.refresh_schedules(ids, now=now, per_shard=self.settings.definitions_per_shard)

    async def retire_idle_once(self, now: datetime) -> None:
        """Let the DAG of a one-shot schedule leave when it had nothing to do for a while."""
        idle = await self.repository.idle_once_schedules(now - ONCE_LINGER)
        if idle:
            await self.repository.lock_schedules(idle)
            # What came in before the lock was there is seen now.
            still_idle = await self.repository.idle_once_schedules(now - ONCE_LINGER)
            await self.repository.retire_once(sorted(set(idle) & set(still_idle)))

    async def adopt_orphans(self, now: datetime) -> None:
        """Give executions that a schedule left open when it became inactive to the one-shot schedule."""
        before = now - ORPHANED_AFTER
        for kind in await self.repository.find_orphaned_kinds(before):
            once_id = await self.ensure_once(kind)
            await self.repository.rehome_orphans(kind, once_id, before)
            await self.changed([once_id], now)
