"""The IoT platform's API: document 004 and what belongs to it."""

from __future__ import annotations

from fastapi import APIRouter

from api_plugin.common.api import Api
from api_plugin.common.reconciler import reconciling
from api_plugin.iot_batch import package_routes, task_routes
from api_plugin.iot_batch.credentials import IotAuthenticator
from api_plugin.iot_batch.errors import IotError, iot_form
from api_plugin.iot_batch.task_schemas import TargetsBody
from include.batch.requests import TaskRequest

router = APIRouter()
# Here go file_routes and device_routes.
for part in (task_routes, package_routes):
    router.include_router(part.router)

API = Api(
    name="iot",
    prefix="/v5/iot",
    title="Carillon IoT batch tasks",
    description="Tasks over many devices: the API of document 004, for the vendor's own clients.",
    router=router,
    authenticator=IotAuthenticator(),
    error_form=iot_form,
    bodies=(IotError, TaskRequest, TargetsBody),
    background=reconciling,
)
