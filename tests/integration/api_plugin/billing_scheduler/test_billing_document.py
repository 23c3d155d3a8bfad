"""Every sample of document 000 as the contract, field for field.

Times and ids cannot be those of the samples; they are looked at and taken out. What is ours and not the
document's stands in `OURS`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import pytest

from tests.billing_rows import LOCAL, at, insert_bill, insert_place
from tests.integration.api_plugin.billing_scheduler.billing_wire import (
    CREATE,
    CRONTAB,
    UPDATE,
    create,
    settle,
)

OURS = {"run_count": 0}
RESIDENTS = [{"name": f"resident-{n}", "cellphone": f"1380000000{n}"} for n in range(1, 6)]


def next_first(day: int) -> str:
    """The next 01:00 on a day of the month."""
    now = datetime.now(LOCAL)
    this = now.replace(day=day, hour=1, minute=0, second=0, microsecond=0)
    month = this if this > now else this.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
    return f"{month:%Y-%m-%dT%H:%M:%S}"


class TestCreate:
    async def test_200_the_sample(self, client):
        answer = await client.post("/task/", json=CREATE)
        body = answer.json()
        settle(body["data"])
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"code": 0, "message": "create crontab ok."},
                "data": {
                    "name": "每月出账",
                    "crontab": {"month": "*", "day": "1", "hour": "1", "minute": "0"},
                    "project_id": 49,
                    "device_type": 1,
                    "enabled": True,
                    "description": "定时出账",
                    "next_run_at": next_first(1),
                    **OURS,
                },
            },
        )


class TestList:
    async def test_200_the_sample(self, client):
        keys = [
            await create(client, project_id=42, name=f"每月{day}号出账", crontab={**CRONTAB, "day": str(day)})
            for day in (8, 9, 1, 2, 5)
        ]
        answer = await client.get("/tasks/?project_id=42&device_type=1&page_size=2&page=2")
        body = answer.json()
        found = body["data"]["results"]
        assert [task["natrual_key"] for task in found] == keys[2:4]
        for task in found:
            settle(task)
        common = {"project_id": 42, "device_type": 1, "enabled": True, "description": "定时出账", **OURS}
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"code": 0, "message": "task list info"},
                "data": {
                    "count": 5,
                    "page_size": 2,
                    "next": True,
                    "previous": True,
                    "results": [
                        {
                            "name": f"每月{day}号出账",
                            "crontab": {"month": "*", "day": str(day), "hour": "1", "minute": "0"},
                            "next_run_at": next_first(day),
                            **common,
                        }
                        for day in (1, 2)
                    ],
                },
            },
        )


class TestGet:
    async def test_200_the_sample(self, client):
        key = await create(client, name="dignshi")
        answer = await client.request("GET", f"/tasks/{key}/", json={})
        body = answer.json()
        assert body["data"]["natrual_key"] == key
        settle(body["data"])
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"code": 0, "message": "task info"},
                "data": {
                    "crontab": {"month": "*", "day": "1", "hour": "1", "minute": "0"},
                    "name": "dignshi",
                    "project_id": 49,
                    "device_type": 1,
                    "enabled": True,
                    "description": "定时出账",
                    "next_run_at": next_first(1),
                    **OURS,
                },
            },
        )


class TestUpdate:
    async def test_200_the_sample(self, client):
        key = await create(client)
        answer = await client.put(f"/tasks/{key}/", json=UPDATE)
        body = answer.json()
        assert body["data"]["natrual_key"] == key
        settle(body["data"])
        # The document's answer shows the crontab of before; ours is what was stored (A14).
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"code": 0, "message": "task update ok."},
                "data": {
                    "name": "每月出账",
                    "crontab": {"month": "*", "day": "2", "hour": "1", "minute": "0"},
                    "project_id": 49,
                    "device_type": 1,
                    "enabled": True,
                    "description": "定时出账",
                    "next_run_at": next_first(2),
                    **OURS,
                },
            },
        )


class TestDelete:
    async def test_200_the_sample(self, client):
        answer = await client.request("DELETE", f"/tasks/{await create(client)}/", json={})
        assert (answer.status_code, answer.json()) == (
            200,
            {"meta": {"code": 0, "message": "delete ok."}, "data": {}},
        )


class TestStatus:
    async def test_200_the_sample(self, client):
        answer = await client.put(f"/tasks/{await create(client)}/status/", json={"enabled": True})
        assert (answer.status_code, answer.json()) == (
            200,
            {"meta": {"code": 0, "message": "update ok."}, "data": {}},
        )


class TestHistory:
    async def test_200_the_sample(self, client, connection: psycopg.Connection):
        place = insert_place(connection, device_id="abc...")
        for second in (37, 36, 34, 33):  # the newest first; the page shows the last two
            insert_bill(
                connection,
                place,
                charge="10.12",
                quantity="20.12",
                opening="100.00",
                closing="120.12",
                # The sample's periods have no length, which no bill of ours can have (A7).
                period_from=at(f"2019-03-14T00:20:{second - 1}"),
                period_to=at(f"2019-03-14T00:20:{second}"),
            )
        answer = await client.get("/history/?project_id=42&device_type=2&page_size=2&page=2&device_id=abc...")
        body = answer.json()
        ids = [bill.pop("id") for bill in body["data"]["results"]]
        # Eight digits of the second, as in the sample; its other sixteen are an id of its own database.
        assert ids == ["5c892dd20000000000000003", "5c892dd10000000000000004"]
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"message": "info list", "code": 0},
                "data": {
                    "count": 4,
                    "page_size": 2,
                    "next": None,
                    "previous": True,
                    "results": [
                        {
                            "device_id": "abc...",
                            "device_type": 2,
                            "charge": "10.12",
                            "reading_data": "20.12",
                            "from_time": f"2019-03-14T00:20:{second - 1}",
                            "to_time": f"2019-03-14T00:20:{second}",
                            "created_at": f"2019-03-14T00:20:{second}",
                            **ours(consumption="20.12", opening="100.00", closing="120.12"),
                        }
                        for second in (34, 33)
                    ],
                },
            },
        )


class TestHistoryOfASpan:
    async def test_200_the_sample(self, client, connection: psycopg.Connection):
        place = insert_place(connection, project_id="28", device_id="000090502121")
        shares = [(one["name"], one["cellphone"]) for one in RESIDENTS]
        insert_bill(
            connection,
            place,
            id=0x152D9A0E2381E711,
            shares=shares,
            charge="236.40",
            previous_quantity="1501.58",
            quantity="394.83",
            opening="1000",
            closing="1394.83",
            period_from=at("2019-09-01T00:00:00"),
            period_to=at("2019-10-01T00:00:00"),
        )
        insert_bill(
            connection,
            place,
            id=0x152D9A01C13C2FEE,
            shares=shares,
            charge="63.79",
            previous_quantity="394.83",
            quantity="114.95",
            opening="1394.83",
            closing="1509.78",
            period_from=at("2019-10-01T00:00:00"),
            period_to=at("2019-11-01T00:00:00"),
        )
        answer = await client.get(
            "/history/time/?project_id=28&device_id=000090502121&device_type=0&start_date=2019-9-21"
            "&end_date=2019-11-21&wm_type=自来水表"
        )
        common = {
            "house_address": ["安心e家", "", "", "", "空调房"],
            "residents": RESIDENTS,
            "device_id": "000090502121",
            "device_type": 0,
        }
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "meta": {"code": 0, "message": "success"},
                "data": [
                    {
                        "id": "5dbb0500152d9a01c13c2fee",
                        "charge": "63.79",
                        "previous_reading_data": "394.83",
                        "reading_data": "114.95",
                        "from_time": "2019-10-01T00:00:00",
                        "to_time": "2019-11-01T00:00:00",
                        "created_at": "2019-11-01T00:00:00",
                        **common,
                        **ours(consumption="114.95", opening="1394.83", closing="1509.78"),
                        "shares": [
                            {"weight": "1", "amount": amount}
                            for amount in ("12.76", "12.76", "12.76", "12.76", "12.75")
                        ],
                    },
                    {
                        # The sample's id begins with 5d922680, 30 September 16:00 UTC: the local midnight.
                        "id": "5d922680152d9a0e2381e711",
                        "charge": "236.40",
                        "previous_reading_data": "1501.58",
                        "reading_data": "394.83",
                        "from_time": "2019-09-01T00:00:00",
                        "to_time": "2019-10-01T00:00:00",
                        "created_at": "2019-10-01T00:00:00",
                        **common,
                        **ours(consumption="394.83", opening="1000.00", closing="1394.83"),
                        "shares": [{"weight": "1", "amount": "47.28"}] * 5,
                    },
                ],
            },
        )


def ours(*, consumption: str, opening: str, closing: str) -> dict[str, Any]:
    return {
        "consumption": consumption,
        "opening_reading": opening,
        "closing_reading": closing,
        "unit": "kWh",
        "state": "final",
        "flags": [],
    }


@pytest.mark.parametrize("scheme", ["token", "Bearer"])
async def test_the_header_of_the_document(client_of, database, client, scheme):
    credential = client.headers["Authorization"].removeprefix("token ")
    bare = await client_of("billing")
    answer = await bare.get(
        "/tasks/?project_id=42&device_type=0", headers={"Authorization": f"{scheme} {credential}"}
    )
    assert answer.json() == {
        "meta": {"code": 0, "message": "task list info"},
        "data": {"count": 0, "page_size": 10, "next": None, "previous": None, "results": []},
    }
