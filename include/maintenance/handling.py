"""Use cases on maintenance tasks: handle, ignore (document 002; B14 to B16 of the decision table)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from include.errors import NotFoundError
from include.kit.clock import Clock
from include.kit.db import Connection
from include.maintenance.clock import maintenance_clock
from include.maintenance.model import Handle, HandleFields, Task
from include.maintenance.repository import MaintenanceRepository

#: The words of the document.
NO_TASK = "task not found"


class HandlingService:
    """The use cases, inside the caller's transaction.

    :param projects: the organisations that the caller's token may see, None for all
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        clock: Clock = maintenance_clock,
    ) -> None:
        self.repository = MaintenanceRepository(connection)
        self.projects = projects
        self.clock = clock

    async def handle(self, task_uid: str, fields: HandleFields, by: int = 0) -> Handle:
        """Close an open task as done, and record by whom.

        Its object is due a period from now, or where the project is `fixed` at the next point of its plan.

        :raises NotFoundError: no such task for this caller, or it was closed already
        """
        return await self._close(task_uid, "HANDLE", fields, by)

    async def ignore(self, task_uid: str, by: int = 0) -> Handle:
        """Close an open task without work: its object is due at the next point of the same plan.

        :raises NotFoundError: no such task for this caller, or it was closed already
        """
        return await self._close(task_uid, "IGNORE", HandleFields(), by)

    async def find_task(self, uid: str) -> Task:
        """Return a task in any state.

        :raises NotFoundError: no such task for this caller
        """
        task = await self.repository.find_task(uid, self.projects)
        if task is None:
            raise NotFoundError(NO_TASK)
        return task

    async def find_handle(self, uid: str) -> Handle:
        """Return a handle with its task.

        :raises NotFoundError: no such handle for this caller
        """
        handle = await self.repository.find_handle(uid, self.projects)
        if handle is None:
            raise NotFoundError("handle not found")
        return handle

    async def _close(
        self, task_uid: str, kind: Literal["HANDLE", "IGNORE"], fields: HandleFields, by: int
    ) -> Handle:
        if not await self.repository.share_project_of_task(task_uid, self.projects):
            raise NotFoundError(NO_TASK)
        task = await self.repository.lock_open_task(task_uid)
        if task is None:
            raise NotFoundError(NO_TASK)
        now = self.clock()
        uid = await self.repository.close_task(task.id, kind, fields, by=by, now=now)
        await self.repository.move_on(task.definition_id, task.object_id, kind, now)
        await self.repository.work_out(task.definition_id, task.object_id)
        return await self.find_handle(uid)
