"""Device timers against a real ledger: on their days, once, under the policy of their group."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest

from include.devices.registry import RegistryService
from include.kit.clock import system_clock
from include.ledger.model import Due
from include.ledger.repository import LedgerRepository
from include.settings import get_settings
from include.timers import model
from include.timers.caller import DELETED, FROZEN, SHADOWED, SKIPPED, TimerCaller
from include.timers.model import GroupFields, TimerFields
from include.timers.operations import TimerOperations
from include.timers.service import TimerService
from tests.integration.timers.conftest import Bench, MakeEngine, soon
from tests.timer_rows import LAMP, USER, insert_device, mask, multiply

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def lamp(connection: psycopg.Connection) -> int:
    return insert_device(connection)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that do not take minutes."""
    monkeypatch.setattr(model, "OFFLINE_DELAYS", (0, 1))
    monkeypatch.setattr("include.timers.caller.FAULT_DELAYS", (0, 0))
    model.offline_delays.cache_clear()


class TestInstant:
    async def test_a_command_at_its_instant_with_the_id_of_the_execution(self, bench: Bench):
        due = soon()
        await bench.add(due, period=mask(due))
        summary = await bench.fire(bench.retime(due))
        [sent] = bench.gateway.sent
        [row] = bench.connection.execute("SELECT id, state FROM execution").fetchall()
        assert (summary.succeeded, row["state"], bench.gateway.warmed) == (1, "succeeded", 1)
        assert sent.at >= due
        command = sent.command
        assert (command.device_id, command.request_id) == (LAMP, f"exec_{row['id']}")
        assert (command.service_id, command.command_name, command.paras) == ("timer", "set", {"switch": 1})

    async def test_what_was_sent_stands_in_the_attempt(self, bench: Bench):
        due = soon()
        await bench.add(due)
        await bench.fire(bench.retime(due))
        [row] = bench.connection.execute(
            "SELECT a.*, e.id FROM attempt a JOIN execution e ON true"
        ).fetchall()
        assert (row["url"], row["status"], row["error"]) == ("device://lamp-1/command/timer", 200, None)
        assert row["response"] == '{"result_code":0}'
        assert row["body"] == (
            f'{{"request_id":"exec_{row["id"]}","service_id":"timer","command_name":"set","paras":{{"switch":1}}}}'
        )

    async def test_not_on_other_days(self, bench: Bench):
        due = soon()
        await bench.add(due, period=mask(due, holds=False))
        summary = await bench.fire(bench.retime(due))
        assert (summary.attempts, bench.gateway.sent, bench.states()) == (0, [], [])

    async def test_days_that_were_taken_out_after_arming_do_not_fire(self, bench: Bench):
        due = soon(3)
        group = await bench.add(due)
        run = asyncio.create_task(bench.fire(bench.retime(due)))
        await asyncio.sleep(1)
        assert bench.states() == [("pending", None)]
        [timer] = group.timers
        fields = GroupFields(
            mask(due, holds=False), [TimerFields(timer.hour, timer.minute, timer.commands, timer.name)]
        )
        async with bench.database.transaction() as connection:
            await TimerService(connection, user=USER).update(group.group_id, fields)
        await run
        assert (bench.states(), bench.gateway.sent) == ([("skipped", "rescheduled")], [])

    async def test_commands_that_were_edited_after_arming_are_the_ones_sent(self, bench: Bench):
        due = soon(3)
        await bench.add(due)
        run = asyncio.create_task(bench.fire(bench.retime(due)))
        await asyncio.sleep(1)
        bench.connection.execute("UPDATE device_timer SET commands = '{\"switch\":0}'")
        bench.connection.execute("UPDATE definition SET revision = revision + 1")
        await run
        assert [sent.command.paras for sent in bench.gateway.sent] == [{"switch": 0}]

    async def test_a_group_that_was_deleted_after_arming_does_not_fire(self, bench: Bench):
        due = soon(3)
        group = await bench.add(due)
        run = asyncio.create_task(bench.fire(bench.retime(due)))
        await asyncio.sleep(1)
        async with bench.database.transaction() as connection:
            await TimerService(connection, user=USER).delete(group.group_id)
        await run
        assert (bench.states(), bench.gateway.sent) == ([("skipped", "deleted")], [])

    async def test_late_by_more_than_a_minute_is_missed(self, bench: Bench):
        due = soon(-70)
        await bench.add(due)
        await bench.fire(bench.retime(due))
        assert (bench.states(), bench.gateway.sent) == ([("missed", "misfire: older than its grace")], [])

    async def test_a_long_outage_is_condensed_by_days(self, bench: Bench):
        due = soon(-70)
        await bench.add(due, period=mask(due), since=due - timedelta(days=400))
        scope = bench.retime(due)
        scope.window = type(scope.window)(due - timedelta(days=400), due)
        await bench.fire(scope)
        rows = bench.connection.execute(
            "SELECT due_at, covers_count, covers_since, reason FROM execution ORDER BY due_at"
        ).fetchall()
        local_days = {row["due_at"].isoweekday() for row in rows}
        assert (len(local_days), len(rows)) == (1, 58), "57 of 400 days listed by 400 // 7, 1 for none"


