"""Carillon's own API."""

from __future__ import annotations

from fastapi import APIRouter

from api_plugin.common.announcer import announcing
from api_plugin.common.api import Api
from api_plugin.common.forms import Problem, problem_form
from api_plugin.management import (
    bill_action_routes,
    bill_routes,
    device_event_routes,
    device_routes,
    ledger_routes,
    metering_routes,
    reading_routes,
    routes,
    service_point_routes,
    status_routes,
    tariff_routes,
    timer_routes,
)
from api_plugin.management.device_event_schemas import DeviceEventsBody
from api_plugin.management.reading_schemas import ReadingsBody

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
    status_routes,
):
    router.include_router(part.router)

API = Api(
    name="management",
    prefix="/carillon/v1",
    title="Carillon",
    description="Schedules, definitions, executions and why they did or did not run.",
    router=router,
    open_router=status_routes.open_router,
    error_form=problem_form,
    bodies=(Problem, ReadingsBody, DeviceEventsBody),
    background=announcing,
)
