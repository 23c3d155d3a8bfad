"""Retention of events: what was told or given up goes with its age, what waits stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.events import service
from include.events.service import EventService, clean_events
from tests.event_rows import happen, subscribe

KEEP = timedelta(days=90)


@pytest.fixture
async def events(database, connection) -> None:
    """Events 1 to 3 of 100 days ago: delivered, given up, waiting; 4 and 5 likewise of 80 days ago."""
    await subscribe(database, "http://example.com/")
    for number in range(5):
        happen(connection, f"t{number}")
    connection.execute(
        "UPDATE event SET created_at = now() - CASE WHEN id < 4 THEN '100 days' ELSE '80 days' END::interval,"
        " next_at = CASE WHEN id = 3 THEN next_at END"
    )
    connection.execute("UPDATE event SET delivered_at = created_at WHERE id IN (1, 4)")


def left(connection) -> list[int]:
    return [row["id"] for row in connection.execute("SELECT id FROM event ORDER BY id").fetchall()]


@pytest.mark.usefixtures("events")
async def test_old_ones_go_some_at_a_time(database, connection, monkeypatch) -> None:
    monkeypatch.setattr(service, "DELETED_AT_ONCE", 1)
    assert await clean_events(database, KEEP, dry_run=True) == 2
    assert left(connection) == [1, 2, 3, 4, 5]
    assert await clean_events(database, KEEP) == 2
    assert left(connection) == [3, 4, 5]
    assert await clean_events(database, KEEP) == 0


@pytest.mark.usefixtures("events")
async def test_a_deleted_subscription_goes_with_its_last_event(database, connection) -> None:
    subscriptions = "SELECT id FROM event_subscription"
    await clean_events(database, KEEP)
    assert len(connection.execute(subscriptions).fetchall()) == 1, "it is not deleted"
    async with database.transaction() as session:
        await EventService(session).unsubscribe(1)
    connection.execute("UPDATE event_subscription SET deleted_at = now() - interval '91 days'")
    await clean_events(database, KEEP)
    assert left(connection) == [4, 5]
    assert len(connection.execute(subscriptions).fetchall()) == 1, "its events are not old enough"
    connection.execute("UPDATE event SET created_at = now() - interval '91 days'")
    await clean_events(database, KEEP)
    assert left(connection) == []
    assert connection.execute(subscriptions).fetchall() == []
