"""/carillon/v1/maintenance: what became of tasks, how plans were kept, many handled at once."""

from __future__ import annotations

import csv
import io

import pytest

from tests.builders import make_token
from tests.maintenance_rows import Bench, local

HISTORY, COMPLIANCE, HANDLE = "/maintenance/history", "/maintenance/compliance", "/maintenance/tasks/handle"
SPAN = {"from": "2026-11-01T00:00:00+08:00", "to": "2026-12-01T00:00:00+08:00"}


@pytest.fixture
def bench(database, connection):
    return Bench(database, connection)


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, projects=["p1"]))


@pytest.fixture
async def lived(bench):
    """Two objects over some days: `a` in time, then too late; `c` ignored, then open."""
    await bench.create("p1", uid="m")
    bench.now = local(2026, 11, 24, 9)
    await bench.tick()
    await bench.handle(bench.open()["a"], fee=12, result="oil", handler_ids=[1], handler_names=["Anna"])
    await bench.ignore(bench.open()["c"])
    bench.now = local(2026, 11, 27, 9)
    await bench.tick()
    await bench.handle(bench.open()["a"], fee="7.5", description="=1+1")
    return bench


def shown(rows):
    return [(one["object_id"], one["state"], one["fee"]) for one in rows]


class TestHistory:
    async def test_200(self, client, lived):
        page = (await client.get(HISTORY)).json()
        assert shown(page["items"]) == [
            ("c", "overdue", None), ("a", "handled", "7.5"), ("c", "ignored", "0"), ("a", "handled", "12")
        ]  # fmt: skip
        first = page["items"][-1]
        assert {name: first[name] for name in ("due_at", "closed_at", "overdue_since", "missed")} == {
            "due_at": "2026-11-23T16:00:00Z", "closed_at": "2026-11-24T01:00:00Z", "overdue_since": None,
            "missed": 0,
        }  # fmt: skip
        assert (first["handler_ids"], first["handler_names"], first["result"]) == ([1], ["Anna"], "oil")
        assert page["items"][0]["handle_id"] is None

    async def test_200_page_by_page(self, client, lived):
        found, cursor = [], None
        while True:
            query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
            page = (await client.get(HISTORY, params=query)).json()
            found += page["items"]
            if (cursor := page["next"]) is None:
                break
        assert found == (await client.get(HISTORY)).json()["items"]

    @pytest.mark.parametrize(
        ("query", "objects"),
        [
            ({"state": "handled"}, "aa"),
            ({"object_id": "c"}, "cc"),
            ({"project": "other"}, ""),
            ({"project": "m", "to": "2026-11-25T00:00:00Z"}, "ca"),
            ({"organization_id": "p2"}, ""),
        ],
    )
    async def test_200_some(self, client, lived, query, objects):
        rows = (await client.get(HISTORY, params=query)).json()["items"]
        assert "".join(one["object_id"] for one in rows) == objects

    async def test_200_exported(self, client, lived):
        answer = await client.get(f"{HISTORY}/export", params={"bom": True})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert [(row["object_id"], row["state"], row["fee"], row["due_at"]) for row in rows] == [
            ("c", "overdue", "", "2026-11-26 00:00:00"), ("a", "handled", "7.5", "2026-11-26 00:00:00"),
            ("c", "ignored", "0", "2026-11-24 00:00:00"), ("a", "handled", "12", "2026-11-24 00:00:00"),
        ]  # fmt: skip
        assert rows[1]["description"] == "'=1+1"
        assert rows[3]["handler_names"] == "Anna"

    async def test_200_nothing_of_others(self, client_of, database, lived):
        other = await client_of("management", await make_token(database, projects=["p2"]))
        assert (await other.get(HISTORY)).json()["items"] == []
        assert (await other.get(f"{HISTORY}/export")).text.count("\n") == 1
        assert (await other.get(COMPLIANCE, params=SPAN)).json()["items"] == []


