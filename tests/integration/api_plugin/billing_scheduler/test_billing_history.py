"""The bills of document 000: /history/ and /history/time/."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from include.bills.model import BillFilter, DateSpan
from include.bills.service import bills_of_span
from tests.billing_rows import (
    Place,
    at,
    copy_bill,
    insert_bill,
    insert_installation,
    insert_place,
    insert_project,
    insert_service_point,
    tally_bills,
)
from tests.builders import make_token
from tests.integration.api_plugin.billing_scheduler.billing_wire import forbidden, refused

WHOLE = "must be a whole number"
SPAN = "start_date=2019-9-21&end_date=2019-11-21"


def month(number: int, year: int = 2019) -> dict[str, datetime]:
    """The period of a bill that ends on the first of a month."""
    begin = f"{year - (number == 1)}-{(number - 2) % 12 + 1:02d}-01T00:00:00"
    return {"period_from": at(begin), "period_to": at(f"{year}-{number:02d}-01T00:00:00")}


def ends(bills: list[dict[str, Any]]) -> list[str]:
    return [bill["to_time"][:10] for bill in bills]


@pytest.fixture
def power(connection: psycopg.Connection) -> Place:
    return insert_place(connection, device_id="000090502121")


@pytest.fixture
def water(connection: psycopg.Connection) -> Place:
    return insert_place(connection, device_id="000000000007", commodity="water", subtype="自来水表")


class TestHistory:
    async def page(self, client, **query: Any) -> dict[str, Any]:
        answer = await client.get("/history/", params={"project_id": 42, "device_type": 0, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def test_200_either_spelling_of_the_path(self, client):
        for path in ("/history/", "/history"):
            answer = await client.get(f"{path}?project_id=42&device_type=0")
            assert answer.json() == {
                "meta": {"code": 0, "message": "info list"},
                "data": {"count": 0, "page_size": 10, "next": None, "previous": None, "results": []},
            }

    async def test_200_by_type_and_newest_first(self, client, connection, power, water):
        for place, months in ((power, (3, 5)), (water, (2, 4))):
            for number in months:
                insert_bill(connection, place, **month(number))
        for code, days in (
            (0, ["2019-05-01", "2019-04-01", "2019-03-01", "2019-02-01"]),
            (1, ["2019-04-01", "2019-02-01"]),
            (2, ["2019-05-01", "2019-03-01"]),
        ):
            data = await self.page(client, device_type=code)
            assert (ends(data["results"]), data["count"]) == (days, len(days))
        types = [bill["device_type"] for bill in (await self.page(client))["results"]]
        assert types == [2, 1, 2, 1]

    async def test_200_pages(self, client, connection, power, water):
        for number in range(1, 6):
            insert_bill(connection, (power, water)[number % 2], **month(number))
        pages = [
            (1, ["2019-05-01", "2019-04-01"], True, None),
            (2, ["2019-03-01", "2019-02-01"], True, True),
            (3, ["2019-01-01"], None, True),
            (4, [], None, True),
            (92233720368547758, [], None, True),
        ]
        for number, days, following, previous in pages:
            data = await self.page(client, page=number, page_size=2)
            assert ends(data.pop("results")) == days
            assert data == {"count": 5, "page_size": 2, "next": following, "previous": previous}

    async def test_200_bills_of_one_moment_have_one_order(self, client, connection):
        for _ in range(5):
            insert_bill(connection, insert_place(connection), **month(5))
        seen = [
            (await self.page(client, page=number, page_size=1))["results"][0]["id"] for number in range(1, 6)
        ]
        assert seen == sorted(seen, reverse=True)
        assert len(set(seen)) == 5

    async def test_200_of_one_device(self, client, connection, power, water):
        other = insert_place(connection)
        for number in (3, 4, 5):
            insert_bill(connection, power, **month(number))
            insert_bill(connection, other, **month(number))
        data = await self.page(client, device_id="000090502121", page_size=2)
        assert ends(data["results"]) == ["2019-05-01", "2019-04-01"]
        assert (data["count"], data["next"]) == (3, True)
        assert {bill["device_id"] for bill in data["results"]} == {"000090502121"}
        assert (await self.page(client, device_id="000090502121", device_type=1))["count"] == 0
        for unknown in ("90502121", "0000905021210", "000090502121 ", "%", "x" * 128):
            assert (await self.page(client, device_id=unknown))["count"] == 0, unknown
        assert (await self.page(client, device_id=""))["count"] == 6

    async def test_200_a_device_that_was_moved_or_replaced(self, client, connection, power):
        """A bill belongs to the meter in place at its end, wherever that meter was installed."""
        insert_bill(connection, power, **month(3))
        insert_bill(connection, power, **month(4), device_id="the one after it")
        premise_id = connection.execute("SELECT id FROM premise").fetchone()["id"]
        elsewhere = insert_service_point(connection, premise_id)
        connection.execute("UPDATE meter_installation SET valid_to = %s", [at("2019-03-15T00:00:00")])
        insert_installation(connection, power.meter_id, elsewhere, valid_from=at("2019-03-15T00:00:00"))
        moved = Place("42", elsewhere, power.meter_id, power.device_id, "electricity", None)
        insert_bill(connection, moved, **month(5))
        data = await self.page(client, device_id=power.device_id)
        assert (ends(data["results"]), data["count"]) == (["2019-05-01", "2019-03-01"], 2)

    async def test_200_only_final_bills_of_the_project(self, client, connection, power):
        insert_bill(connection, power, **month(3))
        insert_bill(connection, power, **month(4), state="void")
        insert_bill(connection, power, **month(4))
        insert_bill(connection, power, **month(5), state="draft")
        elsewhere = insert_place(connection, project_id="49", device_id=power.device_id)
        insert_bill(connection, elsewhere, **month(6))
        for query in ({}, {"device_id": power.device_id}):
            data = await self.page(client, **query)
            assert (ends(data["results"]), data["count"]) == (["2019-04-01", "2019-03-01"], 2)

    async def test_200_the_count_is_the_tally(self, client, connection, power):
        insert_bill(connection, power, **month(3))
        tally_bills(connection, "42", "electricity", 999_999)
        data = await self.page(client)
        assert (data["count"], data["next"], len(data["results"])) == (1_000_000, True, 1)

    async def test_200_what_is_ours(self, client, connection, water):
        insert_bill(
            connection,
            water,
            **month(3),
            quantity="114.9551",
            opening=None,
            closing=None,
            charge="0",
            flags=["estimated", "first"],
            created_at=at("2019-03-01T00:00:07"),
        )
        [bill] = (await self.page(client))["results"]
        assert bill == {
            "id": f"{int(at('2019-03-01T00:00:07').timestamp()):x}{1:016x}",
            "device_id": "000000000007",
            "device_type": 1,
            "charge": "0.00",
            "reading_data": "114.96",
            "from_time": "2019-02-01T00:00:00",
            "to_time": "2019-03-01T00:00:00",
            "created_at": "2019-03-01T00:00:07",
            "consumption": "114.9551",
            "opening_reading": None,
            "closing_reading": None,
            "unit": "m3",
            "state": "final",
            "flags": ["estimated", "first"],
        }

    async def test_200_readings_as_the_project_wants_them(self, client, connection, power, water):
        readings = {"previous_quantity": "7", "quantity": "20", "opening": "100.005", "closing": "120.005"}
        insert_bill(connection, power, **month(3), **readings)
        insert_bill(connection, water, **month(3), **{**readings, "opening": None, "closing": None})
        for mode, shown in (("quantity", "20.00"), ("register", "120.01"), ("remaining", "20.00")):
            connection.execute("DELETE FROM billing_project")
            insert_project(connection, reading_mode=mode)
            [bill] = (await self.page(client, device_type=2))["results"]
            assert (bill["reading_data"], bill["consumption"]) == (shown, "20.00"), mode
        connection.execute("UPDATE billing_project SET reading_mode = 'register'")
        [without_register] = (await self.page(client, device_type=1))["results"]
        assert without_register["reading_data"] == "20.00"

    async def test_200_times_by_the_clocks_of_the_project(self, client, connection, power):
        insert_project(connection, timezone="America/New_York")
        insert_bill(connection, power, **month(3))
        [bill] = (await self.page(client))["results"]
        assert (bill["from_time"], bill["to_time"]) == ("2019-01-31T11:00:00", "2019-02-28T11:00:00")

    BAD = (
        ("device_type=0", "project_id: is required"),
        ("project_id=42", "device_type: is required"),
        ("project_id=x&device_type=0", f"project_id: {WHOLE}"),
        ("project_id=42&device_type=3", "device_type: must be 0 (all), 1 (water) or 2 (electricity)"),
        ("project_id=42&device_type=10", "device_type: must be 0 (all), 1 (water) or 2 (electricity)"),
        ("project_id=42&device_type=1.0", f"device_type: {WHOLE}"),
        ("project_id=42&device_type=0&page=0", "page: must be greater than or equal to 1"),
        ("project_id=42&device_type=0&page=-1", f"page: {WHOLE}"),
        ("project_id=42&device_type=0&page_size=10000", "page_size: must be less than or equal to 100"),
        ("project_id=42&device_type=0&page_size=0", "page_size: must be greater than or equal to 1"),
        ("project_id=42&device_type=0&page_size=ten", f"page_size: {WHOLE}"),
        ("project_id=42&device_type=0&device_id=a%00b", "device_id: must not contain NUL characters"),
        (f"project_id=42&device_type=0&device_id={'x' * 129}", "device_id: must have at most 128 characters"),
    )

    async def test_400_names_the_parameter(self, client):
        for query, message in self.BAD:
            answer = await client.get(f"/history/?{query}")
            assert (answer.status_code, answer.json()) == (400, refused(message)), query

    async def test_403_a_project_of_somebody_else(self, stranger, connection, power):
        for more in ("", "&device_id=000090502121"):
            answer = await stranger.get(f"/history/?project_id=42&device_type=0{more}")
            assert (answer.status_code, answer.json()) == (403, forbidden(42))


class TestHistoryOfASpan:
    async def bills(self, client, **query: Any) -> list[dict[str, Any]]:
        given = {"project_id": 42, "device_type": 10, "start_date": "2019-9-21", "end_date": "2019-11-21"}
        answer = await client.get("/history/time/", params={**given, **query})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert (body["meta"], list(body)) == ({"code": 0, "message": "success"}, ["meta", "data"])
        return body["data"]

    async def test_200_either_spelling_of_the_path(self, client):
        for path in ("/history/time/", "/history/time"):
            answer = await client.get(f"{path}?project_id=42&device_type=10&{SPAN}")
            assert answer.json() == {"meta": {"code": 0, "message": "success"}, "data": []}

    async def test_200_codes_of_this_list_in_and_out(self, client, connection, power, water):
        insert_bill(connection, power, **month(10))
        insert_bill(connection, water, **month(11))
        for code, types in ((10, [1, 0]), (0, [0]), (1, [1])):
            assert [bill["device_type"] for bill in await self.bills(client, device_type=code)] == types

    async def test_200_both_dates_count_and_padding_does_not(self, client, connection, power):
        for number in (9, 10, 11):
            insert_bill(connection, power, **month(number))
        last = {"period_from": at("2019-11-01T00:00:00"), "period_to": at("2019-11-30T23:59:59")}
        insert_bill(connection, power, **last)
        for start, end, days in (
            ("2019-9-1", "2019-11-30", ["2019-11-30", "2019-11-01", "2019-10-01", "2019-09-01"]),
            ("2019-09-02", "2019-11-29", ["2019-11-01", "2019-10-01"]),
            ("2019-10-1", "2019-10-01", ["2019-10-01"]),
            ("2019-10-2", "2019-10-31", []),
            ("2018-10-28", "2019-12-1", ["2019-11-30", "2019-11-01", "2019-10-01", "2019-09-01"]),
        ):
            for query in ({}, {"device_id": power.device_id}):
                assert ends(await self.bills(client, start_date=start, end_date=end, **query)) == days

    async def test_200_the_dates_are_those_of_the_project(self, client, connection, power):
        insert_project(connection, timezone="America/New_York")
        insert_bill(connection, power, **month(10))
        on_30th, on_1st = [
            await self.bills(client, start_date=day, end_date=day) for day in ("2019-9-30", "2019-10-1")
        ]
        assert [bill["to_time"] for bill in on_30th] == ["2019-09-30T12:00:00"]
        assert on_1st == []

    async def test_200_kinds_of_water(self, client, connection, power, water):
        pure = insert_place(connection, commodity="water", subtype="纯净水表")
        plain = insert_place(connection, commodity="water")
        for place in (power, water, pure, plain):
            insert_bill(connection, place, **month(10))
        names = {place.device_id: name for place, name in zip(
            (power, water, pure, plain), ("power", "tap", "pure", "plain"), strict=True
        )}  # fmt: skip
        for query, shown in (
            ({}, {"power", "tap", "pure", "plain"}),
            ({"wm_type": ""}, {"power", "tap", "pure", "plain"}),
            ({"wm_type": "自来水表"}, {"power", "tap"}),
            ({"wm_type": "纯净水表", "device_type": 1}, {"pure"}),
            ({"wm_type": "纯净水表", "device_type": 0}, {"power"}),
            ({"wm_type": "自来"}, {"power"}),
            ({"wm_type": "自来水表", "device_id": water.device_id}, {"tap"}),
            ({"wm_type": "纯净水表", "device_id": water.device_id}, set()),
            ({"wm_type": "纯净水表", "device_id": power.device_id}, {"power"}),
        ):
            bills = await self.bills(client, **query)
            assert {names[bill["device_id"]] for bill in bills} == shown, query

    async def test_200_only_final_bills_of_the_project(self, client, connection, power):
        insert_bill(connection, power, **month(10), state="void")
        insert_bill(connection, power, **month(11), state="draft")
        elsewhere = insert_place(connection, project_id="49", device_id=power.device_id)
        insert_bill(connection, elsewhere, **month(10))
        assert await self.bills(client) == []
        assert await self.bills(client, device_id=power.device_id) == []

    async def test_200_who_shares_it(self, client, connection, power):
        insert_bill(connection, power, **month(10), shares=[("甲", "1"), ("乙", "2"), ("丙", "")])
        insert_bill(connection, power, **month(11))
        nobody, three = await self.bills(client)
        assert (nobody["residents"], nobody["shares"]) == ([], [])
        assert three["residents"] == [
            {"name": "甲", "cellphone": "1"},
            {"name": "乙", "cellphone": "2"},
            {"name": "丙", "cellphone": ""},
        ]
        assert three["shares"] == [{"weight": "1", "amount": "20.00"}] * 3
        assert three["charge"] == "60.00"

    async def test_200_readings_as_the_project_wants_them(self, client, connection, power):
        insert_project(connection, reading_mode="register")
        insert_bill(
            connection, power, **month(10), previous_quantity="7", quantity="20", opening="100", closing="120"
        )
        [bill] = await self.bills(client)
        assert (bill["previous_reading_data"], bill["reading_data"]) == ("100.00", "120.00")
        connection.execute("UPDATE billing_project SET reading_mode = 'quantity'")
        [bill] = await self.bills(client)
        assert (bill["previous_reading_data"], bill["reading_data"]) == ("7.00", "20.00")

    @pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
    async def test_200_pieces_join_to_one_answer(self, client, connection, monkeypatch, size):
        monkeypatch.setattr("include.bills.service.PIECE", size)
        places = [
            insert_place(connection, commodity=commodity) for commodity in ("water", "electricity", "water")
        ]
        ids = [insert_bill(connection, place, **month(number)) for number in (10, 11) for place in places]
        numbers = [int(bill["id"][8:], 16) for bill in await self.bills(client)]
        assert numbers == [*sorted(ids[3:], reverse=True), *sorted(ids[:3], reverse=True)]
        device = places[0].device_id
        numbers = [int(bill["id"][8:], 16) for bill in await self.bills(client, device_id=device)]
        assert numbers == [ids[3], ids[0]]

    async def test_200_a_long_answer_is_read_piece_by_piece(self, client, database, connection, power):
        """2,500 bills are three pieces, and while the client reads no connection is held."""
        hour = {"period_from": at("2019-07-01T08:00:00"), "period_to": at("2019-07-01T09:00:00")}
        first = insert_bill(connection, power, **hour, charge="0")
        copy_bill(connection, first, 2499, timedelta(hours=1))
        span, wanted = DateSpan(date(2019, 7, 1), date(2019, 12, 31)), BillFilter("42", ["electricity"])
        sizes = []
        async for piece in bills_of_span(database, wanted, span):
            sizes.append(len(piece))
            busy = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'idle in transaction'"
            assert connection.execute(busy).fetchone() == {"n": 0}
        assert sizes == [1000, 1000, 500]
        bills = await self.bills(client, start_date="2019-7-1", end_date="2019-12-31")
        assert [bill["charge"] for bill in bills] == [f"{number}.00" for number in range(2499, -1, -1)]

    BAD = (
        (f"device_type=10&{SPAN}", "project_id: is required"),
        (f"project_id=42&{SPAN}", "device_type: is required"),
        ("project_id=42&device_type=10&end_date=2019-11-21", "start_date: is required"),
        ("project_id=42&device_type=10&start_date=2019-9-21", "end_date: is required"),
        (
            f"project_id=42&device_type=2&{SPAN}",
            "device_type: must be 10 (all), 0 (electricity) or 1 (water)",
        ),
        (
            f"project_id=42&device_type=3&{SPAN}",
            "device_type: must be 10 (all), 0 (electricity) or 1 (water)",
        ),
        (f"project_id=42&device_type=x&{SPAN}", f"device_type: {WHOLE}"),
        (f"project_id=x&device_type=10&{SPAN}", f"project_id: {WHOLE}"),
        (f"project_id=42&device_type=10&device_id=%00&{SPAN}", "device_id: must not contain NUL characters"),
        (f"project_id=42&device_type=10&wm_type=%00&{SPAN}", "wm_type: must not contain NUL characters"),
        (
            f"project_id=42&device_type=10&wm_type={'x' * 65}&{SPAN}",
            "wm_type: must have at most 64 characters",
        ),
    )

    BAD_DATES = (
        ("2023-02-29", "2023-3-1", "start_date: is not a date of the calendar"),
        ("2023-2-1", "2023-2-29", "end_date: is not a date of the calendar"),
        ("2019-13-1", "2019-12-1", "start_date: is not a date of the calendar"),
        ("0000-1-1", "2019-12-1", "start_date: is not a date of the calendar"),
        ("2019-9-31", "2019-11-21", "start_date: is not a date of the calendar"),
        ("2019/9/21", "2019-11-21", "start_date: must be a date such as 2019-9-21"),
        ("2019-9-21T00:00:00", "2019-11-21", "start_date: must be a date such as 2019-9-21"),
        ("20190921", "2019-11-21", "start_date: must be a date such as 2019-9-21"),
        ("2019-009-21", "2019-11-21", "start_date: must be a date such as 2019-9-21"),
        ("", "2019-11-21", "start_date: must be a date such as 2019-9-21"),
        ("1569024000", "2019-11-21", "start_date: must be a date such as 2019-9-21"),
        ("2019-11-22", "2019-11-21", "end_date: 2019-11-21 lies before start_date 2019-11-22"),
        ("2019-1-1", "2020-2-5", "end_date: is more than 400 days from start_date"),
    )

    async def test_400_names_the_parameter(self, client):
        for query, message in self.BAD:
            answer = await client.get(f"/history/time/?{query}")
            assert (answer.status_code, answer.json()) == (400, refused(message)), query

    async def test_400_names_the_date(self, client):
        for start, end, message in self.BAD_DATES:
            query = {"project_id": 42, "device_type": 10, "start_date": start, "end_date": end}
            answer = await client.get("/history/time/", params=query)
            assert (answer.status_code, answer.json()) == (400, refused(message)), (start, end)

    async def test_200_400_days_and_the_end_of_the_calendar(self, client):
        for start, end in (("2019-1-1", "2020-2-4"), ("9999-12-30", "9999-12-31"), ("0001-1-1", "0001-1-2")):
            assert await self.bills(client, start_date=start, end_date=end) == []
        leap_day = await self.bills(client, start_date="2024-2-29", end_date="2024-02-29")
        assert leap_day == []

    async def test_403_a_project_of_somebody_else(self, stranger, connection, power):
        for more in ("", "&device_id=000090502121"):
            answer = await stranger.get(f"/history/time/?project_id=42&device_type=10&{SPAN}{more}")
            assert (answer.status_code, answer.json()) == (403, forbidden(42))

    async def test_200_a_token_of_all_projects(self, client_of, database, connection, power):
        insert_bill(connection, power, **month(10))
        everyone = await client_of("billing", await make_token(database))
        assert len(await self.bills(everyone)) == 1
