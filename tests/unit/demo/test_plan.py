"""The callbacks demo: its plan, its words, its receivers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from api_plugin.crontab.schemas import AddItem
from include.callbacks.start_time import TaskType, parse_start_time
from include.demo import report
from include.demo.callbacks import Demo, Task, draw_secret, next_crontab, plan_tasks, refusal
from include.demo.receivers import HttpReceiver, Receivers, RpcReceiver, receiving
from include.kit.signing import normalise_secret

NOW = datetime(2026, 11, 22, 3, 4, 40, tzinfo=UTC)


def plan(seconds: float = 75) -> list[Task]:
    secret = draw_secret()
    receivers = Receivers(HttpReceiver(secret), 8001, RpcReceiver(), 8002)
    return plan_tasks(receivers, secret=secret, now=NOW, seconds=seconds, zone="Asia/Shanghai", mark="x")


def execution(state: str, late: float | None = 1.5, **more: Any) -> dict[str, Any]:
    base = {"id": 1, "due_at": "2026-11-22T03:04:46Z", "lateness_ms": late, "attempts": 1, "reason": None}
    return {**base, "state": state, **more}


def test_every_task_is_one_that_the_api_takes() -> None:
    tasks = plan()
    assert len({task.name for task in tasks}) == len(tasks)
    for task in tasks:
        item = AddItem.model_validate(task.fields)
        assert item.type is not None
        assert item.start_time is not None
        parse_start_time(TaskType(item.type), item.start_time, timezone="Asia/Shanghai", now=NOW)


def test_it_shows_every_kind() -> None:
    fields = [task.fields for task in plan()]
    assert {item["type"] for item in fields} == {1, 2, 4}
    assert {item["method"] for item in fields} == {"post", "put", "rpc"}
    assert any(item.get("body_type") == 2 for item in fields)
    assert any("secret" in item for item in fields)
    assert [task.expects for task in plan()].count("failed") == 1


@pytest.mark.parametrize(
    ("second", "seconds", "crontab"),
    [
        (40, 75, "0 5 11 * * *"),  # the next minute, 20 s ahead
        (55, 75, "10 5 11 * * *"),  # the next minute is too near
        (5, 45, "20 4 11 * * *"),  # and here beyond the end
    ],
)
def test_the_crontab_is_due_while_the_demo_runs(second: int, seconds: float, crontab: str) -> None:
    assert next_crontab(NOW.replace(second=second), seconds, "Asia/Shanghai")[0] == crontab


def test_a_secret_is_one_that_the_product_takes() -> None:
    secret = draw_secret()
    assert normalise_secret(secret) == secret


def test_a_closed_guard_is_told_from_other_refusals() -> None:
    closed = refusal("demo-x", "url: 127.0.0.1 is a loopback address and may not be called")
    assert "CARILLON_EGRESS_ALLOW=127.0.0.0/8" in closed
    assert refusal("demo-x", "name: is taken") == "the instance refuses the task demo-x: name: is taken"


def test_a_task_is_as_expected_only_when_it_ran() -> None:
    task = Task("kind", {"name": "demo-x-one"})
    assert not task.as_expected
    task.executions = [execution("pending", None)]
    assert not task.as_expected
    task.executions = [execution("pending", None), execution("succeeded")]
    assert task.as_expected
    task.executions.append(execution("missed", None))
    assert not task.as_expected


def test_the_document_tells_when_each_was_sent() -> None:
    task = Task("once", {"name": "demo-x-one"}, task_id="7", executions=[execution("succeeded")])
    found = report.document(Demo(NOW, [task]), "http://h", {"/healthy": 1}, 40.0)
    assert found["tasks"][0]["executions"] == [
        {
            "due_at": "2026-11-22T03:04:46Z",
            "sent_at": "2026-11-22T03:04:46.001500+00:00",
            "lateness_ms": 1.5,
            "attempts": 1,
            "state": "succeeded",
            "reason": None,
        }
    ]
    assert found["summary"]["not_as_expected"] == []
    assert found["summary"]["lateness_ms_max"] == 1.5
    json.dumps(found)


def test_rows_and_lines() -> None:
    task = Task("once", {"name": "demo-x-failing"}, expects="failed", task_id="7")
    assert report.row(task) == ("7 failing", "once", "0", "", "", "", "", "waiting")
    task.executions = [execution("failed", reason="answered 500", attempts=3)]
    assert report.row(task)[4:] == (report.row(task)[4], "1.5", "3", "failed: answered 500")
    assert "3 attempts  failed: answered 500" in report.line(task, task.executions[0])
    assert report.table(Demo(NOW, [task])).row_count == 1


async def test_receivers_have_their_tempers() -> None:
    secret = draw_secret()
    async with receiving(secret) as receivers, aiohttp.ClientSession(receivers.http_url) as session:

        async def post(path: str, **options: Any) -> int:
            async with session.post(path, **options) as answer:
                return answer.status

        assert await post("/healthy") == 200
        again = {"headers": {"webhook-id": "exec_1"}}
        assert [await post("/recovering", **again) for _ in range(3)] == [503, 503, 200]
        assert [await post("/failing") for _ in range(3)] == [500, 500, 500]
        assert [await post("/form", data={"meter": "1"}), await post("/form", data={})] == [200, 400]
        assert await post("/signed", data=b"{}") == 401
        assert await post("/signed", data=b"{}", headers=signed(secret, "{}")) == 200
        assert await post("/signed", data=b"{ }", headers=signed(secret, "{}")) == 401
        assert receivers.as_json()["/recovering"] == 3


def signed(secret: str, body: str) -> dict[str, str]:
    moment = datetime.now(UTC) - timedelta(seconds=1)
    return {
        "webhook-id": "exec_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("exec_1", moment, body),
    }


async def test_the_rpc_receiver_answers_as_go_does() -> None:
    async with receiving(draw_secret()) as receivers:
        host, _, port = receivers.rpc_address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b'{"method":"Meter.Read","params":[null],"id":1}\n{"method":"A.B","params":[1],"id":2}\n'
        )
        answers = [json.loads(await reader.readline()) for _ in range(2)]
        writer.close()
        await writer.wait_closed()
    assert answers == [
        {"id": 1, "result": {"reading": 1234.5}, "error": None},
        {"id": 2, "result": None, "error": "rpc: can't find method A.B"},
    ]
