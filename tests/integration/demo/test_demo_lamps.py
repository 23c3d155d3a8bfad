"""The timers demo through the real REST APIs and the real simulator, without Airflow."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.demo import timers
from include.demo.api import calling
from include.demo.lamps import Lamp, plan_lamps
from include.demo.timers import Clients, Story, check_simulator, look, ordered, registered, watch
from include.demo.timers_report import wrong
from include.errors import StartupError
from include.kit.clock import system_clock
from include.kit.db import Database
from include.timers.caller import SHADOWED, SKIPPED
from tests.builders import make_token
from tests.conftest import ClientOf
from tests.integration.demo.direct_api import DirectApi
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process
from tests.timer_rows import jwt_of

ZONE = ZoneInfo("Asia/Shanghai")
PROJECT, USER = "demo-x", "demo-x"


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatorProcess]:
    with simulator_process() as simulator:
        yield simulator


@pytest.fixture
async def clients(
    client_of: ClientOf, database: Database, process: SimulatorProcess
) -> AsyncIterator[Clients]:
    own = await client_of("management", await make_token(database, projects=[PROJECT]))
    user = await client_of("timers")
    user.headers["Authorization"] = f"jwt {jwt_of(USER)}"
    async with calling(process.url) as simulator:
        yield Clients(DirectApi({"/carillon/v1": own}), DirectApi({"/v3/schedule": user}), simulator)


@pytest.fixture
def lamps() -> list[Lamp]:
    return plan_lamps("x", count=24, away=6, minutes=2)


@pytest.fixture
def dues() -> tuple[datetime, ...]:
    first = system_clock().replace(second=0, microsecond=0) + timedelta(minutes=30)
    return tuple((first + timedelta(minutes=index)).astimezone(ZONE) for index in range(2))


def counts(connection: psycopg.Connection) -> dict[str, int]:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM device) AS devices, (SELECT count(*) FROM device_binding) AS bindings,"
        " (SELECT count(*) FROM definition WHERE deleted_at IS NULL) AS timers,"
        " (SELECT count(*) FROM timer_group WHERE deleted_at IS NULL) AS groups,"
        " (SELECT count(*) FROM schedule WHERE active AND expression <> '@once') AS schedules"
    ).fetchone()
    assert row is not None
    return dict(row)


NOTHING = {"devices": 0, "bindings": 0, "timers": 0, "groups": 0, "schedules": 0}


class Player:
    """Does to timers what firing does in the end: rows in the ledger, commands, shadows."""

    def __init__(self, connection: psycopg.Connection, process: SimulatorProcess, story: Story) -> None:
        self.connection = connection
        self.process = process
        self.story = story
        self.waiting: dict[int, Lamp] = {}

    def fire(self, lamp: Lamp) -> None:
        """Let a timer end, or wait where its lamp is away and may come back."""
        ends = {"skipped": ("failed", SKIPPED), "left in the shadow": ("succeeded", SHADOWED)}
        state, reason = ends.get(lamp.expects, ("succeeded", None))
        waits = lamp.away and lamp.expects == "acknowledged"
        row = self.connection.execute(
            "INSERT INTO execution (definition_id, schedule_id, due_at, origin, state, attempts, reason,"
            " lateness_ms, next_attempt_at, finished_at)"
            " SELECT id, schedule_id, %(due)s, 'scheduled', %(state)s, 2, %(reason)s, 2.5, %(next)s, %(end)s"
            " FROM definition WHERE name = %(name)s RETURNING id",
            {
                "due": self.story.due(lamp),
                "state": "retrying" if waits else state,
                "reason": reason,
                "next": system_clock() if waits else None,
                "end": None if waits else system_clock(),
                "name": lamp.timer,
            },
        ).fetchone()
        assert row is not None
        if waits:
            self.waiting[row["id"]] = lamp
        elif lamp.expects == "acknowledged":
            self.command(lamp, row["id"])
        elif lamp.expects == "left in the shadow":
            shadow = [{"service_id": "timer", "desired": lamp.paras}]
            self.send("PUT", f"{lamp.device_id}/shadow", {"shadow": shadow})

    def come_back(self, story: Story) -> None:
        """Let those that wait end once they were brought back."""
        if set(story.back_at) == {0, 1}:
            for id_, lamp in self.waiting.items():
                self.command(lamp, id_)
                self.connection.execute(
                    "UPDATE execution SET state = 'succeeded', attempts = 3, next_attempt_at = NULL,"
                    " finished_at = now() WHERE id = %s",
                    [id_],
                )
            self.waiting.clear()

    def command(self, lamp: Lamp, execution_id: int) -> None:
        self.send("POST", f"{lamp.device_id}/commands", {"paras": lamp.paras}, f"exec_{execution_id}")

    def send(self, method: str, path: str, body: dict[str, Any], request_id: str = "s") -> None:
        url = f"{self.process.url}/v5/iot/default/devices/{path}"
        headers = {"X-Request-Id": request_id}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
        urllib.request.urlopen(request, timeout=10).close()


async def test_lamps_and_timers_come_and_go(
    clients: Clients,
    process: SimulatorProcess,
    lamps: list[Lamp],
    dues: tuple[datetime, ...],
    connection: psycopg.Connection,
) -> None:
    ticks: list[None] = []
    process.admin("PUT", "devices/other", {"online": False})
    async with registered(clients, lamps, project_id=PROJECT, user=USER):
        assert counts(connection) == {**NOTHING, "devices": 24, "bindings": 24}
        away = [lamp.device_id for lamp in lamps if lamp.away]
        assert all(process.admin("GET", f"devices/{id_}")["online"] is False for id_ in away)
        async with ordered(clients, lamps, dues, lambda: ticks.append(None)):
            assert counts(connection) == {
                "devices": 24,
                "bindings": 24,
                "timers": 24,
                "groups": 24,
                "schedules": 2,
            }
            assert len(ticks) == 24
            assert len({lamp.timer for lamp in lamps}) == 24
    assert counts(connection) == NOTHING
    assert process.admin("GET", "counters")["devices"] == 1
    assert process.admin("GET", "devices/other")["online"] is False
    process.admin("DELETE", "devices")


async def test_what_ledger_and_simulator_say_is_compared(
    clients: Clients,
    process: SimulatorProcess,
    lamps: list[Lamp],
    dues: tuple[datetime, ...],
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timers, "ENDS_SECONDS", 7200.0)
    monkeypatch.setattr(timers, "POLL_SECONDS", 0.05)
    async with (
        registered(clients, lamps, project_id=PROJECT, user=USER),
        ordered(clients, lamps, dues, lambda: None) as story,
    ):
        # The timers are real, their instants are played: nobody waits here for a full minute.
        story.dues = tuple(due - timedelta(hours=1) for due in dues)
        player = Player(connection, process, story)
        for lamp in lamps:
            player.fire(lamp)
        await watch(clients, story, player.come_back)
        await look(clients, story)
        assert set(story.back_at) == {0, 1}
        assert wrong(story) == []
        assert story.dag_ids == [*(f"timer.{due:%H%M}" for due in dues), "timer.once"]
        lamp = next(lamp for lamp in lamps if lamp.expects == "acknowledged")
        player.send("POST", f"{lamp.device_id}/commands", {"paras": {}}, "exec_0")
        await look(clients, story)
        assert wrong(story) == [
            f"got 2 commands by the simulator's count, 1 by the ledger: 1 lamp, such as {lamp.device_id}",
            f"got another command than its timer's: 1 lamp, such as {lamp.device_id}",
        ]


async def test_timers_that_never_run_are_given_up(
    clients: Clients, lamps: list[Lamp], dues: tuple[datetime, ...]
) -> None:
    shown: list[Story] = []
    past = tuple(due - timedelta(hours=1) for due in dues)
    await watch(clients, Story(lamps, past), shown.append)
    assert shown == []
    assert wrong(Story(lamps, past)) == ["the timer has 0 executions, not one: 24 lamps, such as demo-x-0001"]


async def test_timers_that_are_set_too_late_are_told_and_taken_away(
    clients: Clients, lamps: list[Lamp], dues: tuple[datetime, ...], connection: psycopg.Connection
) -> None:
    past = tuple(due - timedelta(hours=1) for due in dues)
    with pytest.raises(StartupError, match=f"the timers of {past[0]:%H:%M} were not all made before it"):
        async with (
            registered(clients, lamps, project_id=PROJECT, user=USER),
            ordered(clients, lamps, past, lambda: None),
        ):
            pytest.fail("they were late")
    assert counts(connection) == NOTHING


async def test_faults_that_are_set_are_told(clients: Clients, process: SimulatorProcess) -> None:
    await check_simulator(clients.simulator, process.url)
    process.faults(loss=0.5, latency={"seconds": 1})
    try:
        with pytest.raises(StartupError, match=r"has faults set \(latency, loss\).*-X DELETE http://127"):
            await check_simulator(clients.simulator, process.url)
    finally:
        process.faults()
