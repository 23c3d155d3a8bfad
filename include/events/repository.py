"""The statements on events: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import orjson

from include.events.model import Claimed, Event, EventState, Result, Subscription
from include.kit.db import Repository
from include.kit.sql import load_queries

queries = load_queries(__file__)

Row = Mapping[str, Any]

_EVENT = [one.name for one in fields(Event)]


class EventRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits.

    What is due, and when an attempt was made, is told by the database's clock: couriers on several machines
    share it.
    """

    async def lock_project(self, project_id: str) -> None:
        await self._rows(queries.lock_project, project_id=project_id)

    async def count_subscriptions(self, project_id: str) -> int:
        [row] = await self._rows(queries.count_subscriptions, project_id=project_id)
        return int(row["count"])

    async def insert_subscription(
        self, project_id: str, url: str, secret: str, resources: Sequence[str], now: datetime
    ) -> Subscription:
        [row] = await self._rows(
            queries.insert_subscription,
            project_id=project_id,
            url=url,
            secret=secret,
            resources=list(resources),
            now=now,
        )
        return Subscription(**row)

    async def list_subscriptions(
        self, projects: Sequence[str] | None, *, project: str | None, after: int, limit: int
    ) -> list[Subscription]:
        rows = await self._rows(
            queries.list_subscriptions,
            projects=_list(projects),
            project=project,
            after=after,
            limit=limit,
        )
        return [Subscription(**row) for row in rows]

    async def find_subscription(self, id: int, projects: Sequence[str] | None) -> Subscription | None:
        rows = await self._rows(queries.find_subscription, id=id, projects=_list(projects))
        return Subscription(**rows[0]) if rows else None

    async def change_subscription(
        self, id: int, *, url: str | None, resources: Sequence[str] | None
    ) -> Subscription:
        [row] = await self._rows(queries.change_subscription, id=id, url=url, resources=_list(resources))
        return Subscription(**row)

    async def delete_subscription(self, id: int, now: datetime) -> None:
        await self._run(queries.delete_subscription, id=id, now=now)

    async def list_events(
        self, subscription: int, *, state: EventState | None, before: int, limit: int
    ) -> list[Event]:
        rows = await self._rows(
            queries.list_events, subscription=subscription, state=state, before=before, limit=limit
        )
        return [Event(**row) for row in rows]

    async def redeliver_event(self, id: int, subscription: int) -> Event | None:
        rows = await self._rows(queries.redeliver_event, id=id, subscription=subscription)
        return Event(**rows[0]) if rows else None

    async def notify_couriers(self) -> None:
        await self._run(queries.notify_couriers)

    async def listen(self) -> None:
        await self._run(queries.listen)

    async def claim_events(
        self, *, limit: int, most: int, busy: Mapping[int, int], lease: timedelta
    ) -> list[Claimed]:
        """Take what is due in hand, in order.

        :param limit: at most so many
        :param most: of one subscription in hand at a time, those in `busy` counted
        """
        rows = await self._rows(
            queries.claim_events,
            limit=limit,
            most=most,
            busy=orjson.dumps({str(id): count for id, count in busy.items()}).decode(),
            lease=lease,
        )
        claimed = [
            Claimed(Event(**{name: row[name] for name in _EVENT}), row["url"], row["secret"]) for row in rows
        ]
        return sorted(claimed, key=lambda one: one.event.id)

    async def record(self, results: Sequence[Result]) -> None:
        """Write what came of attempts; of one that another has followed only that it was told."""
        delivered = [result.event_id for result in results if result.error is None]
        failed = [result for result in results if result.error is not None]
        if delivered:
            await self._run(queries.record_deliveries, ids=delivered)
        if failed:
            await self._rows(
                queries.record_failures,
                ids=[result.event_id for result in failed],
                attempts=[result.attempt for result in failed],
                errors=[result.error for result in failed],
                delays=[result.delay for result in failed],
            )

    async def count_settled(self, before: datetime) -> int:
        [row] = await self._rows(queries.count_settled, before=before)
        return int(row["count"])

    async def delete_settled(self, before: datetime, limit: int) -> int:
        """Return how many were deleted."""
        return await self._run(queries.delete_settled, before=before, limit=limit)

    async def delete_subscriptions(self, before: datetime) -> None:
        await self._run(queries.delete_subscriptions, before=before)


def _list(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
