"""/carillon/v1/devices: the registry."""

from __future__ import annotations

import asyncio
import json
import logging
import re

import pytest

from include.devices.service import read_secret
from tests.builders import make_token

JSON = {"Content-Type": "application/json"}
BODY = {"node_id": "866-1", "project_id": "42", "product_id": "meter", "name": "东区1号"}
SHOWN = {
    "device_id": "meter_866-1",
    "project_id": "42",
    "product_id": "meter",
    "product_name": None,
    "app_id": None,
    "app_name": None,
    "node_id": "866-1",
    "node_type": "GATEWAY",
    "gateway_id": None,
    "name": "东区1号",
    "description": None,
    "auth_type": "SECRET",
    "fingerprint": None,
    "secure_access": True,
    "has_secret": True,
    "status": "INACTIVE",
    "status_at": None,
    "active_at": None,
    "fw_version": None,
    "sw_version": None,
    "tags": {},
    "extension_info": None,
    "timezone": None,
}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def narrow(client_of, database):
    return await client_of("management", await make_token(database, projects=["42"]))


def row(number, **changes):
    return {**BODY, "node_id": f"n{number}", "name": f"device {number:03d}", **changes}


async def make(client, number, **changes):
    answer = await client.post("/devices", json=row(number, **changes))
    assert answer.status_code == 201, answer.text
    return answer.json()["device_id"]


def shown(answer, *without):
    return {
        name: value
        for name, value in answer.json().items()
        if name not in ("created_at", "updated_at", *without)
    }


def problem(answer):
    found = answer.json()
    return answer.status_code, [(e.get("row"), e["field"], e["message"]) for e in found.get("errors", [])]


