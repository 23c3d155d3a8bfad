"""Planning: which billing tasks a DAG run bills, at which instants. Repeating a plan changes nothing.

Billing is not armed ahead: a bill that begins a second after its instant is as good, and readings of the last
moment still count. So a plan is made at or after the end of its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.billing_plan.instants import split
from include.billing_plan.model import LISTED_INSTANTS, DagRun, Item
from include.billing_plan.repository import PlanRepository
from include.cron import CronSchedule
from include.errors import InvalidInputError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.ledger.windows import Window


class BillingPlan:
    """The use cases, inside the caller's transaction."""

    def __init__(self, connection: Connection, run: DagRun, *, clock: Clock = system_clock) -> None:
        self.repository = PlanRepository(connection)
        self.run = run
        self.clock = clock

    async def of_window(self, window: Window, cron: CronSchedule) -> list[Item]:
        """Enter what is due in a window in the ledger; return it with what earlier runs left open.

        A run that was cleared finds its own rows: what succeeded is listed too, so that it is reported.
        """
        await self.repository.lock_schedule(self.run.schedule_id)
        now = self.clock()
        await self._arm(window, cron, now)
        await self.repository.skip_refused(self.run.schedule_id, until=window.end, now=now)
        return await self.repository.take_scheduled(
            self.run, start=window.start, until=window.end, most=LISTED_INSTANTS, now=now
        )

    async def of_moment(self, due_at: datetime, definition_ids: Sequence[int] | None) -> list[Item]:
        """Enter one execution a task at the moment of a manual run: of every enabled one, or of those named.

        :raises InvalidInputError: a name that does not hang on this schedule
        """
        await self.repository.lock_schedule(self.run.schedule_id)
        if definition_ids is None:
            ids = [task.id for task in await self.repository.list_live(self.run.schedule_id)]
        else:
            ids = await self._named(definition_ids)
        await self.repository.arm_manual(self.run, due_at, ids)
        return await self.repository.take_manual(self.run, due_at, ids)

    async def _arm(self, window: Window, cron: CronSchedule, now: datetime) -> None:
        tasks = await self.repository.list_live(self.run.schedule_id)
        if not tasks:
            return
        # No task answers for what came before the first of them.
        start = max(window.start, min(task.active_since for task in tasks))
        instants = cron.between(start, window.end)
        splits = [(task, split(instants, task.active_since, LISTED_INSTANTS)) for task in tasks]
        await self.repository.arm_condensed(
            self.run,
            [
                (task.id, part.latest_older, max(window.start, task.active_since), part.older)
                for task, part in splits
                if part.latest_older is not None
            ],
            now,
        )
        pairs = [(task.id, instant) for task, part in splits for instant in part.listed]
        await self.repository.arm_scheduled(self.run, pairs)

    async def _named(self, definition_ids: Sequence[int]) -> list[int]:
        found = await self.repository.list_named(self.run.schedule_id, definition_ids)
        unknown = sorted(set(definition_ids) - set(found))
        if unknown:
            listed = ", ".join(map(str, unknown[:20]))
            raise InvalidInputError(f"no billing task of this schedule: {listed}", field="definition_ids")
        return found


def read_definition_ids(conf: object) -> list[int] | None:
    """Return which definitions a run's configuration names, None for all.

    :raises InvalidInputError: it names none, or names them in a way that cannot be read
    """
    ids = conf.get("definition_ids") if isinstance(conf, dict) else None
    if ids is None:
        return None
    if not isinstance(ids, list) or not ids:
        raise InvalidInputError("must be a list of ids, such as [1, 2]", field="definition_ids")
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 < one < 2**63 for one in ids):
        raise InvalidInputError("must be whole numbers", field="definition_ids")
    return ids
