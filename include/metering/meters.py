"""Use cases on meters and their registers.

A register that has readings keeps its unit and multiplier, and an installed meter keeps its set of registers:
what was counted is not to be read anew. A modulus may be put right; it counts for readings from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.billing.model import Commodity
from include.metering.model import LockedMeter, Meter, Register, Tally
from include.metering.problems import Problems, refuse_twice
from include.metering.rows import UNITS, MeterRow
from include.metering.scope import ProjectService, require


class MeterService(ProjectService):
    """Devices with registers. Errors: `InvalidRowsError`, `ConflictingRowsError`, `NotFoundError`."""

    async def put_meters(self, rows: Sequence[MeterRow]) -> Tally:
        """Store meters by device_id, each with exactly the registers that are told."""
        problems = Problems()
        refuse_twice(problems, "device_id", (row.device_id for row in rows))
        stored = await self.repository.lock_meters({row.device_id for row in rows})
        for index, row in enumerate(rows):
            if row.device_id in stored:
                _check_change(problems, index, row, stored[row.device_id])
        problems.check()
        return await self._store(rows)

    async def find_meter(self, device_id: str) -> Meter:
        """Return a meter with its registers. Raises NotFoundError."""
        return require(await self.repository.find_meter(device_id), "meter", device_id)

    async def list_meters(self, *, after: str, limit: int, commodity: Commodity | None = None) -> list[Meter]:
        """Return meters by device_id."""
        return await self.repository.list_meters(after, limit, commodity=commodity)

    async def delete_meter(self, device_id: str) -> None:
        """Delete a meter. Raises NotFoundError; ConflictError where it is or was installed."""
        await self.repository.delete_registers(device_id)
        require(await self.repository.delete_meter(device_id), "meter", device_id)

    async def _store(self, rows: Sequence[MeterRow]) -> Tally:
        items = [item for row in rows for item in register_items(row)]
        created = await self.repository.put_meters(
            [row.model_dump(include={"device_id", "commodity"}) for row in rows]
        )
        changed = await self.repository.drop_registers(
            [{"device_id": row.device_id, "kinds": [one.kind for one in row.registers]} for row in rows]
        )
        changed |= await self.repository.put_registers(items)
        new = sum(created.values())
        updated = len(changed.union(created)) - new
        return Tally(new, updated, len(rows) - new - updated)


def registers_of(row: MeterRow) -> list[Register]:
    """Return the registers as they are stored."""
    return [
        Register(one.kind, one.unit or UNITS[row.commodity], one.multiplier, one.turns_at)
        for one in row.registers
    ]


def register_items(row: MeterRow) -> list[dict[str, Any]]:
    """Return the rows of a meter's registers."""
    return [
        {
            "place": place,
            "device_id": row.device_id,
            "kind": one.kind,
            "unit": one.unit,
            "multiplier": one.multiplier,
            "modulus": one.modulus,
        }
        for place, one in enumerate(registers_of(row))
    ]


def _check_change(problems: Problems, index: int, row: MeterRow, stored: LockedMeter) -> None:
    registers = {register.kind: register for register in registers_of(row)}
    if row.commodity != stored.commodity and (stored.installed or stored.used):
        problems.contradict(index, "commodity", f"cannot change: the meter counted {stored.commodity}")
    if registers.keys() != stored.registers.keys() and stored.installed:
        problems.contradict(index, "registers", "cannot come or go while the meter is installed")
    for kind in sorted(stored.used):
        old, new = stored.registers[kind], registers.get(kind)
        if new is None:
            problems.contradict(index, "registers", f"{kind} has readings and cannot go")
        elif (new.unit, new.multiplier) != (old.unit, old.multiplier):
            problems.contradict(
                index, "registers", f"{kind} has readings: its unit and multiplier cannot change"
            )
