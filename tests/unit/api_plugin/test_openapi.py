"""The OpenAPI documents are contracts: a change shows in a diff of docs/api.

Write them anew with `python -m tests.unit.api_plugin.test_openapi`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api_plugin.app import APIS, create_app

DOCS = Path(__file__).parents[3] / "docs" / "api"


def golden(name: str) -> Path:
    return DOCS / f"{name}.openapi.json"


def document(name: str) -> str:
    return json.dumps(create_app(name).openapi(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", [api.name for api in APIS])
def test_the_document_is_the_one_that_was_agreed(name: str):
    assert document(name) == golden(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [api.name for api in APIS])
def test_every_reference_leads_somewhere(name: str):
    found = json.loads(document(name))
    schemas = {f"#/components/schemas/{key}" for key in found["components"]["schemas"]}
    assert references(found) <= schemas


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_operations_are_named_as_their_functions(api: Any):
    found = json.loads(document(api.name))
    named = {operation["operationId"] for path in found["paths"].values() for operation in path.values()}
    assert named == {
        route.endpoint.__name__
        for part in (api.router, api.open_router)
        for route in part.routes
        if route.include_in_schema
    }


def test_every_answer_of_document_003_is_its_envelope():
    found = json.loads(document("crontab"))
    for path in found["paths"].values():
        schema = path["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema["$ref"].startswith("#/components/schemas/Envelope_")


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


if __name__ == "__main__":
    for api in APIS:
        golden(api.name).write_text(document(api.name), encoding="utf-8")
