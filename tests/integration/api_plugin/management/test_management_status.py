"""/carillon/v1: health, and the OpenAPI page that needs nothing from elsewhere."""

from __future__ import annotations

import re
import time

import pytest

from api_plugin.common import airflow_adapter
from tests.builders import make_token

WELL = dict.fromkeys(airflow_adapter.COMPONENTS, "healthy")


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


class TestHealth:
    async def health(self, client, monkeypatch, answer) -> dict:
        monkeypatch.setattr(airflow_adapter, "airflow_health", answer)
        found = await client.get("/health")
        assert found.status_code == 200
        body = found.json()
        assert re.fullmatch(r"18\.\d+.*", body["database"].pop("version"))
        assert 0 < body["database"].pop("answer_ms") < 10_000
        assert body.pop("now")
        pool = body["database"].pop("pool")
        assert (pool["size"] >= 1, pool["waiting"], set(pool)) == (True, 0, {"size", "available", "waiting"})
        return body

    async def test_200_all_is_well(self, client, monkeypatch):
        body = await self.health(client, monkeypatch, lambda: WELL)
        assert body == {"status": "ok", "database": {"status": "healthy"}, "airflow": WELL}

    async def test_200_degraded_when_a_part_of_airflow_is_not_well(self, client, monkeypatch):
        parts = {**WELL, "triggerer": "unhealthy"}
        body = await self.health(client, monkeypatch, lambda: parts)
        assert body == {"status": "degraded", "database": {"status": "healthy"}, "airflow": parts}

    async def test_200_degraded_when_airflow_cannot_be_asked(self, client, monkeypatch):
        def fail():
            raise RuntimeError

        body = await self.health(client, monkeypatch, fail)
        assert body["status"] == "degraded"
        assert body["airflow"] == dict.fromkeys(airflow_adapter.COMPONENTS, "unknown")

    async def test_200_degraded_when_airflow_takes_too_long(self, client, monkeypatch):
        monkeypatch.setattr("api_plugin.management.status_routes.AIRFLOW_SECONDS", 0.05)
        body = await self.health(client, monkeypatch, lambda: time.sleep(0.3) or WELL)
        assert body["airflow"] == dict.fromkeys(airflow_adapter.COMPONENTS, "unknown")

    async def test_200_anybody_learns_that_it_lives_and_nothing_else(self, client_of):
        answer = await (await client_of("management")).get("/health/live")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


class TestDocs:
    async def test_the_page_loads_nothing_from_elsewhere(self, client_of):
        client = await client_of("management")
        page = (await client.get("/docs")).text
        assert "//" not in page.replace("<!doctype", "")
        for kind, name in re.findall(r'(src|href)="(docs/[^"]+)"', page):
            answer = await client.get(f"/{name}")
            assert (answer.status_code, len(answer.content) > 10_000) == (200, True), kind
        script = await client.get("/docs/swagger-ui-bundle.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "SwaggerUIBundle" in script.text[:2000]

    async def test_the_document_says_where_the_api_is_and_how_to_authorise(self, client_of):
        found = (await (await client_of("management")).get("/openapi.json")).json()
        assert found["servers"] == [{"url": "/carillon/v1"}]
        assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        assert found["paths"]["/schedules"]["get"]["security"] == [{"token": []}]
        assert "security" not in found["paths"]["/health/live"]["get"]
