"""Billing runs on real Postgres: chains of bills, retries, kills, two at once, estimates and corrections."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import psycopg
import pytest

from include.billing.runs import BillingRuns, RunOrder, RunReport
from include.cli.home import ROOT
from include.cli.postgres import child_argv
from include.kit.db import Database
from tests.integration.billing.town import Town, local

MONTHS_2026 = [f"2026-{month:02d}-01" for month in range(2, 13)] + ["2027-01-01"]


async def bill(database: Database, town: Town, due: str) -> RunReport:
    order = RunOrder(town.definition_id, local(due), "scheduled", f"run {due}")
    return await BillingRuns(database, clock=lambda: local(due)).run(order)


class TestChain:
    async def test_twelve_runs_make_twelve_bills_without_a_gap(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection)
        for number, month in enumerate(MONTHS_2026, 1):
            town.read(month, Decimal(100 + 150 * number))
        for month in MONTHS_2026:
            report = await bill(database, town, month)
            assert (report.state, report.billed, report.parked) == ("succeeded", 3, 0)
            # 100 x 0.5 + 50 x 0.6 each
            assert report.total == 240
        bills = town.bills()
        assert len(bills) == 12
        assert bills[0]["period_from"] == local("2026-01-01")
        assert [one["period_to"] for one in bills] == [local(month) for month in MONTHS_2026]
        assert all(a["period_to"] == b["period_from"] for a, b in pairwise(bills))
        assert [one["previous_quantity"] for one in bills] == [0] + [150] * 11
        assert [one["flags"] for one in bills] == [["first"]] + [[]] * 11
        assert town.rows("SELECT last_run_at, run_count FROM billing_task") == [
            {"last_run_at": local("2027-01-01"), "run_count": 12}
        ]

    async def test_a_year_of_tiers_accumulates_over_twelve_bills(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1, frame="YEAR", tiers=[("1000", "0.5"), ("1500", "0.6"), (None, "0.9")])
        for number, month in enumerate(MONTHS_2026, 1):
            town.read(month, Decimal(100 + 150 * number))
            await bill(database, town, month)
        bills = town.bills()
        assert [one["year_quantity"] for one in bills] == [150 * n for n in range(1, 13)]
        assert town.lines(bills[6]["id"]) == [("TIER", "100", "0.5", "50.00"), ("TIER", "50", "0.6", "30.00")]
        assert sum(one["charge"] for one in bills) == 1000 * Decimal("0.5") + 500 * Decimal(
            "0.6"
        ) + 300 * Decimal("0.9")

    async def test_a_skipped_month_is_covered_by_the_next_run(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        for month, total in (("2026-02-01", "200"), ("2026-03-01", "300"), ("2026-04-01", "500")):
            town.read(month, total)
        await bill(database, town, "2026-02-01")
        await bill(database, town, "2026-04-01")
        [_, long] = town.bills()
        assert (long["period_from"], long["period_to"]) == (local("2026-02-01"), local("2026-04-01"))
        assert long["flags"] == ["long_period"]
        # limits of two months: 200 at 0.5, 100 at 0.6
        assert town.lines(long["id"]) == [("TIER", "200", "0.5", "100.00"), ("TIER", "100", "0.6", "60.00")]

    async def test_a_run_that_is_repeated_bills_nothing_twice(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection)
        town.read("2026-02-01", "200")
        first = await bill(database, town, "2026-02-01")
        again = await bill(database, town, "2026-02-01")
        assert (again.run_id, again.billed, again.total, again.repeated) == (
            first.run_id,
            3,
            first.total,
            True,
        )
        assert town.totals()["bills"] == 3
        assert town.rows("SELECT run_count FROM billing_task") == [{"run_count": 1}]

    async def test_a_second_task_bills_only_what_is_left(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection)
        other = town.task("0 0 0 15 * *")
        town.read("2026-01-15", "150")
        town.read("2026-02-01", "200")
        await BillingRuns(database).run(RunOrder(other, local("2026-01-15"), "scheduled", "mid"))
        report = await bill(database, town, "2026-02-01")
        assert report.billed == 3
        assert [one["quantity"] for one in town.bills()] == [50, 50]
        late = await BillingRuns(database).run(RunOrder(other, local("2026-02-01"), "manual", "again"))
        assert (late.billed, late.state) == (0, "succeeded")


class TestParking:
    async def test_one_without_a_reading_is_parked_and_billed_when_it_comes(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection)
        for number in (1, 2):
            town.read("2026-02-01", "200", device=town.device(number))
        report = await bill(database, town, "2026-02-01")
        assert (report.state, report.billed, report.parked) == ("partial", 2, 1)
        [exception] = town.rows("SELECT kind, parked, state, run_id FROM billing_exception")
        assert exception == {"kind": "no_reading", "parked": True, "state": "open", "run_id": report.run_id}
        town.read("2026-02-01", "230", device=town.device(3))
        again = await bill(database, town, "2026-02-01")
        assert (again.state, again.billed, again.parked) == ("succeeded", 3, 0)
        assert [one["quantity"] for one in town.bills(3)] == [130]
        assert town.rows("SELECT state, resolution FROM billing_exception") == [
            {"state": "resolved", "resolution": "billed"}
        ]

    async def test_a_meter_without_tariff_is_parked(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        town.db.execute("UPDATE tariff_assignment SET valid_to = %s", [local("2026-01-20")])
        town.read("2026-02-01", "200")
        report = await bill(database, town, "2026-02-01")
        assert (report.state, report.billed, report.parked) == ("partial", 0, 1)
        assert town.rows("SELECT kind FROM billing_exception") == [{"kind": "no_tariff"}]

    async def test_whoever_makes_the_statement_fail_is_parked_alone(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 9)
        for number in range(1, 10):
            # what costs more than a charge can be
            total = "9e12" if number == 5 else "200"
            town.read(
                "2026-02-01", total if number != 5 else Decimal("999999999999"), device=town.device(number)
            )
        town.db.execute("ALTER TABLE tier DISABLE TRIGGER USER")
        town.db.execute("UPDATE tier SET price = 999999 WHERE upper_limit IS NULL")
        report = await bill(database, town, "2026-02-01")
        assert (report.state, report.billed, report.parked) == ("partial", 8, 1)
        [exception] = town.rows("SELECT kind, detail FROM billing_exception")
        assert exception["kind"] == "failed"
        assert "overflow" in exception["detail"]


class TestEstimates:
    async def test_an_estimate_too_high_comes_back_as_a_credit_on_the_next_bill(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        town.read("2026-02-01", "131")  # 31 in 31 days
        await bill(database, town, "2026-02-01")
        await bill(database, town, "2026-03-01")  # no reading: 28 more are estimated
        [_, estimated] = town.bills()
        assert (estimated["quantity"], estimated["charge"], estimated["flags"]) == (
            28,
            Decimal("14.00"),
            ["estimated"],
        )
        town.read("2026-04-01", "154.6")  # 0.4 a day since February, not 1
        report = await bill(database, town, "2026-04-01")
        assert report.adjusted == 1
        actual = town.bills()[2]
        # February was 28 x 0.4 = 11.2, 16.8 too much; March is 31 x 0.4 = 12.4
        assert actual["quantity"] == Decimal("12.4")
        assert town.lines(actual["id"]) == [
            ("TIER", "12.4", "0.5", "6.20"),
            ("TRUE_UP", "-16.8", "0", "-6.20"),
        ]
        assert actual["charge"] == 0
        assert actual["flags"] == ["corrected"]
        # 8.40 were too much, 6.20 of it are used up, the rest waits
        assert town.rows("SELECT corrects_bill_id, amount, open_amount, kind FROM adjustment") == [
            {
                "corrects_bill_id": estimated["id"],
                "amount": Decimal("-8.40"),
                "open_amount": Decimal("-2.20"),
                "kind": "TRUE_UP",
            }
        ]
        town.read("2026-05-01", "184.6")
        await bill(database, town, "2026-05-01")
        last = town.bills()[3]
        assert town.lines(last["id"]) == [("TIER", "30", "0.5", "15.00"), ("TRUE_UP", "-16.8", "0", "-2.20")]
        assert sum(one["charge"] for one in town.bills()) == Decimal("84.6") * Decimal("0.5")

    async def test_estimates_in_a_row_end_in_the_queue(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        town.read("2026-02-01", "131")
        for month in MONTHS_2026[:4]:
            assert (await bill(database, town, month)).billed == 1
        report = await bill(database, town, MONTHS_2026[4])
        assert (report.billed, report.parked) == (0, 1)
        assert town.rows("SELECT kind FROM billing_exception") == [{"kind": "too_many_estimates"}]
        # the actual reading settles all of it
        town.read(MONTHS_2026[5], "250")
        await bill(database, town, MONTHS_2026[5])
        bills = town.bills()
        assert bills[-1]["period_from"] == local(MONTHS_2026[3])
        corrected = town.one("SELECT sum(quantity) AS n FROM adjustment")
        assert sum(one["quantity"] for one in bills) + corrected == 150
        settled = sum(one["charge"] for one in bills)
        left = town.one("SELECT coalesce(sum(open_amount), 0) AS n FROM adjustment")
        # 150 x 0.5, but for the half cents of each bill
        assert abs(settled + left - 75) <= Decimal("0.005") * len(bills)


class TestLateReadings:
    async def test_a_late_reading_corrects_the_bill_it_belongs_to(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        for month, total in (("2026-02-01", "180"), ("2026-03-01", "350")):
            town.read(month, total)
            await bill(database, town, month)
        [first, second] = town.bills()
        # 80 x 0.5 = 40; 100 x 0.5 + 70 x 0.6 = 92
        assert (first["charge"], second["charge"]) == (40, 92)
        correct(town, "2026-02-01", "220")
        town.read("2026-04-01", "400")
        report = await bill(database, town, "2026-04-01")
        assert report.adjusted == 2
        third = town.bills()[2]
        # January was 120: 62 instead of 40; February 130: 68 instead of 92; the sum of both is -2
        assert town.lines(third["id"]) == [
            ("TIER", "50", "0.5", "25.00"),
            ("ADJUSTMENT", "40", "0", "22.00"),
            ("ADJUSTMENT", "-40", "0", "-24.00"),
        ]
        corrected = town.rows(
            """
            SELECT corrects_bill_id, from_at, to_at FROM bill_line WHERE kind = 'ADJUSTMENT' ORDER BY ordinal
            """
        )
        assert [row["corrects_bill_id"] for row in corrected] == [first["id"], second["id"]]
        assert (corrected[0]["from_at"], corrected[0]["to_at"]) == (local("2026-01-01"), local("2026-02-01"))
        # nothing is found twice
        town.db.execute(
            "INSERT INTO rerate_request VALUES (%s, '2026-01-01', now())", [third["service_point_id"]]
        )
        town.read("2026-05-01", "450")
        assert (await bill(database, town, "2026-05-01")).adjusted == 0

    async def test_a_retry_does_not_see_what_was_recorded_after_the_cutoff(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 2)
        town.read("2026-02-01", "200", device=town.device(1))
        report = await bill(database, town, "2026-02-01")
        town.db.execute(
            "UPDATE billing_run SET state = 'running', finished_at = NULL"
        )  # as a killed one leaves it
        town.read("2026-02-01", "300", device=town.device(2))
        again = await bill(database, town, "2026-02-01")
        assert (again.run_id, again.billed, again.parked) == (report.run_id, 1, 1)


class TestTogether:
    async def test_two_runs_over_one_project_bill_each_meter_once(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 3000)
        other = town.task("0 0 12 1 * *")
        town.read_spread("2026-02-01", 1)
        runs = [BillingRuns(database) for _ in range(3)]
        orders = [
            RunOrder(town.definition_id, local("2026-02-01"), "scheduled", "a"),
            RunOrder(other, local("2026-02-01"), "scheduled", "b"),
            RunOrder(town.definition_id, local("2026-02-01"), "scheduled", "c"),
        ]
        reports = await asyncio.gather(*(one.run(order) for one, order in zip(runs, orders, strict=True)))
        assert {report.state for report in reports} == {"succeeded"}
        totals = town.totals()
        assert (totals["bills"], totals["points"]) == (3000, 3000)
        assert town.one("SELECT sum(billed)::int AS n FROM billing_run") == 3000

    async def test_a_bill_that_overlaps_is_refused_by_the_database(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        town.read("2026-02-01", "200")
        await bill(database, town, "2026-02-01")
        with pytest.raises(psycopg.errors.ExclusionViolation):
            town.db.execute(
                """
                INSERT INTO bill
                SELECT (jsonb_populate_record(bill, jsonb_build_object('id', nextval('bill_id')))).* FROM bill
                """
            )


async def test_killed_in_the_middle_every_meter_is_billed_once(
    database: Database, database_url: str, connection: psycopg.Connection
) -> None:
    """kill -9 of the process that bills 50,000 meters, then a retry: as if nothing had happened."""
    towns = [Town(connection, 50_000, project_id=project) for project in ("7", "8")]
    for town in towns:
        town.read_spread("2026-02-01", 1)
    connection.execute("ANALYZE")
    killed, undisturbed = towns
    process = subprocess.Popen(
        [*child_argv(), sys.executable, "-c", BILL, str(killed.definition_id)],
        cwd=ROOT,
        env={**os.environ, "CARILLON_DATABASE_URL": database_url},
    )
    try:
        deadline = time.monotonic() + 120
        while not killed.totals()["bills"]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    halfway = killed.totals()["bills"]
    assert 0 < halfway < 50_000
    reports = [await bill(database, town, "2026-02-01") for town in (killed, undisturbed)]
    assert [report.billed for report in reports] == [50_000, 50_000]
    assert reports[0].total == reports[1].total
    assert killed.totals() == undisturbed.totals()
    assert killed.totals()["points"] == 50_000


BILL = """
import asyncio, sys
from datetime import datetime
from include.billing.runs import BillingRuns, RunOrder
from include.kit.db import Database, database_url