class TestCreate:
    async def test_201_with_a_drawn_secret_that_is_shown_once(self, client, connection, database, caplog):
        caplog.set_level(logging.DEBUG)
        answer = await client.post("/devices", json=BODY)
        assert answer.status_code == 201
        secret = answer.json()["secret"]
        assert re.fullmatch("[0-9a-f]{32}", secret)
        assert shown(answer, "secret") == SHOWN
        again = await client.get("/devices/meter_866-1")
        assert (again.status_code, shown(again)) == (200, SHOWN)
        assert secret not in again.text
        stored = connection.execute("SELECT secret FROM device").fetchone()["secret"]
        assert secret not in stored
        assert secret not in caplog.text
        async with database.transaction() as session:
            assert await read_secret(session, "meter_866-1") == secret

    async def test_201_with_everything_told(self, client, connection, database):
        told = {
            "device_id": "my-id",
            "product_name": "Water meter",
            "app_id": "app",
            "app_name": "App",
            "node_type": "ENDPOINT",
            "fw_version": "1.0",
            "sw_version": "2.0",
            "tags": {"city": "上海", "floor": "3"},
            "description": "two\nlines",
            "extension_info": {"a": [1, 2.5, None, {"b": "c"}]},
            "timezone": "Europe/Berlin",
            "status": "ONLINE",
        }
        answer = await client.post("/devices", json={**BODY, **told, "secret": "s3cret-s3cret"})
        assert answer.status_code == 201
        moments = {name: answer.json()[name] for name in ("status_at", "active_at")}
        assert None not in moments.values()
        assert shown(answer) == {**SHOWN, **told, **moments, "secret": None}
        assert "s3cret" not in connection.execute("SELECT secret FROM device").fetchone()["secret"]
        async with database.transaction() as session:
            assert await read_secret(session, "my-id") == "s3cret-s3cret"

    async def test_201_with_a_certificate(self, client):
        body = {**BODY, "auth_type": "CERTIFICATES", "fingerprint": "AB" * 20}
        answer = await client.post("/devices", json=body)
        expected = {
            "auth_type": "CERTIFICATES",
            "fingerprint": "ab" * 20,
            "has_secret": False,
            "secret": None,
        }
        assert shown(answer) == {**SHOWN, **expected}

    async def test_201_behind_a_gateway(self, client):
        gateway = await make(client, 1, gateway_id="meter_n1")  # its own: directly connected
        answer = await client.post("/devices", json=row(2, gateway_id=gateway))
        assert (answer.json()["gateway_id"], answer.json()["node_type"]) == (gateway, "ENDPOINT")

    BAD = (
        ({"node_id": ""}, "node_id"),
        ({"node_id": "x" * 65}, "node_id"),
        ({"node_id": "a\0b"}, "node_id"),
        ({"node_id": None}, "node_id"),
        ({"node_id": "电表"}, ""),
        ({"product_id": "p" * 37}, "product_id"),
        ({"project_id": ""}, "project_id"),
        ({"name": " "}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"device_id": "a/b"}, "device_id"),
        ({"device_id": "a" * 129}, "device_id"),
        ({"gateway_id": "a b"}, "gateway_id"),
        ({"gateway_id": "nobody"}, "gateway_id"),
        ({"node_type": "gateway"}, "node_type"),
        ({"secret": "short"}, "secret"),
        ({"secret": "x" * 33}, "secret"),
        ({"secret": "x" * 8, "auth_type": "CERTIFICATES"}, ""),
        ({"fingerprint": "ab" * 20}, ""),
        ({"fingerprint": "zz" * 20, "auth_type": "CERTIFICATES"}, "fingerprint"),
        ({"tags": {"a": 1}}, "tags.a"),
        ({"tags": {"": "b"}}, "tags"),
        ({"tags": {"a": "b\0"}}, "tags"),
        ({"tags": {"k" * 65: "b"}}, "tags"),
        ({"tags": {str(n): "" for n in range(65)}}, "tags"),
        ({"description": "x" * 2049}, "description"),
        ({"description": "\0"}, "description"),
        ({"extension_info": {"a": "\0"}}, "extension_info"),
        ({"extension_info": {"a": 2**64}}, "extension_info"),
        ({"extension_info": {"a": "x" * 1024}}, "extension_info"),
        ({"extension_info": [1]}, "extension_info"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"status": "FROZEN"}, "status"),
        ({"status": "online"}, "status"),
        ({"colour": 1}, "colour"),
    )

    async def test_422(self, client, connection):
        for changes, field in self.BAD:
            body = json.dumps({**BODY, **changes})
            answer = await client.post("/devices", content=body, headers=JSON)
            assert answer.status_code == 422, changes
            assert answer.json()["errors"][0]["field"] == field, changes
            assert "secret" not in changes or changes["secret"] not in answer.text
        for content in (b"{", b"[]", b'"x"', b'{"extension_info": {"a": NaN}}'):
            answer = await client.post("/devices", content=content, headers=JSON)
            assert answer.status_code == 422
        assert connection.execute("SELECT count(*) AS n FROM device").fetchone()["n"] == 0

    async def test_409_taken(self, client):
        await client.post("/devices", json=BODY)
        assert problem(await client.post("/devices", json=BODY)) == (409, [(None, "device_id", "is taken")])
        answer = await client.post("/devices", json={**BODY, "device_id": "other"})
        assert problem(answer) == (409, [(None, "node_id", "another device of the product has it")])
        answer = await client.post("/devices", json={**BODY, "product_id": "other"})
        assert answer.status_code == 201

    async def test_409_one_level_of_gateways(self, client):
        gateway = await make(client, 1)
        child = await make(client, 2, gateway_id=gateway)
        answer = await client.post("/devices", json=row(3, gateway_id=child))
        assert problem(answer) == (409, [(None, "gateway_id", f"{child!r} is behind a gateway itself")])
        other = await make(client, 4)
        answer = await client.patch(f"/devices/{gateway}", json={"gateway_id": other})
        assert problem(answer) == (
            409,
            [(None, "gateway_id", "the device is a gateway of others itself")],
        )

    async def test_at_once_one_of_them_is_made(self, client, connection):
        answers = await asyncio.gather(*(client.post("/devices", json=BODY) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]

    async def test_401(self, client_of):
        client = await client_of("management")
        for method, path in (("GET", "/devices"), ("POST", "/devices/bulk"), ("PUT", "/devices/a/shadow")):
            assert (await client.request(method, path)).status_code == 401


class TestPut:
    async def test_201_then_200_and_the_secret_stays(self, client, database, connection):
        answer = await client.put("/devices/mine", json=BODY)
        assert (answer.status_code, answer.json()["device_id"]) == (201, "mine")
        secret = answer.json()["secret"]
        before = connection.execute("SELECT * FROM device").fetchone()
        answer = await client.put("/devices/mine", json=BODY)
        assert (answer.status_code, answer.json()["secret"]) == (200, None)
        assert connection.execute("SELECT * FROM device").fetchone() == before
        answer = await client.put("/devices/mine", json={**BODY, "name": "other", "node_id": "n9"})
        assert (answer.json()["name"], answer.json()["node_id"]) == ("other", "n9")
        async with database.transaction() as session:
            assert await read_secret(session, "mine") == secret
        answer = await client.put("/devices/mine", json={**BODY, "auth_type": "CERTIFICATES"})
        assert answer.json()["has_secret"] is False

    async def test_409(self, client):
        await make(client, 1)
        await make(client, 2)
        answer = await client.put("/devices/meter_n1", json=row(2))
        assert problem(answer) == (409, [(None, "node_id", "another device of the product has it")])
        answer = await client.put("/devices/meter_n1", json=row(1, project_id="43"))
        assert problem(answer) == (409, [(None, "project_id", "cannot change")])

    async def test_422(self, client):
        assert problem(await client.put("/devices/a", json={**BODY, "device_id": "a"}))[0] == 422
        assert problem(await client.put("/devices/a.b", json=BODY))[0] == 422


class TestPatch:
    async def test_200_what_is_told_changes(self, client):
        await client.post(
            "/devices", json={**BODY, "tags": {"a": "b"}, "description": "old", "fw_version": "1"}
        )
        answer = await client.patch("/devices/meter_866-1", json={"description": None, "fw_version": "2"})
        assert (answer.status_code, shown(answer)) == (200, {**SHOWN, "tags": {"a": "b"}, "fw_version": "2"})
        answer = await client.patch("/devices/meter_866-1", json={"tags": {"c": "d"}})
        assert answer.json()["tags"] == {"c": "d"}
        listed = await client.get("/devices", params={"tag_key": "a", "tag_value": "b"})
        assert listed.json()["items"] == []
        listed = await client.get("/devices", params={"tag_key": "c", "tag_value": "d"})
        assert len(listed.json()["items"]) == 1

    async def test_200_another_kind_of_credential(self, client):
        await client.post("/devices", json=BODY)
        url = "/devices/meter_866-1"
        answer = await client.patch(url, json={"auth_type": "CERTIFICATES", "fingerprint": "ab" * 32})
        assert (answer.json()["has_secret"], answer.json()["fingerprint"]) == (False, "ab" * 32)
        answer = await client.patch(url, json={"auth_type": "SECRET", "secret": "12345678"})
        assert (answer.json()["has_secret"], answer.json()["fingerprint"]) == (True, None)

    async def test_200_behind_a_gateway_and_away(self, client):
        gateway, device = await make(client, 1), await make(client, 2)
        answer = await client.patch(f"/devices/{device}", json={"gateway_id": gateway})
        assert (answer.json()["gateway_id"], answer.json()["node_type"]) == (gateway, "ENDPOINT")
        answer = await client.patch(f"/devices/{device}", json={"gateway_id": None})
        assert (answer.json()["gateway_id"], answer.json()["node_type"]) == (None, "GATEWAY")

    async def test_422_and_404(self, client):
        await client.post("/devices", json=BODY)
        url = "/devices/meter_866-1"
        for body in (
            {"name": None},
            {"tags": None},
            {"project_id": "1"},
            {"status": "FROZEN"},
            {"fingerprint": "ab" * 20},
        ):
            assert (await client.patch(url, json=body)).status_code == 422, body
        assert (await client.patch("/devices/none", json={})).status_code == 404
        assert shown(await client.get(url)) == SHOWN


class TestDelete:
    async def test_204_then_404(self, client):
        device = await make(client, 1, tags={"a": "b"})
        await client.put(f"/devices/{device}/users/li")
        await client.put(f"/devices/{device}/shadow", json={"shadow": [{"service_id": "s", "desired": {}}]})
        assert (await client.delete(f"/devices/{device}")).status_code == 204
        assert (await client.delete(f"/devices/{device}")).status_code == 404
        assert (await client.get(f"/devices/{device}")).status_code == 404

    async def test_409_children(self, client):
        gateway = await make(client, 1)
        child = await make(client, 2, gateway_id=gateway)
        answer = await client.delete(f"/devices/{gateway}")
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "it is the gateway of other devices: delete those first",
        )
        assert (await client.delete(f"/devices/{child}")).status_code == 204
        assert (await client.delete(f"/devices/{gateway}")).status_code == 204


