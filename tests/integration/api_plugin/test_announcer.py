"""The announcer: a schedule that changed is announced, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Coroutine, Generator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from api_plugin.common import airflow_adapter, announcer, duties
from api_plugin.common.announcer import Announcer, announcing, nudge
from api_plugin.common.parse_watch import LastParse
from include.errors import DatabaseUnavailableError
from include.kit.db import Database
from tests.builders import insert_definition, insert_execution, insert_schedule
from tests.timer_rows import insert_device

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


class Airflow:
    """Counts what it is asked; fails as often as it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.failures = 0
        self.parsed = LastParse(datetime(2999, 1, 1, tzinfo=UTC), timedelta(0))

    def last_parse(self) -> LastParse:
        return self.parsed

    def __call__(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("Airflow's database is away")
        self.asked += 1


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


def unannounced(connection: psycopg.Connection) -> list[int]:
    return [
        row["id"] for row in connection.execute("SELECT id FROM schedule WHERE NOT announced ORDER BY id")
    ]


async def test_what_changed_is_announced_once(database: Database, connection, airflow):
    duty = Announcer(database, airflow, airflow.last_parse)
    await duty.announce()
    assert airflow.asked == 0
    insert_schedule(connection, announced=False)
    insert_schedule(connection, expression="@once", announced=False)
    await duty.announce()
    await duty.announce()
    assert (airflow.asked, unannounced(connection)) == (1, [])


async def test_what_could_not_be_asked_stays_to_be_announced(database, connection, airflow):
    insert_schedule(connection, announced=False)
    airflow.failures = 1
    with pytest.raises(RuntimeError):
        await Announcer(database, airflow, airflow.last_parse).announce()
    assert unannounced(connection) == [1]
    await Announcer(database, airflow, airflow.last_parse).announce()
    assert (airflow.asked, unannounced(connection)) == (1, [])


async def test_a_change_during_the_asking_is_announced_again(database, connection, database_url):
    insert_schedule(connection, announced=False)
    change: list[asyncio.Task] = []
    loop = asyncio.get_running_loop()

    async def change_it() -> None:
        other = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        await other.execute("UPDATE schedule SET shards = 2, announced = false")
        await other.close()

    def ask() -> None:
        change.append(asyncio.run_coroutine_threadsafe(change_it(), loop))
        import time

        time.sleep(0.2)

    await Announcer(database, ask, Airflow().last_parse).announce()
    await asyncio.wrap_future(change[0])
    assert unannounced(connection) == [1]


async def test_a_request_that_was_lost_is_made_again_until_a_parse_was_seen(database, connection, airflow):
    moment = [NOW]
    duty = Announcer(database, airflow, airflow.last_parse, clock=lambda: moment[0])
    airflow.parsed = LastParse(NOW - timedelta(hours=1), timedelta(0))
    insert_schedule(connection, announced=False)
    await duty.announce()
    for second, asked in ((1, 1), (2, 2), (3, 2), (4, 3)):
        moment[0] = NOW + timedelta(seconds=second)
        await duty.announce()
        assert airflow.asked == asked, second
    airflow.parsed = LastParse(NOW + timedelta(seconds=3), timedelta(0))
    moment[0] = NOW + timedelta(seconds=60)
    await duty.announce()
    assert (airflow.asked, duty.watch.changed_at) == (3, None)


async def test_what_left_is_announced_by_a_parse_of_everything(database, connection, airflow):
    everything: list[str] = []
    duty = Announcer(database, airflow, airflow.last_parse, lambda: everything.append("all"))
    insert_schedule(connection, active=False, announced=False)
    await duty.announce()
    assert (airflow.asked, unannounced(connection)) == (0, [])
    for _ in range(5):
        await duty.announce_leaving()
    assert (everything, airflow.asked) == (["all"], announcer.LEAVING_ROUNDS)


async def test_one_shot_schedules_with_nothing_left_to_do_are_retired(database, connection, airflow):
    once = insert_schedule(connection, expression="@once")
    insert_definition(connection, once, due_at=NOW, spent=True)
    await Announcer(database, airflow, airflow.last_parse, clock=lambda: NOW).retire()
    assert connection.execute("SELECT active, announced FROM schedule").fetchone() == {
        "active": False,
        "announced": False,
    }


async def test_the_end_of_what_waits_for_devices_is_written_down(database, connection, airflow):
    device = insert_device(connection)
    over, later = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    for number, expires_at in enumerate((over, later)):
        connection.execute(
            "INSERT INTO device_command (command_id, device_id, paras, send_strategy, status, expires_at,"
            " created_at) VALUES (%s, %s, '{}', 'immediately', 'PENDING', %s, now())",
            [f"c{number}", device, expires_at],
        )
        connection.execute(
            "INSERT INTO device_message (message_id, device_id, message, status, expires_at, created_at)"
            " VALUES (%s, %s, '{}', 'PENDING', %s, now())",
            [f"m{number}", device, expires_at],
        )
    loop = asyncio.create_task(
        Announcer(database, airflow, airflow.last_parse, clock=lambda: NOW).loop().run()
    )
    ended = "SELECT FROM device_message WHERE status = 'TIMEOUT'"
    await wait_until(lambda: connection.execute(ended).rowcount == 1)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    commands = connection.execute("SELECT status FROM device_command ORDER BY id").fetchall()
    messages = connection.execute("SELECT status, finished_at FROM device_message ORDER BY id").fetchall()
    assert [row["status"] for row in commands] == ["EXPIRED", "PENDING"]
    assert [(row["status"], row["finished_at"]) for row in messages] == [("TIMEOUT", over), ("PENDING", None)]


async def test_the_partitions_of_the_months_ahead_are_made(database, connection, airflow):
    await Announcer(
        database, airflow, airflow.last_parse, clock=lambda: datetime(2031, 5, 5, tzinfo=UTC)
    ).ensure_partitions()
    insert_definition(connection, insert_schedule(connection))
    insert_execution(connection, 1, datetime(2031, 8, 1, tzinfo=UTC))
    row = connection.execute("SELECT tableoid::regclass::text AS part FROM execution").fetchone()
    assert row == {"part": "execution_2031_08"}


async def wait_until(condition, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def running(database, airflow, monkeypatch):
    monkeypatch.setattr(airflow_adapter, "request_parse", airflow)
    monkeypatch.setattr(airflow_adapter, "last_parse", airflow.last_parse)
    monkeypatch.setattr(duties, "RETRY_SECONDS", 0.1)
    async with announcing(database):
        yield airflow


async def test_the_loop_sees_what_another_process_wrote(running, connection):
    await asyncio.sleep(0.1)
    insert_schedule(connection, announced=False)
    await wait_until(lambda: running.asked == 1)


async def test_a_nudge_is_answered_at_once(running, connection, monkeypatch):
    await asyncio.sleep(0.2)
    insert_schedule(connection, announced=False)
    nudge()
    await wait_until(lambda: running.asked == 1, 0.3)


async def test_a_nudge_where_no_announcer_runs_does_nothing():
    nudge()


async def test_the_loop_outlives_failures_and_says_so_once(running, connection, caplog):
    running.failures = 3
    with caplog.at_level(logging.WARNING):
        insert_schedule(connection, announced=False)
        await wait_until(lambda: running.asked == 1)
    assert [record.levelname for record in caplog.records if "announce failed" in record.message] == ["ERROR"]


async def test_the_loop_outlives_a_restart_of_the_database(
    running, connection, database, monkeypatch, caplog
):
    await asyncio.sleep(0.1)
    transaction = Database.transaction

    def away(self):
        raise DatabaseUnavailableError("the database cannot be reached: restarting")

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(Database, "transaction", away)
        await asyncio.sleep(0.8)
        monkeypatch.setattr(Database, "transaction", transaction)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        insert_schedule(connection, announced=False)
        await wait_until(lambda: running.asked == 1)
    warned = [record for record in caplog.records if "announce failed" in record.message]
    assert [(record.levelname, record.exc_info) for record in warned] == [("WARNING", None)]


async def test_the_loop_ends_with_its_app(database, airflow, monkeypatch):
    monkeypatch.setattr(airflow_adapter, "request_parse", airflow)
    monkeypatch.setattr(airflow_adapter, "last_parse", airflow.last_parse)
    async with announcing(database):
        assert any(task.get_name() == "carillon-announcer" for task in asyncio.all_tasks())
    assert not any(task.get_name() == "carillon-announcer" for task in asyncio.all_tasks())


@types.coroutine
def cancelled_at(point: int, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Do the work, and cancel it just as what it awaits at its n-th await comes."""
    step, answer = work.send, None
    for number in count():
        try:
            awaited = step(answer)
        except StopIteration:
            return
        if number == point:
            cancel = asyncio.current_task().cancel
            if awaited is None:  # it only lets others go first
                asyncio.get_running_loop().call_soon(cancel)
            else:
                awaited.add_done_callback(lambda _, cancel=cancel: cancel())
        try:
            step, answer = work.send, (yield awaited)
        except BaseException as error:
            step, answer = work.throw, error


async def test_the_loop_ends_wherever_its_cancellation_meets_it(database_url, airflow, connection):
    # The first awaits make a connection; some twenty are a round, the others its rest and a second round.
    for point in range(27):
        insert_schedule(connection, announced=False, expression=f"0 {point} * * * *")
        database = await Database(database_url).open()
        loop = Announcer(database, airflow, airflow.last_parse).loop().run()
        task = asyncio.create_task(_awaiting(cancelled_at(point, loop)))
        _, going_on = await asyncio.wait([task], timeout=10)
        await database.close()
        assert not going_on, f"at await {point}"
        assert task.cancelled(), f"at await {point}"


async def _awaiting(work: Any) -> None:
    await work
