"""The billing demo: its towns, its instants, its words."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from api_plugin.billing_scheduler.schemas import CreateBody
from api_plugin.management.metering_schemas import Bulk, RulesBody
from include.cron import parse_billing_crontab
from include.demo.billing import Again, Billed, Story, crontab_of, next_minute
from include.demo.billing_report import document, lines, run_seconds, totals, wrong
from include.demo.town import MODULUS, Town, Year, plan_towns
from include.errors import StartupError
from include.metering.rows import MeterFields, OccupancyRow, PartyRow, ReplaceFields, ServicePointRow
from include.tariffs.model import (
    AssignmentFields,
    TariffFields,
    VersionFields,
    make_version,
    version_problems,
)

ZONE = ZoneInfo("Asia/Shanghai")
TODAY = date(2026, 11, 22)


@pytest.fixture
def towns() -> list[Town]:
    return plan_towns(TODAY, ZONE, 17, meters=30)


class TestYear:
    def test_it_ends_today(self) -> None:
        year = Year.before(TODAY, ZONE)
        assert year.starts == datetime(2025, 11, 22, tzinfo=ZONE)
        assert year.boundaries[0] == datetime(2025, 12, 1, tzinfo=ZONE)
        assert year.boundaries[-2:] == (
            datetime(2026, 11, 1, tzinfo=ZONE),
            datetime(2026, 11, 22, tzinfo=ZONE),
        )
        assert len(year.boundaries) == 13

    @pytest.mark.parametrize(
        ("today", "starts", "count"),
        [
            (date(2026, 11, 1), date(2025, 11, 1), 12),  # the last first of the month is today
            (date(2028, 2, 29), date(2027, 2, 28), 13),
            (date(2027, 1, 1), date(2026, 1, 1), 12),
        ],
    )
    def test_days_of_the_calendar(self, today: date, starts: date, count: int) -> None:
        year = Year.before(today, ZONE)
        assert year.starts.date() == starts
        assert len(year.boundaries) == len(set(year.boundaries)) == count
        assert sorted(year.boundaries) == list(year.boundaries)
        assert year.boundaries[-1].date() == today


class TestTowns:
    def test_what_is_sent_is_what_the_api_takes(self, towns: list[Town]) -> None:
        for town in towns:
            RulesBody.model_validate(town.rules)
            TariffFields.model_validate(town.tariff)
            version = make_version(VersionFields.model_validate(town.version), ZONE)
            assert version_problems(version) == []
            AssignmentFields.model_validate({"tariff": "home", **town.assignment})
            Bulk[ServicePointRow].model_validate({"items": town.points})
            Bulk[PartyRow].model_validate({"items": town.parties})
            Bulk[OccupancyRow].model_validate({"items": town.occupancies})
        replacement = towns[1].replacement
        assert replacement is not None
        MeterFields.model_validate(replacement.meter)
        ReplaceFields.model_validate(replacement.body)

    def test_a_thousand_meters_each(self) -> None:
        water, power = plan_towns(TODAY, ZONE, 17)
        assert len(water.points) + len(power.points) == 2000
        assert len(water.readings) == 13_000
        assert len({point["device_id"] for point in water.points}) == 1000
        assert (water.project_id, power.project_id) == ("171", "172")

    def test_the_seed_is_fixed_and_the_projects_are_not(self, towns: list[Town]) -> None:
        again = plan_towns(TODAY, ZONE, 18, meters=30)
        assert [town.points for town in again] == [town.points for town in towns]
        assert [town.readings for town in again] == [town.readings for town in towns]
        assert not {town.project_id for town in again} & {town.project_id for town in towns}

    def test_one_of_each(self, towns: list[Town]) -> None:
        water, power = towns
        five = water.specials["household of five"]
        family = [one for one in water.occupancies if one["service_point"] == five]
        [point] = [one for one in water.points if one["key"] == five]
        assert point["persons"] + sum(one["persons"] for one in family) == 5
        assert {one["party"] for one in water.occupancies} == {one["key"] for one in water.parties}
        assert falls(water) == {water.specials["rollover"], water.specials["misread"]}
        assert falls(power) == set()
        counts = Counter(row["device_id"] for row in power.readings)
        assert counts[device_of(power, power.specials["estimate"])] == 12
        kinds = Counter(point["subtype"] for point in water.points)
        assert sorted(kinds.values()) == [1, 29]

    def test_the_replaced_meter_hands_over(self, towns: list[Town]) -> None:
        power = towns[1]
        replacement = power.replacement
        assert replacement is not None
        at = datetime.fromisoformat(replacement.body["replaced_at"])
        old = [
            row for row in power.readings if row["device_id"] == device_of(power, replacement.service_point)
        ]
        assert max(datetime.fromisoformat(row["read_at"]) for row in old) < at
        assert min(datetime.fromisoformat(row["read_at"]) for row in replacement.readings) > at
        assert Decimal(old[-1]["value"]) <= Decimal(replacement.body["final_readings"]["TOTAL"])
        assert Decimal(replacement.readings[0]["value"]) >= 0
        assert len(old) + len(replacement.readings) == 13

    def test_a_row_is_counted_once(self, towns: list[Town]) -> None:
        assert towns[0].rows == 30 + 30 * 13 + 4 + 4
        assert towns[1].rows == 30 + 30 * 13 - 1  # one was not read


def falls(town: Town) -> set[str]:
    """Return the service points whose meters show less than they did before."""
    keys = {point["device_id"]: point["key"] for point in town.points}
    shown = {point["device_id"]: Decimal(point["initial_reading"]) for point in town.points}
    found = set()
    for row in town.readings:
        value = Decimal(row["value"])
        assert 0 <= value < MODULUS
        if value < shown[row["device_id"]]:
            found.add(keys[row["device_id"]])
        shown[row["device_id"]] = value
    return found


def device_of(town: Town, key: str) -> str:
    return next(str(point["device_id"]) for point in town.points if point["key"] == key)


class TestInstant:
    @pytest.mark.parametrize(
        ("now", "minute"),
        [("03:04:05", "03:05"), ("03:04:49", "03:05"), ("03:04:50", "03:06"), ("03:59:58", "04:01")],
    )
    def test_it_is_the_next_minute_that_is_not_too_near(self, now: str, minute: str) -> None:
        moment = datetime.fromisoformat(f"2026-11-22T{now}+00:00")
        local = next_minute(moment, ZONE)
        assert local.astimezone(UTC).isoformat() == f"2026-11-22T{minute}:00+00:00"

    def test_not_just_before_midnight(self) -> None:
        with pytest.raises(StartupError, match="the day ends soon in Asia/Shanghai"):
            next_minute(datetime(2026, 11, 22, 15, 54, tzinfo=UTC), ZONE)
        next_minute(datetime(2026, 11, 22, 15, 40, tzinfo=UTC), ZONE)

    def test_the_crontab_is_one_of_document_000(self) -> None:
        local = datetime(2026, 11, 22, 14, 51, tzinfo=ZONE)
        crontab = crontab_of(local)
        body = {"name": "demo", "project_id": 171, "device_type": 1, "crontab": crontab}
        CreateBody.model_validate(body)
        now = datetime(2026, 11, 22, 6, 50, 30, tzinfo=UTC)
        cron = parse_billing_crontab(crontab, zone=ZONE.key, month_end="clamp", now=now)
        assert cron.next_after(now) == local
        assert cron.next_after(local) == local.replace(year=2027)


def told(towns: list[Town]) -> Story:
    """Return a story in which everything went well."""
    flags = [["rollover", "estimated"], ["replaced"]]
    billed = []
    for town, of_bill in zip(towns, flags, strict=True):
        points = len(town.points) - town.parked
        bill = {"charge": "12.30", "quantity": "4", "unit": "m3", "flags": of_bill, "key": "k"}
        keys = [point["key"] for point in town.points][town.parked :]
        run = {
            "billed": points,
            "parked": town.parked,
            "state": "succeeded",
            "started_at": "2026-11-22T06:51:01Z",
            "finished_at": "2026-11-22T06:51:03.500Z",
        }
        bills = {key: {**bill, "service_point": key, "opening": "1", "closing": "5"} for key in keys}
        billed.append(Billed(town, {"natrual_key": "n"}, run, bills))
    again = {town.project_id: Again(len(town.points), len(town.points), True) for town in towns}
    return Story(
        billed, datetime(2026, 11, 22, 14, 51, tzinfo=ZONE), "billing.1", "http://h/x", tries=2, again=again
    )


class TestReport:
    def test_all_is_well(self, towns: list[Town]) -> None:
        story = told(towns)
        assert wrong(story) == []
        assert totals(story).row_count == 2
        assert run_seconds(story.billed[0]) == 2.5
        found = document(story, "http://h", 99.96)
        assert found["seconds"] == 100.0
        assert [one["charges"] for one in found["projects"]] == ["356.70", "369.00"]
        text = "\n".join(lines(story, "http://h"))
        assert "0 new bills: 30 before, 30 after, the very same ones" in text
        assert "Of all bills 30 replaced, 29 rollover, 29 estimated." in text

    def test_what_is_not_is_told(self, towns: list[Town]) -> None:
        story = told(towns)
        water, power = story.billed
        water.run = {**(water.run or {}), "parked": 2}
        power.bills = {}
        story.again[power.town.project_id] = Again(30, 31, False)
        story.tries = 1
        assert wrong(story) == [
            "project 171: 29 billed, 2 parked of 30",
            "project 172: the second run changed the bills: Again(before=30, after=31, same=False)",
            "Airflow ran the billing 1 times, not 2",
            "no bill is replaced",
        ]
        assert "1 new bills: 30 before, 31 after, NOT the same ones" in "\n".join(lines(story, ""))

    def test_before_it_ran(self, towns: list[Town]) -> None:
        waiting = Billed(towns[0], {})
        assert (waiting.ended, waiting.done, run_seconds(waiting)) == (False, 0, 0.0)
        waiting.run = {"state": "running", "billed": 3, "parked": 1, "finished_at": None}
        assert (waiting.ended, waiting.done, run_seconds(waiting)) == (False, 4, 0.0)
