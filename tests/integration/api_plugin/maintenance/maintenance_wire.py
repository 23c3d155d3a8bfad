"""Document 002 for tests: its calls, and the rows that its samples show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.builders import insert_definition, insert_schedule

SHANGHAI = ZoneInfo("Asia/Shanghai")

#: What the document creates a project of.
CREATE = {
    "uid": "",
    "name": "na_test",
    "alias": "",
    "description": "",
    "cycle_type": "自然时间周期",
    "statistics_id": "",
    "period_num": 2,
    "period_unit": "日",
    "notice_num": 1,
    "notice_unit": "日",
    "guide": "",
    "object_id_list": ["a", "c"],
}
RUNNING = "项目下还有维保正在运行,请先停止项目下所有维保"


async def call(client: httpx.AsyncClient, action: str, **fields: Any) -> dict[str, Any]:
    """Return `result` of an action that went well."""
    body = await answer(client, {"action": action, **fields})
    assert (body["resp"], body["code"], body["msg"]) == (action, 200, "成功"), body
    return body["result"]


async def answer(client: httpx.AsyncClient, body: Any) -> dict[str, Any]:
    """Return what is answered to a body at the path of all actions, always with HTTP 200."""
    got = await client.post("/api", json=body)
    assert got.status_code == 200, got.text
    return got.json()


async def refused(client: httpx.AsyncClient, action: str, **fields: Any) -> str:
    """Return `info` of an action that was refused."""
    body = await answer(client, {"action": action, **fields})
    assert {**body, "info": ""} == refusal(action, "")
    return body["info"]


def refusal(resp: str, info: str, code: int = 10013, msg: str = "请求-参数错误") -> dict[str, Any]:
    return {"resp": resp, "code": code, "msg": msg, "info": info, "result": {}}


async def create(client: httpx.AsyncClient, **fields: Any) -> str:
    """Create a project and return its uid."""
    return (await call(client, "create_v2_project", **{**CREATE, **fields}))["uid"]


async def uids(client: httpx.AsyncClient, action: str, **fields: Any) -> list[str]:
    """Return the uids of a list."""
    return [row["uid"] for row in (await call(client, action, **fields))["data"]]


def moment(text: str) -> datetime:
    """Read a moment as the document prints it."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def insert_project(connection: psycopg.Connection, sample: Mapping[str, Any]) -> int:
    """Insert a project that a response of the document shows, and return its id."""
    organization = sample.get("organization_id", "")
    found = connection.execute("SELECT id FROM schedule WHERE kind = 'maintenance'").fetchone()
    schedule_id = (
        found["id"] if found else insert_schedule(connection, kind="maintenance", cycle="every_2_days")
    )
    definition_id = insert_definition(
        connection,
        schedule_id,
        kind="maintenance",
        name=sample["uid"],
        project_id=organization or None,
        description=sample["description"],
        enabled=bool(sample["is_active"]),
        created_at=moment(sample["created"]),
        updated_at=moment(sample["last_modified"]),
    )
    _insert(
        connection,
        "maintenance_project",
        definition_id=definition_id,
        timezone="Asia/Shanghai",
        **_same(sample, ["name", "alias", *_CYCLE]),
    )
    for position, object_id in enumerate(sample["object_id_list"]):
        _insert(
            connection,
            "maintenance_state",
            definition_id=definition_id,
            object_id=object_id,
            position=position,
            anchor_at=moment(sample["created"]),
        )
    return definition_id


def insert_task(
    connection: psycopg.Connection, definition_id: int, sample: Mapping[str, Any], **changes: Any
) -> int:
    """Insert a task that a response of the document shows, and return its id."""
    row = _insert(
        connection,
        "maintenance_task",
        definition_id=definition_id,
        project_uid=sample["project_id"],
        created_at=moment(sample["created"]),
        updated_at=moment(sample["last_modified"]),
        **_same(sample, ["uid", "description", "organization_id", *_SUBJECT, *_CYCLE]),
        **changes,
    )
    if "closed_at" not in changes:
        connection.execute(
            "UPDATE maintenance_state SET open_task_id = %s WHERE definition_id = %s AND object_id = %s",
            [row["id"], definition_id, sample["object_id"]],
        )
    return row["id"]


def insert_handle(
    connection: psycopg.Connection, task_id: int, sample: Mapping[str, Any], kind: str = "HANDLE"
) -> None:
    """Insert a handle that a response of the document shows."""
    _insert(
        connection,
        "maintenance_handle",
        task_id=task_id,
        kind=kind,
        handler_ids=Jsonb(sample["handler_id_list"]),
        handler_keys=[str(one) for one in sample["handler_id_list"]],
        handler_names=sample["handler_name_list"],
        images=Jsonb(sample["images"]),
        created_at=moment(sample["created"]),
        updated_at=moment(sample["last_modified"]),
        **_same(sample, ["uid", "organization_id", "description", "fee", "result"]),
    )


_CYCLE = ["cycle_type", "statistics_id", "period_num", "period_unit", "notice_num", "notice_unit", "guide"]
_SUBJECT = ["project_name", "project_alias", "object_id", "object_name", "object_alias"]


def _same(sample: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: sample[name] for name in names}


def _insert(connection: psycopg.Connection, table: str, **values: Any) -> dict[str, Any]:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    row: dict[str, Any] = connection.execute(statement, values).fetchone()  # type: ignore[assignment]
    return row
