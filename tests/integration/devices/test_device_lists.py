"""Lists of devices cost the page and not the registry: every plan on 100,000 devices walks along an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from include.devices.model import DeviceFilter
from include.devices.repository import list_statement, list_values
from tests.databases import Databases

DEVICES, LIMIT = 100_000, 51

#: 98 projects with about ten devices each, one with a fifth of all, and one with the rest.
FILL = """
INSERT INTO device (device_id, project_id, product_id, node_id, name, gateway_id, status, tags,
                    created_at, updated_at)
SELECT 'd' || n,
       CASE WHEN mod(n, 100) = 99 AND n < 98000 THEN 'small' || n / 1000
            WHEN mod(n, 5) = 0 THEN 'half' ELSE 'main' END,
       'p' || mod(n, 40), 'n' || n, 'device ' || lpad(mod(n * 7919, 100000)::text, 6, '0'),
       CASE WHEN n > 1000 THEN 'd' || 1 + mod(n, 200) END,
       CASE WHEN mod(n, 1000) = 1 THEN 'ABNORMAL' WHEN mod(n, 2) = 0 THEN 'ONLINE' ELSE 'OFFLINE' END,
       jsonb_build_object('site', 's' || mod(n, 500), 'kind', 'meter'), now(), now()
FROM generate_series(1, %(n)s) n
"""

CASES = {
    "all": DeviceFilter(),
    "project": DeviceFilter(project="main"),
    "small project": DeviceFilter(project="small3"),
    "product": DeviceFilter(product="p7"),
    "status of half": DeviceFilter(status="ONLINE"),
    "rare status": DeviceFilter(project="main", status="ABNORMAL"),
    "product and status": DeviceFilter(project="main", product="p7", status="OFFLINE"),
    "product without such a status": DeviceFilter(project="main", product="p6", status="OFFLINE"),
    "gateway": DeviceFilter(project="main", gateway="d7"),
    "node": DeviceFilter(node_id="n77777"),
    "group": DeviceFilter(group="g"),
    "tag of all": DeviceFilter(tag=("kind", "meter")),
    "tag of few": DeviceFilter(project="main", tag=("site", "s7")),
    "tag of none": DeviceFilter(tag=("site", "nowhere")),
    "name of all": DeviceFilter(name_prefix="device"),
    "name of few": DeviceFilter(name_prefix="device 0420"),
    "name of none": DeviceFilter(name_prefix="x"),
}


@pytest.fixture(scope="module")
def filled(databases: Databases) -> Iterator[psycopg.Connection]:
    name = databases.create()
    with psycopg.connect(databases.postgres.url(name), autocommit=True) as connection:
        connection.execute(FILL, {"n": DEVICES})
        connection.execute(
            "INSERT INTO device_group (group_id, project_id, name, created_at)"
            " VALUES ('g', 'main', 'g', now())"
        )
        connection.execute(
            "INSERT INTO device_group_member"
            " SELECT g.id, d.id FROM device_group g, device d WHERE d.project_id = 'main' AND d.id % 2 = 0"
        )
        connection.execute("VACUUM ANALYZE")
        yield connection
    databases.drop(name)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def explain(
    connection: psycopg.Connection, wanted: DeviceFilter, projects: list[str], after: tuple[str, int]
) -> tuple[dict[str, Any], str]:
    values = list_values(wanted, projects, after, LIMIT)
    row = connection.execute(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + list_statement(wanted), values, prepare=False
    ).fetchone()
    assert row is not None
    return row[0][0]["Plan"], json.dumps(row[0], indent=1)


@pytest.mark.parametrize("after", [("", 0), ("device 050000", 60_000)], ids=["first page", "deep page"])
@pytest.mark.parametrize("name", CASES)
def test_a_page_reads_what_it_shows(filled: psycopg.Connection, name: str, after: tuple[str, int]) -> None:
    wanted = CASES[name]
    projects = [wanted.project] if wanted.project else ["main", "half"]
    plan, text = explain(filled, wanted, projects, after)
    for node in nodes(plan):
        assert node["Node Type"] != "Seq Scan" or node["Relation Name"] == "device_group", text
        most = 4 * LIMIT * len(projects)
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        assert read <= most, text
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= 2_000, text


def test_a_hundred_projects_cost_a_page_each(filled: psycopg.Connection) -> None:
    projects = ["main", "half", *(f"small{n}" for n in range(98))]
    plan, text = explain(filled, DeviceFilter(), projects, ("", 0))
    assert not any(node["Node Type"] == "Seq Scan" for node in nodes(plan)), text
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan)) < 10_000, text
