"""The statements on readings and the exceptions queue: the only caller of this domain's `queries.sql`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from psycopg.rows import tuple_row

from include.billing.model import ProjectRules
from include.kit.db import Repository
from include.kit.sql import load_queries
from include.readings.model import (
    ExceptionRow,
    InstallationRow,
    MissingRow,
    Place,
    Placed,
    ReadingFilter,
    ReadingRow,
    ReadingRules,
    RegisterRow,
    Stored,
)
from include.readings.turns import HISTORY, Counted
from include.settings import get_settings

queries = load_queries(__file__)

Row = Mapping[str, Any]

_EVER, _NEVER = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


class ReadingRepository(Repository):
    """One method a statement, on a connection whose transaction somebody else commits."""

    async def moment(self) -> datetime:
        """Return the database's present moment."""
        [row] = await self._rows(queries.moment)
        moment: datetime = row["now"]
        return moment

    async def project_rules(self, project_id: str) -> ReadingRules:
        """Return the rules of a project, those of the defaults where it has none of its own."""
        rows = await self._rows(queries.project_rules, project_id=project_id)
        if rows:
            return ReadingRules(**rows[0])
        usual = ProjectRules(timezone=get_settings().timezone)
        return ReadingRules(
            usual.timezone, usual.reading_mode, usual.plausibility_factor, usual.boundary_tolerance
        )

    async def lock_registers(self, project_id: str, wanted: Iterable[tuple[str, str]]) -> list[RegisterRow]:
        """Lock and return the registers of these (device id, kind); unknown ones are not among them."""
        pairs = list(wanted)
        rows = await self._tuples(
            queries.lock_registers,
            project_id=project_id,
            device_ids=[device for device, _ in pairs],
            kinds=[kind for _, kind in pairs],
        )
        return [RegisterRow._make(row) for row in rows]

    async def known_devices(self, project_id: str, device_ids: Sequence[str]) -> set[str]:
        rows = await self._rows(queries.known_devices, project_id=project_id, device_ids=list(device_ids))
        return {row["device_id"] for row in rows}

    async def find_installations(
        self, project_id: str, meter_ids: Iterable[int], first: datetime, last: datetime
    ) -> list[InstallationRow]:
        rows = await self._tuples(
            queries.find_installations,
            project_id=project_id,
            meter_ids=_array(meter_ids),
            first=first,
            last=last,
        )
        return [InstallationRow._make(row) for row in rows]

    async def surrounding_readings(
        self, spans: Sequence[tuple[Place, datetime, datetime]]
    ) -> list[list[Stored]]:
        """Return for each (chain, first moment, last moment) the readings around and between, in order."""
        found: list[list[Stored]] = [[] for _ in spans]
        rows = await self._tuples(
            queries.surrounding_readings,
            register_ids=_array(place.register.id for place, _, _ in spans),
            installation_ids=_array(place.installation.id for place, _, _ in spans),
            firsts=_array(first.isoformat() for _, first, _ in spans),
            lasts=_array(last.isoformat() for _, _, last in spans),
        )
        for ordinal, id, read_at, value, total, source, good, original in rows:
            counted = Counted(read_at, value, total)
            found[ordinal - 1].append(Stored(id, counted, source, good, original))
        return found

    async def history_starts(self, moments: Sequence[tuple[Place, datetime]]) -> dict[int, Counted]:
        """Return by place in the list the earliest good reading of the 90 days before each moment."""
        rows = await self._rows(
            queries.history_starts,
            register_ids=[place.register.id for place, _ in moments],
            since=[place.installation.valid_from for place, _ in moments],
            moments=[moment for _, moment in moments],
            span=HISTORY,
        )
        return {row["ordinal"] - 1: Counted(row["read_at"], row["value"], row["total"]) for row in rows}

    async def copy_readings(self, readings: Iterable[Placed], now: datetime) -> None:
        recorded_at = now.isoformat()
        lines = [_copy_line(one, recorded_at) for one in readings]
        async with self.connection.cursor().copy(queries.copy_readings) as copy:
            await copy.write("".join(lines))

    async def queue_suspects(
        self, project_id: str, readings: Sequence[tuple[Placed, str]], now: datetime
    ) -> None:
        """Queue suspect readings, each with what is wrong with it."""
        await self.connection.execute(
            queries.queue_suspects,
            {
                "project_id": project_id,
                "register_ids": [one.place.register.id for one, _ in readings],
                "moments": [one.new.read_at for one, _ in readings],
                "sources": [one.new.source for one, _ in readings],
                "service_point_ids": [one.place.installation.service_point_id for one, _ in readings],
                "meter_ids": [one.place.register.meter_id for one, _ in readings],
                "kinds": [one.fault for one, _ in readings],
                "details": [detail for _, detail in readings],
                "now": now,
            },
        )

    async def find_reading(self, reading_id: int, projects: Sequence[str] | None) -> Row | None:
        rows = await self._rows(queries.find_reading, id=reading_id, projects=_list(projects))
        return rows[0] if rows else None

    async def lock_register(self, register_id: int) -> None:
        await self.connection.execute(queries.lock_register, {"id": register_id})

    async def insert_correction(
        self, reading_id: int, *, value: Decimal, total: Decimal, quality: str, note: str, now: datetime
    ) -> int:
        """Return the id of the reading that stands for this one from now on."""
        [row] = await self._rows(
            queries.insert_correction,
            id=reading_id,
            value=value,
            total=total,
            quality=quality,
            note=note,
            now=now,
        )
        correction_id: int = row["id"]
        return correction_id

    async def shift_readings(
        self, place: Place, after: datetime, *, shift: Decimal, note: str, now: datetime
    ) -> int:
        """Move the totals of a chain's later readings; returns how many those are."""
        cursor = await self.connection.execute(
            queries.shift_readings,
            {
                "register_id": place.register.id,
                "installation_id": place.installation.id,
                "after": after,
                "shift": shift,
                "note": note,
                "now": now,
            },
        )
        return cursor.rowcount

    async def resolve_reading_exceptions(
        self, reading_id: int, service_point_id: int, *, resolution: str, actor: str | None, now: datetime
    ) -> None:
        await self.connection.execute(
            queries.resolve_reading_exceptions,
            {
                "reading_id": reading_id,
                "service_point_id": service_point_id,
                "resolution": resolution,
                "actor": actor,
                "now": now,
            },
        )

    async def audit_reading(
        self,
        project_id: str,
        reading_id: int,
        action: str,
        *,
        actor: str | None,
        detail: Row,
        now: datetime,
    ) -> None:
        await self.connection.execute(
            queries.audit_reading,
            {
                "project_id": project_id,
                "reading_id": reading_id,
                "action": action,
                "actor": actor,
                "detail": orjson.dumps(detail, default=str).decode(),
                "now": now,
            },
        )

    async def find_meter(self, project_id: str, device_id: str) -> int | None:
        rows = await self._rows(queries.find_meter, project_id=project_id, device_id=device_id)
        return rows[0]["id"] if rows else None

    async def list_readings(
        self,
        meter_id: int,
        device_id: str,
        conditions: ReadingFilter,
        *,
        before: tuple[datetime, int] | None,
        limit: int,
    ) -> list[ReadingRow]:
        """Return readings by descending (read_at, id), those before the pair `before`."""
        before_read, before_id = before or (None, None)
        given = {
            **asdict(conditions),
            "known_at": conditions.known_at or _NEVER,
            "read_from": conditions.read_from or _EVER,
            "read_to": conditions.read_to or _NEVER,
        }
        rows = await self._rows(
            queries.list_readings,
            **given,
            meter_id=meter_id,
            before_read=before_read,
            before_id=before_id,
            limit=limit,
        )
        return [ReadingRow(device_id=device_id, **row) for row in rows]

    async def list_missing(
        self,
        project_id: str,
        at: datetime,
        tolerance: timedelta,
        *,
        commodity: str | None,
        after: int,
        limit: int,
    ) -> list[MissingRow]:
        """Return meters by ascending id, those after the id `after`."""
        rows = await self._rows(
            queries.list_missing,
            project_id=project_id,
            at=at,
            tolerance=tolerance,
            commodity=commodity,
            after=after,
            limit=limit,
        )
        return [MissingRow(**row) for row in rows]

    async def note_failed_pull(self, project_id: str, detail: str, now: datetime) -> None:
        await self.connection.execute(
            queries.note_failed_pull, {"project_id": project_id, "detail": detail, "now": now}
        )

    async def note_refused_pulls(
        self, project_id: str, refused: Sequence[tuple[MissingRow, str]], now: datetime
    ) -> None:
        await self.connection.execute(
            queries.note_refused_pulls,
            {
                "project_id": project_id,
                "service_point_ids": [meter.service_point_id for meter, _ in refused],
                "meter_ids": [meter.meter_id for meter, _ in refused],
                "details": [detail for _, detail in refused],
                "now": now,
            },
        )

    async def list_exceptions(
        self,
        projects: Sequence[str] | None,
        *,
        id: int | None = None,
        state: str | None = None,
        kind: str | None = None,
        after: int = 0,
        limit: int = 1,
    ) -> list[ExceptionRow]:
        rows = await self._rows(
            queries.list_exceptions,
            projects=_list(projects),
            id=id,
            state=state,
            kind=kind,
            after=after,
            limit=limit,
        )
        return [ExceptionRow(**row) for row in rows]

    async def resolve_exception(
        self, exception_id: int, *, resolution: str, actor: str | None, now: datetime
    ) -> bool:
        """Return whether it was open."""
        cursor = await self.connection.execute(
            queries.resolve_exception,
            {"id": exception_id, "resolution": resolution, "actor": actor, "now": now},
        )
        return cursor.rowcount == 1

    async def _tuples(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a batch, in the order of the columns."""
        async with self.connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()


def _list(projects: Sequence[str] | None) -> list[str] | None:
    return None if projects is None else list(projects)


def _array(parts: Iterable[int | str]) -> str:
    """Return an array as Postgres reads it; psycopg takes ten times as long for ten thousand of them.

    :param parts: numbers or moments, nothing that would need quotes
    """
    return f"{{{','.join(map(str, parts))}}}"


def _copy_line(one: Placed, recorded_at: str) -> str:
    new, place = one.new, one.place
    note = r"\N" if new.note is None else new.note.translate(_ESCAPES)
    return (
        f"{place.register.id}\t{place.installation.id}\t{new.read_at.isoformat()}\t{recorded_at}\t{new.value}\t"
        f"{one.total}\t{new.top_up}\t{new.source}\t{one.quality}\t{note}\n"
    )