class TestCompliance:
    async def test_200_by_project(self, client, lived):
        report = (await client.get(COMPLIANCE, params=SPAN)).json()
        assert report == {
            "by": "project", "start": "2026-10-31T16:00:00Z", "end": "2026-11-30T16:00:00Z", "next": None,
            "items": [{
                "key": "m", "name": "na_test", "planned": 4, "on_time": 1, "late": 1, "ignored": 1,
                "overdue": 1, "open": 0, "missed": 0, "cost": "19.5", "rate": "0.25",
            }],
        }  # fmt: skip

    async def test_200_by_object_and_month(self, client, lived):
        rows = (await client.get(COMPLIANCE, params={**SPAN, "by": "object"})).json()["items"]
        assert [(one["key"], one["on_time"], one["rate"]) for one in rows] == [("a", 1, "0.5"), ("c", 0, "0")]
        first = (await client.get(COMPLIANCE, params={**SPAN, "by": "object", "limit": 1})).json()
        rest = (await client.get(COMPLIANCE, params={**SPAN, "by": "object", "cursor": first["next"]})).json()
        assert first["items"] + rest["items"] == rows
        rows = (await client.get(COMPLIANCE, params={**SPAN, "by": "month"})).json()["items"]
        assert [(one["key"], one["planned"]) for one in rows] == [("2026-11", 4)]

    async def test_what_is_not_settled_has_no_rate(self, client, bench):
        await bench.create("p1", object_ids=["a"])
        bench.now = local(2026, 11, 23, 9)
        await bench.tick()
        [row] = (await client.get(COMPLIANCE, params=SPAN)).json()["items"]
        assert (row["planned"], row["open"], row["rate"]) == (1, 1, None)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"from": SPAN["from"]}, "to"),
            ({"from": SPAN["to"], "to": SPAN["from"]}, "to"),
            ({**SPAN, "by": "year"}, "by"),
            ({**SPAN, "project": "a b"}, "project"),
        ],
    )
    async def test_422(self, client, query, field):
        answer = await client.get(COMPLIANCE, params=query)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


class TestHandleMany:
    @pytest.fixture
    async def tasks(self, bench):
        """The uids of open tasks by object."""
        await bench.create("p1", object_ids=["a", "b", "c"])
        bench.now = local(2026, 11, 24, 9)
        await bench.tick()
        return bench.open()

    async def test_200(self, client, bench, tasks):
        items = [{"task_id": tasks[one], "fee": fee, "result": one} for one, fee in (("c", 3), ("a", 1.5))]
        answer = await client.post(HANDLE, json={"items": items})
        assert answer.status_code == 200, answer.text
        assert [one["task_id"] for one in answer.json()["items"]] == [tasks["c"], tasks["a"]]
        assert all(one["handle_id"].startswith("MTH") for one in answer.json()["items"])
        assert bench.open() == {"b": tasks["b"]}
        rows = bench.rows("SELECT result, fee::text FROM maintenance_handle ORDER BY result")
        assert [tuple(row.values()) for row in rows] == [("a", "1.500000"), ("c", "3.000000")]

    async def test_409_all_or_none(self, client, bench, tasks):
        await bench.handle(tasks["b"])
        items = [{"task_id": tasks["a"]}, {"task_id": tasks["b"]}, {"task_id": "MTT1"}]
        answer = await client.post(HANDLE, json={"items": items})
        assert answer.status_code == 409
        assert [(one["row"], one["field"], one["message"]) for one in answer.json()["errors"]] == [
            (2, "task_id", "task not found"), (3, "task_id", "task not found")
        ]  # fmt: skip
        assert set(bench.open()) == {"a", "c"}

    async def test_409_a_task_of_others(self, client_of, database, bench, tasks):
        other = await client_of("management", await make_token(database, projects=["p2"]))
        answer = await other.post(HANDLE, json={"items": [{"task_id": tasks["a"]}]})
        assert answer.status_code == 409
        assert set(bench.open()) == {"a", "b", "c"}

    @pytest.mark.parametrize(
        ("changes", "row", "field"),
        [
            ({"fee": -1}, 2, "fee"),
            ({"fee": "x"}, 2, "fee"),
            ({"task_id": ""}, 2, "task_id"),
            ({"handler_id_list": [1], "handler_name_list": ["a", "b"]}, 2, "handler_name_list"),
            ({"kind": "HANDLE"}, 2, "kind"),
        ],
    )
    async def test_422_names_the_row(self, client, bench, tasks, changes, row, field):
        items = [{"task_id": tasks["a"]}, {"task_id": tasks["b"], **changes}]
        answer = await client.post(HANDLE, json={"items": items})
        assert answer.status_code == 422, answer.text
        assert [(one["row"], one["field"]) for one in answer.json()["errors"]] == [(row, field)]
        assert len(bench.open()) == 3

    async def test_422_a_task_twice_and_too_many(self, client, tasks):
        answer = await client.post(HANDLE, json={"items": [{"task_id": tasks["a"]}] * 2})
        assert answer.json()["errors"] == [
            {"field": "task_id", "message": "stands in row 1 already", "row": 2}
        ]
        answer = await client.post(HANDLE, json={"items": [{"task_id": f"t{n}"} for n in range(501)]})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "items")
