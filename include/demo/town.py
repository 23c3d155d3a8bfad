"""The two towns of the billing demo: made-up households with a year of meter readings. Pure.

Everything is drawn from a fixed seed, so that each demo bills the same; only the dates move on with the
calendar. A few households are there for something that happens to them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from include.billing.model import Commodity

SEED = 20_261
METERS = 1000
TAP_WATER, PURE_WATER = "自来水表", "纯净水表"

#: Meters of five digits show 0 again after 99,999.
DIGITS = 5
MODULUS = 10**DIGITS

SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许"
GIVEN_NAMES = ("安", "博文", "春华", "冬梅", "方圆", "海燕", "佳怡", "静", "立秋", "明月", "思远", "小雨")
COURTS = ("Alder Court", "Birch Court", "Cedar Court", "Damson Court", "Elm Court")

#: What is used a month, by the month of the year: gardens in summer; heating in winter, cooling in summer.
SEASONS: dict[Commodity, tuple[int, ...]] = {
    "water": (90, 85, 90, 100, 105, 115, 125, 125, 110, 100, 95, 90),
    "electricity": (130, 125, 100, 80, 75, 100, 140, 145, 105, 75, 85, 115),
}

WATER_VERSION: dict[str, Any] = {
    "frame": "YEAR",
    "mode": "ABSOLUTE",
    "persons_base": 4,
    "tiers": [
        {"upper_limit": "180", "price": "5.00", "persons_step": "2.5"},
        {"upper_limit": "260", "price": "7.00", "persons_step": "2.5"},
        {"upper_limit": None, "price": "9.00"},
    ],
}
POWER_VERSION: dict[str, Any] = {
    "frame": "YEAR",
    "mode": "ADDER",
    "tiers": [
        {"upper_limit": "2760", "price": "0"},
        {"upper_limit": "4800", "price": "0.05"},
        {"upper_limit": None, "price": "0.30"},
    ],
    "energy_price": "0.5283",
    "fixed_charges": [{"name": "meter rent", "basis": "DAY", "amount": "0.05"}],
    "tax_rules": [{"category": "ENERGY", "rate": "0.13", "inclusive": True}],
}


@dataclass(frozen=True)
class Replacement:
    """A meter that another one took the place of.

    :ivar meter: body of the new one
    :ivar body: of the replacement
    """

    service_point: str
    device_id: str
    meter: dict[str, Any]
    body: dict[str, Any]
    readings: list[dict[str, Any]]


@dataclass(frozen=True)
class Town:
    """What one project is loaded with, as bodies of the REST API.

    :ivar points: flat rows: service point, premise, meter and first resident
    :ivar readings: those of meters that are never replaced, and of the replaced one while it was there
    :ivar parked: how many service points cannot be billed
    :ivar specials: what happens to whom: a word -> key of the service point
    """

    project_id: str
    commodity: Commodity
    rules: dict[str, Any]
    tariff: dict[str, Any]
    version: dict[str, Any]
    assignment: dict[str, Any]
    points: list[dict[str, Any]]
    readings: list[dict[str, Any]]
    parties: list[dict[str, Any]] = field(default_factory=list)
    occupancies: list[dict[str, Any]] = field(default_factory=list)
    replacement: Replacement | None = None
    parked: int = 0
    specials: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows are sent."""
        more = len(self.replacement.readings) if self.replacement else 0
        return len(self.points) + len(self.readings) + len(self.parties) + len(self.occupancies) + more


