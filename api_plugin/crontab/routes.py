"""The four calls of document 003."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from fastapi import APIRouter

from api_plugin.common.announcer import nudge
from api_plugin.common.auth import CallerDep
from api_plugin.common.bodies import PayloadDep, documented
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.crontab.batches import make_batch, read_limit
from api_plugin.crontab.schemas import (
    AddBody,
    AddItem,
    Envelope,
    LogLine,
    QueryBody,
    RefBody,
    RefItem,
    TaskLog,
    TaskResult,
    TaskResults,
    UpdateBody,
    UpdateItem,
)
from include.callbacks.model import ItemResult, LogEntry
from include.callbacks.service import CallbackService
from include.kit.db import Connection
from include.settings import get_settings

router = APIRouter(tags=["crontab"])

STATUS = {"started": 1, "succeeded": 2, "failed": 3}


@router.post("/add_task", openapi_extra=documented(AddBody))
async def add_task(payload: PayloadDep, caller: CallerDep, database: DatabaseDep) -> Envelope[TaskResults]:
    """Add tasks; each name must be new."""
    batch = make_batch(payload, AddItem)

    async def work(connection: Connection) -> list[TaskResult]:
        service = CallbackService(connection, projects=caller.projects)
        return await batch.settle(lambda items: service.add_tasks([item.fields(item.name) for item in items]))

    return _done(await transact(database, work))


@router.post("/update_task", openapi_extra=documented(UpdateBody))
async def update_task(payload: PayloadDep, caller: CallerDep, database: DatabaseDep) -> Envelope[TaskResults]:
    """Change the fields that are given, of the task with this task_id, else of the one with this name."""
    batch = make_batch(payload, UpdateItem)

    async def work(connection: Connection) -> list[TaskResult]:
        service = CallbackService(connection, projects=caller.projects)
        return await batch.settle(
            lambda items: service.update_tasks([(item.key, item.fields(None)) for item in items])
        )

    return _done(await transact(database, work))


@router.post("/run_again_task", openapi_extra=documented(RefBody))
async def run_again_task(
    payload: PayloadDep, caller: CallerDep, database: DatabaseDep
) -> Envelope[TaskResults]:
    """Run each task once, now, enabled or not."""
    batch = make_batch(payload, RefItem)

    async def work(connection: Connection) -> list[TaskResult]:
        service = CallbackService(connection, projects=caller.projects)
        return await batch.settle(lambda items: service.run_again([item.key for item in items]))

    return _done(await transact(database, work))


@router.post("/query_task_status", openapi_extra=documented(QueryBody))
async def query_task_status(
    payload: PayloadDep, caller: CallerDep, database: DatabaseDep
) -> Envelope[TaskLog]:
    """Return the attempts of these tasks, the newest first."""
    batch = make_batch(payload, RefItem, extra=["limit"])
    limit = read_limit(payload)

    async def work(connection: Connection) -> tuple[list[LogEntry], list[TaskResult]]:
        entries: list[LogEntry] = []

        async def query(items: list[RefItem]) -> Sequence[ItemResult]:
            service = CallbackService(connection, projects=caller.projects)
            found, results = await service.query_log([item.key for item in items], limit)
            entries.extend(found)
            return results

        return entries, [result for result in await batch.settle(query) if result.err]

    entries, problems = await transact(database, work)
    data = TaskLog(log_list=_lines(entries), task_result=problems)
    return Envelope(state=0, msg="; ".join(problem.err for problem in problems), data=data)


def _done(results: list[TaskResult]) -> Envelope[TaskResults]:
    nudge()
    return Envelope(state=0, msg="", data=TaskResults(task_result=results))


def _lines(entries: Sequence[LogEntry]) -> list[LogLine]:
    zone = ZoneInfo(get_settings().timezone)
    return [
        LogLine(
            task_id=str(entry.task_id),
            name=entry.name,
            run_type=entry.run_type,
            status=STATUS[entry.state],
            begin_time=_local(entry.begin_at, zone),
            end_time=_local(entry.end_at, zone),
            url=entry.url or "",
            body=entry.body or "",
            resp=entry.response or entry.error or "",
            err=entry.error or "",
        )
        for entry in entries
    ]


def _local(moment: datetime | None, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}" if moment else ""
