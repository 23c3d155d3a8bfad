"""What the tests of the device timers' API send and expect."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

LOCAL = ZoneInfo("Asia/Shanghai")

#: The request of document 001, "定时任务示例".
CREATE: dict[str, Any] = {
    "device_id": "lamp-1",
    "period": "0101010",
    "tasks": [
        {"hour": "19", "minute": "15", "commands": '{"switch":1}'},
        {"hour": "22", "minute": "30", "commands": '{"switch":0}'},
    ],
}

#: That of "更新定时任务示例", its missing comma added.
UPDATE: dict[str, Any] = {
    "period": "0101010",
    "enabled": False,
    "tasks": [
        {"hour": "20", "minute": "15", "commands": '{"switch":1}'},
        {"hour": "23", "minute": "30", "commands": '{"switch":0}'},
    ],
}

NO_TASK = {"meta": {"code": 11600, "message": f"there is no task {'0' * 32}"}, "data": {}}
NOT_BOUND = {"meta": {"code": 10350, "message": "you are not bound to the device lamp-1"}, "data": {}}
NO_DEVICE = {"meta": {"code": 10000, "message": "device_id: there is no device lamp-9"}, "data": {}}


def refused(message: str) -> dict[str, Any]:
    return {"meta": {"code": 10000, "message": message}, "data": {}}


async def create(client, **changes: Any) -> dict[str, Any]:
    """Create a group and return it."""
    answer = await client.post("/task/", json={**CREATE, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def settle(group: dict[str, Any]) -> dict[str, Any]:
    """Take out of a group what differs from call to call, after looking at it."""
    assert re.fullmatch(r"[0-9a-f]{32}", group.pop("group_id"))
    for task in group["tasks"]:
        assert re.fullmatch(r"[0-9a-f]{32}", task.pop("name"))
    for name in ("update_time", "create_time"):
        moment = datetime.strptime(group.pop(name), "%Y-%m-%d %H:%M:%S").replace(tzinfo=LOCAL)
        assert abs(datetime.now(LOCAL) - moment) < timedelta(minutes=2), name
    return group


def shown(hour: str, minute: str, commands: str) -> dict[str, Any]:
    return {"crontab": {"hour": hour, "minute": minute}, "commands": commands}


def next_local(*times: tuple[int, int], days: str) -> str:
    """The next of these times of day on the days of a mask from Sunday on, as the API writes it."""
    now = datetime.now(LOCAL)
    found = [
        moment
        for ahead in range(8)
        for hour, minute in times
        if days[(now + timedelta(days=ahead)).isoweekday() % 7] == "1"
        and (
            moment := (now + timedelta(days=ahead)).replace(hour=hour, minute=minute, second=0, microsecond=0)
        )
        > now
    ]
    return f"{min(found):%Y-%m-%d %H:%M:%S}"
