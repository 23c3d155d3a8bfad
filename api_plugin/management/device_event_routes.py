"""What devices say by themselves: pushed by a platform, by the simulator, or by whoever speaks with them."""

from __future__ import annotations

from itertools import islice
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from api_plugin.common.auth import CallerDep
from api_plugin.common.bodies import documented
from api_plugin.common.database import DatabaseDep, transact
from api_plugin.common.json_body import read_json
from api_plugin.management.device_event_schemas import EVENTS_MOST, DeviceEventsBody, DeviceEventsResponse
from api_plugin.management.problems import PROBLEMS
from include.errors import InvalidInputError
from include.kit.db import Connection
from include.metering.problems import Problems
from include.ota.events import DeviceEventService, Tally
from include.ota.reports import Reading, Report, flatten, read_item

router = APIRouter(responses=PROBLEMS)


@router.post("/device-events", tags=["devices"], openapi_extra=documented(DeviceEventsBody))
async def add_device_events(
    request: Request, caller: CallerDep, database: DatabaseDep
) -> DeviceEventsResponse:
    """Take what devices said; where one item cannot be read, nothing of the request is taken."""
    reading = _read(read_json(await request.body()))

    async def work(connection: Connection) -> Tally:
        return await DeviceEventService(connection, projects=caller.projects).take(reading.reports)

    tally = await transact(database, work)
    return DeviceEventsResponse(
        accepted=tally.accepted,
        late=tally.late,
        unknown_devices=tally.unknown_devices,
        unknown_services=reading.unknown_services,
    )


def _read(document: Any) -> Reading:
    """Read a body. Raises InvalidInputError, InvalidRowsError."""
    items = list(islice(flatten(document), EVENTS_MOST + 1))
    if len(items) > EVENTS_MOST:
        raise InvalidInputError(f"must have at most {EVENTS_MOST:,} items", field="events")
    problems = Problems()
    reports: list[Report] = []
    unknown = 0
    for index, item in enumerate(items):
        try:
            reading = read_item(item)
        except InvalidInputError as error:
            problems.refuse(index, error.field or "", error.message)
            continue
        reports += reading.reports
        unknown += reading.unknown_services
    problems.check()
    return Reading(reports, unknown)
