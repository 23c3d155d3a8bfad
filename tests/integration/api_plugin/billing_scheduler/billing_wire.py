"""What the tests of the billing API send and expect."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from tests.billing_rows import LOCAL

CRONTAB = {"month": "*", "day": "1", "hour": "1", "minute": "0"}

#: The request of document 000, "POST /api/v1/scheduler/task/".
CREATE = {
    "name": "每月出账",
    "project_id": 49,
    "crontab": CRONTAB,
    "device_type": 1,
    "enabled": True,
    "description": "定时出账",
}

#: That of "PUT /api/v1/scheduler/tasks/{nature_key}/".
UPDATE = {
    "name": "每月出账",
    "crontab": {"month": "*", "day": "2", "hour": "1", "minute": "0"},
    "enabled": True,
    "description": "定时出账",
}

NO_TASK = {"meta": {"code": 11600, "message": f"there is no task {'0' * 32}"}, "data": {}}


def refused(message: str) -> dict[str, Any]:
    return {"meta": {"code": 10000, "message": message}, "data": {}}


def forbidden(project_id: int) -> dict[str, Any]:
    message = f"the token does not open the project {project_id}"
    return {"meta": {"code": 10350, "message": message}, "data": {}}


async def create(client, **changes: Any) -> str:
    """Create a task and return its key."""
    answer = await client.post("/task/", json={**CREATE, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["natrual_key"]


def settle(task: dict[str, Any]) -> dict[str, Any]:
    """Take out of a task what differs from call to call, after looking at it."""
    assert re.fullmatch(r"[0-9a-f]{32}", task.pop("natrual_key"))
    for name in ("last_run_at", "update_time", "create_time"):
        moment = datetime.fromisoformat(task.pop(name)).replace(tzinfo=LOCAL)
        assert abs(datetime.now(LOCAL) - moment) < timedelta(minutes=2), name
    return task
