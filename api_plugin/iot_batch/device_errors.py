"""The errors of calls on files and devices (research `iot.md` A8), a part of the table in `errors.py`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from include.batch import codes
from include.batch.local import ERROR_CODES
from include.batch_files.model import FileMissingError, FileNameTakenError, FileTooLargeError
from include.devices.errors import (
    DeviceExistsError,
    DeviceFrozenError,
    DeviceIdTakenError,
    DeviceMissingError,
    DeviceOfflineError,
    GatewayOfflineError,
    GatewayRefusedError,
    NotFrozenError,
    PlatformDeviceMissingError,
    SubDeviceError,
    TooManyWaitingError,
)
from include.errors import CarillonError, InvalidInputError, OutboundError


class TimeOrderError(InvalidInputError):
    """A span of time ends before it begins."""


DEVICE_CODES: Mapping[type[CarillonError], tuple[HTTPStatus, str]] = {
    FileMissingError: (HTTPStatus.NOT_FOUND, "IOTDA.014600"),
    FileNameTakenError: (HTTPStatus.BAD_REQUEST, "IOTDA.014602"),
    FileTooLargeError: (HTTPStatus.BAD_REQUEST, "IOTDA.014603"),
    TimeOrderError: (HTTPStatus.BAD_REQUEST, "IOTDA.000010"),
    DeviceMissingError: (HTTPStatus.NOT_FOUND, ERROR_CODES[DeviceMissingError]),
    PlatformDeviceMissingError: (HTTPStatus.NOT_FOUND, codes.DEVICE_MISSING),
    DeviceExistsError: (HTTPStatus.BAD_REQUEST, ERROR_CODES[DeviceExistsError]),
    DeviceIdTakenError: (HTTPStatus.BAD_REQUEST, ERROR_CODES[DeviceIdTakenError]),
    SubDeviceError: (HTTPStatus.FORBIDDEN, ERROR_CODES[SubDeviceError]),
    NotFrozenError: (HTTPStatus.FORBIDDEN, ERROR_CODES[NotFrozenError]),
    DeviceOfflineError: (HTTPStatus.FORBIDDEN, codes.DEVICE_OFFLINE),
    GatewayOfflineError: (HTTPStatus.BAD_REQUEST, "IOTDA.014028"),
    # Of our own choice.
    DeviceFrozenError: (HTTPStatus.FORBIDDEN, codes.DEVICE_FROZEN),
    TooManyWaitingError: (HTTPStatus.FORBIDDEN, codes.TOO_MANY_WAITING),
    GatewayRefusedError: (HTTPStatus.BAD_REQUEST, codes.GATEWAY_REFUSED),
    OutboundError: (HTTPStatus.BAD_GATEWAY, codes.GATEWAY_UNREACHABLE),
}
