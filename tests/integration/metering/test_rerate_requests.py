"""Changes of what bills are made of ask runs to look at those bills again, and hold off cutoffs meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.billing.model import ProjectRules
from include.kit.clock import system_clock
from include.metering.flat import FlatRowService
from include.metering.installations import InstallationService
from include.metering.people import PeopleService
from include.metering.rows import (
    InstallFields,
    MoveOutFields,
    OccupancyFields,
    OccupancyRow,
    RemoveFields,
    ServicePointRow,
)
from include.metering.rules import RulesService
from include.readings.corrections import CorrectionService
from include.readings.service import ReadingService
from tests.billing_rows import PROJECT, at, insert_bill, insert_place

SHARED = """
    SELECT count(*) AS n FROM pg_locks
    WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND pid = pg_backend_pid()
"""

#: A clock that is years off: nothing about requests may go by it.
WRONG = datetime(2020, 1, 1, tzinfo=UTC)

OCTOBER, NOVEMBER = at("2019-10-01T00:00:00"), at("2019-11-01T00:00:00")
INSIDE, LATER, AFTER = at("2019-10-10T00:00:00"), at("2019-10-20T00:00:00"), at("2019-11-10T00:00:00")


@pytest.fixture
def place(connection):
    """A service point that is billed for October 2019, called `home`, and two parties."""
    place = insert_place(connection, device_id="m1")
    insert_bill(connection, place)
    connection.execute("UPDATE service_point SET key = 'home'")
    connection.execute(
        "INSERT INTO party (project_id, key, name) VALUES ('42', 'ann', 'A'), ('42', 'bob', 'B')"
    )
    return place


def requests(connection):
    found = connection.execute("SELECT service_point_id, since FROM rerate_request ORDER BY service_point_id")
    return {row["service_point_id"]: row["since"] for row in found.fetchall()}


async def change(database, service, work):
    """Do work in a transaction of its own, which must share the readings' lock."""
    async with database.transaction() as connection:
        done = await work(service(connection, PROJECT))
        assert (await (await connection.execute(SHARED)).fetchone())["n"] == 1
    return done


async def move_in(database, party="ann", moved_in_at=INSIDE, **fields):
    fields = OccupancyFields(party=party, moved_in_at=moved_in_at, **fields)
    _, found = await change(database, PeopleService, lambda people: people.move_in("home", fields))
    return found


def occupancy(**changes):
    return OccupancyRow(**{"service_point": "home", "party": "ann", "moved_in_at": INSIDE, **changes})


class TestWhenTheyWereMade:
    async def test_by_the_databases_clock(self, database, connection, place):
        before = system_clock()
        async with database.transaction() as transaction:
            service = InstallationService(transaction, PROJECT, clock=lambda: WRONG)
            connection.execute(
                "INSERT INTO reading (register_id, installation_id, read_at, value, total, source,"
                " quality) SELECT r.id, i.id, i.valid_from, 1, 1, 'install', 'ok' FROM register r,"
                " meter_installation i"
            )
            await service.remove("home", RemoveFields(removed_at=INSIDE, readings={"TOTAL": 5}))
        [request] = connection.execute("SELECT * FROM rerate_request").fetchall()
        assert request["since"] == INSIDE
        assert before < request["requested_at"] < before + timedelta(minutes=1)

    async def test_when_they_are_made_not_when_the_transaction_began(self, database, connection, place):
        """A cutoff in between would be later than the request, and the run would not see what it is about."""
        async with database.transaction() as early:
            await early.execute("SELECT 1")
            closed = connection.execute("SELECT clock_timestamp() AS now").fetchone()["now"]
            await PeopleService(early, PROJECT).move_in(
                "home", OccupancyFields(party="ann", moved_in_at=INSIDE)
            )
        request = connection.execute("SELECT requested_at FROM rerate_request").fetchone()
        assert request["requested_at"] > closed


