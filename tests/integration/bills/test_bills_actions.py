"""Void, make again, adjust, make final: what becomes of bills, adjustments, tally and audit."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from include.billing.repository import BillingRepository
from include.bills.actions import BillActions
from include.bills.records import BillRef
from include.errors import ConflictError, NotFoundError
from tests.billing_rows import PROJECT
from tests.integration.bills.metered import Metered, insert_tariff, midnight, tally

JANUARY, FEBRUARY, MARCH = (
    ("2026-01-01", "2026-02-01"),
    ("2026-02-01", "2026-03-01"),
    ("2026-03-01", "2026-04-01"),
)


@pytest.fixture
def home(connection):
    """Reads 100 a month from January on; a unit is 0.50."""
    insert_tariff(connection)
    return metered(connection)


def metered(connection):
    home = Metered(connection)
    for month in range(1, 6):
        home.reads(f"2026-{month:02}-01", (month - 1) * 100)
    return home


async def act(database, work, projects=None):
    async with database.transaction() as connection:
        return await work(BillActions(connection, projects=projects, actor="tester"))


def ref(bill_id):
    return BillRef(str(bill_id), bill_id)


async def void(database, bill_id, **scope):
    return await act(database, lambda actions: actions.void(ref(bill_id), "wrong"), **scope)


async def regenerate(database, bill_id, **scope):
    return await act(database, lambda actions: actions.regenerate(ref(bill_id), "wrong"), **scope)


async def adjust(database, bill_id, amount, quantity="0", **scope):
    return await act(
        database,
        lambda actions: actions.adjust(ref(bill_id), Decimal(amount), Decimal(quantity), "goodwill"),
        **scope,
    )


async def finalize(database, bill_id):
    return await act(database, lambda actions: actions.finalize(ref(bill_id)))


def waiting(home):
    return [(row["kind"], str(row["amount"]), str(row["open_amount"])) for row in home.adjustments()]


class TestVoid:
    async def test_the_period_is_billed_again(self, database, connection, home):
        await home.bill(database, *JANUARY)
        bill_id = await home.bill(database, *FEBRUARY)
        assert tally(connection) == 2
        assert (await void(database, bill_id)).state == "void"
        assert tally(connection) == 1
        again = await home.bill(database, *FEBRUARY)
        assert again != bill_id
        assert tally(connection) == 2
        assert [row["state"] for row in home.bills()] == ["final", "void", "final"]

    async def test_audit(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        await void(database, bill_id)
        [entry] = home.audit(bill_id)
        assert (entry["action"], entry["actor"], entry["project_id"]) == ("void", "tester", PROJECT)
        assert entry["detail"] == {"reason": "wrong", "charge": "50.00", "reopened": [], "cancelled": []}

    async def test_409_not_the_latest(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        later = await home.bill(database, *FEBRUARY)
        with pytest.raises(ConflictError, match=f"bill {later} follows it.*regenerate"):
            await void(database, bill_id)

    async def test_409_void_already(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        await void(database, bill_id)
        with pytest.raises(ConflictError, match=f"bill {bill_id} is void"):
            await void(database, bill_id)
        assert len(home.audit(bill_id)) == 1

    async def test_404_of_a_foreign_project(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        with pytest.raises(NotFoundError):
            await void(database, bill_id, projects=["other"])

    async def test_what_it_carried_waits_for_another_bill(self, database, home):
        first = await home.bill(database, *JANUARY)
        await adjust(database, first, "-80", "-7")
        bill_id = await home.bill(database, *FEBRUARY)
        assert waiting(home) == [("CREDIT", "-80.00", "-30.00")]
        assert home.adjustments()[0]["first_bill_id"] == bill_id
        await void(database, bill_id)
        assert waiting(home) == [("CREDIT", "-80.00", "-80.00")]
        assert home.adjustments()[0]["first_bill_id"] is None

    async def test_differences_found_in_it_are_cancelled_and_decisions_stay(self, database, home, connection):
        bill_id = await home.bill(database, *JANUARY)
        await adjust(database, bill_id, "-5")
        connection.execute(
            """
            INSERT INTO adjustment (project_id, service_point_id, corrects_bill_id, kind, quantity, amount,
                                    open_amount, reason, detail, cutoff, created_at)
            VALUES ('42', %s, %s, 'TRUE_UP', 3, 1.5, 1.5, 'found', '{}', now(), now())
            """,
            [home.id, bill_id],
        )
        await void(database, bill_id)
        assert waiting(home) == [("CREDIT", "-5.00", "-5.00"), ("TRUE_UP", "1.50", "0.00")]
        assert "cancelled" in home.adjustments()[1]["detail"]
        again = await home.bill(database, *JANUARY)
        assert home.lines(again) == [("ENERGY", "TOTAL", "50.00"), ("ADJUSTMENT", "CREDIT", "-5.00")]

    async def test_a_quantity_that_a_person_decided_on_counts_no_more(self, database, connection):
        insert_tariff(connection, ("250", "0"), (None, "1"), frame="YEAR")
        home = metered(connection)
        bill_id = await home.bill(database, *JANUARY)
        await adjust(database, bill_id, "-5", "-40")
        await void(database, bill_id)
        await home.bill(database, *JANUARY)
        await home.bill(database, *FEBRUARY)
        assert home.bills()[-1]["year_quantity"] == 200

    async def test_a_draft_is_not_in_the_tally(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        assert tally(connection) == 0
        await void(database, bill_id)
        assert tally(connection) == 0

    async def test_a_draft_that_a_run_makes_final_meanwhile_leaves_the_tally(
        self, database, connection, home
    ):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        async with database.transaction() as run:
            await make_final(run)
            waiting = asyncio.ensure_future(void(database, bill_id))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        assert (await waiting).state == "void"
        assert tally(connection) == 0


class TestRegenerate:
    async def test_the_latest(self, database, connection, home):
        await home.bill(database, *JANUARY)
        bill_id = await home.bill(database, *FEBRUARY, run_id=7)
        home.corrects(home_reading(home, "2026-03-01"), 190)
        made = await regenerate(database, bill_id)
        assert (made.state, made.original_bill_id, made.run_id) == ("final", bill_id, 7)
        assert (made.period_from, made.period_to) == (midnight("2026-02-01"), midnight("2026-03-01"))
        assert (made.quantity, made.charge) == (90, Decimal("45.00"))
        assert (made.months, made.coverage) == (1, 1)
        assert [row["state"] for row in home.bills()] == ["final", "void", "final"]
        assert tally(connection) == 2
        assert waiting(home) == []
        assert connection.execute("SELECT * FROM rerate_request").fetchall() == []

    async def test_audit(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        made = await regenerate(database, bill_id)
        [old], [new] = home.audit(bill_id), home.audit(made.id)
        assert (old["action"], old["actor"]) == ("regenerate", "tester")
        assert old["detail"] == {
            "reason": "wrong",
            "charge": "50.00",
            "made": made.id,
            "charge_now": "50.00",
            "cancelled": [],
            "moved": [],
            "settled_by": [],
        }
        assert (new["action"], new["detail"]) == ("made_again", {"reason": "wrong", "original": bill_id})

    async def test_the_same_readings_make_the_same_bill(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        await regenerate(database, bill_id)
        old, new = home.bills()
        same = ("quantity", "charge", "year_quantity", "input_hash", "months", "coverage", "flags")
        assert [old[name] for name in same] == [new[name] for name in same]

    async def test_what_it_carried_is_on_the_new_one(self, database, home):
        first = await home.bill(database, *JANUARY)
        await adjust(database, first, "-20")
        bill_id = await home.bill(database, *FEBRUARY)
        made = await regenerate(database, bill_id)
        assert home.lines(made.id) == [("ENERGY", "TOTAL", "50.00"), ("ADJUSTMENT", "CREDIT", "-20.00")]
        assert waiting(home) == [("CREDIT", "-20.00", "0.00")]
        assert home.adjustments()[0]["first_bill_id"] == made.id

    async def test_in_the_middle_later_bills_stay_and_are_looked_at_again(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY)
        later = await home.bill(database, *FEBRUARY)
        made = await regenerate(database, bill_id)
        assert [(row["id"], row["state"]) for row in home.bills()] == [
            (bill_id, "void"),
            (later, "final"),
            (made.id, "final"),
        ]
        [request] = connection.execute("SELECT * FROM rerate_request").fetchall()
        assert (request["service_point_id"], request["since"]) == (home.id, midnight("2026-02-01"))

    async def test_in_the_middle_it_does_not_carry_what_waits_for_the_next_bill(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        later = await home.bill(database, *FEBRUARY)
        await adjust(database, later, "-20", "-3")
        made = await regenerate(database, bill_id)
        assert home.lines(made.id) == [("ENERGY", "TOTAL", "50.00")]
        assert waiting(home) == [("CREDIT", "-20.00", "-20.00")]
        assert home.adjustments()[0]["first_bill_id"] is None
        following = await home.bill(database, *MARCH)
        assert home.lines(following) == [("ENERGY", "TOTAL", "50.00"), ("ADJUSTMENT", "CREDIT", "-20.00")]

    async def test_409_void_already(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        made = await regenerate(database, bill_id)
        with pytest.raises(ConflictError, match=f"is void; bill {made.id} stands for it"):
            await regenerate(database, bill_id)

    async def test_409_nothing_to_bill_from(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY)
        connection.execute("DELETE FROM tariff_assignment")
        with pytest.raises(ConflictError, match="cannot be billed now: no_tariff"):
            await regenerate(database, bill_id)
        assert [row["state"] for row in home.bills()] == ["final"]
        assert home.audit(bill_id) == []
        assert tally(connection) == 1

    async def test_409_what_the_columns_cannot_hold(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY)
        home.corrects(home_reading(home, "2026-02-01"), 10**11)
        connection.execute("UPDATE register SET multiplier = 100")
        with pytest.raises(ConflictError, match="cannot be billed now: numeric field overflow"):
            await regenerate(database, bill_id)
        assert [row["state"] for row in home.bills()] == ["final"]
        assert home.audit(bill_id) == []
        assert tally(connection) == 1

    @pytest.mark.parametrize("later", [False, True], ids=["latest", "middle"])
    async def test_what_a_person_decided_on_is_of_the_new_one(self, database, home, later):
        bill_id = await home.bill(database, *JANUARY)
        await adjust(database, bill_id, "-20", "-3")
        if later:
            await home.bill(database, *FEBRUARY)
        made = await regenerate(database, bill_id)
        [row] = home.adjustments()
        assert (row["corrects_bill_id"], row["quantity"], row["open_amount"]) == (made.id, -3, 0)
        assert home.audit(bill_id)[-1]["detail"]["moved"] == [row["id"]]
        assert sum(bill["charge"] for bill in home.bills("final")) == (80 if later else 30)

    async def test_a_draft_stays_one(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        assert (await regenerate(database, bill_id)).state == "draft"
        assert tally(connection) == 0


class TestRegenerateAfterCorrections:
    """A bill whose corrections are on a later one: nobody pays or gets anything twice."""

    async def corrected(self, database, home):
        """January was 50.00, is 45.00; the difference is on February."""
        january = await home.bill(database, *JANUARY)
        home.corrects(home_reading(home, "2026-02-01"), 90)
        home.connection.execute(
            "INSERT INTO rerate_request VALUES (%s, %s, now())", [home.id, midnight("2026-01-01")]
        )
        february = await home.bill(database, *FEBRUARY)
        return january, february

    async def test_it_is_taken_back(self, database, home):
        january, february = await self.corrected(database, home)
        assert home.lines(february) == [("ENERGY", "TOTAL", "55.00"), ("ADJUSTMENT", "CREDIT", "-5.00")]
        made = await regenerate(database, january)
        assert made.charge == Decimal("45.00")
        march = await home.bill(database, *MARCH)
        assert home.lines(march) == [("ENERGY", "TOTAL", "50.00"), ("ADJUSTMENT", "DEBIT", "5.00")]
        assert sum(row["charge"] for row in home.bills("final")) == Decimal("150.00")

    async def test_no_later_run_finds_it_again(self, database, home, connection):
        january, _ = await self.corrected(database, home)
        await regenerate(database, january)
        await home.bill(database, *MARCH)
        connection.execute(
            "INSERT INTO rerate_request VALUES (%s, %s, now())", [home.id, midnight("2026-01-01")]
        )
        april = await home.bill(database, "2026-04-01", "2026-05-01")
        assert home.lines(april) == [("ENERGY", "TOTAL", "50.00")]
        assert sum(row["charge"] for row in home.bills("final")) == Decimal("200.00")


class TestCountOfTheYear:
    """Tiers by the year see what the year really used, whatever was made again in the middle."""

    @pytest.fixture
    def home(self, connection):
        insert_tariff(connection, ("250", "0"), (None, "1"), frame="YEAR")
        return metered(connection)

    @pytest.mark.parametrize("corrected_before", [False, True])
    async def test_the_next_bill_counts_the_new_quantity(self, database, connection, home, corrected_before):
        january = await home.bill(database, *JANUARY)
        if corrected_before:
            home.corrects(home_reading(home, "2026-01-01"), 5)
            self.request(connection, home)
            await home.bill(database, *FEBRUARY)
            home.corrects(last_reading(home, "2026-01-01"), 20)
        else:
            await home.bill(database, *FEBRUARY)
            home.corrects(home_reading(home, "2026-01-01"), 20)
        made = await regenerate(database, january)
        assert made.quantity == 80
        march = await home.bill(database, *MARCH)
        self.check(home, march, 280)
        self.request(connection, home)
        april = await home.bill(database, "2026-04-01", "2026-05-01")
        self.check(home, april, 380)
        # 380 units at 0.50, 130 of them above 250
        assert sum(row["charge"] for row in home.bills("final")) == Decimal("320.00")

    def request(self, connection, home):
        connection.execute(
            "INSERT INTO rerate_request VALUES (%s, %s, now())", [home.id, midnight("2026-01-01")]
        )

    def check(self, home, bill_id, year_quantity):
        bill = next(row for row in home.bills() if row["id"] == bill_id)
        assert bill["year_quantity"] == year_quantity

    async def test_of_another_year_it_does_not_count(self, database, home):
        home.reads("2026-12-01", 1000)
        home.reads("2027-01-01", 1100)
        home.reads("2027-02-01", 1200)
        home.reads("2027-03-01", 1300)
        bill_id = await home.bill(database, "2026-01-01", "2027-01-01")
        await home.bill(database, "2027-01-01", "2027-02-01")
        home.corrects(home_reading(home, "2026-01-01"), 50)
        await regenerate(database, bill_id)
        following = await home.bill(database, "2027-02-01", "2027-03-01")
        self.check(home, following, 200)


class TestAdjust:
    async def test_it_goes_on_the_next_bill(self, database, connection):
        insert_tariff(connection, ("250", "0"), (None, "1"), frame="YEAR")
        home = metered(connection)
        first = await home.bill(database, *JANUARY)
        adjustment_id = await adjust(database, first, "12.34", "3")
        [row] = home.adjustments()
        assert (row["id"], row["kind"], row["manual"], row["actor"]) == (
            adjustment_id,
            "DEBIT",
            True,
            "tester",
        )
        assert (row["amount"], row["open_amount"], row["quantity"]) == (Decimal("12.34"), Decimal("12.34"), 3)
        bill_id = await home.bill(database, *FEBRUARY)
        assert home.lines(bill_id)[-1] == ("ADJUSTMENT", "DEBIT", "12.34")
        assert home.bills()[-1]["year_quantity"] == 203

    async def test_with_a_quantity_later_bills_are_looked_at_again(self, database, connection, home):
        first = await home.bill(database, *JANUARY)
        await adjust(database, first, "12.34", "3")
        assert connection.execute("SELECT * FROM rerate_request").fetchall() == [], "there is none yet"
        await home.bill(database, *FEBRUARY)
        await adjust(database, first, "12.34")
        assert connection.execute("SELECT * FROM rerate_request").fetchall() == []
        await adjust(database, first, "12.34", "3")
        [request] = connection.execute("SELECT * FROM rerate_request").fetchall()
        assert (request["service_point_id"], request["since"]) == (home.id, midnight("2026-02-01"))

    async def test_a_credit_larger_than_the_next_bill_is_carried_on(self, database, home):
        first = await home.bill(database, *JANUARY)
        await adjust(database, first, "-120")
        charges, left = [], []
        for span in (FEBRUARY, MARCH, ("2026-04-01", "2026-05-01")):
            await home.bill(database, *span)
            charges.append(str(home.bills()[-1]["charge"]))
            left.append(str(home.adjustments()[0]["open_amount"]))
        assert charges == ["0.00", "0.00", "30.00"]
        assert left == ["-70.00", "-20.00", "0.00"]

    async def test_no_run_takes_it_back(self, database, connection, home):
        first = await home.bill(database, *JANUARY)
        await adjust(database, first, "-10")
        connection.execute(
            "INSERT INTO rerate_request VALUES (%s, %s, now())", [home.id, midnight("2026-01-01")]
        )
        await home.bill(database, *FEBRUARY)
        assert waiting(home) == [("CREDIT", "-10.00", "0.00")]

    async def test_audit(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        adjustment_id = await adjust(database, bill_id, "-10")
        [entry] = home.audit(bill_id)
        assert entry["action"] == "adjust"
        assert entry["detail"] == {
            "reason": "goodwill",
            "adjustment": adjustment_id,
            "amount": "-10",
            "quantity": "0",
        }

    async def test_409_void_or_draft(self, database, home):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        with pytest.raises(ConflictError, match="is a draft"):
            await adjust(database, bill_id, "-10")
        await void(database, bill_id)
        with pytest.raises(ConflictError, match="is void"):
            await adjust(database, bill_id, "-10")


class TestFinalize:
    async def test_a_draft(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        assert (await finalize(database, bill_id)).state == "final"
        assert tally(connection) == 1
        assert [entry["action"] for entry in home.audit(bill_id)] == ["finalize"]

    async def test_409_final_already(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY)
        with pytest.raises(ConflictError, match="is final already"):
            await finalize(database, bill_id)
        assert tally(connection) == 1

    async def test_409_a_run_makes_it_final_meanwhile(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY, state="draft")
        async with database.transaction() as run:
            await make_final(run)
            waiting = asyncio.ensure_future(finalize(database, bill_id))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        with pytest.raises(ConflictError, match="is final already"):
            await waiting
        assert tally(connection) == 1


class TestLock:
    async def test_it_waits_for_a_run(self, database, home):
        bill_id = await home.bill(database, *JANUARY)
        async with database.transaction() as connection:
            await BillingRepository(connection).lock_points(PROJECT, "electricity", home.id, home.id)
            waiting = asyncio.ensure_future(void(database, bill_id))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        assert (await waiting).state == "void"

    async def test_of_two_at_once_one_is_refused(self, database, connection, home):
        bill_id = await home.bill(database, *JANUARY)
        ended = await asyncio.gather(
            regenerate(database, bill_id), regenerate(database, bill_id), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in ended) == ["BillRecord", "ConflictError"]
        assert tally(connection) == 1


async def make_final(run):
    """Make all drafts final as a run does: without the lock of those who write bills."""
    await run.execute("UPDATE bill SET state = 'final' WHERE state = 'draft'")
    await run.execute("INSERT INTO bill_tally VALUES (%s, 'electricity', 0, 1)", [PROJECT])


def home_reading(home, day):
    """The id of the reading of a midnight."""
    return home.connection.execute(
        "SELECT id FROM reading WHERE register_id = %s AND read_at = %s AND supersedes_id IS NULL",
        [home.register_id, midnight(day)],
    ).fetchone()["id"]


def last_reading(home, day):
    """The id of the latest correction of the reading of a midnight."""
    return home.connection.execute(
        "SELECT max(id) AS id FROM reading WHERE register_id = %s AND read_at = %s",
        [home.register_id, midnight(day)],
    ).fetchone()["id"]
