"""Use cases on many devices, each for itself: one that cannot be done leaves the others alone.

What `registry.py` does with one device or with all or none. Each call returns for every device in order None
where it was done, else why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from include.devices.errors import (
    DeviceExistsError,
    DeviceIdTakenError,
    DeviceMissingError,
    GatewayInUseError,
    NotFrozenError,
    SubDeviceError,
)
from include.devices.model import LockedDevice
from include.devices.registry import RegistryService, changed_row
from include.devices.rows import DeviceChanges, DeviceRow
from include.errors import (
    CarillonError,
    ConflictError,
    ConflictingRowsError,
    InvalidInputError,
    InvalidRowsError,
    RowProblem,
)

Outcomes = list[CarillonError | None]

#: How often devices that somebody else makes at the same time are looked up anew.
TRIES = 3


class BulkDeviceService(RegistryService):
    """Devices by device_id, in the caller's transaction."""

    async def create_each(self, rows: Sequence[DeviceRow]) -> Outcomes:
        """Make devices; a gateway may come with its devices."""
        outcomes: Outcomes = [None] * len(rows)
        there = await self.repository.lock_devices({row.key for row in rows})
        for index, row in enumerate(rows):
            if row.key in there:
                outcomes[index] = _already_there(row, there[row.key])
        await self._put_each(rows, outcomes)
        return outcomes

    async def change_each(self, changes: Mapping[str, DeviceChanges]) -> Outcomes:
        """Change what is told of devices."""
        locked = await self.repository.lock_devices(changes)
        found = await self.repository.find_devices(list(changes), self.projects)
        outcomes: Outcomes = []
        rows: list[DeviceRow | None] = []
        for device_id, change in changes.items():
            row: DeviceRow | None = None
            error: CarillonError | None = None
            if device_id not in found or device_id not in locked:
                error = _missing(device_id)
            else:
                try:
                    row = changed_row(found[device_id], locked[device_id], change)
                except InvalidInputError as refused:
                    error = refused
            rows.append(row)
            outcomes.append(error)
        await self._put_each(rows, outcomes)
        return outcomes

    async def delete_each(self, device_ids: Sequence[str]) -> Outcomes:
        """Delete devices, those behind gateways first; a gateway of others that stay stays with them."""
        locked = await self._lock(device_ids)
        await self._remove([one.id for one in locked.values() if not one.parent])
        gateways = [one.device_id for one in locked.values() if one.parent]
        left = await self._lock(gateways) if gateways else {}
        await self._remove([one.id for one in left.values() if not one.parent])
        in_use = {one.device_id for one in left.values() if one.parent}
        return [
            _missing(device_id)
            if device_id not in locked
            else GatewayInUseError("it is the gateway of other devices: delete those first")
            if device_id in in_use
            else None
            for device_id in device_ids
        ]

    async def freeze_each(self, device_ids: Sequence[str]) -> Outcomes:
        """Freeze devices that are directly connected; a frozen one stays so."""
        locked = await self._lock(device_ids)
        outcomes = [_checked(device_id, locked, _direct) for device_id in device_ids]
        await self.repository.freeze_devices(_done(device_ids, outcomes, locked), self.clock())
        return outcomes

    async def unfreeze_each(self, device_ids: Sequence[str]) -> Outcomes:
        """Let frozen devices be what they were."""
        locked = await self._lock(device_ids)
        outcomes = [_checked(device_id, locked, _frozen) for device_id in device_ids]
        await self.repository.unfreeze_devices(_done(device_ids, outcomes, locked), self.clock())
        return outcomes

    async def _lock(self, device_ids: Sequence[str]) -> dict[str, LockedDevice]:
        locked = await self.repository.lock_devices(device_ids)
        return {device_id: one for device_id, one in locked.items() if self.sees(one.project_id)}

    async def _put_each(self, rows: Sequence[DeviceRow | None], outcomes: Outcomes) -> None:
        """Store the rows that nothing is wrong with yet; what is found wrong goes into `outcomes`."""
        tries = 0
        while True:
            good = [(index, row) for index, row in enumerate(rows) if row and outcomes[index] is None]
            if not good:
                return
            try:
                async with self.connection.transaction():
                    await self.put([row for _, row in good])
                return
            except (InvalidRowsError, ConflictingRowsError) as error:
                # Without these others may lack their gateway: that shows in the next round.
                for problem in error.problems:
                    index, _ = good[(problem.row or 1) - 1]
                    outcomes[index] = outcomes[index] or _alone(problem, error)
            except ConflictError:
                # Somebody else was quicker with one of them; the next round finds out with which.
                tries += 1
                if tries == TRIES:
                    raise


def _already_there(row: DeviceRow, there: LockedDevice) -> ConflictError:
    if (there.project_id, there.product_id, there.node_id) == (row.project_id, row.product_id, row.node_id):
        return DeviceExistsError(f"there is a device {row.key!r} already")
    return DeviceIdTakenError(f"the device id {row.key!r} is taken")


def _alone(problem: RowProblem, error: CarillonError) -> CarillonError:
    if problem.field == "node_id":
        return DeviceExistsError(problem.message, field="node_id")
    kind = ConflictError if isinstance(error, ConflictingRowsError) else InvalidInputError
    return kind(problem.message, field=problem.field or None)


def _missing(device_id: str) -> DeviceMissingError:
    return DeviceMissingError(f"there is no device {device_id!r}")


def _checked(
    device_id: str,
    locked: Mapping[str, LockedDevice],
    check: Callable[[LockedDevice], CarillonError | None],
) -> CarillonError | None:
    device = locked.get(device_id)
    return _missing(device_id) if device is None else check(device)


def _direct(device: LockedDevice) -> CarillonError | None:
    return None if device.gateway_id is None else SubDeviceError("a sub-device cannot be frozen")


def _frozen(device: LockedDevice) -> CarillonError | None:
    return None if device.status == "FROZEN" else NotFrozenError("the device is not frozen")


def _done(device_ids: Sequence[str], outcomes: Outcomes, locked: Mapping[str, LockedDevice]) -> list[int]:
    pairs = zip(device_ids, outcomes, strict=True)
    return [locked[device_id].id for device_id, outcome in pairs if outcome is None]