class TestOneShot:
    async def test_once_and_then_its_group_is_off(self, bench: Bench):
        due = soon()
        group = await bench.add(due, period="0000000", since=system_clock())
        await bench.fire(bench.once(due + timedelta(seconds=0.5)))
        assert bench.states() == [("succeeded", None)]
        assert len(bench.gateway.sent) == 1
        async with bench.database.transaction() as connection:
            group = await TimerService(connection, user=USER).get(group.group_id)
        assert (group.is_on(system_clock()), group.next_run_at(system_clock())) == (False, None)
        await bench.fire(bench.once(due + MINUTE - timedelta(seconds=59)))
        assert len(bench.gateway.sent) == 1


class TestOffline:
    async def test_skip_fails_once_and_says_so(self, bench: Bench):
        due = soon()
        await bench.add(due, offline="skip")
        bench.gateway.always = "offline"
        summary = await bench.fire(bench.retime(due))
        assert (bench.states(), summary.attempts) == ([("failed", SKIPPED)], 1)
        assert len(bench.gateway.sent) == 1

    async def test_deliver_when_online_goes_on_until_the_device_is_there(self, bench: Bench, quick: None):
        due = soon()
        await bench.add(due, offline="deliver_when_online")
        bench.gateway.outcomes[LAMP] = ["offline", "offline", "acknowledged"]
        summary = await bench.fire(bench.retime(due))
        assert (bench.states(), summary.attempts) == ([("succeeded", None)], 3)
        assert len({sent.command.request_id for sent in bench.gateway.sent}) == 1

    async def test_deliver_when_online_ends_with_its_ttl(self, bench: Bench, quick: None):
        due = soon()
        await bench.add(due, offline="deliver_when_online", offline_ttl=timedelta(seconds=3))
        bench.gateway.always = "offline"
        await bench.fire(bench.retime(due))
        assert bench.states() == [("failed", "device offline")]
        assert all(sent.at <= due + timedelta(seconds=3) for sent in bench.gateway.sent)
        assert len(bench.gateway.sent) >= 3

    async def test_what_waits_long_leaves_the_run_for_the_one_shot_schedule(
        self, bench: Bench, quick: None, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("include.timers.caller.RUN_WAITS", timedelta(seconds=0.5))
        due = soon()
        await bench.add(due, offline="deliver_when_online")
        bench.gateway.outcomes[LAMP] = ["offline", "offline", "offline"]
        summary = await bench.fire(bench.retime(due))
        assert (summary.handed_over, bench.states()) == (1, [("retrying", "device offline")])
        rows = bench.connection.execute(
            "SELECT s.dag_id, s.active FROM execution e JOIN schedule s ON s.id = e.schedule_id"
        ).fetchall()
        assert rows == [{"dag_id": "timer.once", "active": True}]
        for _ in range(4):
            await bench.fire(bench.once(system_clock() + timedelta(seconds=1.2)))
        assert (bench.states()[0][0], len(bench.gateway.sent)) == ("succeeded", 4)

    async def test_shadow_desired_leaves_it_in_the_shadow(self, bench: Bench):
        due = soon()
        await bench.add(due, offline="shadow_desired")
        bench.gateway.always = "offline"
        await bench.fire(bench.retime(due))
        assert bench.gateway.desired == [(LAMP, "timer", {"switch": 1})]
        assert bench.states() == [("succeeded", SHADOWED)]

    async def test_shadow_desired_is_tried_again_where_the_shadow_cannot_be_written(
        self, bench: Bench, quick: None
    ):
        due = soon()
        await bench.add(due, offline="shadow_desired")
        bench.gateway.always, bench.gateway.desired_outcome = "offline", "unreachable"
        await bench.fire(bench.retime(due))
        assert bench.states() == [("failed", "device offline, and its shadow was not written: unreachable")]
        assert len(bench.gateway.desired) == 3

    @pytest.mark.parametrize("policy", ["skip", "shadow_desired", "deliver_when_online"])
    async def test_a_device_that_is_there_gets_its_command_under_each_policy(self, bench: Bench, policy: str):
        due = soon()
        await bench.add(due, offline=policy)
        await bench.fire(bench.retime(due))
        assert (bench.states(), len(bench.gateway.sent)) == ([("succeeded", None)], 1)


class TestFaults:
    @pytest.mark.parametrize("outcome", ["timeout", "unreachable", "garbage"])
    async def test_a_fault_of_the_gateway_is_tried_again(self, bench: Bench, quick: None, outcome):
        due = soon()
        await bench.add(due)
        bench.gateway.outcomes[LAMP] = [outcome]
        await bench.fire(bench.retime(due))
        assert (bench.states(), len(bench.gateway.sent)) == ([("succeeded", None)], 2)
        assert len({sent.command.request_id for sent in bench.gateway.sent}) == 1

    async def test_a_refusal_is_final(self, bench: Bench, quick: None):
        due = soon()
        await bench.add(due, offline="deliver_when_online")
        bench.gateway.always = "refused"
        await bench.fire(bench.retime(due))
        assert bench.states() == [("failed", "the device refused the command")]
        assert len(bench.gateway.sent) == 1

    async def test_no_gateway_is_a_reason(self, bench: Bench):
        due = soon()
        await bench.add(due)
        run = bench.run(bench.retime(due))
        run.caller = TimerCaller(None, "not sent: there is none")
        await run.run()
        assert bench.states() == [("failed", "not sent: there is none")]

    async def test_an_acknowledged_one_is_not_sent_again_by_a_second_process(
        self, bench: Bench, make_engine: MakeEngine
    ):
        due = soon()
        await bench.add(due)
        scope = bench.retime(due)
        await bench.fire(scope)
        await bench.fire(scope, await make_engine())
        assert len(bench.gateway.sent) == 1

    async def test_a_killed_process_leaves_it_to_the_next_under_the_same_id(
        self, bench: Bench, make_engine: MakeEngine
    ):
        due = soon()
        await bench.add(due)
        scope = bench.retime(due)
        bench.gateway.takes = 30
        first = await make_engine()
        run = asyncio.create_task(bench.fire(scope, first))
        while not bench.gateway.sent:
            await asyncio.sleep(0.1)
        # As kill -9 leaves it: no task goes on, the lock of its session is gone.
        run.cancel()
        for task in first.senders.tasks:
            task.cancel()
        await first.presence.close()
        bench.gateway.takes = 0
        await bench.fire(scope)
        assert bench.states() == [("succeeded", None)]
        assert len(bench.gateway.sent) == 2
        assert len({sent.command.request_id for sent in bench.gateway.sent}) == 1


class TestDevice:
    async def test_frozen(self, bench: Bench):
        due = soon()
        await bench.add(due, offline="deliver_when_online")
        bench.connection.execute("UPDATE device SET status = 'FROZEN', status_before_freeze = 'ONLINE'")
        await bench.fire(bench.retime(due))
        assert (bench.states(), bench.gateway.sent) == ([("failed", FROZEN)], [])

    async def test_frozen_after_arming(self, bench: Bench):
        due = soon(3)
        await bench.add(due)
        run = asyncio.create_task(bench.fire(bench.retime(due)))
        await asyncio.sleep(1)
        bench.connection.execute("UPDATE device SET status = 'FROZEN', status_before_freeze = 'ONLINE'")
        await run
        assert (bench.states(), bench.gateway.sent) == ([("failed", FROZEN)], [])

    async def test_deleted(self, bench: Bench):
        due = soon()
        await bench.add(due)
        bench.connection.execute("DELETE FROM device")
        await bench.fire(bench.retime(due))
        assert (bench.states(), bench.gateway.sent) == ([("failed", DELETED)], [])

    async def test_deleted_after_arming(self, bench: Bench):
        due = soon(3)
        await bench.add(due)
        run = asyncio.create_task(bench.fire(bench.retime(due)))
        await asyncio.sleep(1)
        async with bench.database.transaction() as connection:
            await RegistryService(connection).delete(LAMP)
        await run
        assert (bench.states(), bench.gateway.sent) == ([("skipped", "deleted")], [])

    async def test_paused_after_arming(self, bench: Bench):
        due = soon(3)
        await bench.add(due)
        run = asyncio.create_task(bench.fire(bench.retime(due)))
        await asyncio.sleep(1)
        async with bench.database.transaction() as connection:
            await TimerOperations(connection).pause(LAMP)
        await run
        assert (bench.states(), bench.gateway.sent) == ([("skipped", "disabled")], [])

    async def test_run_now(self, bench: Bench):
        group = await bench.add(soon(3600), enabled=False)
        async with bench.database.transaction() as connection:
            run = await TimerOperations(connection).run_now(group.group_id)
        await bench.fire(bench.once(system_clock() + timedelta(seconds=1)))
        assert [sent.command.request_id for sent in bench.gateway.sent] == [
            f"exec_{id}" for id in run.execution_ids
        ]
        assert bench.states() == [("succeeded", None)]


class TestMany:
    async def test_ten_thousand_at_one_instant_by_two_processes_once_each(
        self, bench: Bench, make_engine: MakeEngine
    ):
        count = 10_000
        due = soon(10)
        group = await bench.add(due)
        multiply(bench.connection, group.group_id, count)
        scope = bench.retime(due)
        second = await make_engine()
        summaries = await asyncio.gather(bench.fire(scope), bench.fire(scope, second))
        assert sum(summary.succeeded for summary in summaries) == count
        sent = bench.gateway.sent
        assert len(sent) == count == len({one.command.device_id for one in sent})
        assert min(one.at for one in sent) >= due
        rows = bench.connection.execute(
            "SELECT state, attempts, count(*) AS n FROM execution GROUP BY 1, 2"
        ).fetchall()
        assert rows == [{"state": "succeeded", "attempts": 1, "n": count}]


async def test_arming_asks_for_the_day_of_the_instant_in_the_zone(bench: Bench):
    """All 127 masks against one instant whose UTC day is another than its local one."""
    due = soon(3600).replace(hour=20, minute=0, second=0)  # 04:00 of the next day in Shanghai
    await bench.add(due)
    scope = bench.retime(due)
    bench.connection.execute("UPDATE definition SET weekdays = 1")
    bench.connection.execute(
        """
        INSERT INTO definition (kind, schedule_id, name, enabled, active_since, weekdays, misfire,
                                misfire_grace, overlap, created_at, updated_at)
        SELECT kind, schedule_id, n::text, true, active_since, n, misfire,
               misfire_grace, overlap, now(), now()
        FROM definition CROSS JOIN generate_series(2, 127) AS n
        """
    )
    async with bench.database.transaction() as connection:
        await scope.arm(LedgerRepository(connection), system_clock())
    rows = bench.connection.execute(
        "SELECT d.weekdays FROM execution e JOIN definition d ON d.id = e.definition_id ORDER BY 1"
    ).fetchall()
    bit = 1 << ((due + timedelta(hours=8)).isoweekday() - 1)
    assert [row["weekdays"] for row in rows] == [days for days in range(1, 128) if days & bit]


def test_the_webhook_id_fits_a_request_id():
    due = Due(2**63 - 1, system_clock(), 1, "scheduled", 0, 0, system_clock(), 1)
    assert len(due.webhook_id) <= 64
    assert get_settings().timer_service_id == "timer"
