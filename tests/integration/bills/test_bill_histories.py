"""Whatever is corrected, read late, made void or made again, and in whatever order: in the end what was
billed is the price of what was used, as if all had been known from the beginning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from include.billing.formula import price
from include.billing.model import Before, Period, PricedBill
from include.billing.repository import BillingRepository
from include.billing.runs import BillingRuns, RunOrder
from include.bills.actions import BillActions
from include.bills.records import read_bill_ref
from include.errors import ConflictError, InvalidRowsError
from include.readings.corrections import CorrectionService
from include.readings.service import ReadingService
from tests.integration.billing.town import Town, local

#: What a bill costs depends on all before it in the year, or on nothing before it.
YEAR = {"frame": "YEAR", "tiers": [("700", "0.5"), ("900", "0.7"), (None, "1.3")]}
MONTH = {"tiers": [("60", "0.5"), ("90", "0.7"), (None, "1.3")]}

#: A hundred units at 0.50 a year, each further one at 1.00.
SMALL_YEAR = {"frame": "YEAR", "tiers": [("100", "0.5"), (None, "1.0")]}

#: The ends of periods: more than one year of them.
ENDS = [f"2024-{month:02}-01" for month in range(2, 13)] + ["2025-01-01", "2025-02-01"]

LAST_SUPERSEDES = "NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = r.id)"


class History:
    """A town of one service point, and what happens to its bills."""

    def __init__(self, database, connection, **town):
        self.database = database
        self.town = Town(connection, 1, **town)

    async def bill(self, end):
        order = RunOrder(self.town.definition_id, local(end), "scheduled", f"run {end}")
        return await BillingRuns(self.database).run(order)

    async def read_and_bill(self, end, total):
        self.town.read(end, total)
        return await self.bill(end)

    async def correct(self, reading_id, value):
        async with self.database.transaction() as connection:
            await CorrectionService(connection, actor="x").correct(
                reading_id, Decimal(value), "wrong", force=True
            )

    async def correct_at(self, day, value):
        await self.correct(
            self.town.one(f"SELECT id FROM reading r WHERE read_at = %s AND {LAST_SUPERSEDES}", local(day)),
            value,
        )

    async def read_late(self, at, value):
        row = {"device_id": self.town.device(1), "read_at": at.isoformat(), "value": str(value)}
        async with self.database.transaction() as connection:
            await ReadingService(connection).add_bulk("7", [row])

    async def act(self, bill, action, *arguments):
        async with self.database.transaction() as connection:
            actions = BillActions(connection, projects=None, actor="x")
            return await getattr(actions, action)(read_bill_ref(str(bill["id"])), *arguments, "why")

    @property
    def settled(self):
        """The money that is on bills or will be, without what a person decided to give or take."""
        return self.town.one(
            """
            SELECT (SELECT sum(charge) FROM bill WHERE state <> 'void')
                   + (SELECT coalesce(sum(open_amount), 0) FROM adjustment)
                   - (SELECT coalesce(sum(amount), 0) FROM adjustment
                      WHERE manual AND NOT detail ? 'regenerated')
            """
        )

    @property
    def settled_quantity(self):
        """What is billed, with the differences that were found."""
        return self.town.one(
            """
            SELECT (SELECT sum(quantity) FROM bill WHERE state <> 'void')
                   + (SELECT coalesce(sum(a.quantity), 0)
                      FROM adjustment a JOIN bill b ON b.id = a.corrects_bill_id
                      WHERE NOT a.manual AND b.state <> 'void')
            """
        )

    async def from_scratch(self):
        """Return what all periods cost and measure, one after the other, with what is known now."""
        point = self.town.one("SELECT id FROM service_point")
        async with self.database.transaction() as connection:
            facts = (await BillingRepository(connection).load_facts([point], datetime.now(UTC)))[point]
        before, charge, quantity = None, Decimal(0), Decimal(0)
        for bill in self.town.bills():
            period = Period(bill["period_from"], bill["period_to"], bill["months"], bill["coverage"])
            priced = price(facts, period, before)
            assert isinstance(priced, PricedBill), priced
            charge += priced.charge
            quantity += priced.quantity
            pieces = tuple((one.from_at, one.quantity) for one in priced.quantities)
            granted = self.town.one(
                "SELECT coalesce(sum(quantity), 0) FROM adjustment WHERE manual AND corrects_bill_id = %s",
                bill["id"],
            )
            before = Before(
                bill["period_to"],
                priced.quantity,
                priced.estimates_in_a_row,
                (*(before.counted if before else ()), *pieces, (pieces[-1][0], granted)),
            )
        return charge, quantity


class TestRandomHistories:
    @pytest.mark.parametrize("seed", [*range(5), 8, 9])
    async def test_of_a_year(self, database, connection, seed):
        await self.check(database, connection, seed, YEAR)

    @pytest.mark.parametrize("seed", range(2))
    async def test_of_months(self, database, connection, seed):
        await self.check(database, connection, seed, MONTH)

    async def check(self, database, connection, seed, tariff):
        random = Random(seed)
        history = History(database, connection, installed="2024-01-01", **tariff)
        connection.execute(
            """
            INSERT INTO billing_project (project_id, timezone, grace_days, estimates_in_a_row)
            VALUES ('7', 'Asia/Shanghai', %s, 100)
            """,
            [random.choice([0, 0, 40])],
        )
        done = await self.live(history, random)
        await self.settle(history)
        assert (history.settled, history.settled_quantity) == await history.from_scratch(), done

    async def live(self, history, random):
        """Have months pass with all that may happen, and return what did."""
        done, level = [], Decimal(100)
        for end in ENDS:
            level += random.randint(40, 140)
            if random.random() < 0.75 or end == ENDS[-1]:
                history.town.read(end, level)
            await history.bill(end)
            for _ in range(random.choice([0, 1, 1, 2])):
                happens = random.choice(["correct", "late", "void", "regenerate", "regenerate", "adjust"])
                try:
                    await getattr(self, happens)(history, random, end)
                    done.append((end, happens))
                except (ConflictError, InvalidRowsError) as error:
                    done.append((end, happens, str(error)))
        return done

    async def settle(self, history):
        """Bill two months more without usage, so that all is looked at and nothing is estimated."""
        for end in ("2025-03-01", "2025-04-01"):
            total = history.town.one(
                f"SELECT total FROM reading r WHERE {LAST_SUPERSEDES} ORDER BY read_at DESC, id DESC LIMIT 1"
            )
            await history.read_and_bill(end, total)

    async def correct(self, history, random, end):
        rows = history.town.rows(
            f"SELECT id, value FROM reading r WHERE source <> 'install' AND {LAST_SUPERSEDES} ORDER BY id"
        )
        if rows:
            row = random.choice(rows)
            await history.correct(row["id"], max(Decimal(0), row["value"] + random.randint(-60, 60)))

    async def late(self, history, random, end):
        begin = local("2024-01-02")
        at = begin + timedelta(days=random.randint(0, (local(end) - begin).days), hours=5)
        if at < local(end):
            before = history.town.one(
                f"""
                SELECT value FROM reading r WHERE read_at <= %s AND {LAST_SUPERSEDES}
                ORDER BY read_at DESC, id DESC LIMIT 1
                """,
                at,
            )
            await history.read_late(at, before + random.randint(0, 40))

    async def void(self, history, random, end):
        for bill in history.town.bills()[-1:]:
            await history.act(bill, "void")

    async def regenerate(self, history, random, end):
        bills = history.town.bills()
        if bills:
            await history.act(random.choice(bills), "regenerate")

    async def adjust(self, history, random, end):
        bills = history.town.bills()
        if bills:
            amount, quantity = random.choice([-1, 1]) * random.randint(1, 30), random.randint(-30, 30)
            await history.act(random.choice(bills), "adjust", Decimal(amount), Decimal(quantity))


class TestCountOfTheYear:
    """A hundred units at 0.50 a year, each further one at 1.00; the meter begins at 100."""

    @pytest.fixture
    def history(self, database, connection):
        return History(database, connection, **SMALL_YEAR)

    async def test_a_bill_that_is_looked_at_twice(self, history):
        for end, total in (("2026-02-01", 150), ("2026-03-01", 190), ("2026-04-01", 230)):
            await history.read_and_bill(end, total)
        await history.correct_at("2026-03-01", 160)
        await history.read_and_bill("2026-05-01", 250)
        await history.read_late(local("2026-03-15"), 200)
        await history.read_and_bill("2026-06-01", 250)
        assert history.settled == Decimal("100.00")  # 150 units
        assert (history.settled, history.settled_quantity) == await history.from_scratch()

    async def test_a_correction_across_new_year(self, history):
        for end, total in (("2026-12-01", 150), ("2027-01-01", 200), ("2027-02-01", 280)):
            await history.read_and_bill(end, total)
        await history.correct_at("2027-01-01", 240)
        await history.read_and_bill("2027-03-01", 320)
        await history.read_and_bill("2027-04-01", 340)
        await history.correct_at("2027-03-01", 321)
        await history.read_and_bill("2027-05-01", 340)
        assert history.settled == Decimal("140.00")  # 140 units of 2026 cost 90.00, 100 of 2027 cost 50.00
        assert (history.settled, history.settled_quantity) == await history.from_scratch()

    async def test_the_quantity_that_a_person_decided_on_stays(self, history):
        await history.read_and_bill("2026-02-01", 200)
        await history.act(history.town.bills()[0], "adjust", Decimal(-20), Decimal(-40))
        await history.read_and_bill("2026-03-01", 230)
        await history.correct_at("2026-02-01", 201)
        await history.read_and_bill("2026-04-01", 240)
        # 51.00 of January; 61 are counted of it, so that 39 more cost 0.50
        assert history.settled == Decimal("70.50")
        assert sum(bill["charge"] for bill in history.town.bills()) == Decimal("50.50")
        assert (history.settled, history.settled_quantity) == await history.from_scratch()

    async def test_two_bills_made_again(self, history):
        await history.read_and_bill("2026-02-01", 150)
        await history.read_and_bill("2026-03-01", 200)
        await history.correct_at("2026-02-01", 130)
        await history.read_and_bill("2026-04-01", 200)
        for number in (0, 1):
            await history.act(history.town.bills()[number], "regenerate")
        await history.read_and_bill("2026-05-01", 210)
        await history.read_and_bill("2026-06-01", 210)
        assert history.settled == Decimal("60.00")  # 110 units
        assert (history.settled, history.settled_quantity) == await history.from_scratch()

    @pytest.mark.parametrize("times", [1, 2])
    @pytest.mark.parametrize("number", [0, 2], ids=["middle", "latest"])
    async def test_the_quantity_that_a_person_decided_on_of_a_bill_made_again(self, history, number, times):
        for end, total in (("2026-02-01", 150), ("2026-03-01", 170), ("2026-04-01", 190)):
            await history.read_and_bill(end, total)
        await history.act(history.town.bills()[number], "adjust", Decimal(-20), Decimal(-40))
        for _ in range(times):
            await history.act(history.town.bills()[number], "regenerate")
        await history.read_and_bill("2026-05-01", 240)
        # 140 units, 40 of which are not counted
        assert history.settled == Decimal("70.00")
        assert (history.settled, history.settled_quantity) == await history.from_scratch()

    async def test_a_void_bill_counts_nothing(self, history):
        await history.read_and_bill("2026-02-01", 150)
        await history.read_and_bill("2026-03-01", 190)
        await history.act(history.town.bills()[1], "adjust", Decimal(-5), Decimal(-40))
        await history.act(history.town.bills()[1], "void")
        await history.read_and_bill("2026-04-01", 210)
        [_, bill] = history.town.bills()
        assert (bill["quantity"], bill["year_quantity"], bill["charge"]) == (60, 110, Decimal("30.00"))

    async def test_tiers_by_the_month_have_no_count(self, database, connection):
        history = History(database, connection, tiers=SMALL_YEAR["tiers"])
        await history.read_and_bill("2026-02-01", 150)
        assert history.town.bills()[0]["year_quantity"] is None
