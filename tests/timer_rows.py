"""What the tests of device timers share: devices, JSON Web Tokens, and a gateway that goes nowhere."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.gateway.model import Command, EventListener, Outcome, PreparedCommand, Reply
from include.kit.clock import system_clock
from include.settings import get_settings
from include.tokens.jwt_tokens import issue_jwt

USER = "alice"
LAMP = "lamp-1"
LOCAL = ZoneInfo("Asia/Shanghai")


def insert_device(
    connection: psycopg.Connection, device_id: str = LAMP, *, users: Sequence[str] = (USER,), **changes: Any
) -> int:
    """Insert a device of project p1, bound to its users, and return its row's id."""
    values = {
        "device_id": device_id,
        "project_id": "p1",
        "product_id": "lamp",
        "node_id": device_id[:64],
        "status": "ONLINE",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        **changes,
    }
    names = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    row = connection.execute(f"INSERT INTO device ({names}) VALUES ({places}) RETURNING id", values)
    device = row.fetchone()["id"]
    for user in users:
        connection.execute(
            "INSERT INTO device_binding (user_name, device_id, created_at) VALUES (%s, %s, now())",
            [user, device],
        )
    return device


def multiply(connection: psycopg.Connection, group_id: str, count: int) -> None:
    """Make `count` devices in all, each with a timer like the only one of this group."""
    for statement in COPIES:
        connection.execute(statement, {"group_id": group_id, "count": count})


#: A device, a group and a timer for each number from 2 on.
COPIES = (
    """
    INSERT INTO device (device_id, project_id, product_id, node_id, status, created_at, updated_at)
    SELECT 'copy-' || n, v.project_id, v.product_id, 'copy-' || n, 'ONLINE', now(), now()
    FROM generate_series(2, %(count)s) AS n, timer_group g JOIN device v ON v.id = g.device_id
    WHERE g.group_id = %(group_id)s
    """,
    """
    INSERT INTO timer_group (group_id, device_id, period, first_day, timezone, enabled, offline,
                             offline_ttl, created_at, updated_at)
    SELECT md5(v.device_id), v.id, g.period, g.first_day, g.timezone, true, g.offline,
           g.offline_ttl, now(), now()
    FROM device v, timer_group g WHERE starts_with(v.device_id, 'copy-') AND g.group_id = %(group_id)s
    """,
    """
    WITH original AS (
        SELECT t.hour, t.minute, t.commands, d.*
        FROM timer_group g
        JOIN device_timer t ON t.group_id = g.id
        JOIN definition d ON d.id = t.definition_id
        WHERE g.group_id = %(group_id)s
    ), made AS (
        INSERT INTO definition (kind, schedule_id, project_id, name, enabled, active_since, weekdays,
                                misfire, misfire_grace, overlap, created_at, updated_at)
        SELECT o.kind, o.schedule_id, o.project_id, md5(v.device_id), true, o.active_since, o.weekdays,
               o.misfire, o.misfire_grace, o.overlap, now(), now()
        FROM original o, device v WHERE starts_with(v.device_id, 'copy-')
        RETURNING id, name
    )
    INSERT INTO device_timer (definition_id, group_id, name, ordinal, hour, minute, commands)
    SELECT m.id, g.id, m.name, 0, o.hour, o.minute, o.commands
    FROM original o, made m JOIN timer_group g ON g.group_id = m.name
    """,
)


def jwt_of(user: str = USER) -> str:
    """Return a token of a user that is good for an hour."""
    return issue_jwt(user, system_clock() + timedelta(hours=1), get_settings())


def mask(day: datetime, *, holds: bool = True) -> str:
    """A mask from Sunday on of the local day of an instant alone, or of all days but that."""
    place = day.astimezone(LOCAL).isoweekday() % 7
    return "".join("1" if (number == place) is holds else "0" for number in range(7))


@dataclass
class Sent:
    """A command that went out."""

    command: Command
    at: datetime


@dataclass
class FakeGateway:
    """A gateway whose devices answer as told.

    :ivar outcomes: what comes of the next commands of a device; acknowledged when there is nothing
    :ivar takes: seconds that a command takes
    """

    outcomes: dict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    always: Outcome = "acknowledged"
    takes: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    desired: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    desired_outcome: Outcome = "acknowledged"
    warmed: int = 0

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def listen(self, listener: EventListener) -> None:
        return None

    def prepare(self, command: Command) -> PreparedCommand:
        return FakeCommand(self, command)

    async def resolve(self, commands: list[PreparedCommand]) -> None:
        return None

    async def warm(self, commands: list[PreparedCommand]) -> None:
        self.warmed += len(commands)

    async def set_desired(self, device_id: str, service_id: str, desired: Mapping[str, Any]) -> Reply:
        self.desired.append((device_id, service_id, desired))
        now = system_clock()
        return Reply(self.desired_outcome, now, now, 200)

    async def send_async_command(self, command: Command, **options: Any) -> Reply:
        raise NotImplementedError

    async def send_message(self, message: Any) -> Reply:
        raise NotImplementedError

    def to(self, device_id: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.command.device_id == device_id]


@dataclass
class FakeCommand:
    gateway: FakeGateway
    command: Command

    async def send(self) -> Reply:
        begin = system_clock()
        self.gateway.sent.append(Sent(self.command, begin))
        if self.gateway.takes:
            await asyncio.sleep(self.gateway.takes)
        queued = self.gateway.outcomes[self.command.device_id]
        outcome = queued.pop(0) if queued else self.gateway.always
        return Reply(outcome, begin, system_clock(), 200, '{"result_code":0}')
