"""Use cases on the registry: devices are made, changed, frozen, deleted, listed.

`put` takes rows as one: all are stored or none. Those that say what is stored already change nothing. Secrets
are encrypted before they leave this file and never part of what is returned, but for one that was drawn here.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from include.devices.errors import (
    DeviceIdTakenError,
    DeviceMissingError,
    GatewayInUseError,
    SubDeviceError,
)
from include.devices.model import Device, DeviceFilter, LockedDevice
from include.devices.rows import DeviceChanges, DeviceFields, DeviceRow
from include.devices.scope import DeviceScope
from include.errors import InvalidInputError
from include.kit.secrets import SecretUnreadableError, decrypt, encrypt
from include.kit.validation import checked
from include.metering.model import Tally
from include.metering.problems import Problems, alone, refuse_twice
from include.timers.operations import TimerOperations

#: Of a drawn secret: 32 characters, 128 bits.
SECRET_BYTES = 16


class RegistryService(DeviceScope):
    """Devices by device_id. Errors: `InvalidRowsError`, `ConflictingRowsError`, `NotFoundError`."""

    async def create(self, row: DeviceRow) -> tuple[Device, str | None]:
        """Make a device; returns it and its secret where that was drawn because none was told.

        :raises ConflictError: the device_id is taken, or the node by another device
        """
        with alone():
            if await self.repository.lock_devices([row.key]):
                raise DeviceIdTakenError("is taken", field="device_id")
            return await self._make(row)

    async def put_one(self, device_id: str, fields: DeviceFields) -> tuple[bool, Device, str | None]:
        """Make or replace a device; returns whether it is new, the device and a drawn secret."""
        row = DeviceRow.model_construct(
            fields.model_fields_set | {"device_id"}, **vars(fields), device_id=device_id
        )
        with alone():
            if not await self.repository.lock_devices([device_id]):
                return (True, *await self._make(row))
            await self.put([row])
        return False, await self.find(device_id), None

    async def change(self, device_id: str, changes: DeviceChanges) -> Device:
        """Change what is told of a device. Raises NotFoundError; ConflictError; InvalidInputError."""
        locked = await self._locked(device_id)
        found = await self.find(device_id)
        with alone():
            await self.put([changed_row(found, locked, changes)])
        return await self.find(device_id)

    async def retag(self, device_id: str, *, add: Mapping[str, str], remove: Collection[str] = ()) -> Device:
        """Give a device tags, and take some away. Raises DeviceMissingError; InvalidInputError."""
        await self._locked(device_id)
        found = await self.find(device_id)
        missing = [key for key in remove if key not in found.tags]
        if missing:
            raise InvalidInputError(f"the device has no tag {missing[0]!r}", field="tag_keys")
        kept = {key: value for key, value in found.tags.items() if key not in remove}
        return await self.change(device_id, checked(DeviceChanges, {"tags": {**kept, **add}}))

    async def put(self, rows: Sequence[DeviceRow]) -> Tally:
        """Store devices by device_id."""
        problems = Problems()
        refuse_twice(problems, "device_id", (row.key for row in rows))
        refuse_twice(problems, "node_id", ((row.project_id, row.product_id, row.node_id) for row in rows))
        for index, row in enumerate(rows):
            if not self.sees(row.project_id):
                problems.refuse(index, "project_id", f"there is no project {row.project_id!r}")
        problems.check()
        named = {row.key for row in rows} | {row.gateway for row in rows if row.gateway}
        stored = await self.repository.lock_devices(named)
        await self._check(problems, rows, stored)
        new = [row for row in rows if row.key not in stored]
        known = [row for row in rows if row.key in stored]
        now = self.clock()
        if new:
            await self.repository.insert_devices([_item(row, None) for row in new], now)
        updated = 0
        if known:
            items = [_item(row, stored[row.key]) for row in known]
            updated = await self.repository.update_devices(items, now)
        return Tally(len(new), updated, len(known) - updated)

    async def delete(self, device_id: str) -> None:
        """Delete a device with its bindings, places in groups, shadow, commands, messages and timers.

        :raises NotFoundError: no such device
        :raises GatewayInUseError: it is the gateway of other devices
        """
        locked = await self._locked(device_id)
        if locked.parent:
            raise GatewayInUseError("it is the gateway of other devices: delete those first")
        await self._remove([locked.id])

    async def freeze(self, device_id: str) -> Device:
        """Freeze a device; a frozen one stays so.

        :raises NotFoundError: no such device
        :raises SubDeviceError: it is not directly connected
        """
        locked = await self._direct(device_id)
        await self.repository.freeze_devices([locked.id], self.clock())
        return await self.find(device_id)

    async def unfreeze(self, device_id: str) -> Device:
        """Let a frozen device be what it was; errors as `freeze`."""
        locked = await self._direct(device_id)
        await self.repository.unfreeze_devices([locked.id], self.clock())
        return await self.find(device_id)

    async def list_devices(self, wanted: DeviceFilter, *, after: tuple[str, int], limit: int) -> list[Device]:
        """Return devices, the oldest first; those of a name prefix by name.

        :param after: name (of a list by name) and id after which it begins
        """
        projects = await self._projects(wanted.project)
        return await self.repository.list_devices(wanted, projects, after, limit) if projects else []

    async def _projects(self, project: str | None) -> Sequence[str]:
        if project is not None:
            return [project] if self.sees(project) else []
        return self.projects if self.projects is not None else await self.repository.device_projects()

    async def _make(self, row: DeviceRow) -> tuple[Device, str | None]:
        complete = with_secret(row)
        tally = await self.put([complete])
        if not tally.created:  # since it was looked up somebody else was quicker
            raise DeviceIdTakenError("is taken", field="device_id")
        drawn = complete.secret if complete is not row else None
        return await self.find(row.key), drawn.get_secret_value() if drawn else None

    async def _remove(self, ids: Sequence[int]) -> None:
        """Delete devices that are locked, with all that is theirs."""
        await TimerOperations(self.connection, clock=self.clock).forget(ids)
        await self.repository.delete_devices(ids)

    async def _locked(self, device_id: str) -> LockedDevice:
        locked = (await self.repository.lock_devices([device_id])).get(device_id)
        if locked is None or not self.sees(locked.project_id):
            raise DeviceMissingError(f"there is no device {device_id!r}")
        return locked

    async def _direct(self, device_id: str) -> LockedDevice:
        locked = await self._locked(device_id)
        if locked.gateway_id is not None:
            raise SubDeviceError(
                f"only directly connected devices freeze; this one is behind {locked.gateway_id!r}"
            )
        return locked

    async def _check(
        self, problems: Problems, rows: Sequence[DeviceRow], stored: Mapping[str, LockedDevice]
    ) -> None:
        told = {row.key: row for row in rows}
        parents = {row.gateway for row in rows if row.gateway}
        nodes = [
            {"row": index, "project_id": row.project_id, "product_id": row.product_id, "node_id": row.node_id}
            for index, row in enumerate(rows)
        ]
        taken = await self.repository.devices_at_nodes(nodes)
        for index, row in enumerate(rows):
            there = stored.get(row.key)
            if there is not None and there.project_id != row.project_id:
                seen = self.sees(there.project_id)
                problems.contradict(
                    index, *(("project_id", "cannot change") if seen else ("device_id", "is taken"))
                )
            elif taken.get(index, row.key) != row.key:
                problems.contradict(index, "node_id", "another device of the product has it")
            self._check_gateway(problems, index, row, told, stored)
            if row.gateway and (row.key in parents or (there is not None and there.parent)):
                problems.contradict(index, "gateway_id", "the device is a gateway of others itself")
        problems.check()

    def _check_gateway(
        self,
        problems: Problems,
        index: int,
        row: DeviceRow,
        told: Mapping[str, DeviceRow],
        stored: Mapping[str, LockedDevice],
    ) -> None:
        """A gateway is a directly connected device of the project, stored or told by the same call."""
        if row.gateway is None:
            return
        coming, there = told.get(row.gateway), stored.get(row.gateway)
        project = coming.project_id if coming else there.project_id if there else None
        behind = coming.gateway if coming else there.gateway_id if there else None
        if project != row.project_id:
            problems.refuse(index, "gateway_id", f"the project has no device {row.gateway!r}")
        elif behind is not None and coming is None:
            problems.contradict(index, "gateway_id", f"{row.gateway!r} is behind a gateway itself")


def with_secret(row: DeviceRow) -> DeviceRow:
    """Return a new device with a secret: one that is drawn where it needs one and none is told."""
    if row.auth_type != "SECRET" or row.secret is not None:
        return row
    return row.model_copy(update={"secret": SecretStr(secrets.token_hex(SECRET_BYTES))})


def changed_row(found: Device, locked: LockedDevice, changes: DeviceChanges) -> DeviceRow:
    """Return a device as it should be. Raises InvalidInputError where that does not go together."""
    values = {name: getattr(found, name, None) for name in DeviceFields.model_fields}
    values |= {name: getattr(changes, name) for name in changes.model_fields_set}
    if "gateway_id" in changes.model_fields_set and "node_type" not in changes.model_fields_set:
        values["node_type"] = None
    if values["auth_type"] != locked.auth_type:
        # The credential of the other kind goes with it.
        values |= {name: None for name in ("secret", "fingerprint") if name not in changes.model_fields_set}
    if "status" not in changes.model_fields_set:
        values["status"] = None
    return checked(DeviceRow, {**values, "device_id": found.device_id})


def _item(row: DeviceRow, stored: LockedDevice | None) -> dict[str, Any]:
    """Return the columns of a device."""
    return {
        **row.model_dump(exclude={"device_id", "secret", "gateway_id", "node_type"}),
        "id": stored.id if stored else None,
        "device_id": row.key,
        "gateway_id": row.gateway,
        "node_type": row.node_type or ("ENDPOINT" if row.gateway else "GATEWAY"),
        "secret": _sealed(row, stored),
    }


def _sealed(row: DeviceRow, stored: LockedDevice | None) -> str | None:
    """Return the encrypted secret: the stored one where it says the same, so that nothing changes."""
    if row.auth_type != "SECRET":
        return None
    old = stored.secret if stored else None
    if row.secret is None:
        return old
    told = row.secret.get_secret_value()
    return old if old is not None and _opened(old) == told else encrypt(told)


def _opened(sealed: str) -> str | None:
    try:
        return decrypt(sealed)
    except SecretUnreadableError:
        return None  # of another key: whatever is told takes its place
