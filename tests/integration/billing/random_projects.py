"""Random projects: meters, readings, tariffs and households, written to a database from a seed."""

from __future__ import annotations

import json
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.billing.households import FOREVER, households
from include.billing.model import Occupancy

KINDS = ("TIP", "PEAK", "FLAT", "VALLEY", "DEEP")
LONG_AGO = datetime(2000, 1, 1, tzinfo=ZoneInfo("UTC"))


class RandomProject:
    """A project `1` of electricity with its data in the database.

    :ivar start: local midnight at which the first meters were installed
    """

    def __init__(self, connection: psycopg.Connection, seed: int, zone: str) -> None:
        self.db = connection
        self.random = random.Random(seed)
        self.zone = ZoneInfo(zone)
        self.start = self.local(2025, 10, self.random.choice([1, 1, 15]))
        connection.execute(
            "INSERT INTO billing_project (project_id, timezone, share_key) VALUES ('1', %s, %s)",
            [zone, self.random.choice(["weight", "persons", "equal"])],
        )
        self.readings: list[tuple[Any, ...]] = []
        self.premise = self.insert("premise", project_id="1", key="P", address=["a", "", "", "", "b"])
        self.parties = [
            self.insert(
                "party", project_id="1", key=f"R{n}", name=f"resident-{n}", cellphone=f"1380000000{n}"
            )
            for n in range(6)
        ]
        self.classes = [
            self.insert("usage_class", project_id="1", key=f"C{n}", daily_quantity=daily)
            for n, daily in enumerate(["3.5", "0.123457"])
        ]

    def local(self, year: int, month: int, day: int, hour: int = 0) -> datetime:
        return datetime(year, month, day, hour, tzinfo=self.zone).astimezone(ZoneInfo("UTC"))

    def insert(self, table: str, returning: str = "id", **values: Any) -> Any:
        statement = psycopg.sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            psycopg.sql.Identifier(table),
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values)),
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, values)),
            psycopg.sql.Identifier(returning),
        )
        row = self.db.execute(statement, values).fetchone()
        return row[returning] if isinstance(row, dict) else row[0]

    def decimal(self, low: float, high: float, places: int = 6) -> Decimal:
        scale = 10**places
        return Decimal(self.random.randint(int(low * scale), int(high * scale))).scaleb(-places)

    # --- tariffs

    def tariff(self, number: int) -> int:
        """Insert a tariff with one to three versions."""
        tariff = self.insert("tariff", project_id="1", key=f"T{number}", name="t", commodity="electricity")
        starts = [LONG_AGO]
        for _ in range(self.random.choice([0, 0, 1, 2])):
            day = date(2025, 10, 1) + timedelta(days=self.random.randint(1, 150))
            starts.append(self.local(day.year, day.month, day.day))
        for start in sorted(set(starts)):
            self.version(tariff, start)
        return tariff

    def version(self, tariff: int, effective_from: datetime) -> None:
        rnd = self.random
        mode = rnd.choice(["ADDER", "ABSOLUTE"])
        kinds = rnd.choice([(), (), ("PEAK", "VALLEY"), KINDS[:4], KINDS])
        version = self.insert(
            "tariff_version",
            tariff_id=tariff,
            effective_from=effective_from,
            frame=rnd.choice(["MONTH", "YEAR", "PERIOD"]),
            mode=mode,
            on_occupant_change=rnd.choice(["RESET", "CONTINUE"]),
            energy_price=self.decimal(0, 2),
            persons_base=rnd.randint(0, 4),
            minimum_charge=rnd.choice([Decimal(0), self.decimal(0, 300)]),
            holidays=[date(2026, 1, 1), date(2025, 10, 1)],
            weekend_is_holiday=rnd.random() < 0.5,
            recorded_at=LONG_AGO,
        )
        limits = sorted({self.decimal(1, 2000) for _ in range(rnd.randint(0, 3))})
        if mode == "ABSOLUTE" or rnd.random() < 0.7:
            step = rnd.choice([Decimal(0), Decimal(0), self.decimal(0, 30)])
            for ordinal, limit in enumerate([*limits, None], 1):
                prices = {kind: str(self.decimal(0, 2)) for kind in kinds if rnd.random() < 0.5}
                self.insert(
                    "tier",
                    "ordinal",
                    version_id=version,
                    ordinal=ordinal,
                    upper_limit=limit,
                    price=self.decimal(0, 3),
                    persons_step=Decimal(0) if limit is None else step,
                    kind_prices=json.dumps(prices) if prices and mode == "ABSOLUTE" else None,
                )
        for kind in kinds:
            self.insert("tou_price", "version_id", version_id=version, kind=kind, price=self.decimal(0, 2))
        if kinds:
            self.windows(version, kinds)
        for ordinal, basis in enumerate(rnd.sample(["DAY", "PERIOD"], rnd.randint(0, 2)), 1):
            self.insert(
                "fixed_charge",
                "version_id",
                version_id=version,
                ordinal=ordinal,
                name=f"charge {ordinal}",
                basis=basis,
                amount=self.decimal(0, 9),
            )
        for category in rnd.sample(["ENERGY", "FIXED", "MINIMUM"], rnd.randint(0, 3)):
            self.insert(
                "tax_rule",
                "version_id",
                version_id=version,
                category=category,
                rate=rnd.choice(["0.06", "0.13", "0.091"]),
                inclusive=rnd.random() < 0.5,
            )

    def windows(self, version: int, kinds: tuple[str, ...]) -> None:
        ordinal = 0
        seasons = self.random.choice([[(101, 1231)], [(501, 1031), (1101, 430)]])
        for season_from, season_to in seasons:
            for day_type in self.random.choice([("any",), ("weekday", "holiday")]):
                cuts = sorted(self.random.sample(range(1, 1440), self.random.randint(0, 4)))
                for begin, end in pairwise([0, *cuts, 1440]):
                    ordinal += 1
                    self.insert(
                        "tou_window",
                        "version_id",
                        version_id=version,
                        ordinal=ordinal,
                        season_from=season_from,
                        season_to=season_to,
                        day_type=day_type,
                        start_minute=begin,
                        end_minute=end,
                        kind=self.random.choice(kinds),
                    )

    def assign(self, tariff: int, **scope: Any) -> None:
        self.insert(
            "tariff_assignment",
            project_id="1",
            tariff_id=tariff,
            commodity="electricity",
            valid_from=LONG_AGO,
            **scope,
        )

    # --- service points

    def point(self, number: int, months: int) -> int:
        """Insert a service point with meters, readings over some months, and occupants."""
        rnd = self.random
        point = self.insert(
            "service_point",
            project_id="1",
            key=f"S{number}",
            premise_id=self.premise,
            commodity="electricity",
            subtype=rnd.choice([None, "a", "b"]),
            usage_class_id=rnd.choice([None, *self.classes]),
        )
        begin = self.start + timedelta(days=rnd.choice([0, 0, 0, rnd.randint(0, 50)]))
        span = timedelta(days=31 * months + 10)
        edges = [begin]
        if rnd.random() < 0.2:
            edges.append(begin + timedelta(hours=rnd.randint(1, 31 * 24 * months)))
        if rnd.random() < 0.1:
            edges.append(edges[-1] + timedelta(hours=rnd.randint(100, 3000)))
            self.installation(point, number, 0, *edges[:2], begin + span)
            if len(edges) == 3 and rnd.random() < 0.5:
                self.installation(point, number, 1, edges[1], edges[2], begin + span)
        else:
            for order, (start, end) in enumerate(pairwise([*edges, FOREVER])):
                self.installation(point, number, order, start, end, begin + span)
        self.occupants(point)
        return point

    def installation(
        self, point: int, number: int, order: int, start: datetime, end: datetime, until: datetime
    ) -> None:
        rnd = self.random
        meter = self.insert(
            "meter", project_id="1", device_id=f"M{number:06d}{order}", commodity="electricity"
        )
        place = self.insert(
            "meter_installation", meter_id=meter, service_point_id=point, valid_from=start, valid_to=end
        )
        kinds = rnd.choice([("TOTAL",), ("TOTAL",), ("PEAK", "VALLEY"), KINDS, ("TOTAL", *KINDS)])
        multiplier = rnd.choice([Decimal(1), Decimal(1), Decimal(40), Decimal("0.5")])
        modulus = rnd.choice([None, Decimal(1000), Decimal(100000)])
        style = rnd.choice(["monthly", "monthly", "daily", "hourly", "rare", "initial"])
        moments = self.moments(style, start, min(end, until))
        for kind in kinds:
            register = self.insert(
                "register", meter_id=meter, kind=kind, unit="kWh", multiplier=multiplier, modulus=modulus
            )
            total = self.decimal(0, 900, 2)
            last = len(moments) - 1
            for index, moment in enumerate(moments):
                if index:
                    total += rnd.choice([Decimal(0), self.decimal(0, 3, 3), self.decimal(0, 400, 3)])
                source = "install" if index == 0 else "remove" if end < FOREVER and index == last else "meter"
                self.reading(register, place, moment, total, modulus, source)

    def reading(
        self,
        register: int,
        place: int,
        moment: datetime,
        total: Decimal,
        modulus: Decimal | None,
        source: str,
    ) -> None:
        quality = "suspect" if source == "meter" and self.random.random() < 0.02 else "ok"
        value = total if modulus is None else total % modulus
        self.readings.append((register, place, moment, moment, value, total, source, quality))

    def write_readings(self) -> None:
        """Write what was collected; call it after the last service point."""
        columns = "register_id, installation_id, read_at, recorded_at, value, total, source, quality"
        with self.db.cursor().copy(f"COPY reading ({columns}) FROM STDIN") as copy:
            for row in self.readings:
                copy.write_row(row)
        self.readings.clear()

    def moments(self, style: str, start: datetime, end: datetime) -> list[datetime]:
        if end <= start:
            return [start]
        rnd = self.random
        found = {start, *self.regular(style, start, end)}
        if style == "rare":
            found |= {start + (end - start) * rnd.random() for _ in range(rnd.randint(0, 3))}
        month = self.start
        for _ in range(8):  # some are read at the boundary itself
            month = _next_month(month.astimezone(self.zone)).astimezone(ZoneInfo("UTC"))
            if start < month < end and rnd.random() < 0.6:
                found.add(month - timedelta(minutes=rnd.choice([0, 0, 45, 125])))
        found = {moment for moment in found if start <= moment <= end}
        if rnd.random() < 0.95:
            found.add(end)
        return sorted(moment.replace(microsecond=0) for moment in found)

    def regular(self, style: str, start: datetime, end: datetime) -> list[datetime]:
        """Readings at even distances, some a little off and some missing."""
        step = {"hourly": 1, "daily": 24, "monthly": 24 * 30}.get(style)
        if step is None:
            return []
        if style == "hourly":
            end = min(end, start + timedelta(days=70))
        count = int((end - start) / timedelta(hours=step))
        return [
            start + timedelta(hours=n * step, minutes=self.random.choice([0, 0, 0, -30, 17]))
            for n in range(1, count)
            if self.random.random() < 0.95
        ]

    def occupants(self, point: int) -> None:
        rnd = self.random
        rows = []
        for party in rnd.sample(self.parties, rnd.randint(0, 3)):
            begin = self.start + timedelta(hours=rnd.randint(-3000, 3000))
            end = rnd.choice([FOREVER, begin + timedelta(hours=rnd.randint(1, 3000))])
            occupancy = Occupancy(
                party, "", "", begin, end, rnd.randint(0, 5), rnd.choice([Decimal(1), self.decimal(0, 2)])
            )
            rows.append(occupancy)
            self.insert(
                "occupancy",
                service_point_id=point,
                party_id=party,
                valid_from=begin,
                valid_to=end,
                persons=occupancy.persons,
                weight=occupancy.weight,
            )
        for one in households(rows):
            self.insert(
                "household",
                "service_point_id",
                service_point_id=point,
                valid_from=one.valid_from,
                valid_to=one.valid_to,
                persons=one.persons,
                since=one.since,
            )


def _next_month(moment: datetime) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month, 12)
    return moment.replace(year=year, month=month + 1)
