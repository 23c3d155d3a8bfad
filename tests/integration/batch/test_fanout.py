"""Fan-out of commands over the simulator, in one process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from include.batch.model import Task, TaskPolicy
from include.kit.clock import system_clock
from include.settings import get_settings
from tests.batch_rows import COMMAND, lamps, subtasks
from tests.integration.batch.conftest import Bench


async def test_commands_reach_every_device_once(bench: Bench) -> None:
    task = await bench.add(300)
    summary = await bench.fan_out(task)
    assert bench.status(task) == "Success"
    assert bench.progress(task) == {"total": 300, "success": 300}
    assert (summary.performed, summary.succeeded, summary.task["status"]) == (300, 300, "Success")
    received = bench.simulator.admin("GET", "received")
    assert sorted(received) == sorted(lamps(300))
    ids = dict(subtasks(bench.connection, task, "target, id"))
    assert all(seen == {f"{task.task_id}-{ids[name]}-1": 1} for name, seen in received.items())
    assert '"result_code":0' in subtasks(bench.connection, task, "output")[0]
    assert "Success: 300 total, 300 success" in bench.lines[-1]


async def test_what_goes_wrong_is_told_with_its_code(bench: Bench) -> None:
    task = await bench.add(5, targets=lamps(6))
    bench.connection.execute("DELETE FROM device WHERE device_id = 'lamp-0'")
    bench.connection.execute(
        "UPDATE device SET status = 'FROZEN', status_before_freeze = 'ONLINE' WHERE device_id = 'lamp-1'"
    )
    bench.simulator.faults(offline=["lamp-2"], unknown=["lamp-3"])
    await bench.fan_out(task)
    columns = "target, status, error_code, attempt"
    assert subtasks(bench.connection, task, columns) == [
        ("lamp-0", "Removed", "IOTDA.014000", 1),
        ("lamp-1", "Fail", "CARILLON.0102", 1),
        ("lamp-2", "Fail", "IOTDA.014016", 1),
        ("lamp-3", "Fail", "IOTDA.014000", 1),
        ("lamp-4", "Success", None, 1),
        ("lamp-5", "Fail", "IOTDA.014000", 0),
    ]
    assert bench.status(task) == "PartialSuccess"
    assert bench.counters()["executed"] == 1


class TestRetries:
    async def test_an_offline_device_is_tried_again_as_the_policy_says(self, bench: Bench) -> None:
        policy = TaskPolicy(retry_count=2, retry_interval=timedelta(seconds=0.4))
        bench.simulator.faults(offline=["lamp-0", "lamp-1"])
        task = await bench.add(3, policy=policy)
        running = asyncio.create_task(bench.fan_out(task))
        await bench.until(lambda: "FailWaitRetry" in subtasks(bench.connection, task, "status"))
        bench.simulator.faults(offline=["lamp-1"])
        summary = await running
        columns = "target, status, attempt, retries_left, error_code"
        assert subtasks(bench.connection, task, columns)[1:] == [
            ("lamp-1", "Fail", 3, 0, "IOTDA.014016"),
            ("lamp-2", "Success", 1, 2, None),
        ]
        assert subtasks(bench.connection, task, "status, error_code")[0] == ("Success", None)
        assert (summary.succeeded, summary.failed, summary.task["status"]) == (2, 1, "PartialSuccess")
        assert summary.to_retry == summary.performed - 3

    async def test_clearing_a_shard_sends_again_only_what_failed(self, bench: Bench) -> None:
        bench.simulator.faults(offline=["lamp-1"])
        task = await bench.add(3)
        await bench.fan_out(task)
        bench.simulator.faults()
        cleared_at = system_clock()
        first = await bench.fan_out(task, cleared_at=cleared_at)
        assert (first.performed, bench.status(task)) == (1, "Success")
        received = bench.simulator.admin("GET", "received")
        assert {name: len(ids) for name, ids in received.items()} == dict.fromkeys(lamps(3), 1)

    async def test_shards_that_were_cleared_together_send_once(self, bench: Bench) -> None:
        bench.simulator.faults(offline=["lamp-1"])
        task = await bench.add(3)
        await bench.fan_out(task)
        cleared_at = system_clock()
        await bench.fan_out(task, 0, cleared_at=cleared_at)
        await bench.fan_out(task, 1, cleared_at=cleared_at)
        assert subtasks(bench.connection, task, "attempt") == [1, 2, 1]

    async def test_a_stopped_task_stays_stopped(self, bench: Bench) -> None:
        task = await bench.add(2)
        await bench.stop(task)
        await bench.fan_out(task, cleared_at=system_clock())
        assert (bench.status(task), bench.counters()["received"]) == ("Stopped", 0)


class TestPauses:
    async def test_nothing_begins_while_it_is_paused(self, bench: Bench) -> None:
        task = await bench.add(20)
        bench.connection.execute("UPDATE batch_task SET paused_at = now()")
        running = asyncio.create_task(bench.fan_out(task))
        await asyncio.sleep(0.5)
        assert (bench.counters()["received"], bench.status(task)) == (0, "Processing")
        bench.connection.execute("UPDATE batch_task SET paused_at = NULL")
        bench.connection.execute("SELECT pg_notify('carillon_batch', %s::text)", [task.id])
        async with asyncio.timeout(4):  # less than the slow look without being told
            await running
        assert bench.progress(task) == {"total": 20, "success": 20}

    async def test_a_shard_that_waits_asks_nothing(self, bench: Bench, monkeypatch) -> None:
        task = await bench.add(1)
        bench.connection.execute("UPDATE batch_task SET paused_at = now()")
        run = bench.run(task)
        shard = await run._shard(await run._find())
        looks: list[float] = []
        look = shard.look

        async def counted():
            looks.append(asyncio.get_running_loop().time())
            return await look()

        monkeypatch.setattr(shard, "look", counted)
        running = asyncio.create_task(shard.run())
        await asyncio.sleep(1.5)
        assert len(looks) == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_what_is_scheduled_begins_when_it_is_due(self, bench: Bench) -> None:
        due = system_clock() + timedelta(seconds=1.5)
        task = await bench.add(5, policy=TaskPolicy(due))
        await bench.fan_out(task)
        [received] = {min(item["at"] for item in bench.simulator.admin("GET", "devices/lamp-3")["received"])}
        assert received >= due.timestamp()
        assert task.status == "Waitting"
        assert bench.status(task) == "Success"


class TestStops:
    async def test_nothing_is_sent_after_the_answer_and_what_was_sent_settles(self, bench: Bench) -> None:
        bench.simulator.faults(latency={"distribution": "uniform", "seconds": 0.3})
        task = await bench.add(3000)
        running = [asyncio.create_task(bench.fan_out(task, shard)) for shard in (0, 1)]
        await bench.until(lambda: bench.counters()["received"] > 300)
        answered_at = await bench.stop(task)
        in_hand = bench.progress(task).get("processing", 0)
        await asyncio.gather(*running)
        progress = bench.progress(task)
        assert bench.status(task) == "Stopped"
        assert progress["total"] == progress["success"] + progress["stopped"] == 3000
        assert in_hand > 0
        assert progress["success"] == bench.counters()["executed"]
        devices = [bench.simulator.admin("GET", f"devices/{name}") for name in sample(bench, task)]
        assert devices
        assert all(item["at"] <= answered_at for device in devices for item in device["received"])

    async def test_a_stop_while_nothing_is_sent_ends_it_at_once(self, bench: Bench) -> None:
        task = await bench.add(10, policy=TaskPolicy(system_clock() + timedelta(days=1)))
        running = asyncio.create_task(bench.fan_out(task))
        await asyncio.sleep(0.2)
        await bench.stop(task)
        async with asyncio.timeout(4):
            await running
        assert bench.progress(task) == {"total": 10, "stopped": 10}


def sample(bench: Bench, task: Task) -> list[str]:
    """Return the devices whose commands were sent last."""
    rows = bench.connection.execute(
        "SELECT target FROM batch_subtask WHERE batch_id = %s AND status = 'Success'"
        " ORDER BY updated_at DESC LIMIT 200",
        [task.id],
    ).fetchall()
    return [row["target"] for row in rows]


class TestOtherTypes:
    async def test_async_commands_stand_with_their_devices(self, bench: Bench) -> None:
        document = {**COMMAND, "expire_time": 600, "send_strategy": "delay"}
        bench.simulator.faults(offline=["lamp-1"], unknown=["lamp-2"])
        task = await bench.add(3, task_type="createAsyncCommands", document=document)
        await bench.fan_out(task)
        rows = bench.connection.execute(
            "SELECT d.device_id, c.command_id, c.status, c.send_strategy, c.paras,"
            " c.expires_at - c.created_at AS life"
            " FROM device_command c JOIN device d ON d.id = c.device_id ORDER BY 1"
        ).fetchall()
        assert [(row["device_id"], row["status"]) for row in rows] == [
            ("lamp-0", "SENT"),
            ("lamp-1", "PENDING"),
            ("lamp-2", "FAILED"),
        ]
        ids = dict(subtasks(bench.connection, task, "target, id"))
        assert rows[0]["command_id"] == f"{task.task_id}-{ids['lamp-0']}-1"
        assert abs(rows[0]["life"] - timedelta(seconds=600)) < timedelta(seconds=5)
        assert (rows[0]["send_strategy"], rows[0]["paras"]) == ("delay", {"on": True})
        assert subtasks(bench.connection, task) == [
            ("lamp-0", "Success"),
            ("lamp-1", "Success"),
            ("lamp-2", "Fail"),
        ]

    async def test_a_device_takes_so_many_waiting_commands_and_no_more(self, bench: Bench) -> None:
        bench.simulator.faults(offline=["lamp-0"])
        document = {**COMMAND, "send_strategy": "delay"}
        tasks = [await bench.add(1, task_type="createAsyncCommands", document=document) for _ in range(21)]
        for task in tasks:
            await bench.fan_out(task)
        assert [bench.status(task) for task in tasks] == ["Success"] * 20 + ["Fail"]
        assert subtasks(bench.connection, tasks[-1], "error_code") == ["CARILLON.0103"]

    async def test_messages(self, bench: Bench) -> None:
        document = {"message": {"text": "hello"}, "name": "note", "message_id": "m1", "ttl": 10}
        bench.simulator.faults(offline=["lamp-1"])
        task = await bench.add(2, task_type="createMessages", document=document)
        await bench.fan_out(task)
        assert bench.progress(task) == {"total": 2, "success": 2}
        assert bench.connection.execute(
            "SELECT message_id, name, message, status FROM device_message ORDER BY device_id"
        ).fetchall() == [
            {"message_id": "m1", "name": "note", "message": {"text": "hello"}, "status": status}
            for status in ("DELIVERED", "PENDING")
        ]
        [message] = bench.simulator.admin("GET", "devices/lamp-0")["messages"]
        assert (message["message_id"], message["message"], message["ttl"]) == ("m1", {"text": "hello"}, 10)

    async def test_desired_properties(self, bench: Bench) -> None:
        document = {
            "shadow": [
                {"service_id": "light", "desired": {"on": True, "old": None}},
                {"service_id": "radio", "desired": {"channel": 3}},
            ]
        }
        await bench.add(2)
        bench.connection.execute(
            "INSERT INTO device_shadow (device_id, service_id, desired, version)"
            " SELECT id, 'light', '{\"old\": 1, \"level\": 2}', 4 FROM device WHERE device_id = 'lamp-0'"
        )
        task = await bench.add(2, task_type="updateDeviceShadows", document=document)
        await bench.fan_out(task)
        assert bench.status(task) == "Success"
        rows = bench.connection.execute(
            "SELECT d.device_id, s.service_id, s.desired, s.version"
            " FROM device_shadow s JOIN device d ON d.id = s.device_id ORDER BY 1, 2"
        ).fetchall()
        assert [tuple(row.values()) for row in rows] == [
            ("lamp-0", "light", {"on": True, "level": 2}, 5),
            ("lamp-0", "radio", {"channel": 3}, 1),
            ("lamp-1", "light", {"on": True}, 1),
            ("lamp-1", "radio", {"channel": 3}, 1),
        ]
        shadow = bench.simulator.admin("GET", "devices/lamp-1")["shadow"]
        assert {name: one["reported"] for name, one in shadow.items()} == {
            "light": {"on": True},
            "radio": {"channel": 3},
        }

    async def test_without_a_gateway_everything_says_so(self, bench: Bench, monkeypatch) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_DEVICE_GATEWAY")
        get_settings.cache_clear()
        task = await bench.add(2)
        await bench.fan_out(task)
        assert set(subtasks(bench.connection, task, "status, error_code, error_msg")) == {
            ("Fail", "CARILLON.0001", "not sent: device_gateway: there is no such connection")
        }