async def main():
    database = await Database(database_url()).open()
    due_at = datetime.fromisoformat("2026-02-01T00:00:00+08:00")
    await BillingRuns(database).run(RunOrder(int(sys.argv[1]), due_at, "scheduled", "killed"))

asyncio.run(main())
"""


def correct(town: Town, when: str, total: str) -> None:
    """Correct the reading of a moment, as the readings API does it."""
    at: datetime = local(when)
    town.db.execute(
        """
        INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality,
                             supersedes_id)
        SELECT register_id, installation_id, read_at, %s, %s, 'correction', 'edited', id
        FROM reading WHERE read_at = %s
        """,
        [total, total, at],
    )
    town.db.execute(
        """
        INSERT INTO rerate_request (service_point_id, since, requested_at)
        SELECT id, %s, now() FROM service_point
        """,
        [local("2026-01-01")],
    )


class TestOldRuns:
    async def test_what_is_recorded_after_the_cutoff_waits_for_the_next_run(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        for month, total in (("2026-02-01", "180"), ("2026-03-01", "250")):
            town.read(month, total)
        await bill(database, town, "2026-02-01")
        await bill(database, town, "2026-03-01")
        # killed before its first chunk, taken up again after the correction
        connection.execute("ALTER TABLE bill DISABLE TRIGGER USER")
        connection.execute("DELETE FROM bill WHERE period_to = %s", [local("2026-03-01")])
        connection.execute(
            "UPDATE billing_run SET state = 'running', finished_at = NULL, billed = 0 WHERE id = 2"
        )
        correct(town, "2026-02-01", "120")
        again = await bill(database, town, "2026-03-01")
        assert (again.billed, again.adjusted) == (1, 0)
        assert town.one("SELECT count(*) AS n FROM rerate_request") == 1
        town.read("2026-04-01", "300")
        assert (await bill(database, town, "2026-04-01")).adjusted == 2
        corrected = town.one("SELECT sum(quantity) AS n FROM adjustment")
        assert corrected == 0  # what January had too much, February had too little
        assert [one["quantity"] for one in town.rows("SELECT quantity FROM adjustment ORDER BY id")] == [
            -60,
            60,
        ]

    async def test_an_old_run_leaves_newer_bills_alone(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1)
        town.read("2026-02-01", "131")
        await bill(database, town, "2026-02-01")
        connection.execute("UPDATE billing_run SET state = 'running', finished_at = NULL")
        town.read("2026-03-01", "190")
        await BillingRuns(database).run(
            RunOrder(town.task("0 0 12 1 * *"), local("2026-03-01"), "manual", "newer")
        )
        town.db.execute(
            "INSERT INTO rerate_request SELECT id, '2026-01-01', now() - interval '1 day' FROM service_point"
        )
        again = await bill(database, town, "2026-02-01")
        assert (again.adjusted, again.billed) == (0, 1)
        assert town.one("SELECT count(*) AS n FROM adjustment") == 0


class TestTariffsByMoment:
    async def test_an_own_tariff_holds_from_its_beginning_only(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 2)
        town.read("2026-02-01", "200")
        own = town.one(
            """
            INSERT INTO tariff (project_id, key, name, commodity) VALUES ('7', 'O', 'o', 'electricity')
            RETURNING id
            """
        )
        version = town.one(
            """
            INSERT INTO tariff_version (tariff_id, effective_from, frame, mode, energy_price)
            VALUES (%s, '2000-01-01', 'MONTH', 'ADDER', 2) RETURNING id
            """,
            own,
        )
        assert version
        connection.execute(
            """
            INSERT INTO tariff_assignment (project_id, tariff_id, service_point_id, commodity, valid_from)
            SELECT '7', %s, min(id), 'electricity', %s FROM service_point
            """,
            [own, local("2026-02-01")],
        )
        assert (await bill(database, town, "2026-02-01")).parked == 0
        assert [one["charge"] for one in town.bills()] == [50]
        town.read("2026-03-01", "300")
        await bill(database, town, "2026-03-01")
        assert [one["charge"] for one in town.bills(1)] == [50, 200]
        assert [one["charge"] for one in town.bills(2)] == [50, 50]

    async def test_a_bill_that_cannot_be_priced_any_more_holds_up_the_next(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 2)
        town.read("2026-02-01", "200")
        await bill(database, town, "2026-02-01")
        correct(town, "2026-02-01", "180")
        connection.execute("UPDATE tariff_assignment SET valid_from = %s", [local("2026-02-01")])
        town.read("2026-03-01", "300")
        report = await bill(database, town, "2026-03-01")
        assert (report.state, report.billed, report.parked) == ("partial", 0, 2)
        assert town.one("SELECT count(*) AS n FROM rerate_request") == 2
        [detail] = {
            row["detail"] for row in town.rows("SELECT left(detail, 5) AS detail FROM billing_exception")
        }
        assert detail == "bill "
        connection.execute("UPDATE tariff_assignment SET valid_from = '2000-01-01'")
        settled = await bill(database, town, "2026-03-01")
        assert (settled.state, settled.billed, settled.adjusted) == ("succeeded", 2, 2)


class TestWithoutAMeter:
    async def test_time_without_a_meter_costs_nothing(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 1, minimum_charge=30)
        town.read("2026-01-11", "140", source="remove")
        connection.execute("UPDATE meter_installation SET valid_to = %s", [local("2026-01-11")])
        await bill(database, town, "2026-02-01")
        [removed] = town.bills()
        # 40 kWh at 0.5 to 32.26 kWh (10 of 31 days of 100), then 0.6; the minimum of 10 days is 9.68
        assert removed["charge"] == Decimal("16.13") + Decimal("4.65")
        assert (await bill(database, town, "2026-03-01")).billed == 0

    async def test_one_absurd_reading_stops_nobody_else(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 3, tiers=[("100", "0.5"), (None, "99999")])
        town.read("2026-02-01", "200")
        await bill(database, town, "2026-02-01")
        connection.execute("UPDATE tariff_assignment SET valid_to = 'infinity'")
        correct(town, "2026-02-01", "200")
        connection.execute("ALTER TABLE reading DISABLE TRIGGER USER")
        connection.execute(
            """
            UPDATE reading SET total = 999999999999, value = 999999999999
            WHERE source = 'correction' AND id = (SELECT max(id) FROM reading)
            """
        )
        town.read("2026-03-01", "250")
        report = await bill(database, town, "2026-03-01")
        assert (report.state, report.billed, report.parked) == ("partial", 2, 1)

    async def test_distinct_beginnings_are_parked_and_billed_once(
        self, database: Database, connection: psycopg.Connection
    ) -> None:
        town = Town(connection, 6)
        connection.execute("ALTER TABLE reading DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE meter_installation SET valid_from = valid_from + meter_id % 5 * interval '1 hour'"
        )
        connection.execute(
            """
            UPDATE reading r SET read_at = i.valid_from
            FROM meter_installation i WHERE i.id = r.installation_id
            """
        )
        for number in range(1, 6):
            town.read("2026-02-01", "200", device=town.device(number))
        report = await bill(database, town, "2026-02-01")
        assert (report.billed, report.parked) == (5, 1)
