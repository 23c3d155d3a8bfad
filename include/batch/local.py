"""Performers of what the platform does alone: devices are created, changed, deleted, frozen, unfrozen.

A chunk is done by a few statements; one that fails does not take the others with it.
Source: research `iot.md` A4, A5, A8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from include.batch import codes
from include.batch.model import Step, Subtask, Task, TaskType
from include.batch.performing import LocalPerformer
from include.devices.bulk import BulkDeviceService, Outcomes
from include.devices.errors import (
    DeviceExistsError,
    DeviceIdTakenError,
    DeviceMissingError,
    NotFrozenError,
    SubDeviceError,
)
from include.devices.registry import with_secret
from include.devices.rows import DeviceChanges, DeviceRow
from include.errors import CarillonError, InvalidInputError
from include.kit.db import Connection
from include.kit.secrets import SecretUnreadableError, decrypt
from include.kit.validation import checked

#: An error class that is not here has that of its nearest ancestor.
ERROR_CODES: Mapping[type[CarillonError], str] = {
    DeviceMissingError: codes.DEVICE_MISSING,
    DeviceExistsError: "IOTDA.014031",
    DeviceIdTakenError: "IOTDA.014115",
    SubDeviceError: "IOTDA.014038",
    NotFrozenError: "IOTDA.014040",
    CarillonError: codes.INVALID,
}


class CreateDevices(LocalPerformer):
    """createDevices: rows of a file. The output tells the secret, as the vendor's does."""

    async def perform(self, connection: Connection, task: Task, subtasks: Sequence[Subtask]) -> list[Step]:
        rows: list[DeviceRow | None] = []
        outcomes: Outcomes = []
        for subtask in subtasks:
            row, error = None, None
            try:
                row = _new_device(task, subtask)
            except InvalidInputError as refused:
                error = refused
            rows.append(row)
            outcomes.append(error)
        good = [row for row in rows if row]
        created = iter(await _service(connection, task).create_each(good))
        outcomes = [next(created) if row else error for row, error in zip(rows, outcomes, strict=True)]
        outputs = [_output(row) if row else None for row in rows]
        return [_step(*one) for one in zip(subtasks, outcomes, outputs, strict=True)]


class UpdateDevices(LocalPerformer):
    """updateDevices: rows of a file; what a row leaves empty stays."""

    async def perform(self, connection: Connection, task: Task, subtasks: Sequence[Subtask]) -> list[Step]:
        changes: dict[str, DeviceChanges] = {}
        refused: dict[str, CarillonError] = {}
        for subtask in subtasks:
            try:
                changes[subtask.target] = _changes(subtask)
            except InvalidInputError as error:
                refused[subtask.target] = error
        outcomes = await _service(connection, task).change_each(changes)
        became = dict(zip(changes, outcomes, strict=True)) | refused
        return [_step(one, became[one.target]) for one in subtasks]


class DeleteDevices(LocalPerformer):
    """deleteDevices: a gateway goes after its devices, if those are of the same chunk or gone already."""

    async def perform(self, connection: Connection, task: Task, subtasks: Sequence[Subtask]) -> list[Step]:
        outcomes = await _service(connection, task).delete_each(_targets(subtasks))
        return [_step(*one) for one in zip(subtasks, outcomes, strict=True)]


class FreezeDevices(LocalPerformer):
    """freezeDevices: directly connected ones; one that is frozen stays so."""

    async def perform(self, connection: Connection, task: Task, subtasks: Sequence[Subtask]) -> list[Step]:
        outcomes = await _service(connection, task).freeze_each(_targets(subtasks))
        return [_step(*one) for one in zip(subtasks, outcomes, strict=True)]


class UnfreezeDevices(LocalPerformer):
    """unfreezeDevices: those that are frozen."""

    async def perform(self, connection: Connection, task: Task, subtasks: Sequence[Subtask]) -> list[Step]:
        outcomes = await _service(connection, task).unfreeze_each(_targets(subtasks))
        return [_step(*one) for one in zip(subtasks, outcomes, strict=True)]


#: Who performs which type of task.
LOCAL_PERFORMERS: Mapping[TaskType, LocalPerformer] = {
    "createDevices": CreateDevices(),
    "updateDevices": UpdateDevices(),
    "deleteDevices": DeleteDevices(),
    "freezeDevices": FreezeDevices(),
    "unfreezeDevices": UnfreezeDevices(),
}


def _service(connection: Connection, task: Task) -> BulkDeviceService:
    return BulkDeviceService(connection, projects=[task.asked.project_id])


def _targets(subtasks: Sequence[Subtask]) -> list[str]:
    return [one.target for one in subtasks]


def _new_device(task: Task, subtask: Subtask) -> DeviceRow:
    """Return the device that a row means, with a secret. Raises InvalidInputError."""
    told = _told(subtask)
    values = {
        **told,
        "project_id": task.asked.project_id,
        "app_id": told.get("app_id") or task.asked.app_id,
        "name": told.get("name") or told.get("node_id"),
        "auth_type": told.get("auth_type") or ("CERTIFICATES" if "fingerprint" in told else "SECRET"),
    }
    return with_secret(checked(DeviceRow, values))


def _changes(subtask: Subtask) -> DeviceChanges:
    told = _told(subtask)
    return checked(
        DeviceChanges,
        # What tells the device is not what changes.
        {name: value for name, value in told.items() if name not in ("device_id", "node_id", "product_id")},
    )


def _told(subtask: Subtask) -> dict[str, Any]:
    told = dict(subtask.input or {})
    if "secret" in told:
        try:
            told["secret"] = decrypt(told["secret"])
        except SecretUnreadableError:
            raise InvalidInputError(
                "was encrypted with another CARILLON_SECRET_KEY", field="secret"
            ) from None
    return told


def _output(row: DeviceRow) -> str:
    """Return what is told of a new device (A5). It holds a secret: never to a log."""
    secret = row.secret.get_secret_value() if row.secret else None
    told = {"device_id": row.key, "app_id": row.app_id, "secret": secret, "fingerprint": row.fingerprint}
    return orjson.dumps({name: value for name, value in told.items() if value is not None}).decode()


def _step(subtask: Subtask, error: CarillonError | None, output: str | None = None) -> Step:
    if error is None:
        return Step(subtask.id, "Success", output=output)
    code = next(ERROR_CODES[kind] for kind in type(error).__mro__ if kind in ERROR_CODES)
    return Step(subtask.id, "Fail", error_code=code, error_msg=str(error), retryable=error.retryable)
