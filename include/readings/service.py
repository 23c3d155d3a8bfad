"""Use cases on readings: record many at once, look at them, find those that are missing.

Whoever records readings holds the project's lock (`locks.py`) and those of the registers until commit, so
that batches for one register take turns and no cutoff of a billing run falls into the middle of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from include.billing.model import Commodity, Kind
from include.errors import InvalidInputError, InvalidRowsError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.readings.chains import Chain, doubtful_since, is_late, place_chain
from include.readings.locks import share_readings
from include.readings.model import (
    ROWS_MOST,
    BadRow,
    BulkReport,
    InstallationRow,
    MissingRow,
    NewReading,
    OnDecrease,
    OnDuplicate,
    OnSpike,
    Place,
    Placed,
    ReadingFilter,
    ReadingRow,
    ReadingRules,
    RegisterRow,
    Source,
    Stored,
)
from include.readings.repository import ReadingRepository
from include.readings.rerates import request_rerates
from include.readings.rows import ON_DECREASE, ON_DUPLICATE, ON_SPIKE, plain, read_rows

Placing = tuple[list[Placed], list[Placed]]


class ReadingService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    """

    def __init__(
        self, connection: Connection, *, projects: Sequence[str] | None = None, clock: Clock = system_clock
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.clock = clock
        self.repository = ReadingRepository(connection)

    async def add_bulk(
        self,
        project_id: str,
        rows: Sequence[Any],
        *,
        on_decrease: OnDecrease = "reject",
        on_duplicate: OnDuplicate = "reject",
        on_spike: OnSpike = "reject",
        on_invalid: Literal["reject", "leave_out"] = "reject",
        source: Source = "meter",
    ) -> BulkReport:
        """Record readings: all of them, or with an error none.

        :param rows: up to 10,000 of device_id, register, read_at, value, quality, source, top_up, note
        :param on_decrease: of a reading lower than the one before: refuse the batch, or store it as suspect
        :param on_duplicate: of one that is there already: refuse the batch, or skip one of the same value
        :param on_spike: of one that jumps beyond all measure: refuse the batch, store as suspect, or believe
        :param on_invalid: of a row that cannot be used: refuse the batch, or name it in the report
        :param source: of rows that do not name one
        :raises NotFoundError: no such project for this caller
        :raises InvalidRowsError: rows cannot be used; names each with its field
        """
        self._check_project(project_id)
        _check_options(rows, on_decrease, on_duplicate, on_spike)
        rules = await self.repository.project_rules(project_id)
        good, bad = read_rows(
            rows, zone=rules.zone, now=self.clock(), source=source, counts_down=rules.counts_down
        )
        if on_invalid == "reject":
            _refuse(bad)
        await share_readings(self.connection, project_id)
        found, unplaced = await self._find_places(project_id, good)
        chains = await self._load_chains(found)
        chains, duplicates, repeated = _without_duplicates(chains, skip=on_duplicate == "skip")
        bad += unplaced + repeated
        if on_invalid == "reject":
            _refuse(bad)
        fitting, unfit = await self._place(chains, rules, spikes=on_spike == "accept")
        options = {"reverse_read": on_decrease, "spike": on_spike}
        _refuse([_unfit_row(one) for one in unfit if one.fault and options[one.fault] == "reject"])
        await self._store(project_id, fitting, unfit)
        return BulkReport(
            accepted=len(fitting),
            duplicates=duplicates,
            quarantined=tuple(sorted(map(_unfit_row, unfit), key=lambda one: one.row)),
            late=sum(map(is_late, fitting)),
            refused=tuple(sorted(bad, key=lambda one: one.row)),
        )

    async def readings(
        self,
        project_id: str,
        device_id: str,
        conditions: ReadingFilter,
        *,
        before: tuple[datetime, int] | None,
        limit: int,
    ) -> list[ReadingRow]:
        """Return readings of a meter, the newest first. Raises NotFoundError."""
        self._check_project(project_id)
        meter_id = await self.repository.find_meter(project_id, device_id)
        if meter_id is None:
            raise NotFoundError(f"there is no meter {device_id!r} in project {project_id!r}")
        return await self.repository.list_readings(
            meter_id, device_id, conditions, before=before, limit=limit
        )

    async def missing(
        self, project_id: str, at: datetime, *, commodity: Commodity | None, after: int, limit: int
    ) -> list[MissingRow]:
        """Return meters of which a register has no reading within the tolerance before a boundary."""
        self._check_project(project_id)
        rules = await self.repository.project_rules(project_id)
        return await self.repository.list_missing(
            project_id, at, rules.boundary_tolerance, commodity=commodity, after=after, limit=limit
        )

    def _check_project(self, project_id: str) -> None:
        if self.projects is not None and project_id not in self.projects:
            raise NotFoundError(f"there is no project {project_id!r}")

    async def _find_places(
        self, project_id: str, rows: Sequence[NewReading]
    ) -> tuple[list[tuple[NewReading, Place]], list[BadRow]]:
        """Lock the registers and find of each row the register and installation."""
        if not rows:
            return [], []
        wanted = {(new.device_id, new.kind) for new in rows}
        registers = {
            (one.device_id, one.kind): one
            for one in await self.repository.lock_registers(project_id, sorted(wanted))
        }
        moments = [new.read_at for new in rows]
        stays: dict[int, list[InstallationRow]] = {}
        for stay in await self.repository.find_installations(
            project_id, {one.meter_id for one in registers.values()}, min(moments), max(moments)
        ):
            stays.setdefault(stay.meter_id, []).append(stay)
        unknown = sorted({device for device, kind in wanted if (device, kind) not in registers})
        known = await self.repository.known_devices(project_id, unknown) if unknown else set()
        found: list[tuple[NewReading, Place]] = []
        bad: list[BadRow] = []
        for new in rows:
            place = _place_of(new, registers, stays, known)
            if isinstance(place, BadRow):
                bad.append(place)
            else:
                found.append((new, place))
        return found, bad

    async def _load_chains(self, found: Iterable[tuple[NewReading, Place]]) -> list[Chain]:
        """Gather the rows by chain, in order of time, and load the readings around them."""
        places: dict[tuple[int, int], Place] = {}
        rows: dict[tuple[int, int], list[NewReading]] = {}
        for new, place in found:
            key = (place.register.id, place.installation.id)
            places[key] = place
            rows.setdefault(key, []).append(new)
        for batch in rows.values():
            if len(batch) > 1:
                batch.sort(key=lambda new: new.read_at)
        spans = [(places[key], batch[0].read_at, batch[-1].read_at) for key, batch in rows.items()]
        stored = await self.repository.surrounding_readings(spans) if spans else []
        return [
            Chain(places[key], batch, around)
            for (key, batch), around in zip(rows.items(), stored, strict=True)
        ]

    async def _place(self, chains: Sequence[Chain], rules: ReadingRules, *, spikes: bool) -> Placing:
        since = {
            index: moment
            for index, chain in enumerate(chains)
            if (moment := doubtful_since(chain, counts_down=rules.counts_down)) is not None
        }
        history = (
            await self.repository.history_starts(
                [(chains[index].place, moment) for index, moment in since.items()]
            )
            if since
            else {}
        )
        starts = {index: history.get(order) for order, index in enumerate(since)}
        fitting: list[Placed] = []
        unfit: list[Placed] = []
        for index, chain in enumerate(chains):
            fits, fits_not = place_chain(chain, rules, starts.get(index), spikes=spikes)
            fitting += fits
            unfit += fits_not
        return fitting, unfit

    async def _store(self, project_id: str, fitting: Sequence[Placed], unfit: Sequence[Placed]) -> None:
        if not fitting and not unfit:
            return
        now = await self.repository.moment()
        await self.repository.copy_readings([*fitting, *unfit], now)
        if unfit:
            queued = [(one, _unfit_row(one).message) for one in unfit]
            await self.repository.queue_suspects(project_id, queued, now)
        since: dict[int, datetime] = {}
        for one in filter(is_late, fitting):
            point = one.place.installation.service_point_id
            since[point] = min(one.since, since.get(point, one.since))
        await request_rerates(self.connection, project_id, since)


def _check_options(rows: Sequence[Any], on_decrease: str, on_duplicate: str, on_spike: str) -> None:
    if len(rows) > ROWS_MOST:
        raise InvalidInputError(f"must have at most {ROWS_MOST} entries", field="rows")
    if on_decrease not in ON_DECREASE:
        raise InvalidInputError(f"must be one of {', '.join(ON_DECREASE)}", field="on_decrease")
    if on_duplicate not in ON_DUPLICATE:
        raise InvalidInputError(f"must be one of {', '.join(ON_DUPLICATE)}", field="on_duplicate")
    if on_spike not in ON_SPIKE:
        raise InvalidInputError(f"must be one of {', '.join(ON_SPIKE)}", field="on_spike")


def _refuse(bad: Sequence[BadRow]) -> None:
    if bad:
        raise InvalidRowsError([one.problem() for one in sorted(bad, key=lambda one: one.row)])


def _place_of(
    new: NewReading,
    registers: Mapping[tuple[str, Kind], RegisterRow],
    stays: Mapping[int, Sequence[InstallationRow]],
    known: set[str],
) -> Place | BadRow:
    register = registers.get((new.device_id, new.kind))
    if register is None:
        if new.device_id not in known:
            return BadRow(new.row, "device_id", f"there is no meter {new.device_id!r} in this project")
        return BadRow(new.row, "register", f"meter {new.device_id!r} has no register {new.kind}")
    if register.modulus is not None and new.value >= register.modulus:
        return BadRow(new.row, "value", f"the register turns over at {plain(register.modulus)}")
    # Of two stays that touch the later one counts, unless it is the end of the earlier that was read.
    stay = next((one for one in reversed(stays.get(register.meter_id, ())) if one.holds(new.read_at)), None)
    if stay is None:
        return BadRow(new.row, "read_at", f"meter {new.device_id!r} was not installed then")
    return Place(register, stay)


def _without_duplicates(chains: Iterable[Chain], *, skip: bool) -> tuple[list[Chain], int, list[BadRow]]:
    """Return the chains without rows that repeat a reading, how many were skipped, and what is wrong."""
    left: list[Chain] = []
    bad: list[BadRow] = []
    skipped = 0
    for chain in chains:
        if len(chain.new) == 1 and not any(one.original for one in chain.stored if _same_moment(one, chain)):
            left.append(chain)  # most chains of a large batch
            continue
        seen = {(one.counted.read_at, one.source): one.counted.value for one in chain.stored if one.original}
        batch = set[tuple[datetime, str]]()
        new: list[NewReading] = []
        for row in chain.new:
            key = (row.read_at, row.source)
            if key not in seen:
                new.append(row)
                seen[key] = row.value
                batch.add(key)
            elif skip and seen[key] == row.value:
                skipped += 1
            else:
                where = "in this request" if key in batch else "already"
                bad.append(BadRow(row.row, "read_at", f"has a reading {where}, of {plain(seen[key])}"))
        if new:
            left.append(Chain(chain.place, new, chain.stored))
    return left, skipped, bad


def _same_moment(stored: Stored, chain: Chain) -> bool:
    return stored.counted.read_at == chain.new[0].read_at


def _unfit_row(one: Placed) -> BadRow:
    value = plain(one.new.value)
    if one.fault == "spike":
        message = f"{value} is a spike: no counter comes so far from the readings before it"
    else:
        message = f"{value} does not fit between the readings around it: the counter would run backwards"
    return BadRow(one.new.row, "value", message)