class TestOccupancies:
    async def test_one_inside_billed_time(self, database, connection, place):
        await move_in(database)
        assert requests(connection) == {place.service_point_id: INSIDE}

    async def test_one_after_it(self, database, connection, place):
        found = await move_in(database, moved_in_at=NOVEMBER, persons=2)
        await move_in(database, moved_in_at=NOVEMBER, persons=3)
        fields = MoveOutFields(party="ann", moved_out_at=AFTER)
        await change(database, PeopleService, lambda people: people.move_out("home", fields))
        await change(database, PeopleService, lambda people: people.delete_occupancy("home", found.id))
        assert requests(connection) == {}

    @pytest.mark.parametrize(
        ("changes", "since"),
        [
            ({}, None),
            ({"persons": 2}, INSIDE),
            ({"weight": 2}, INSIDE),
            ({"moved_out_at": LATER}, LATER),
            ({"moved_out_at": AFTER}, None),
        ],
    )
    async def test_one_that_changes(self, database, connection, place, changes, since):
        await move_in(database)
        connection.execute("DELETE FROM rerate_request")
        await move_in(database, **changes)
        assert requests(connection) == ({place.service_point_id: since} if since else {})

    async def test_one_that_lasts_longer(self, database, connection, place):
        await move_in(database, moved_out_at=LATER)
        connection.execute("DELETE FROM rerate_request")
        await move_in(database)
        assert requests(connection) == {place.service_point_id: LATER}

    async def test_one_that_ends(self, database, connection, place):
        await move_in(database)
        fields = MoveOutFields(party="ann", moved_out_at=LATER)
        for expected in ({place.service_point_id: LATER}, {}):
            connection.execute("DELETE FROM rerate_request")
            await change(database, PeopleService, lambda people: people.move_out("home", fields))
            assert requests(connection) == expected

    async def test_one_that_never_was(self, database, connection, place):
        found = await move_in(database)
        connection.execute("DELETE FROM rerate_request")
        await change(database, PeopleService, lambda people: people.delete_occupancy("home", found.id))
        assert requests(connection) == {place.service_point_id: INSIDE}

    async def test_many_at_once(self, database, connection, place):
        other, unbilled = insert_place(connection), insert_place(connection)
        insert_bill(connection, other)
        connection.execute("UPDATE service_point SET key = 'other' WHERE id = %s", [other.service_point_id])
        connection.execute("UPDATE service_point SET key = 'new' WHERE id = %s", [unbilled.service_point_id])
        rows = [
            occupancy(moved_in_at=LATER),
            occupancy(party="bob", persons=3),
            occupancy(service_point="other", moved_in_at=AFTER),
            occupancy(service_point="new"),
        ]
        await change(database, PeopleService, lambda people: people.put_occupancies(rows))
        assert requests(connection) == {place.service_point_id: INSIDE}
        connection.execute("DELETE FROM rerate_request")
        rows = [occupancy(moved_in_at=LATER), occupancy(party="bob", persons=4), rows[2]]
        await change(database, PeopleService, lambda people: people.put_occupancies(rows))
        assert requests(connection) == {place.service_point_id: INSIDE}

    async def test_a_resident_in_a_flat_row(self, database, connection, place):
        premise = connection.execute("SELECT key FROM premise").fetchone()["key"]
        row = ServicePointRow(
            key="home", commodity="electricity", premise=premise, name="Ann", moved_in_at=INSIDE
        )
        for expected in ({place.service_point_id: INSIDE}, {}):
            connection.execute("DELETE FROM rerate_request")
            await change(database, FlatRowService, lambda flat: flat.put([row]))
            assert requests(connection) == expected

    async def test_of_a_void_bill(self, database, connection, place):
        connection.execute("UPDATE bill SET state = 'void'")
        await move_in(database)
        assert requests(connection) == {}

    async def test_while_a_run_may_be_billing(self, database, connection, place):
        connection.execute("UPDATE bill SET state = 'void'")
        open_run(connection, until=NOVEMBER)
        await move_in(database, moved_in_at=NOVEMBER)
        assert requests(connection) == {}
        await move_in(database, party="bob")
        assert requests(connection) == {place.service_point_id: INSIDE}


