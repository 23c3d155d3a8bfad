"""What all shards of batch tasks in one process share.

The pool and the identity are those of `include.ledger.engine`; places, locks, performers and the writing of
results are here. What was claimed is the engine's, not the shard's: when a shard is cancelled, what is on its
way goes on and is recorded.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from include.batch.codes import DEFECT
from include.batch.departures import SendingLocks
from include.batch.model import Step, Subtask, SubtaskStatus, TaskType
from include.batch.performers import make_performer
from include.batch.performing import Performer
from include.batch.repository import TaskRepository
from include.batch.settling import record
from include.batch.slots import Slots
from include.errors import InvalidInputError
from include.gateway.model import DeviceGateway
from include.kit.clock import system_clock
from include.ledger.batches import Batches
from include.ledger.engine import Engine
from include.settings import get_settings

log = logging.getLogger(__name__)

RECORD_DELAY_SECONDS = 0.05

#: A task's id, a sub-task as it was claimed, what became of it.
Result = tuple[int, Subtask, Step]


class BatchEngine:
    """Shared parts of fan-out in this process.

    :ivar held: sub-tasks that this process has claimed and not recorded, by task; how often, since one that
        went on may be claimed again before its last step is off the books here
    :param gateway: by default the one that the settings name
    """

    _engines: ClassVar[weakref.WeakKeyDictionary[Engine, BatchEngine]] = weakref.WeakKeyDictionary()

    def __init__(self, engine: Engine, gateway: DeviceGateway | None = None) -> None:
        self.database = engine.database
        self.presence = engine.presence
        self.engine = engine
        self.slots = Slots(get_settings().batch_in_flight)
        self.sending = SendingLocks(engine.database)
        self.held: dict[int, Counter[int]] = defaultdict(Counter)
        self.performers: dict[TaskType, Performer] = {}
        self.records: Batches[Result, SubtaskStatus | None] = Batches(
            self._record, delay=RECORD_DELAY_SECONDS, limit=1000
        )
        self.tasks: set[asyncio.Task[Any]] = set()
        self._gateway = gateway
        self._own_gateway: DeviceGateway | None = None
        self._making = asyncio.Lock()

    @classmethod
    async def current(cls) -> BatchEngine:
        """Return the engine of the running event loop."""
        engine = await Engine.current()
        if engine not in cls._engines:
            cls._engines[engine] = cls(engine)
        return cls._engines[engine]

    @classmethod
    async def close_current(cls) -> None:
        """Stop the engine of the running event loop, and what it stands on."""
        engine = cls._engines.pop(await Engine.current(), None)
        if engine is not None:
            await engine.close()
        await Engine.close_current()

    async def close(self) -> None:
        """Let what is on its way end, and record it."""
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.records.close()
        for performer in self.performers.values():
            await performer.close()
        if self._own_gateway:
            await self._own_gateway.close()
        await self.sending.close()

    def keep(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that outlives the shard that asked for it."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def performer(self, task_type: TaskType) -> Performer:
        """Return what performs sub-tasks of a type over the gateway."""
        async with self._making:
            if task_type not in self.performers:
                try:
                    gateway: DeviceGateway | str = self._gateway or await self._open_gateway()
                except InvalidInputError as error:
                    gateway = str(error)
                self.performers[task_type] = make_performer(task_type, self.database, gateway)
        return self.performers[task_type]

    async def _open_gateway(self) -> DeviceGateway:
        """Return the gateway: over HTTP one of our own, with a connection for each place.

        :raises InvalidInputError: none is set, or what is set cannot be used
        """
        from include.gateway.connect import create_gateway, read_gateway_settings
        from include.gateway.http import gateway_client

        settings = read_gateway_settings()
        if settings is None or settings.kind != "http":
            return await self.engine.gateway()
        client = gateway_client(
            settings.url,
            per_host_limit=self.slots.count,
            response_limit_bytes=get_settings().response_limit_bytes,
        )
        self._gateway = self._own_gateway = create_gateway(settings, client)
        await self._gateway.open()
        return self._gateway

    async def write(self, id: int, subtask: Subtask, step: Step) -> SubtaskStatus | None:
        """Record what became of a sub-task; returns its status, None where it was not ours any more."""
        try:
            return await self.records.add((id, subtask, step))
        except Exception as error:  # what cannot be written must not be performed again for ever
            reason = f"its result could not be stored: {type(error).__name__}"
            broken = Step(subtask.id, "Fail", error_code=DEFECT, error_msg=reason)
            return await self.records.add((id, subtask, broken))
        finally:
            self.drop(id, subtask)

    def drop(self, id: int, subtask: Subtask) -> None:
        """This process has it in hand no more; what was not recorded is free for whoever looks next."""
        mine = self.held[id]
        mine[subtask.id] -= 1
        if not mine[subtask.id]:
            del mine[subtask.id]
        if not mine:
            del self.held[id]

    async def _record(self, results: Sequence[Result]) -> list[SubtaskStatus | None]:
        by_task: dict[int, list[tuple[Subtask, Step]]] = defaultdict(list)
        for id, subtask, step in results:
            by_task[id].append((subtask, step))
        written: dict[int, SubtaskStatus] = {}
        async with self.database.transaction() as connection:
            for id, steps in sorted(by_task.items()):
                task = await TaskRepository(connection).lock_task(id)
                if task is not None:
                    claimer, now = self.presence.claimer, system_clock()
                    written |= await record(connection, task, steps, claimer=claimer, now=now)
        return [written.get(subtask.id) for _, subtask, _ in results]