@dataclass(frozen=True)
class Year:
    """The year up to a date's midnight, by the clocks of a zone.

    :ivar starts: when meters were installed
    :ivar boundaries: when they were read since: every first of the month, and at the end
    """

    starts: datetime
    boundaries: tuple[datetime, ...]

    @classmethod
    def before(cls, today: date, zone: ZoneInfo) -> Year:
        """Return the year that ends when `today` begins; from a 29 February it is a day longer."""
        day = 28 if (today.month, today.day) == (2, 29) else today.day
        first = date(today.year - 1, today.month, day)
        months = [(first.month + offset - 1) % 12 + 1 for offset in range(1, 13)]
        years = [first.year + (first.month + offset - 1) // 12 for offset in range(1, 13)]
        firsts = [date(year, month, 1) for year, month in zip(years, months, strict=True)]
        days = [one for one in firsts if first < one < today] + [today]
        return cls(_midnight(first, zone), tuple(_midnight(one, zone) for one in days))


def plan_towns(today: date, zone: ZoneInfo, number: int, *, meters: int = METERS) -> list[Town]:
    """Return the town that drinks and the town that glows.

    :param number: what their project ids begin with; nobody else's do
    :param meters: of each, 10 or more
    """
    year = Year.before(today, zone)
    return [
        _water(f"{number}1", year, meters, zone.key),
        _electricity(f"{number}2", year, meters, zone.key),
    ]


def _water(project_id: str, year: Year, meters: int, zone: str) -> Town:
    draw = random.Random(SEED)
    points = [_point("water", number, year, draw) for number in range(1, meters + 1)]
    five, turning, misread, pure = (points[index]["key"] for index in (2, 4, 6, 8))
    for point in points:
        point["subtype"] = PURE_WATER if point["key"] == pure else TAP_WATER
        if point["key"] == turning:
            point["initial_reading"] = f"{MODULUS - 60}.00"
    points[2]["persons"] = 5
    readings = _readings("water", points, year, draw, usual=lambda point: 2 + 3 * Decimal(point["persons"]))
    points[2]["persons"] = 1  # each of the five has a row
    last = _last_of(readings, points, misread)
    last["value"] = _shown(Decimal(last["value"]) / 10)  # a digit was left out
    parties, occupancies = _family(points[2], draw)
    return Town(
        project_id,
        "water",
        rules={"timezone": zone, "cut": "midnight"},
        tariff={"name": "居民自来水", "commodity": "water"},
        version={**WATER_VERSION, "effective_from": _day(year.starts)},
        assignment={"subtype": TAP_WATER, "from": _day(year.starts)},
        points=points,
        readings=readings,
        parties=parties,
        occupancies=occupancies,
        parked=1,
        specials={"household of five": five, "rollover": turning, "misread": misread, "no tariff": pure},
    )


def _electricity(project_id: str, year: Year, meters: int, zone: str) -> Town:
    draw = random.Random(SEED + 1)
    points = [_point("electricity", number, year, draw) for number in range(1, meters + 1)]
    replaced, unread = points[3], points[5]
    readings = _readings(
        "electricity", points, year, draw, usual=lambda point: Decimal(60 * point["persons"] + 70)
    )
    missing = _last_of(readings, points, unread["key"])
    readings = [row for row in readings if row is not missing]
    replacement = _replace(replaced, readings, year)
    after = {row["read_at"] for row in replacement.readings}
    readings = [
        row for row in readings if row["device_id"] != replaced["device_id"] or row["read_at"] not in after
    ]
    return Town(
        project_id,
        "electricity",
        rules={"timezone": zone, "cut": "midnight"},
        tariff={"name": "居民生活用电", "commodity": "electricity"},
        version={**POWER_VERSION, "effective_from": _day(year.starts)},
        assignment={"from": _day(year.starts)},
        points=points,
        readings=readings,
        replacement=replacement,
        specials={"replacement": replaced["key"], "estimate": unread["key"]},
    )


def _point(commodity: Commodity, number: int, year: Year, draw: random.Random) -> dict[str, Any]:
    """Return a household: where it is, its meter, and who lives there."""
    court = COURTS[number % len(COURTS)]
    letter = commodity[0].upper()
    return {
        "key": f"{commodity}-{number:04d}",
        "commodity": commodity,
        "address": [
            court,
            str(number // 100 + 1),
            str(number % 2 + 1),
            str(number % 30 + 1),
            f"{number:04d}",
        ],
        "device_id": f"{letter}{number:011d}",
        "digits": DIGITS,
        "installed_at": year.starts.isoformat(),
        "initial_reading": _shown(Decimal(draw.randrange(0, 20_000)) / 10),
        **_person(draw),
        "persons": draw.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 6)),
    }


def _person(draw: random.Random) -> dict[str, str]:
    """Return a made-up person; no telephone number begins like this one."""
    return {
        "name": draw.choice(SURNAMES) + draw.choice(GIVEN_NAMES),
        "cellphone": f"100{draw.randrange(10**8):08d}",
    }


def _family(point: dict[str, Any], draw: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the four who moved in with the first one, and what share of the bill is theirs."""
    parties = [{"key": f"{point['key']}-{number}", **_person(draw)} for number in range(2, 6)]
    occupancies = [
        {
            "service_point": point["key"],
            "party": party["key"],
            "moved_in_at": point["installed_at"],
            "persons": 1,
            "weight": weight,
        }
        for party, weight in zip(parties, ("1", "1", "0.5", "0.5"), strict=True)
    ]
    return parties, occupancies


def _readings(
    commodity: Commodity,
    points: Sequence[dict[str, Any]],
    year: Year,
    draw: random.Random,
    *,
    usual: Callable[[dict[str, Any]], Decimal],
) -> list[dict[str, Any]]:
    """Return what all meters show at each boundary, month by month as they were read.

    :param usual: what a household uses in a usual month
    """
    rows = []
    totals = [Decimal(point["initial_reading"]) for point in points]
    before = year.starts
    for moment in year.boundaries:
        season = Decimal(SEASONS[commodity][before.month - 1]) / 100
        part = Decimal((moment - before).days) / 30
        for index, point in enumerate(points):
            habit = Decimal(draw.randrange(70, 131)) / 100
            totals[index] += usual(point) * season * part * habit
            rows.append(
                {
                    "device_id": point["device_id"],
                    "read_at": moment.isoformat(),
                    "value": _shown(totals[index] % MODULUS),
                }
            )
        before = moment
    return rows


def _replace(point: dict[str, Any], readings: Sequence[dict[str, Any]], year: Year) -> Replacement:
    """Have another meter come on a day between two readings; it begins at 0."""
    mine = [row for row in readings if row["device_id"] == point["device_id"]]
    place = len(mine) // 2
    earlier, later = mine[place - 1], mine[place]
    at = year.boundaries[place - 1] + timedelta(days=12, hours=10)
    final = _shown((Decimal(earlier["value"]) * 3 + Decimal(later["value"]) * 2) / 5)
    device_id = f"{point['device_id']}-B"
    return Replacement(
        service_point=point["key"],
        device_id=device_id,
        meter={"commodity": point["commodity"], "registers": [{"kind": "TOTAL", "digits": DIGITS}]},
        body={
            "replaced_at": at.isoformat(),
            "final_readings": {"TOTAL": final},
            "device_id": device_id,
            "initial_readings": {"TOTAL": "0"},
        },
        readings=[
            {**row, "device_id": device_id, "value": _shown(Decimal(row["value"]) - Decimal(final))}
            for row in mine[place:]
        ],
    )


def _last_of(
    readings: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]], key: str
) -> dict[str, Any]:
    device_id = next(point["device_id"] for point in points if point["key"] == key)
    return next(row for row in reversed(readings) if row["device_id"] == device_id)


def _shown(value: Decimal) -> str:
    return f"{value:.2f}"


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
