"""The trigger that fires a window: Airflow's face of `include.ledger.firing`.

It runs in the triggerer, started there without a worker process (`start_from_trigger`). That it may run twice
is safe: the ledger lets each execution be claimed once (ADR 0002).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from include.callbacks.caller import CallbackCaller
from include.cron import CronSchedule
from include.errors import CarillonError
from include.ledger.batches import until_available
from include.ledger.engine import Engine
from include.ledger.firing import WindowRun
from include.ledger.inline import runs_inline
from include.ledger.model import Caller
from include.ledger.repository import Shard
from include.ledger.scopes import CronScope, ManualScope, OnceScope, Scope
from include.ledger.windows import Window, from_interval
from include.schedules.model import ONCE, Kind
from include.timers.caller import TimerCaller


class FireTrigger(BaseTrigger):
    """Arms, fires and records one shard of one run, then ends its task.

    :param interval_start: start of the run's data interval, ISO 8601 (a template until it is rendered)
    :param interval_end: end of it
    :param dense: whether the window is the interval moved (`include.ledger.windows.to_interval`)
    :param run_type: `scheduled` for a window; anything else runs what `conf` names once, now
    :param conf: the run's configuration as JSON; `definition_ids` may list definitions
    :param shards: how many triggers share the schedule's definitions; which one this is is its map index
    """

    def __init__(
        self,
        *,
        schedule_id: int,
        kind: Kind,
        expression: str,
        zone: str,
        dense: bool,
        shards: int,
        interval_start: str,
        interval_end: str,
        run_id: str,
        run_type: str,
        conf: str,
        shard: int = -1,
        try_number: int = 0,
    ) -> None:
        super().__init__()
        self.schedule_id = schedule_id
        self.kind = kind
        self.expression = expression
        self.zone = zone
        self.dense = dense
        self.shards = shards
        self.interval_start = interval_start
        self.interval_end = interval_end
        self.run_id = run_id
        self.run_type = run_type
        self.conf = conf
        self.shard = shard
        self.try_number = try_number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = (
            *("schedule_id", "kind", "expression", "zone", "dense", "shards", "interval_start"),
            *("interval_end", "run_id", "run_type", "conf", "shard", "try_number"),
        )
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        engine = await until_available(Engine.current)
        try:
            run = WindowRun(engine, self.scope(), self.kind, await self.caller(engine), self.log.info)
            summary = (await run.run()).as_json()
        finally:
            if runs_inline(self.trigger_id):
                await Engine.close_current()
        self.log.info("summary: %s", json.dumps(summary))
        end = TaskFailedEvent if summary["failed"] else TaskSuccessEvent
        yield end(xcoms={"summary": summary})

    async def caller(self, engine: Engine) -> Caller:
        """Return what makes calls of this kind's executions."""
        if self.kind == "timer":
            try:
                return TimerCaller(await engine.gateway())
            except CarillonError as error:
                return TimerCaller(None, f"not sent: {error}")
        return CallbackCaller(engine.client)

    def scope(self) -> Scope:
        """Return what this run is about."""
        shard = Shard(self.schedule_id, self._shard(), self.shards, self.run_id, self._try_number())
        interval = Window(_moment(self.interval_start), _moment(self.interval_end))
        if self.run_type != "scheduled":
            ids = json.loads(self.conf or "null") or {}
            return ManualScope(shard, interval.end, ids.get("definition_ids"))
        window = from_interval(interval, dense=self.dense)
        if self.expression == ONCE:
            return OnceScope(shard, window)
        return CronScope(shard, window, CronSchedule.from_canonical(self.expression, self.zone))

    def _shard(self) -> int:
        # A mapped argument does not reach a trigger that starts its task; the map index does.
        return self.shard if self.shard >= 0 else max(0, getattr(self.task_instance, "map_index", 0))

    def _try_number(self) -> int:
        return self.try_number or getattr(self.task_instance, "try_number", 1)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
