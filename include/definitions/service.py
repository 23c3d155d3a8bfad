"""Use cases that every kind of definition shares but maintenance: enable, disable, delete.

Each tells the schedule, so that even a window that is already armed does not fire what must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.callbacks.start_time import PAST_TOLERANCE
from include.definitions.repository import DefinitionRepository, Switchable
from include.errors import ConflictError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.schedules.repository import ScheduleRepository
from include.schedules.service import ScheduleService


class DefinitionService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None = None, clock: Clock = system_clock
    ) -> None:
        self.repository = DefinitionRepository(connection)
        self.schedules = ScheduleService(ScheduleRepository(connection))
        self.projects = projects
        self.clock = clock

    async def enable(self, definition_id: int) -> None:
        """Have a definition fire from now on; one that is enabled stays as it is.

        :raises NotFoundError: no such definition for this caller
        :raises ConflictError: a one-shot whose moment passed while it was disabled
        """
        definition = await self._locked(definition_id)
        now = self.clock()
        if not definition.enabled:
            _check_moment(definition, now)
            await self._switch(definition, enabled=True, now=now)

    async def disable(self, definition_id: int) -> None:
        """Have a definition fire no more; one that is disabled stays as it is.

        :raises NotFoundError: no such definition for this caller
        """
        definition = await self._locked(definition_id)
        if definition.enabled:
            await self._switch(definition, enabled=False, now=self.clock())

    async def delete(self, definition_id: int) -> None:
        """Take a definition away; its history stays.

        :raises NotFoundError: no such definition for this caller
        """
        definition = await self._locked(definition_id)
        now = self.clock()
        await self.repository.delete_definition(definition.id, now)
        await self.schedules.changed([definition.schedule_id], now)

    async def _switch(self, definition: Switchable, *, enabled: bool, now: datetime) -> None:
        await self.repository.switch_definition(definition.id, enabled=enabled, now=now)
        await self.schedules.changed([definition.schedule_id], now)

    async def _locked(self, definition_id: int) -> Switchable:
        definition = await self.repository.lock_definition(definition_id, self.projects)
        if definition is None:
            raise NotFoundError(f"there is no definition {definition_id}")
        if definition.kind == "maintenance":
            # Its tasks go with it, which only its own use cases see to.
            raise ConflictError("a maintenance project is started, stopped and deleted by its own API")
        return definition


def _check_moment(definition: Switchable, now: datetime) -> None:
    if definition.due_at is None or definition.spent:
        return
    if definition.due_at < now - PAST_TOLERANCE:
        raise ConflictError(
            f"its moment {definition.due_at.isoformat()} has passed: give it a new start time instead"
        )
