"""The crontab API: document 003."""

from __future__ import annotations

from api_plugin.common.api import Api
from api_plugin.common.forms import state_form
from api_plugin.crontab.routes import router
from api_plugin.crontab.schemas import AddBody, QueryBody, RefBody, UpdateBody

API = Api(
    name="crontab",
    prefix="/crontab",
    title="Carillon crontab callbacks",
    description="Cron-driven HTTP and JSON-RPC callbacks: the API of document 003.",
    router=router,
    error_form=state_form,
    bodies=(AddBody, UpdateBody, RefBody, QueryBody),
)
