"""Use cases on one reading: correct it, release it from quarantine, discard it.

Readings are never changed. A correction is a reading of its own that stands for another one from when it was
recorded; the bills that knew the other one are looked at again in the next run. To discard a reading is to
correct it by one that is suspect: neither counts then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from include.errors import ConflictError, InvalidInputError, NotFoundError
from include.kit.clock import Clock, system_clock
from include.kit.db import Connection
from include.readings.locks import share_readings
from include.readings.model import InstallationRow, Place, Quality, ReadingRules, RegisterRow
from include.readings.repository import ReadingRepository, Row
from include.readings.rerates import request_rerates
from include.readings.rows import plain
from include.readings.turns import (
    Counted,
    changed_since,
    following_total,
    is_spike,
    placed_total,
    plausible_step,
)

REASON_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Subject:
    """A reading that is being corrected, locked, with the good readings on both sides of it."""

    row: Row
    place: Place
    rules: ReadingRules
    previous: Counted | None
    following: Counted | None

    @property
    def id(self) -> int:
        reading_id: int = self.row["id"]
        return reading_id

    @property
    def read_at(self) -> datetime:
        moment: datetime = self.row["read_at"]
        return moment

    @property
    def top_up(self) -> Decimal | None:
        return self.row["top_up"] if self.rules.counts_down else None


class CorrectionService:
    """The use cases, inside the caller's transaction.

    :param projects: the project ids that the caller's token may see, None for all
    :param actor: who asks, for the audit
    """

    def __init__(
        self,
        connection: Connection,
        *,
        projects: Sequence[str] | None = None,
        actor: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.connection = connection
        self.projects = projects
        self.actor = actor
        self.clock = clock
        self.repository = ReadingRepository(connection)

    async def correct(self, reading_id: int, value: Decimal, reason: str, *, force: bool = False) -> int:
        """Have another value stand for a reading; returns the id of the correction.

        :param force: believe an implausible turn or a spike, and count the turns of later readings anew
        :raises NotFoundError: no such reading for this caller
        :raises ConflictError: it is superseded already, or the value is a spike or does not fit between its
            neighbours
        """
        check_reason(reason)
        subject = await self._subject(reading_id)
        register = subject.place.register
        if register.modulus is not None and value >= register.modulus:
            raise InvalidInputError(f"the register turns over at {plain(register.modulus)}", field="value")
        total, shift = await self._fit(subject, value, force=force)
        if not force and await self._jumps(subject, total):
            raise ConflictError(
                "it is a spike: no counter comes so far from the readings before it; `force` it if it did"
            )
        return await self._write(subject, "correct", value, total, "edited", reason, shift)

    async def release(self, reading_id: int, reason: str, *, force: bool = False) -> int:
        """Have a reading count that was quarantined; returns the id of the correction.

        :raises NotFoundError: no such reading for this caller
        :raises ConflictError: it is not in quarantine, is superseded, or does not fit even now
        """
        check_reason(reason)
        subject = await self._subject(reading_id)
        if subject.row["quality"] != "suspect":
            raise ConflictError(f"reading {reading_id} is not in quarantine")
        value = subject.row["value"]
        total, shift = await self._fit(subject, value, force=force)
        return await self._write(subject, "release", value, total, "edited", reason, shift)

    async def discard(self, reading_id: int, reason: str, *, force: bool = False) -> int:
        """Have a reading count no more; returns the id of the correction that says so.

        :param force: count the turns of later readings anew where it hid or made one
        :raises NotFoundError: no such reading for this caller
        :raises ConflictError: it is superseded already, later readings depend on it, or it carries a top-up
        """
        check_reason(reason)
        subject = await self._subject(reading_id)
        row = subject.row
        if subject.rules.counts_down and row["top_up"]:
            raise ConflictError("it says what was bought: correct its value instead")
        shift = Decimal(0)
        if row["quality"] != "suspect" and subject.previous and subject.following:
            shift = self._shift(subject, subject.previous, subject.following, force=force)
        return await self._write(subject, "discard", row["value"], row["total"], "suspect", reason, shift)

    async def _subject(self, reading_id: int) -> Subject:
        row = await self.repository.find_reading(reading_id, self.projects)
        if row is None:
            raise NotFoundError(f"there is no reading {reading_id}")
        await share_readings(self.connection, row["project_id"])
        await self.repository.lock_register(row["register_id"])
        # Once more: whoever held the register may have corrected this one.
        row = await self.repository.find_reading(reading_id, self.projects) or row
        if row["superseded_by_id"] is not None:
            raise ConflictError(f"reading {row['superseded_by_id']} stands for it: correct that one")
        rules = await self.repository.project_rules(row["project_id"])
        place = await self._place(row)
        [around] = await self.repository.surrounding_readings([(place, row["read_at"], row["read_at"])])
        # Of several at its moment, those recorded earlier come before it and those recorded later after it.
        good = [one for one in around if one.good and one.id != reading_id]
        before = [o for o in good if (o.counted.read_at, o.id) < (row["read_at"], reading_id)]
        after = [o for o in good if (o.counted.read_at, o.id) > (row["read_at"], reading_id)]
        return Subject(
            row, place, rules, before[-1].counted if before else None, after[0].counted if after else None
        )

    async def _place(self, row: Row) -> Place:
        register = RegisterRow(
            row["register_id"], row["kind"], row["modulus"], row["meter_id"], row["device_id"]
        )
        stays: list[InstallationRow] = await self.repository.find_installations(
            row["project_id"], [row["meter_id"]], row["read_at"], row["read_at"]
        )
        installation = next((stay for stay in stays if stay.id == row["installation_id"]), None)
        if installation is None:
            raise ConflictError("its meter is no longer said to have been installed then")
        return Place(register, installation)

    async def _fit(self, subject: Subject, value: Decimal, *, force: bool) -> tuple[Decimal, Decimal]:
        """Return the total of the new value, and by how much those of later readings change."""
        previous, following = subject.previous, subject.following
        total = await self._total(subject, value, force=force)
        if total is None:
            if force or subject.rules.counts_down or subject.place.register.modulus is None:
                raise ConflictError("it does not fit between the readings around it: correct those first")
            raise ConflictError(
                "it does not fit between the readings around it: correct those first, or `force` it to be"
                " taken for a turn of the register"
            )
        if following is None or previous is None or subject.rules.counts_down:
            return total, Decimal(0)
        corrected = Counted(subject.read_at, value, total)
        return total, self._shift(subject, corrected, following, force=force)

    async def _total(self, subject: Subject, value: Decimal, *, force: bool) -> Decimal | None:
        previous, following = subject.previous, subject.following
        modulus = subject.place.register.modulus
        plausible = await self._plausible(subject, previous, subject.read_at)
        total = placed_total(previous, following, value, modulus, subject.top_up, plausible)
        if total is None and force and previous is not None and not subject.rules.counts_down:
            # What follows is counted anew, so only the reading before has a say, and any turn is believed.
            return following_total(previous.total, previous.value, value, modulus, None, modulus)
        return total

    def _shift(self, subject: Subject, previous: Counted, following: Counted, *, force: bool) -> Decimal:
        """Return by how much the total of the following reading changes when it follows `previous`."""
        if subject.rules.counts_down:
            return Decimal(0)
        # Any turn is believed here: either it is the one that is known, or nothing changes unless forced.
        modulus = subject.place.register.modulus
        total = following_total(previous.total, previous.value, following.value, modulus, None, modulus)
        if total is None:
            raise ConflictError("the readings after it do not fit then: correct those first")
        if total != following.total and not force:
            raise ConflictError(
                "the readings after it would count other turns then: `force` it to count them anew"
            )
        return total - following.total

    async def _plausible(self, subject: Subject, previous: Counted | None, at: datetime) -> Decimal | None:
        if previous is None or subject.place.register.modulus is None:
            return None
        return await self._plausible_step(subject, previous, at)

    async def _jumps(self, subject: Subject, total: Decimal) -> bool:
        previous, plausible = subject.previous, None
        if previous is not None and not subject.rules.counts_down:
            plausible = await self._plausible_step(subject, previous, subject.read_at)
        return is_spike(previous, subject.following, total, subject.read_at, plausible)

    async def _plausible_step(self, subject: Subject, previous: Counted, at: datetime) -> Decimal | None:
        found = await self.repository.history_starts([(subject.place, previous.read_at)])
        history = [found[0]] if 0 in found else []
        return plausible_step(history, previous, at, subject.rules.plausibility_factor)

    async def _write(
        self,
        subject: Subject,
        action: str,
        value: Decimal,
        total: Decimal,
        quality: Quality,
        reason: str,
        shift: Decimal,
    ) -> int:
        now = await self.repository.moment()
        correction_id = await self.repository.insert_correction(
            subject.id, value=value, total=total, quality=quality, note=reason, now=now
        )
        moved = 0
        if shift:
            note = f"turns counted anew after reading {correction_id}"
            moved = await self.repository.shift_readings(
                subject.place, subject.read_at, shift=shift, note=note, now=now
            )
        point = subject.place.installation.service_point_id
        await self.repository.resolve_reading_exceptions(
            subject.id, point, resolution=f"{action}: {reason}", actor=self.actor, now=now
        )
        since = changed_since(subject.previous, subject.place.installation.valid_from, subject.read_at)
        await request_rerates(self.connection, subject.row["project_id"], {point: since})
        detail = {
            "reading_id": subject.id,
            "correction_id": correction_id,
            "value": {"before": subject.row["value"], "after": value},
            "reason": reason,
            "moved": moved,
        }
        await self.repository.audit_reading(
            subject.row["project_id"], subject.id, action, actor=self.actor, detail=detail, now=now
        )
        return correction_id


def check_reason(reason: str, field: str = "reason") -> None:
    """Raise InvalidInputError, naming the field, for a text that cannot be stored."""
    if not reason.strip() or len(reason) > REASON_LONGEST or "\x00" in reason or not _encodable(reason):
        raise InvalidInputError(f"must have 1 to {REASON_LONGEST} characters", field=field)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
