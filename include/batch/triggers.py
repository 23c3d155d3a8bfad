"""The trigger of a batch DAG's tasks: Airflow's face of `include.batch.runs`.

It runs in the triggerer, started there without a worker process (`start_from_trigger`). That it may run twice
is safe: sub-tasks are claimed, and what is claimed carries an id by which a device tells a repeat.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from include.batch.engine import BatchEngine
from include.batch.runs import BatchRun
from include.batch.shard import counters
from include.errors import NotFoundError
from include.ledger.batches import until_available
from include.ledger.inline import runs_inline

StepName = Literal["expand", "fan_out", "settle"]

NO_TASK = 'a run needs the batch task that it is for: {"task_id": "<24 hexadecimal digits>"}'


class BatchTrigger(BaseTrigger):
    """Does one task of a batch run, and ends it.

    :param step: which task
    :param conf: the run's configuration as JSON (a template until it is rendered); `task_id` names the batch
        task
    :param shard: of `fan_out`; -1: the map index
    :param cleared_at: ISO 8601, when this task was cleared; empty: what the task instance says
    """

    def __init__(self, *, step: StepName, conf: str, shard: int = -1, cleared_at: str = "") -> None:
        super().__init__()
        self.step = step
        self.conf = conf
        self.shard = shard
        self.cleared_at = cleared_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("step", "conf", "shard", "cleared_at")
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            good, summary = await self._do()
        except NotFoundError as error:
            self.log.error("%s; %s", error, NO_TASK)
            good, summary = False, {"error": error.message}
        self.log.info("summary: %s", json.dumps(summary))
        yield (TaskSuccessEvent if good else TaskFailedEvent)(xcoms={"summary": summary})

    async def _do(self) -> tuple[bool, dict[str, Any]]:
        """Do it; returns whether it went well, and what is to be said of it."""
        task_id = (json.loads(self.conf or "null") or {}).get("task_id")
        if not isinstance(task_id, str):
            raise NotFoundError("there is no batch task in the configuration of this run")
        engine = await until_available(BatchEngine.current)
        try:
            return await self._work(BatchRun(engine, task_id, self.log.info))
        finally:
            if runs_inline(self.trigger_id):
                await BatchEngine.close_current()

    async def _work(self, run: BatchRun) -> tuple[bool, dict[str, Any]]:
        if self.step == "fan_out":
            summary = await run.fan_out(self._shard(), self._cleared_at())
            bad = summary.failed and summary.task["status"] in ("Fail", "PartialSuccess")
            return not bad, summary.as_json()
        task = await (run.expand() if self.step == "expand" else run.settle())
        said = {"status": task.status, "status_desc": task.status_desc, **counters(task)}
        if self.step == "settle" and not task.finished:
            self.log.error("the batch task has not ended: clear `fan_out` to go on with it")
        return self.step == "expand" or task.status in ("Success", "Stopped"), said

    def _shard(self) -> int:
        # A mapped argument does not reach a trigger that starts its task; the map index does.
        return self.shard if self.shard >= 0 else max(0, getattr(self.task_instance, "map_index", 0))

    def _cleared_at(self) -> datetime | None:
        if self.cleared_at:
            return datetime.fromisoformat(self.cleared_at)
        return cleared_at(self.task_instance)


def cleared_at(task_instance: Any) -> datetime | None:
    """Return when a task instance was cleared, None on its first try.

    A cleared task instance gets a new id, a UUID of version 7, which begins with its moment.
    """
    if getattr(task_instance, "try_number", 1) <= 1:
        return None
    return datetime.fromtimestamp((task_instance.id.int >> 80) / 1000, UTC)
