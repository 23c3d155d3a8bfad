"""/carillon/v1: versions and assignments of tariffs in time that is billed already."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.tariffs.model import AssignmentFields, EndFields, VersionFields
from include.tariffs.service import TariffService
from tests.billing_rows import PROJECT, at, insert_bill, insert_place
from tests.builders import make_token

ROOT = f"/projects/{PROJECT}"
FLAT = {"frame": "MONTH", "mode": "ADDER", "energy_price": 1}
BILLED = (
    "lies in billed time: bills of {} exist since 2019-10-01T00:00:00+08:00;"
    " `force` it to have them looked at again"
)
ONE, TWO = BILLED.format("1 service point"), BILLED.format("2 service points")

#: Billed is October 2019.
BEFORE, INSIDE, END = "2019-09-01", "2019-10-16", "2019-11-01"


@pytest.fixture
async def client(client_of, database):
    client = await client_of("management", await make_token(database))
    await client.put(f"{ROOT}/tariffs/home", json={"name": "h", "commodity": "electricity"})
    await client.put(f"{ROOT}/tariffs/shop", json={"name": "s", "commodity": "electricity"})
    for key in ("home", "shop"):
        await post(client, f"tariffs/{key}/versions", {**FLAT, "effective_from": "2019-01-01"})
    return client


@pytest.fixture
def points(connection):
    """Two that are billed, the second with a subtype; one that is not; one of another commodity."""
    made = [
        insert_place(connection),
        insert_place(connection, subtype="shop"),
        insert_place(connection),
        insert_place(connection, commodity="water"),
    ]
    for key, place in zip(("a", "b", "new", "wet"), made, strict=True):
        connection.execute("UPDATE service_point SET key = %s WHERE id = %s", [key, place.service_point_id])
        if key != "new":
            insert_bill(connection, place)
    return {key: place.service_point_id for key, place in zip(("a", "b", "new", "wet"), made, strict=True)}


async def post(client, path, body, status=201):
    answer = await client.post(f"{ROOT}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def assign(client, status=201, **body):
    return await post(client, "tariff-assignments", {"tariff": "home", "from": BEFORE, **body}, status)


async def add_version(client, day, status=201, **changes):
    body = {**FLAT, "effective_from": day, **changes}
    return await post(client, "tariffs/home/versions", body, status)


def requests(connection):
    """Return what was asked for, and forget it."""
    rows = connection.execute("DELETE FROM rerate_request RETURNING service_point_id, since").fetchall()
    return {row["service_point_id"]: row["since"] for row in rows}


def day(text):
    return at(f"{text}T00:00:00")


class TestVersions:
    async def test_409_then_201_by_force(self, client, connection, points):
        await assign(client, force=True)
        requests(connection)
        body = await add_version(client, INSIDE, 409)
        assert (body["detail"], requests(connection)) == (f"effective_from: {TWO}", {})
        versions = (await client.get(f"{ROOT}/tariffs/home/versions")).json()["items"]
        assert [version["effective_from"] for version in versions] == ["2019-01-01"]
        await add_version(client, INSIDE, force=True)
        assert requests(connection) == {points["a"]: day(INSIDE), points["b"]: day(INSIDE)}

    async def test_201_after_it(self, client, connection, points):
        await assign(client, force=True)
        requests(connection)
        await add_version(client, END)
        assert requests(connection) == {}

    async def test_201_where_a_later_one_takes_over_before_it(self, client, connection, points):
        await assign(client, force=True)
        await add_version(client, "2019-10-01", force=True)
        requests(connection)
        await add_version(client, BEFORE)
        assert requests(connection) == {}

    async def test_201_of_a_tariff_that_holds_nowhere_then(self, client, connection, points):
        await assign(client, **{"from": END})
        await assign(client, to=BEFORE, **{"from": "2019-08-01"})
        await add_version(client, "2019-08-15")
        assert requests(connection) == {}

    async def test_201_in_a_subtype_and_for_one(self, client, connection, points):
        await assign(client, tariff="shop", force=True)
        await assign(client, service_point="a", force=True)
        requests(connection)
        assert (await add_version(client, INSIDE, 409))["detail"] == f"effective_from: {ONE}"
        await add_version(client, INSIDE, force=True)
        assert requests(connection) == {points["a"]: day(INSIDE)}


class TestAssignments:
    @pytest.mark.parametrize(
        ("body", "message", "concerned"),
        [
            ({}, TWO, ("a", "b")),
            ({"subtype": "shop"}, ONE, ("b",)),
            ({"service_point": "a"}, ONE, ("a",)),
        ],
    )
    async def test_409_then_201_by_force(self, client, connection, points, body, message, concerned):
        assert (await assign(client, 409, **body))["detail"] == f"from: {message}"
        assert (await client.get(f"{ROOT}/tariff-assignments")).json()["items"] == []
        await assign(client, **body, force=True)
        assert requests(connection) == {points[key]: day(BEFORE) for key in concerned}

    async def test_201_outside(self, client, connection, points):
        await assign(client, to="2019-10-01")
        await assign(client, **{"from": END})
        await assign(client, service_point="new")
        assert requests(connection) == {}

    async def test_201_a_default_where_all_have_another(self, client, connection, points):
        await assign(client, service_point="a", to="2019-10-10", force=True)
        await assign(client, tariff="shop", service_point="a", force=True, **{"from": "2019-10-10"})
        await assign(client, subtype="shop", force=True)
        requests(connection)
        await assign(client, tariff="shop")
        assert requests(connection) == {}

    async def test_409_a_default_in_a_gap(self, client, connection, points):
        await assign(client, service_point="a", to="2019-10-10", force=True)
        await assign(client, subtype="shop", force=True)
        requests(connection)
        assert (await assign(client, 409))["detail"] == f"from: {ONE}"

    async def test_409_another_end(self, client, connection, points):
        made = await assign(client, subtype="shop", force=True)
        requests(connection)
        end = f"tariff-assignments/{made['id']}/end"
        await post(client, end, {"to": END}, 200)
        assert (await post(client, end, {"to": INSIDE}, 409))["detail"] == f"to: {ONE}"
        assert requests(connection) == {}
        await post(client, end, {"to": INSIDE, "force": True}, 200)
        assert requests(connection) == {points["b"]: day(INSIDE)}
        assert (await post(client, end, {"to": None}, 409))["detail"] == f"to: {ONE}"
        await post(client, end, {"to": INSIDE}, 200)
        await post(client, end, {"to": None, "force": True}, 200)
        assert requests(connection) == {points["b"]: day(INSIDE)}

    async def test_201_where_bills_are_void(self, client, connection, points):
        connection.execute("UPDATE bill SET state = 'void'")
        await assign(client)
        assert requests(connection) == {}


async def test_what_a_run_may_be_billing_is_looked_at_again(client, connection, points):
    connection.execute(
        """
        INSERT INTO schedule (kind, expression, timezone, dag_id, description, active)
        VALUES ('billing', '0 0 0 1 * *', 'Asia/Shanghai', 'b', '', false);
        INSERT INTO definition (kind, schedule_id, name, enabled, active_since, misfire, misfire_grace,
                                overlap, created_at, updated_at)
        VALUES ('billing', 1, 'b', true, now(), 'run', '1 hour', 'skip', now(), now());
        INSERT INTO billing_run (definition_id, project_id, commodity, due_at, period_to, cutoff, origin,
                                 state, started_at)
        VALUES (1, '42', 'electricity', '2019-12-01Z', '2019-12-01Z', now(), 'scheduled', 'running', now())
        """
    )
    made = await assign(client, **{"from": END})
    expected = dict.fromkeys((points["a"], points["b"], points["new"]), day(END))
    assert requests(connection) == expected
    assert (await client.delete(f"{ROOT}/tariff-assignments/{made['id']}")).status_code == 204
    assert requests(connection) == expected


@pytest.mark.parametrize("what", ["version", "assignment", "end", "delete"])
async def test_cutoffs_wait_for_changes(client, database, connection, points, what):
    made = await assign(client, force=True)
    later = {"tariff": "shop", "service_point": "new", "from": "2030-01-01"}
    before = datetime.now(UTC)
    async with database.transaction() as transaction:
        service = TariffService(transaction, PROJECT)
        if what == "version":
            await service.add_version("home", VersionFields(**FLAT, effective_from=INSIDE, force=True))
        elif what == "assignment":
            await service.assign(AssignmentFields.model_validate(later))
        elif what == "end":
            await service.end_assignment(made["id"], EndFields(to=INSIDE, force=True))
        else:
            assignment = await service.assign(AssignmentFields.model_validate(later))
            await service.delete_assignment(assignment.id)
        held = await transaction.execute(
            "SELECT count(*) AS n FROM pg_locks"
            " WHERE locktype = 'advisory' AND mode = 'ShareLock' AND pid = pg_backend_pid()"
        )
        assert (await held.fetchone())["n"] == 1
    found = connection.execute("SELECT max(requested_at) AS last FROM rerate_request").fetchone()
    assert (found["last"] > before) == (what in ("version", "end"))