class TestFreeze:
    async def test_200_there_and_back(self, client):
        device = await make(client, 1, status="ONLINE")
        for _ in range(2):
            answer = await client.post(f"/devices/{device}/freeze")
            assert (answer.status_code, answer.json()["status"]) == (200, "FROZEN")
        answer = await client.patch(f"/devices/{device}", json={"name": "x", "status": "OFFLINE"})
        assert (answer.json()["status"], answer.json()["name"]) == ("FROZEN", "x")
        for _ in range(2):
            answer = await client.post(f"/devices/{device}/unfreeze")
            assert (answer.status_code, answer.json()["status"]) == (200, "OFFLINE")

    async def test_409_and_404(self, client):
        gateway = await make(client, 1)
        child = await make(client, 2, gateway_id=gateway)
        for word in ("freeze", "unfreeze"):
            answer = await client.post(f"/devices/{child}/{word}")
            assert (answer.status_code, "only directly connected" in answer.json()["detail"]) == (409, True)
            assert (await client.post(f"/devices/none/{word}")).status_code == 404


class TestBulk:
    async def test_200_made_changed_unchanged(self, client, connection):
        rows = [row(n, secret="s3cret-s3cret", tags={"n": str(n)}) for n in range(3)]
        answer = await client.post("/devices/bulk", json={"items": rows})
        assert (answer.status_code, answer.json()) == (200, {"created": 3, "updated": 0, "unchanged": 0})
        rows[1]["name"] = "new"
        rows[2]["secret"] = "another-one"
        rows.append(row(3))
        answer = await client.post("/devices/bulk", json={"items": rows})
        assert answer.json() == {"created": 1, "updated": 2, "unchanged": 1}
        tags = connection.execute("SELECT value FROM device_tag ORDER BY value").fetchall()
        assert [one["value"] for one in tags] == ["0", "1", "2"]
        assert (await client.post("/devices/bulk", json={"items": []})).json()["created"] == 0

    async def test_200_a_gateway_after_its_children(self, client):
        items = [row(1, gateway_id="meter_n2"), row(2), row(3, gateway_id="meter_n3")]
        answer = await client.post("/devices/bulk", json={"items": items})
        assert answer.json()["created"] == 3
        listed = (await client.get("/devices", params={"gateway": "meter_n2"})).json()["items"]
        assert [one["device_id"] for one in listed] == ["meter_n1"]

    async def test_422_each_row_and_nothing_stored(self, client, connection):
        items = [row(1), row(2, node_id=""), row(3), row(4, colour=1)]
        answer = await client.post("/devices/bulk", json={"items": items})
        assert [(r, f) for r, f, _ in problem(answer)[1]] == [(2, "node_id"), (4, "colour")]
        items = [row(1), row(1), row(3, device_id="x"), row(4, device_id="x"), row(3, device_id="y")]
        assert problem(await client.post("/devices/bulk", json={"items": items})) == (
            422,
            [
                (2, "device_id", "stands in row 1 already"),
                (2, "node_id", "stands in row 1 already"),
                (4, "device_id", "stands in row 3 already"),
                (5, "node_id", "stands in row 3 already"),
            ],
        )
        answer = await client.post("/devices/bulk", json={"items": [row(1), row(2, gateway_id="none")]})
        assert problem(answer) == (422, [(2, "gateway_id", "the project has no device 'none'")])
        assert connection.execute("SELECT count(*) AS n FROM device").fetchone()["n"] == 0

    async def test_422_too_many(self, client):
        items = [{}] * 10_001
        answer = await client.post("/devices/bulk", json={"items": items})
        assert problem(answer) == (422, [(None, "items", "must have at most 10,000 items, not 10,001")])

    async def test_409_nothing_half_written(self, client, connection):
        await make(client, 1)
        items = [row(5), row(6), row(1, device_id="other")]
        answer = await client.post("/devices/bulk", json={"items": items})
        assert problem(answer) == (409, [(3, "node_id", "another device of the product has it")])
        assert connection.execute("SELECT count(*) AS n FROM device").fetchone()["n"] == 1

    async def test_200_ten_thousand(self, client, connection):
        items = [row(n, tags={"city": "x"}) for n in range(10_000)]
        answer = await client.post("/devices/bulk", json={"items": items})
        assert answer.json() == {"created": 10_000, "updated": 0, "unchanged": 0}
        answer = await client.post("/devices/bulk", json={"items": items})
        assert answer.json() == {"created": 0, "updated": 0, "unchanged": 10_000}


