"""Carillon's own API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter

from api_plugin.common.announcer import announcing
from api_plugin.common.api import Api
from api_plugin.common.forms import Problem, problem_form
from api_plugin.management import (
    batch_routes,
    bill_action_routes,
    bill_routes,
    device_event_routes,
    device_routes,
    event_routes,
    ledger_routes,
    maintenance_attachment_routes,
    maintenance_object_routes,
    maintenance_routes,
    metering_routes,
    reading_routes,
    routes,
    service_point_routes,
    statistic_routes,
    status_routes,
    tariff_routes,
    timer_routes,
)
from api_plugin.management.device_event_schemas import DeviceEventsBody
from api_plugin.management.reading_schemas import ReadingsBody
from api_plugin.management.statistic_schemas import SamplesBody
from include.events.courier import delivering
from include.kit.db import Database

router = APIRouter()
for part in (
    routes,
    ledger_routes,
    metering_routes,
    service_point_routes,
    reading_routes,
    tariff_routes,
    bill_routes,
    bill_action_routes,
    device_routes,
    device_event_routes,
    timer_routes,
    batch_routes,
    maintenance_routes,
    maintenance_object_routes,
    maintenance_attachment_routes,
    statistic_routes,
    event_routes,
    status_routes,
):
    router.include_router(part.router)


open_router = APIRouter()
for part in (status_routes, maintenance_routes):
    open_router.include_router(part.open_router)


@asynccontextmanager
async def background(database: Database) -> AsyncIterator[None]:
    """Keep Airflow in step with the schedules, and tell events."""
    async with announcing(database), delivering(database):
        yield


API = Api(
    name="management",
    prefix="/carillon/v1",
    title="Carillon",
    description="Schedules, definitions, executions and why they did or did not run.",
    router=router,
    open_router=open_router,
    body_limit=maintenance_attachment_routes.body_limit,
    error_form=problem_form,
    bodies=(Problem, ReadingsBody, DeviceEventsBody, SamplesBody),
    background=background,
)
