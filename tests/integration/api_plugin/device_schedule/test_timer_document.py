"""Every sample of document 001 as the contract, field for field.

The samples are made valid JSON: commas are added, quotes inside texts escaped. Times and ids cannot be those
of the samples; they are looked at and taken out. The sample answers show another `period` than their requests
(research `iot.md` C1): ours is what was sent. `next_run_at` is ours and not the document's.
"""

from __future__ import annotations

from tests.integration.api_plugin.device_schedule.timer_wire import (
    CREATE,
    UPDATE,
    create,
    next_local,
    settle,
    shown,
)

SHOWN = [shown("19", "15", '{"switch":1}'), shown("22", "30", '{"switch":0}')]


class TestCreate:
    async def test_200_the_sample(self, client):
        answer = await client.post("/task/", json=CREATE)
        body = answer.json()
        settle(body["data"])
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"message": "create crontab ok.", "code": 0},
                "data": {
                    "tasks": SHOWN,
                    "period": "0101010",
                    "enabled": True,
                    "next_run_at": next_local((19, 15), (22, 30), days="0101010"),
                },
            },
        )


class TestGet:
    async def test_200_the_sample_a_bare_object(self, client):
        made = await create(
            client,
            period="1101011",
            tasks=[
                {"hour": "15", "minute": "11", "commands": '{"a":3}'},
                {"hour": "17", "minute": "13", "commands": '{"a":3}'},
            ],
        )
        answer = await client.get(f"/task/{made['group_id']}/")
        body = answer.json()
        assert body == made
        settle(body)
        assert (answer.status_code, body) == (
            200,
            {
                "tasks": [shown("15", "11", '{"a":3}'), shown("17", "13", '{"a":3}')],
                "period": "1101011",
                "enabled": True,
                "next_run_at": next_local((15, 11), (17, 13), days="1101011"),
            },
        )


class TestUpdate:
    async def test_200_the_sample(self, client):
        made = await create(client)
        answer = await client.put(f"/task/{made['group_id']}/", json=UPDATE)
        body = answer.json()
        assert body["data"]["group_id"] == made["group_id"]
        settle(body["data"])
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"message": "task update ok", "code": 0},
                "data": {
                    "tasks": [shown("20", "15", '{"switch":1}'), shown("23", "30", '{"switch":0}')],
                    "period": "0101010",
                    "enabled": False,
                    "next_run_at": None,
                },
            },
        )

    async def test_200_the_sample_of_named_tasks(self, client):
        made = await create(client)
        first, second = (task["name"] for task in made["tasks"])
        tasks = [
            {"name": second, "hour": "15", "minute": "11", "commands": '{"switch":1}'},
            {"name": first, "hour": "17", "minute": "13", "commands": '{"switch":0}'},
        ]
        body = {"period": "1101011", "enabled": False, "tasks": tasks}
        answer = await client.put(f"/task/{made['group_id']}/", json=body)
        assert answer.json()["data"]["tasks"] == [
            {**shown("15", "11", '{"switch":1}'), "name": second},
            {**shown("17", "13", '{"switch":0}'), "name": first},
        ]


class TestDelete:
    async def test_200_the_sample(self, client):
        answer = await client.delete(f"/task/{(await create(client))['group_id']}/")
        assert (answer.status_code, answer.json()) == (
            200,
            {"meta": {"message": "delete ok.", "code": 0}, "data": {}},
        )


class TestList:
    async def test_200_the_sample(self, client):
        made = [await create(client) for _ in range(3)]
        answer = await client.get("/tasks/", params={"device_id": "lamp-1"})
        body = answer.json()
        assert body["data"]["results"] == made[::-1]
        for group in body["data"]["results"]:
            settle(group)
        group = {
            "tasks": SHOWN,
            "period": "0101010",
            "enabled": True,
            "next_run_at": next_local((19, 15), (22, 30), days="0101010"),
        }
        assert (answer.status_code, body) == (
            200,
            {
                "meta": {"message": "task list info", "code": 0},
                "data": {"count": 3, "next": None, "previous": None, "results": [group] * 3},
            },
        )