class TestForeignProjects:
    @pytest.fixture
    async def foreign(self, client):
        return await make(client, 1, project_id="43")

    async def test_404(self, narrow, foreign):
        url = f"/devices/{foreign}"
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "x"}),
            ("DELETE", "", None),
            ("POST", "/freeze", None),
            ("POST", "/unfreeze", None),
            ("GET", "/users", None),
            ("PUT", "/users/li", None),
            ("DELETE", "/users/li", None),
            ("GET", "/shadow", None),
            ("PUT", "/shadow", {"shadow": [{"service_id": "s", "desired": {}}]}),
            ("GET", "/commands", None),
            ("GET", "/messages", None),
        ):
            answer = await narrow.request(method, url + path, json=body)
            assert answer.status_code == 404, (method, path)

    async def test_nothing_of_it_is_listed_or_overwritten(self, narrow, client, foreign, connection):
        own = await make(narrow, 2)
        for params in ({}, {"project": "43"}, {"node_id": "n1"}, {"name": "dev"}, {"gateway": foreign}):
            listed = (await narrow.get("/devices", params=params)).json()["items"]
            assert foreign not in [one["device_id"] for one in listed]
        assert problem(await narrow.put(f"/devices/{foreign}", json=row(1))) == (
            409,
            [(None, "device_id", "is taken")],
        )
        answer = await narrow.post("/devices/bulk", json={"items": [row(9), row(8, device_id=foreign)]})
        assert problem(answer) == (409, [(2, "device_id", "is taken")])
        for body in (row(3, project_id="43"), row(3, gateway_id=foreign)):
            assert (await narrow.post("/devices", json=body)).status_code == 422
        assert (await narrow.patch(f"/devices/{own}", json={"gateway_id": foreign})).status_code == 422
        assert connection.execute("SELECT count(*) AS n FROM device").fetchone()["n"] == 2


