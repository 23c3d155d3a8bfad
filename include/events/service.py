"""Use cases on subscriptions and on what they were told."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import timedelta

from include.errors import ConflictError, NotFoundError
from include.events.model import SUBSCRIPTIONS_MOST, Event, EventState, Subscription
from include.events.repository import EventRepository
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection, Database
from include.kit.egress import EgressGuard
from include.kit.secrets import encrypt
from include.kit.signing import normalise_secret
from include.settings import get_settings

#: Of a drawn secret.
SECRET_BYTES = 32
#: Events that are deleted in one transaction.
DELETED_AT_ONCE = 10_000
_LAST = 2**63 - 1


class EventService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all; what is of another one is
        not found
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.projects = projects
        self.clock = clock
        self.repository = EventRepository(connection)
        self.guard = EgressGuard(get_settings().egress_allow)

    async def subscribe(
        self, project_id: str, url: str, resources: Sequence[str]
    ) -> tuple[Subscription, str]:
        """Make a subscription; returns it with its secret, which is told this once.

        :raises NotFoundError: the project is not the caller's
        :raises InvalidInputError: `url` cannot be called
        :raises ConflictError: the project has as many as it may have
        """
        if self.projects is not None and project_id not in self.projects:
            raise NotFoundError(f"there is no project {project_id!r}")
        self.guard.check_url_syntax(url)
        await self.repository.lock_project(project_id)
        if await self.repository.count_subscriptions(project_id) >= SUBSCRIPTIONS_MOST:
            raise ConflictError(f"the project has {SUBSCRIPTIONS_MOST} subscriptions already")
        secret = draw_secret()
        made = await self.repository.insert_subscription(
            project_id, url, encrypt(secret), resources, self.clock()
        )
        return made, secret

    async def list_subscriptions(
        self, *, project: str | None = None, after: int, limit: int
    ) -> list[Subscription]:
        """Return subscriptions, the oldest first."""
        return await self.repository.list_subscriptions(
            self.projects, project=project, after=after, limit=limit
        )

    async def find(self, id: int) -> Subscription:
        """Return a subscription. Raises NotFoundError."""
        found = await self.repository.find_subscription(id, self.projects)
        if found is None:
            raise NotFoundError(f"there is no event subscription {id}")
        return found

    async def change(
        self, id: int, *, url: str | None = None, resources: Sequence[str] | None = None
    ) -> Subscription:
        """Give a subscription another address or other resources; what is None stays.

        :raises NotFoundError: no such subscription
        :raises InvalidInputError: `url` cannot be called
        """
        await self.find(id)
        if url is not None:
            self.guard.check_url_syntax(url)
        return await self.repository.change_subscription(id, url=url, resources=resources)

    async def unsubscribe(self, id: int) -> None:
        """Delete a subscription; what it was not told yet is given up. Raises NotFoundError."""
        await self.find(id)
        await self.repository.delete_subscription(id, self.clock())

    async def events(
        self, id: int, *, state: EventState | None = None, before: int | None = None, limit: int
    ) -> list[Event]:
        """Return what a subscription was told or is to be told, the newest first. Raises NotFoundError."""
        await self.find(id)
        return await self.repository.list_events(
            id, state=state, before=_LAST if before is None else before, limit=limit
        )

    async def redeliver(self, id: int, event_id: int) -> Event:
        """Tell an event again, now, whatever became of it. Raises NotFoundError."""
        await self.find(id)
        event = await self.repository.redeliver_event(event_id, id)
        if event is None:
            raise NotFoundError(f"there is no event {event_id} of this subscription")
        await self.repository.notify_couriers()
        return event


async def clean_events(
    database: Database, keep: timedelta, *, clock: Clock = system_clock, dry_run: bool = False
) -> int:
    """Delete what was delivered or given up and is older than `keep`; returns how many events.

    A transaction for some thousands at a time.
    """
    before = clock() - keep
    if dry_run:
        async with database.transaction() as connection:
            return await EventRepository(connection).count_settled(before)
    total = 0
    while True:
        async with database.transaction() as connection:
            repository = EventRepository(connection)
            deleted = await repository.delete_settled(before, DELETED_AT_ONCE)
            total += deleted
            if deleted < DELETED_AT_ONCE:
                await repository.delete_subscriptions(before)
                return total


def draw_secret() -> str:
    """Return a new secret in the form of Standard Webhooks."""
    return normalise_secret("whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())
