"""The maintenance API: document 002."""

from __future__ import annotations

from api_plugin.common.api import Api
from api_plugin.maintenance.actions import ACTIONS
from api_plugin.maintenance.errors import maintenance_form
from api_plugin.maintenance.routes import router
from include.maintenance.requests import DispatchRequest
from include.settings import get_settings

API = Api(
    name="maintenance",
    prefix=f"/{get_settings().maintenance_block}",
    title="Carillon maintenance",
    description="Maintenance projects, their tasks and what was done: the API of document 002.",
    router=router,
    error_form=maintenance_form,
    bodies=(DispatchRequest, *dict.fromkeys(action.body for action in ACTIONS.values())),
)
