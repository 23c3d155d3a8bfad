"""Fan-out: the shards of a task send its sub-tasks over the device gateway.

Only as many are claimed as can leave at once, so that a stop is exact (`departures.py`); how many that is,
`slots.py` says. Each is performed in a task of its own, and recorded together with others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from include.batch.codes import DEFECT, DEVICE_FROZEN, DEVICE_MISSING, GATEWAY_UNREACHABLE
from include.batch.departures import Departures
from include.batch.engine import BatchEngine
from include.batch.model import Step, Task
from include.batch.performing import Performer
from include.batch.repository import TaskRepository
from include.batch.settling import release
from include.batch.shard import Look, Shard, log, next_look
from include.batch.steering import admit, count_begun, rollout_of
from include.batch.subtask_repository import Claimed, SubtaskRepository
from include.kit.clock import system_clock
from include.kit.db import Connection
from include.kit.handover import on_handover

#: What has not left by then is put back: a stop must not wait longer.
DEPART_SECONDS = 4.0
#: When nothing at all has left so often in a row, nothing will.
STUCK_ROUNDS = 5
#: How long free places wait for company, so that not each is filled by a transaction of its own.
GATHER_SECONDS = 0.1
#: Which part of its places must be free to be filled at once.
GATHERED = 4


class FanOut(Shard):
    """A shard that sends.

    :param task: with its document
    """

    def __init__(
        self, engine: BatchEngine, task: Task, performer: Performer, write_line: Callable[[str], None]
    ) -> None:
        super().__init__(engine, task.id, write_line)
        self.task = task
        self.performer = performer
        self.slots = engine.slots
        #: Whether one that ended lets another begin, beside the places here.
        self.room_by_results = rollout_of(task).max_in_flight is not None
        self.stuck = 0

    async def look(self) -> Look:
        # Whatever happens to the shard: what it claimed is sent and recorded, or put back.
        return await asyncio.shield(self.engine.keep(self._look()))

    async def rest(self, look: Look) -> None:
        self.slots.want(self, look.more)
        if not look.more:
            await super().rest(look)
            return
        await self.sleep(GATHER_SECONDS)
        while not self.slots.room(self):
            self.wake.clear()
            await self.sleep(GATHER_SECONDS)

    def stopped(self) -> None:
        self.slots.want(self, False)

    async def _look(self) -> Look:
        async with self.engine.sending.held(self.id):
            departures = Departures()
            look, claimed = await self._claim(self.slots.room(self))
            sent = {one.subtask.id: self._launch(one, departures) for one in claimed}
            if not await departures.wait(DEPART_SECONDS):
                self._put_back(sent, departures.staying)
            elif sent:
                self.stuck = 0
        return look

    async def _claim(self, room: int) -> tuple[Look, Sequence[Claimed]]:
        now = system_clock()
        async with self.engine.database.transaction() as connection:
            subtasks = SubtaskRepository(connection)
            task = await self._lock(connection, now)
            if task is None or task.finished or task.status == "Stopping":
                return Look(task), ()
            allowed = await admit(connection, task, room, now)
            claimed = await subtasks.claim_subtasks(
                task, limit=room, fresh=allowed.count, claimer=self.engine.presence.claimer, now=now
            )
            begun = sum(one.was != "Processing" for one in claimed)
            await count_begun(connection, task, begun, now)
            more = len(claimed) == room
            wake_at = None if more else await next_look(subtasks, task, allowed, begun)
        for one in claimed:
            self.engine.held[self.id][one.subtask.id] += 1
        return Look(task, more, wake_at), claimed

    async def _lock(self, connection: Connection, now: datetime) -> Task | None:
        """Lock the task, and free what processes had in hand that died."""
        tasks = TaskRepository(connection)
        task = await tasks.lock_task(self.id)
        if task is None or task.finished or not self.sweeps():
            return task
        claimer, held = self.engine.presence.claimer, list(self.engine.held.get(self.id, ()))
        released = await release(connection, task, claimer=claimer, held=held, now=now)
        if released:
            self.write_line(f"{released} sub-tasks were in the hands of a process that is gone")
        return await tasks.find_task(self.id) if released else task

    def _launch(self, claimed: Claimed, departures: Departures) -> asyncio.Task[None]:
        left = departures.expect(claimed.subtask.id)
        leave = self.slots.take(self, self._place_is_free)
        return self.engine.keep(self._perform(claimed, left, leave))

    async def _perform(self, claimed: Claimed, left: Callable[[], None], leave: Callable[[], None]) -> None:
        subtask = claimed.subtask
        on_handover.set(left)
        try:
            step = _unfit(claimed) or await self.performer.perform(self.task, subtask)
        except asyncio.CancelledError:
            if self.stuck < STUCK_ROUNDS:
                self.engine.drop(self.id, subtask)
                raise
            words = "no connection to the device gateway"
            step = Step(subtask.id, "Fail", error_code=GATEWAY_UNREACHABLE, error_msg=words)
        except Exception as error:  # a defect must not leave the task waiting for this one for ever
            log.exception("sub-task %d of %s could not be performed", subtask.id, self.task.task_id)
            reason = f"it could not be performed: {type(error).__name__}"
            step = Step(subtask.id, "Fail", error_code=DEFECT, error_msg=reason, retryable=False)
        finally:
            left()
            leave()
        self.summary.count(await self.engine.write(self.id, subtask, step))
        if self.room_by_results:
            self.wake.set()

    def _put_back(self, sent: Mapping[int, asyncio.Task[None]], staying: set[int]) -> None:
        """Cancel what has not left: its claim is free for the next look, of whomever."""
        self.stuck = self.stuck + 1 if staying == sent.keys() else 0
        for id in staying:
            sent[id].cancel()
        self.swept_at = float("-inf")

    def _place_is_free(self) -> None:
        if self in self.slots.hungry and self.slots.room(self) * GATHERED >= self.slots.share(self):
            self.wake.set()


def _unfit(claimed: Claimed) -> Step | None:
    """Return what becomes of a sub-task whose device can be told nothing."""
    id = claimed.subtask.id
    if claimed.device_status is None:
        return Step(id, "Removed", error_code=DEVICE_MISSING, error_msg="there is no such device any more")
    if claimed.device_status == "FROZEN":
        return Step(id, "Fail", error_code=DEVICE_FROZEN, error_msg="the device is frozen", retryable=False)
    return None
