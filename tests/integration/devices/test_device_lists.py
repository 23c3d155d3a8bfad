"""Lists of devices cost the page and not the registry: every plan on 100,000 devices walks along an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from include.devices.model import DeviceFilter
from include.devices.repository import list_statement, list_values

LIMIT = 51

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
