"""The device timers' API: document 001."""

from __future__ import annotations

from api_plugin.common.api import Api
from api_plugin.common.auth import JwtAuthenticator
from api_plugin.common.forms import meta_form
from api_plugin.device_schedule.routes import router
from api_plugin.device_schedule.schemas import CreateBody, UpdateBody

API = Api(
    name="timers",
    prefix="/v3/schedule",
    # The document's own version, and the path it was last at.
    also_at=("/v3_1/schedule",),
    title="Carillon device timers",
    description="Weekly timers that send commands to devices: the API of document 001.",
    router=router,
    authenticator=JwtAuthenticator(),
    error_form=meta_form,
    bodies=(CreateBody, UpdateBody),
)
