"""/carillon/v1/projects/{project_id}: billing rules, premises, service points, meters and the like."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from tests.builders import make_token

PROJECT = "/projects/42"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database))


@pytest.fixture
async def narrow(client_of, database):
    return await client_of("management", await make_token(database, projects=["42"]))


PREMISE = {"key": "h1", "address": ["North Court", "3", "", "2", "201"], "area": "88.5"}
USAGE_CLASS = {"key": "small", "daily_quantity": "0.35"}
POINT = {
    "key": "p1",
    "premise": "h1",
    "commodity": "water",
    "subtype": "自来水表",
    "usage_class": "small",
    "device_id": None,
}
METER = {
    "device_id": "000090502121",
    "commodity": "electricity",
    "service_point": None,
    "registers": [
        {"kind": "TOTAL", "unit": "kWh", "multiplier": "1", "modulus": None},
        {"kind": "PEAK", "unit": "kWh", "multiplier": "40", "modulus": "100000"},
    ],
}
PARTY = {"key": "zhang", "name": "张三", "cellphone": "13800000001"}


def fields(entity, key="key", *without):
    return {name: value for name, value in entity.items() if name not in (key, *without)}


async def make_point(client, key="p1", commodity="water", project="42"):
    await client.put(f"/projects/{project}/premises/h1", json={"address": ["North Court"]})
    answer = await client.put(
        f"/projects/{project}/service-points/{key}", json={"premise": "h1", "commodity": commodity}
    )
    assert answer.status_code in (200, 201), answer.text


async def make_meter(client, device_id="m1", commodity="water", project="42", **register):
    answer = await client.put(
        f"/projects/{project}/meters/{device_id}", json={"commodity": commodity, "registers": [register]}
    )
    assert answer.status_code in (200, 201), answer.text


class TestBillingRules:
    DEFAULTS = {  # noqa: RUF012
        "timezone": "Asia/Shanghai",
        "reading_mode": "quantity",
        "cut": "instant",
        "month_end": "clamp",
        "boundary_tolerance_seconds": 7200,
        "estimates_in_a_row": 3,
        "plausibility_factor": "3",
        "share_key": "weight",
        "grace_days": 0,
    }

    async def test_200_defaults(self, client):
        answer = await client.get(f"{PROJECT}/billing-rules")
        assert (answer.status_code, answer.json()) == (200, self.DEFAULTS)

    async def test_200_put_says_what_is_stored_and_defaults_fill_up(self, client):
        rules = {**self.DEFAULTS, "timezone": "Europe/Berlin", "plausibility_factor": "2.5", "grace_days": 3}
        for _ in range(2):
            answer = await client.put(f"{PROJECT}/billing-rules", json=rules)
            assert (answer.status_code, answer.json()) == (200, rules)
        assert (await client.get(f"{PROJECT}/billing-rules")).json() == rules
        answer = await client.put(f"{PROJECT}/billing-rules", json={"timezone": "Asia/Shanghai"})
        assert answer.json() == self.DEFAULTS

    BAD = (
        ({}, "timezone"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "UTC", "cut": "noon"}, "cut"),
        ({"timezone": "UTC", "plausibility_factor": 0}, "plausibility_factor"),
        ({"timezone": "UTC", "plausibility_factor": "NaN"}, "plausibility_factor"),
        ({"timezone": "UTC", "grace_days": 367}, "grace_days"),
        ({"timezone": "UTC", "boundary_tolerance_seconds": -1}, "boundary_tolerance_seconds"),
        ({"timezone": "UTC", "colour": 1}, "colour"),
    )

    async def test_422(self, client):
        for body, field in self.BAD:
            answer = await client.put(f"{PROJECT}/billing-rules", json=body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
        assert (await client.put(f"{PROJECT}/billing-rules", content=b"{")).status_code == 422
        assert (await client.put(f"{PROJECT}/billing-rules", json=[1])).status_code == 422


class TestPutGetDelete:
    """What all entities have in common."""

    @pytest.fixture
    async def ready(self, client):
        await client.put(f"{PROJECT}/premises/h1", json=fields(PREMISE))
        await client.put(f"{PROJECT}/usage-classes/small", json=fields(USAGE_CLASS))

    CASES = pytest.mark.parametrize(
        ("path", "entity", "body", "change"),
        [
            ("premises", {**PREMISE, "key": "h2"}, fields(PREMISE), {"area": "90"}),
            ("usage-classes", {**USAGE_CLASS, "key": "u2"}, fields(USAGE_CLASS), {"daily_quantity": "1"}),
            ("service-points", POINT, fields(POINT, "key", "device_id"), {"subtype": None}),
            ("meters", METER, fields(METER, "device_id", "service_point"), {"commodity": "water"}),
            ("parties", PARTY, fields(PARTY), {"name": "李四"}),
        ],
        ids=["premises", "usage-classes", "service-points", "meters", "parties"],
    )

    @CASES
    async def test_life_of_one(self, client, ready, path, entity, body, change):
        url = f"{PROJECT}/{path}/{entity.get('key') or entity['device_id']}"
        answer = await client.put(url, json=body)
        assert (answer.status_code, answer.json()) == (201, entity)
        answer = await client.put(url, json=body)
        assert (answer.status_code, answer.json()) == (200, entity)
        answer = await client.get(url)
        assert (answer.status_code, answer.json()) == (200, entity)
        answer = await client.put(url, json={**body, **change})
        assert (answer.status_code, answer.json()) == (200, {**entity, **change})
        answer = await client.delete(url)
        assert (answer.status_code, answer.content) == (204, b"")
        for method in ("GET", "DELETE"):
            answer = await client.request(method, url)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:carillon:problem:not-found")

    @CASES
    async def test_404_another_project(self, client, ready, narrow, path, entity, body, change):
        name = entity.get("key") or entity["device_id"]
        for method, url in (
            ("GET", f"/projects/49/{path}"),
            ("GET", f"/projects/49/{path}/{name}"),
            ("PUT", f"/projects/49/{path}/{name}"),
            ("DELETE", f"/projects/49/{path}/{name}"),
            ("POST", f"/projects/49/{path}/bulk"),
        ):
            content = (
                {"json": body} if method == "PUT" else {"json": {"items": []}} if method == "POST" else {}
            )
            answer = await narrow.request(method, url, **content)
            assert (answer.status_code, answer.json()["detail"]) == (404, "there is no project '49'")
        await client.put(f"{PROJECT}/{path}/{name}", json=body)
        assert (await client.get(f"/projects/43/{path}/{name}")).status_code == 404
        assert (await client.delete(f"/projects/43/{path}/{name}")).status_code == 404
        assert (await narrow.get(f"{PROJECT}/{path}/{name}")).status_code == 200

    @CASES
    async def test_401_and_403(self, client_of, database, path, entity, body, change):
        nobody = await client_of("management")
        assert (await nobody.get(f"{PROJECT}/{path}")).status_code == 401
        other = await client_of("management", await make_token(database, apis=["crontab"]))
        assert (await other.get(f"{PROJECT}/{path}")).status_code == 403

    async def test_422_keys_and_projects_that_are_none(self, client):
        for key in ("%20a", "a%00", "x" * 129, "a%7Fb", "%E2%80%AE"):
            answer = await client.put(f"{PROJECT}/parties/{key}", json=fields(PARTY))
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "key")
        for project in ("%00", "x" * 65):
            answer = await client.get(f"/projects/{project}/parties")
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "project_id")

    async def test_201_keys_are_the_clients_own(self, client):
        for key in ("张三", "a b", "1-2#301", "x" * 128, "bulk", "%"):
            answer = await client.put(f"{PROJECT}/parties/{quote(key, safe='')}", json=fields(PARTY))
            assert (answer.status_code, answer.json()["key"]) == (201, key)


class TestLists:
    async def test_200_pages_touch_in_the_order_of_keys(self, client):
        names = [f"{'张' if number % 2 else 'k'}{number:03}" for number in range(25)]
        items = [{"key": name, "name": name} for name in names]
        assert (await client.post(f"{PROJECT}/parties/bulk", json={"items": items})).json() == {
            "created": 25,
            "updated": 0,
            "unchanged": 0,
        }
        seen, cursor = [], None
        while True:
            page = (
                await client.get(
                    f"{PROJECT}/parties", params={"limit": 10, **({"cursor": cursor} if cursor else {})}
                )
            ).json()
            seen += [item["key"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert len(seen) == 25
        assert set(seen) == set(names)

    async def test_200_filters(self, client):
        await make_point(client, "w")
        await make_point(client, "e", "electricity")
        await client.put(f"{PROJECT}/premises/h2", json={"address": ["South"]})
        await client.put(f"{PROJECT}/service-points/x", json={"premise": "h2", "commodity": "water"})
        await make_meter(client, "m1")
        await make_meter(client, "m2", "electricity")

        async def keys(path, name="key", **params):
            return [
                item[name] for item in (await client.get(f"{PROJECT}/{path}", params=params)).json()["items"]
            ]

        assert await keys("service-points") == ["e", "w", "x"]
        assert await keys("service-points", premise="h1") == ["e", "w"]
        assert await keys("service-points", premise="h1", commodity="water") == ["w"]
        assert await keys("service-points", premise="none") == []
        assert await keys("meters", "device_id", commodity="electricity") == ["m2"]
        assert await keys("premises") == ["h1", "h2"]
        assert await keys("usage-classes") == []

    @pytest.mark.parametrize(
        ("path", "params", "field"),
        [
            ("parties", {"cursor": "WzFd"}, "cursor"),
            ("parties", {"cursor": "x"}, "cursor"),
            ("parties", {"cursor": "WyJcdTAwMDAiXQ"}, "cursor"),
            ("parties", {"limit": 501}, "limit"),
            ("meters", {"commodity": "gas"}, "commodity"),
            ("service-points", {"premise": "a/b"}, "premise"),
        ],
    )
    async def test_422(self, client, path, params, field):
        answer = await client.get(f"{PROJECT}/{path}", params=params)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


class TestBadInput:
    CASES = (
        ("premises/h", {}, "address", "is required"),
        ("premises/h", {"address": []}, "address", "must be a list of 1 to 5 texts"),
        ("premises/h", {"address": ["a"] * 6}, "address", "must be a list of 1 to 5 texts"),
        ("premises/h", {"address": ["a\0"]}, "address.0", "must not contain control characters"),
        ("premises/h", {"address": ["x" * 201]}, "address.0", "must have at most 200 characters"),
        ("premises/h", {"address": ["a"], "area": 0}, "area", None),
        ("premises/h", {"address": ["a"], "area": True}, "area", "must be a number"),
        ("premises/h", {"address": ["a"], "key": "h"}, "key", "is not a field of this request"),
        ("usage-classes/u", {"daily_quantity": -1}, "daily_quantity", None),
        ("usage-classes/u", {"daily_quantity": "1e30"}, "daily_quantity", None),
        ("usage-classes/u", {"daily_quantity": "0.0000001"}, "daily_quantity", None),
        ("service-points/p", {"commodity": "water"}, "premise", "is required"),
        (
            "service-points/p",
            {"premise": "nix", "commodity": "water"},
            "premise",
            "there is no premise 'nix'",
        ),
        ("service-points/p", {"premise": "h1", "commodity": "gas"}, "commodity", None),
        (
            "service-points/p",
            {"premise": "h1", "commodity": "water", "usage_class": "nix"},
            "usage_class",
            "there is no usage class 'nix'",
        ),
        ("meters/m", {"commodity": "water", "registers": []}, "registers", None),
        (
            "meters/m",
            {"commodity": "water", "registers": [{"kind": "PEAK"}, {"kind": "PEAK"}]},
            "registers",
            "PEAK stands twice",
        ),
        (
            "meters/m",
            {"commodity": "water", "registers": [{"modulus": 100, "digits": 2}]},
            "registers.0",
            "give modulus or digits, not both",
        ),
        ("meters/m", {"commodity": "water", "registers": [{"digits": 12}]}, "registers.0.digits", None),
        (
            "meters/m",
            {"commodity": "water", "registers": [{"multiplier": 0}]},
            "registers.0.multiplier",
            None,
        ),
        ("meters/m", {"commodity": "water", "registers": [{"kind": "NIGHT"}]}, "registers.0.kind", None),
        ("parties/z", {"name": " "}, "name", "must not be empty"),
        ("parties/z", {"name": 7}, "name", None),
    )

    async def test_422(self, client):
        await client.put(f"{PROJECT}/premises/h1", json={"address": ["a"]})
        for path, body, field, message in self.CASES:
            answer = await client.put(f"{PROJECT}/{path}", json=body)
            [problem] = answer.json()["errors"]
            assert (answer.status_code, problem["field"]) == (422, field), body
            assert message is None or problem["message"] == message

    async def test_422_text_that_is_none(self, client):
        answer = await client.put(f"{PROJECT}/parties/z", content=b'{"name": "\\ud800"}', headers=JSON)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")


class TestMeters:
    async def test_201_without_registers_it_counts_the_total(self, client):
        answer = await client.put(f"{PROJECT}/meters/m1", json={"commodity": "water"})
        assert answer.json()["registers"] == [
            {"kind": "TOTAL", "unit": "m3", "multiplier": "1", "modulus": None}
        ]

    async def test_201_digits_are_a_shorthand(self, client):
        await make_meter(client, digits=5, unit="L", multiplier="0.001")
        assert (await client.get(f"{PROJECT}/meters/m1")).json()["registers"] == [
            {"kind": "TOTAL", "unit": "L", "multiplier": "0.001", "modulus": "100000"}
        ]

    async def test_200_registers_are_exactly_those_told(self, client):
        for kinds in (["TOTAL"], ["PEAK", "VALLEY"], ["TOTAL", "VALLEY"]):
            body = {"commodity": "electricity", "registers": [{"kind": kind} for kind in kinds]}
            found = (await client.put(f"{PROJECT}/meters/m1", json=body)).json()
            assert {register["kind"] for register in found["registers"]} == set(kinds)

    @pytest.fixture
    async def installed(self, client):
        await make_point(client)
        await make_meter(client, digits=5)
        answer = await client.post(
            f"{PROJECT}/service-points/p1/install",
            json={"device_id": "m1", "installed_at": "2026-01-01T00:00:00+08:00", "readings": {"TOTAL": 0}},
        )
        assert answer.status_code == 201, answer.text

    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            (
                {"commodity": "electricity", "registers": [{"unit": "m3"}]},
                "commodity",
                "cannot change: the meter counted water",
            ),
            (
                {"commodity": "water", "registers": [{"multiplier": 10}]},
                "registers",
                "TOTAL has readings: its unit and multiplier cannot change",
            ),
            (
                {"commodity": "water", "registers": [{}, {"kind": "PEAK"}]},
                "registers",
                "cannot come or go while the meter is installed",
            ),
        ],
    )
    async def test_409_what_was_counted_is_not_read_anew(self, client, installed, body, field, message):
        answer = await client.put(f"{PROJECT}/meters/m1", json=body)
        assert (answer.status_code, answer.json()["errors"]) == (409, [{"field": field, "message": message}])

    async def test_200_a_modulus_can_be_put_right(self, client, installed):
        answer = await client.put(
            f"{PROJECT}/meters/m1", json={"commodity": "water", "registers": [{"digits": 6}]}
        )
        assert (answer.status_code, answer.json()["registers"][0]["modulus"]) == (200, "1000000")
        assert answer.json()["service_point"] == "p1"

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("meters/m1", "installations hang on it"),
            ("service-points/p1", "installations hang on it"),
            ("premises/h1", "service points hang on it"),
        ],
    )
    async def test_409_what_others_hang_on_is_not_deleted(self, client, installed, path, message):
        answer = await client.delete(f"{PROJECT}/{path}")
        assert (answer.status_code, answer.json()["detail"]) == (409, message)
        assert (await client.get(f"{PROJECT}/{path}")).status_code == 200
        assert (await client.get(f"{PROJECT}/meters/m1")).json()["registers"]

    async def test_409_the_commodity_of_a_point_with_a_meter_stays(self, client, installed):
        answer = await client.put(
            f"{PROJECT}/service-points/p1", json={"premise": "h1", "commodity": "electricity"}
        )
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "commodity")


class TestBulk:
    @pytest.mark.parametrize(
        ("path", "items", "change"),
        [
            ("premises", [{**PREMISE, "key": f"k{n}"} for n in range(3)], {"area": 1}),
            ("usage-classes", [{**USAGE_CLASS, "key": f"k{n}"} for n in range(3)], {"daily_quantity": 9}),
            ("parties", [{**PARTY, "key": f"k{n}"} for n in range(3)], {"name": "new"}),
            (
                "meters",
                [{**fields(METER, "service_point"), "device_id": f"k{n}"} for n in range(3)],
                {"registers": [{"kind": "TOTAL"}]},
            ),
        ],
    )
    async def test_200_says_what_became_of_them(self, client, path, items, change):
        async def post(rows):
            answer = await client.post(f"{PROJECT}/{path}/bulk", json={"items": rows})
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert await post(items) == {"created": 3, "updated": 0, "unchanged": 0}
        assert await post(items) == {"created": 0, "updated": 0, "unchanged": 3}
        more = {**items[0], next(k for k in items[0] if k in ("key", "device_id")): "k9"}
        assert await post([{**items[0], **change}, items[1], more]) == {
            "created": 1,
            "updated": 1,
            "unchanged": 1,
        }
        assert await post([]) == {"created": 0, "updated": 0, "unchanged": 0}

    async def test_422_rows_are_named_and_nothing_is_stored(self, client, connection):
        items = [{"key": f"k{n}", "name": "x"} for n in range(10)]
        items[3]["name"] = ""
        items[7]["age"] = 7
        del items[9]["key"]
        answer = await client.post(f"{PROJECT}/parties/bulk", json={"items": items})
        assert (answer.status_code, answer.json()["errors"]) == (
            422,
            [
                {"field": "name", "message": "must not be empty", "row": 4},
                {"field": "age", "message": "is not a field of this request", "row": 8},
                {"field": "key", "message": "is required", "row": 10},
            ],
        )
        assert connection.execute("SELECT count(*) AS n FROM party").fetchone() == {"n": 0}

    async def test_422_a_key_twice(self, client):
        items = [{"key": key, "name": "x"} for key in ("a", "b", "a")]
        answer = await client.post(f"{PROJECT}/parties/bulk", json={"items": items})
        assert (answer.status_code, answer.json()["errors"]) == (
            422,
            [{"field": "key", "message": "stands in row 1 already", "row": 3}],
        )

    async def test_422_thousands_of_problems_are_a_hundred(self, client):
        answer = await client.post(f"{PROJECT}/parties/bulk", json={"items": [{"key": "a"}] * 5000})
        assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)
        assert answer.json()["detail"].endswith("; and 4990 more")
        assert len(answer.content) < 10_000

    async def test_422_too_many(self, client):
        answer = await client.post(f"{PROJECT}/parties/bulk", json={"items": [{}] * 10_001})
        assert answer.json()["errors"] == [
            {"field": "items", "message": "must have at most 10,000 items, not 10,001"}
        ]

    async def test_200_ten_thousand(self, client, connection):
        items = [{"key": f"k{n}", "name": "x", "cellphone": str(n)} for n in range(10_000)]
        answer = await client.post(f"{PROJECT}/parties/bulk", json={"items": items})
        assert answer.json() == {"created": 10_000, "updated": 0, "unchanged": 0}
        assert connection.execute("SELECT count(*) AS n FROM party").fetchone() == {"n": 10_000}

    async def test_409_conflicts_are_named_by_row(self, client):
        await make_point(client)
        for number in range(3):
            await make_meter(client, f"m{number}")
        await client.post(
            f"{PROJECT}/service-points/p1/install",
            json={"device_id": "m1", "installed_at": "2026-01-01T00:00:00Z", "readings": {"TOTAL": 0}},
        )
        items = [{"device_id": f"m{n}", "commodity": "electricity"} for n in range(3)]
        answer = await client.post(f"{PROJECT}/meters/bulk", json={"items": items})
        assert (answer.status_code, {one["row"] for one in answer.json()["errors"]}) == (409, {2})
        assert (await client.get(f"{PROJECT}/meters/m0")).json()["commodity"] == "water"

    async def test_200_two_at_a_time(self, client):
        """The same rows in opposite order, again and again: nobody deadlocks for good."""
        items = [{"key": f"k{n}", "name": "x"} for n in range(300)]

        async def post(round_: int, rows: list[dict[str, str]]) -> int:
            changed = [{**row, "name": f"n{round_}"} for row in rows]
            return (await client.post(f"{PROJECT}/parties/bulk", json={"items": changed})).status_code

        jobs = [post(n, items if n % 2 else items[::-1]) for n in range(8)]
        assert set(await asyncio.gather(*jobs)) == {200}