class TestList:
    @pytest.fixture
    async def many(self, client):
        items = [
            row(
                n,
                product_id=f"p{n % 2}",
                project_id="42" if n < 20 else "43",
                status="ONLINE" if n % 3 == 0 else "OFFLINE",
                tags={"site": f"s{n % 4}", "name": "a"},
            )
            for n in range(25)
        ]
        items.append(row(30, name="第一", device_id="zh-1"))
        items.append(row(31, name="第二\u3000层", device_id="zh-2", gateway_id="zh-1"))
        assert (await client.post("/devices/bulk", json={"items": items})).status_code == 200

    @staticmethod
    async def walk(client, path="/devices", limit=4, **params):
        seen, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = await client.get(path, params={**params, "limit": limit, **more})
            assert answer.status_code == 200, answer.text
            seen += [one["node_id"] for one in answer.json()["items"]]
            cursor = answer.json()["next"]
            if cursor is None:
                return seen

    async def test_200_filters(self, client, narrow, many):
        def of(condition, most=25):
            return {f"n{n}" for n in range(most) if condition(n)}

        zh = {"n30", "n31"}
        for params, expected in (
            ({}, of(lambda n: True) | zh),
            ({"project": "43"}, of(lambda n: n >= 20)),
            ({"project": "none"}, set()),
            ({"product": "p1"}, of(lambda n: n % 2 == 1)),
            ({"status": "ONLINE"}, of(lambda n: n % 3 == 0)),
            ({"product": "p1", "status": "ONLINE"}, of(lambda n: n % 2 == 1 and n % 3 == 0)),
            ({"tag_key": "site", "tag_value": "s3"}, of(lambda n: n % 4 == 3)),
            ({"tag_key": "site", "tag_value": "s3", "product": "p0"}, set()),
            ({"tag_key": "site", "tag_value": "s3", "name": "device 01"}, {"n11", "n15", "n19"}),
            ({"node_id": "n7"}, {"n7"}),
            ({"gateway": "zh-1"}, {"n31"}),
            ({"name": "第"}, zh),
            ({"name": ""}, of(lambda n: True) | zh),
            ({"name": "device 02"}, of(lambda n: n >= 20)),
            ({"name": "%"}, set()),
        ):
            found = await self.walk(client, **params)
            assert (set(found), len(found)) == (expected, len(expected)), params
        assert set(await self.walk(narrow)) == of(lambda n: n < 20) | zh

    async def test_200_order(self, client, many):
        ids = await self.walk(client, limit=500)
        assert await self.walk(client, limit=3) == ids
        names = await self.walk(client, limit=1, name="第")
        assert names == ["n30", "n31"]

    async def test_422(self, client):
        for params, field in (
            ({"limit": 0}, "limit"),
            ({"limit": 501}, "limit"),
            ({"cursor": "x"}, "cursor"),
            ({"cursor": "WyJcdTAwMDAiLDFd"}, "cursor"),
            ({"cursor": "WyJcdWQ4MDAiLDFd"}, "cursor"),
            ({"status": "on"}, "status"),
            ({"tag_key": "a"}, "tag_value"),
            ({"tag_value": "a"}, "tag_key"),
            ({"product": "\0"}, "product"),
            ({"name": "a\0"}, "name"),
        ):
            answer = await client.get("/devices", params=params)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), params
