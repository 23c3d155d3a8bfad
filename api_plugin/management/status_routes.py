"""How things are: health, who one is, and the OpenAPI page.

Open to anybody are `/health/live`, which tells nothing, and the OpenAPI document with its page, which hold no
data.
"""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse
from starlette.requests import Request

from api_plugin.common import airflow_adapter
from api_plugin.common.auth import CallerDep
from api_plugin.common.database import DatabaseDep
from api_plugin.management.problems import PROBLEMS
from api_plugin.management.schemas import (
    DatabaseHealth,
    HealthResponse,
    LivenessResponse,
    PoolHealth,
    WhoamiResponse,
)
from include.kit.clock import system_clock
from include.kit.db import Database
from include.reporting.repository import ReportingRepository

router = APIRouter(responses=PROBLEMS)
open_router = APIRouter()

AIRFLOW_SECONDS = 5.0

#: Flask-AppBuilder (Airflow's FAB provider brings it) ships Swagger UI, so nothing comes from elsewhere.
_ASSETS = "static/appbuilder"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Carillon API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  validatorUrl: null,
})
</script>
</body>
</html>
"""


@router.get("/health", tags=["status"])
async def get_health(database: DatabaseDep) -> HealthResponse:
    """The database and the parts of Airflow."""
    found, parts = await asyncio.gather(_database_health(database), _airflow_health())
    well = all(state == "healthy" for state in parts.values())
    return HealthResponse(
        status="ok" if well else "degraded", now=system_clock(), database=found, airflow=parts
    )


@router.get("/whoami", tags=["status"])
async def whoami(caller: CallerDep) -> WhoamiResponse:
    """Whom the credential stands for."""
    token = caller.token
    return WhoamiResponse(
        token_id=token.id if token else None,
        name=token.name if token else None,
        apis=list(token.apis) if token and token.apis is not None else None,
        projects=list(caller.projects) if caller.projects is not None else None,
        expires_at=token.expires_at if token else None,
    )


@open_router.get("/health/live", tags=["status"])
async def get_liveness() -> LivenessResponse:
    """Whether the process answers."""
    return LivenessResponse(status="ok")


@open_router.get("/openapi.json", include_in_schema=False)
async def get_openapi(request: Request) -> dict[str, Any]:
    """This API's OpenAPI document."""
    # Where the app is really mounted: Airflow may itself live under a path.
    return {**request.app.openapi(), "servers": [{"url": request.scope.get("root_path", "")}]}


@open_router.get("/docs", include_in_schema=False)
async def get_docs() -> HTMLResponse:
    """The page that shows it."""
    return HTMLResponse(_PAGE)


@open_router.get("/docs/swagger-ui-bundle.js", include_in_schema=False)
async def get_docs_script() -> FileResponse:
    """Swagger UI."""
    return _asset("js/swagger-ui-bundle.js", "text/javascript")


@open_router.get("/docs/swagger-ui.css", include_in_schema=False)
async def get_docs_style() -> FileResponse:
    """Its style sheet."""
    return _asset("css/swagger/swagger-ui.css", "text/css")


def _asset(name: str, media_type: str) -> FileResponse:
    package = find_spec("flask_appbuilder")
    folder = Path(package.origin).parent if package and package.origin else Path()
    return FileResponse(
        folder / _ASSETS / name, media_type=media_type, headers={"Cache-Control": "public, max-age=86400"}
    )


async def _database_health(database: Database) -> DatabaseHealth:
    began = time.perf_counter()
    async with database.transaction() as connection:
        answer = await ReportingRepository(connection, None).ping()
    stats = database.pool.get_stats()
    return DatabaseHealth(
        status="healthy",
        version=answer["version"],
        answer_ms=round((time.perf_counter() - began) * 1000, 3),
        pool=PoolHealth(
            size=stats.get("pool_size", 0),
            available=stats.get("pool_available", 0),
            waiting=stats.get("requests_waiting", 0),
        ),
    )


async def _airflow_health() -> dict[str, str]:
    try:
        async with asyncio.timeout(AIRFLOW_SECONDS):
            return await asyncio.to_thread(airflow_adapter.airflow_health)
    except Exception:  # whatever is wrong with Airflow, this call is how one finds out
        return dict.fromkeys(airflow_adapter.COMPONENTS, "unknown")