class TestMeters:
    async def test_one_that_comes(self, database, connection, place):
        connection.execute("UPDATE meter_installation SET valid_to = %s", [INSIDE])
        fields = InstallFields(device_id="m1", installed_at=LATER, readings={"TOTAL": 5})
        await change(database, InstallationService, lambda meters: meters.install_at("home", fields))
        assert requests(connection) == {place.service_point_id: LATER}


class TestRules:
    """What a boundary is worth: the last bill of each service point ends at one, the next begins there."""

    @pytest.fixture
    def later(self, connection, place):
        """A second bill, and a service point without any."""
        insert_place(connection)
        insert_bill(connection, place, period_from=NOVEMBER, period_to=at("2019-12-01T00:00:00"))

    @pytest.mark.parametrize(
        ("changes", "asked"),
        [
            ({}, False),
            (
                {"share_key": "equal", "grace_days": 3, "estimates_in_a_row": 1, "plausibility_factor": 4},
                False,
            ),
            ({"boundary_tolerance": timedelta(0)}, True),
            ({"timezone": "Europe/Berlin"}, True),
            ({"cut": "midnight"}, True),
        ],
    )
    async def test_a_change(self, database, connection, place, later, changes, asked):
        rules = ProjectRules(timezone="Asia/Shanghai")
        for new, expected in ((rules, False), (replace(rules, **changes), asked), (rules, asked)):
            await change(database, RulesService, lambda service, new=new: service.put(new))
            assert requests(connection) == ({place.service_point_id: NOVEMBER} if expected else {})
            connection.execute("DELETE FROM rerate_request")

    async def test_of_another_project(self, database, connection, place, later):
        rules = ProjectRules(timezone="Europe/Berlin")
        async with database.transaction() as transaction:
            await RulesService(transaction, "49").put(rules)
        assert requests(connection) == {}


class TestReadings:
    """Of two readings at one moment the later counts, so a bill that ends right there changes."""

    async def test_a_late_one_where_a_bill_ends(self, database, connection, place):
        for source in ("meter", "manual"):
            async with database.transaction() as transaction:
                row = {"device_id": "m1", "read_at": NOVEMBER, "value": 7, "source": source}
                await ReadingService(transaction).add_bulk(PROJECT, [row])
        assert requests(connection)[place.service_point_id] < NOVEMBER
        connection.execute("DELETE FROM rerate_request")
        async with database.transaction() as transaction:
            await ReadingService(transaction).add_bulk(PROJECT, [{**row, "source": "pull"}])
        assert requests(connection)[place.service_point_id] < NOVEMBER
        connection.execute("DELETE FROM rerate_request")
        async with database.transaction() as transaction:
            await CorrectionService(transaction).correct(3, 8, "misread")
        assert requests(connection)[place.service_point_id] < NOVEMBER


def open_run(connection, until):
    connection.execute(
        """
        INSERT INTO schedule (kind, expression, timezone, dag_id, description, active)
        VALUES ('billing', '0 0 0 1 * *', 'Asia/Shanghai', 'b', '', false);
        INSERT INTO definition (kind, schedule_id, name, enabled, active_since, misfire, misfire_grace,
                                overlap, created_at, updated_at)
        VALUES ('billing', 1, 'b', true, now(), 'run', '1 hour', 'skip', now(), now())
        """
    )
    connection.execute(
        """
        INSERT INTO billing_run (definition_id, project_id, commodity, due_at, period_to, cutoff, origin,
                                 state, started_at)
        VALUES (1, '42', 'electricity', %(at)s, %(at)s, now(), 'scheduled', 'running', now())
        """,
        {"at": until},
    )
