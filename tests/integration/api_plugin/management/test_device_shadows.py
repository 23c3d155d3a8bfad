"""/carillon/v1/devices/{device_id}/shadow, /users, and /carillon/v1/device-groups."""

from __future__ import annotations

import asyncio

import pytest

from tests.builders import make_token

JSON = {"Content-Type": "application/json"}
URL = "/devices/meter_n1/shadow"


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def narrow(client_of, database):
    return await client_of("management", await make_token(database, projects=["42"]))


@pytest.fixture(autouse=True)
async def devices(client):
    items = [
        {"node_id": f"n{n}", "project_id": "42" if n < 9 else "43", "product_id": "meter", "name": f"d{n}"}
        for n in range(12)
    ]
    assert (await client.post("/devices/bulk", json={"items": items})).status_code == 200


def problem(answer):
    found = answer.json()
    return answer.status_code, [(e.get("row"), e["field"], e["message"]) for e in found.get("errors", [])]


async def put(client, *services):
    return await client.put(URL, json={"shadow": list(services)})


def states(answer):
    assert answer.status_code == 200, answer.text
    return {
        one["service_id"]: (one["desired"]["properties"], one["version"]) for one in answer.json()["shadow"]
    }


class TestShadow:
    async def test_200_empty(self, client):
        answer = await client.get(URL)
        assert (answer.status_code, answer.json()) == (200, {"device_id": "meter_n1", "shadow": []})

    async def test_200_keys_come_change_and_go(self, client):
        answer = await put(client, {"service_id": "valve", "desired": {"open": True, "gone": None}})
        [service] = answer.json()["shadow"]
        moment = service["desired"].pop("event_time")
        assert moment.endswith("Z")
        assert service == {
            "service_id": "valve",
            "desired": {"properties": {"open": True}},
            "reported": {"properties": {}, "event_time": None},
            "version": 1,
        }
        answer = await put(client, {"service_id": "valve", "desired": {"rate": {"a": 1, "b": None}}})
        assert states(answer) == {"valve": ({"open": True, "rate": {"a": 1, "b": None}}, 2)}
        # One level deep: what is inside a property is replaced as a whole.
        answer = await put(client, {"service_id": "valve", "desired": {"rate": {"c": 2}, "open": None}})
        assert states(answer) == {"valve": ({"rate": {"c": 2}}, 3)}
        answer = await put(client, {"service_id": "valve", "desired": {"rate": {"c": 2}}})
        assert states(answer) == {"valve": ({"rate": {"c": 2}}, 3)}
        answer = await put(
            client, {"service_id": "valve", "desired": {}}, {"service_id": "a", "desired": {"x": "中"}}
        )
        assert states(answer) == {"a": ({"x": "中"}, 1), "valve": ({}, 4)}
        assert states(await client.get(URL)) == states(answer)

    async def test_409_versions(self, client):
        first = {"service_id": "s", "desired": {"a": 1}, "version": 0}
        assert states(await put(client, first)) == {"s": ({"a": 1}, 1)}
        assert problem(await put(client, first)) == (409, [(1, "version", "is 1 by now")])
        other = {"service_id": "t", "desired": {"b": 1}}
        answer = await put(client, other, {"service_id": "s", "desired": {"a": 2}, "version": 2})
        assert problem(answer) == (409, [(2, "version", "is 1 by now")])
        assert states(await client.get(URL)) == {"s": ({"a": 1}, 1)}
        answer = await put(client, {"service_id": "s", "desired": {"a": 2}, "version": 1})
        assert states(answer) == {"s": ({"a": 2}, 2)}

    async def test_of_several_at_once_with_one_version_one_wins(self, client):
        answers = await asyncio.gather(
            *(put(client, {"service_id": "s", "desired": {"a": n}, "version": 0}) for n in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]

    async def test_422_sixty_four_services(self, client):
        def services(first, last):
            return [{"service_id": f"s{n}", "desired": {"a": n}} for n in range(first, last)]

        assert (await put(client, *services(0, 60))).status_code == 200
        assert problem(await put(client, *services(60, 66))) == (
            422,
            [
                (5, "service_id", "a shadow has at most 64 services"),
                (6, "service_id", "a shadow has at most 64 services"),
            ],
        )
        assert len(states(await put(client, *services(58, 64)))) == 64
        assert (await put(client, *services(0, 65))).status_code == 422

    BAD = (
        b"{", b"[]", b"{}", b'{"shadow": []}', b'{"shadow": [{}]}', b'{"shadow": [{"service_id": "s"}]}',
        b'{"shadow": [{"service_id": "s", "desired": []}]}',
        b'{"shadow": [{"service_id": "", "desired": {}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {"a.b": 1}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {"$a": 1}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {"a": "\\u0000"}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {"a": "\\ud800"}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {"a": NaN}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {"a": 1e999}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {}, "version": -1}]}',
        b'{"shadow": [{"service_id": "s", "desired": {}, "version": true}]}',
        b'{"shadow": [{"service_id": "s", "desired": {}, "reported": {}}]}',
        b'{"shadow": [{"service_id": "s", "desired": {}}, {"service_id": "s", "desired": {}}]}',
    )  # fmt: skip

    async def test_422(self, client):
        for body in self.BAD:
            answer = await client.put(URL, content=body, headers=JSON)
            assert answer.status_code == 422, body
        assert (await client.get(URL)).json()["shadow"] == []

    async def test_404(self, client):
        assert (await client.get("/devices/none/shadow")).status_code == 404
        body = {"shadow": [{"service_id": "s", "desired": {}}]}
        assert (await client.put("/devices/none/shadow", json=body)).status_code == 404


class TestUsers:
    async def test_bound_listed_unbound(self, client):
        url = "/devices/meter_n1/users"
        for user in ("li", "张三", "li"):
            assert (await client.put(f"{url}/{user}")).status_code == 204
        page = (await client.get(url, params={"limit": 1})).json()
        assert [one["user"] for one in page["items"]] == ["li"]
        page = (await client.get(url, params={"limit": 1, "cursor": page["next"]})).json()
        assert ([one["user"] for one in page["items"]], page["next"]) == (["张三"], None)
        assert (await client.delete(f"{url}/li")).status_code == 204
        assert (await client.delete(f"{url}/li")).status_code == 404
        assert len((await client.get(url)).json()["items"]) == 1

    async def test_404_and_422(self, client):
        assert (await client.put("/devices/none/users/li")).status_code == 404
        assert (await client.put(f"/devices/meter_n1/users/{'x' * 129}")).status_code == 422
        assert (await client.put("/devices/meter_n1/users/a%00b")).status_code == 422


class TestGroups:
    GROUP = {"group_id": "north", "project_id": "42", "name": "North", "description": None}  # noqa: RUF012

    async def test_life_of_one(self, client):
        answer = await client.post("/device-groups", json=self.GROUP)
        made = answer.json()
        assert made.pop("created_at")
        assert (answer.status_code, made) == (201, self.GROUP)
        drawn = (await client.post("/device-groups", json={"project_id": "42", "name": "South"})).json()
        assert len(drawn["group_id"]) == 32
        answer = await client.put("/device-groups/north", json={"name": "N", "description": "x"})
        assert (answer.json()["name"], answer.json()["description"]) == ("N", "x")
        listed = (await client.get("/device-groups")).json()["items"]
        assert [one["name"] for one in listed] == ["N", "South"]
        assert (await client.delete("/device-groups/north")).status_code == 204
        assert (await client.get("/device-groups/north")).status_code == 404

    async def test_409(self, client):
        await client.post("/device-groups", json=self.GROUP)
        answer = await client.post("/device-groups", json={**self.GROUP, "name": "other"})
        assert problem(answer) == (409, [(None, "group_id", "is taken")])
        answer = await client.post("/device-groups", json={**self.GROUP, "group_id": "other"})
        assert problem(answer) == (409, [(None, "name", "another group of the project has it")])

    async def test_422(self, client):
        for changes in ({"name": ""}, {"name": "x" * 65}, {"group_id": "a/b"}, {"project_id": ""}, {"x": 1}):
            assert (await client.post("/device-groups", json={**self.GROUP, **changes})).status_code == 422

    async def test_members(self, client):
        await client.post("/device-groups", json=self.GROUP)
        url = "/device-groups/north/members"
        ids = [f"meter_n{n}" for n in range(5)]
        answer = await client.post(f"{url}/add", json={"device_ids": [*ids, ids[0]]})
        assert (answer.status_code, answer.json()) == (200, {"changed": 5, "unchanged": 0})
        answer = await client.post(f"{url}/add", json={"device_ids": [ids[0], "meter_n7"]})
        assert answer.json() == {"changed": 1, "unchanged": 1}
        answer = await client.post(f"{url}/remove", json={"device_ids": [ids[1], "meter_n8"]})
        assert answer.json() == {"changed": 1, "unchanged": 1}
        seen, cursor = [], None
        while True:
            params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await client.get(url, params=params)).json()
            seen += [one["device_id"] for one in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == ["meter_n0", "meter_n2", "meter_n3", "meter_n4", "meter_n7"]
        listed = (await client.get("/device-groups", params={"device_id": "meter_n7"})).json()["items"]
        assert [one["group_id"] for one in listed] == ["north"]
        listed = (await client.get("/devices", params={"group": "north", "node_id": "n3"})).json()["items"]
        assert [one["device_id"] for one in listed] == ["meter_n3"]

    async def test_422_members_of_another_project_and_nothing_half_written(self, client):
        await client.post("/device-groups", json=self.GROUP)
        url = "/device-groups/north/members"
        answer = await client.post(f"{url}/add", json={"device_ids": ["meter_n1", "meter_n9", "none"]})
        assert problem(answer) == (
            422,
            [
                (2, "device_ids", "the project has no device 'meter_n9'"),
                (3, "device_ids", "the project has no device 'none'"),
            ],
        )
        assert (await client.get(url)).json()["items"] == []
        answer = await client.post(f"{url}/add", json={"device_ids": ["a"] * 10_001})
        assert answer.status_code == 422

    async def test_foreign_projects(self, client, narrow):
        foreign = {"group_id": "far", "project_id": "43", "name": "Far"}
        assert (await narrow.post("/device-groups", json=foreign)).status_code == 422
        await client.post("/device-groups", json=foreign)
        await client.post("/device-groups/far/members/add", json={"device_ids": ["meter_n9"]})
        members = {"device_ids": ["meter_n1"]}
        for method, path, body in (
            ("GET", "", None), ("PUT", "", {"name": "x"}), ("DELETE", "", None), ("GET", "/members", None),
            ("POST", "/members/add", members), ("POST", "/members/remove", members),
        ):  # fmt: skip
            answer = await narrow.request(method, f"/device-groups/far{path}", json=body)
            assert answer.status_code == 404, (method, path)
        assert (await narrow.get("/device-groups")).json()["items"] == []
        assert (await narrow.get("/device-groups", params={"project": "43"})).json()["items"] == []
        assert (await narrow.get("/devices", params={"group": "far"})).json()["items"] == []
