"""The billing API: document 000."""

from __future__ import annotations

from api_plugin.billing_scheduler.history_routes import router as history_router
from api_plugin.billing_scheduler.login_routes import open_router
from api_plugin.billing_scheduler.login_routes import router as login_router
from api_plugin.billing_scheduler.routes import router as task_router
from api_plugin.billing_scheduler.schemas import CreateBody, LoginBody, StatusBody, UpdateBody
from api_plugin.common.api import Api
from api_plugin.common.forms import meta_form
from api_plugin.common.spellings import join

API = Api(
    name="billing",
    prefix="/api/v1/scheduler",
    title="Carillon billing scheduler",
    description="Billing tasks and the bills they made: the API of document 000.",
    router=join(task_router, history_router, login_router),
    open_router=open_router,
    error_form=meta_form,
    bodies=(CreateBody, UpdateBody, StatusBody, LoginBody),
)
