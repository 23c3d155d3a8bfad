"""What may be wrong with a call on a device, as far as the device platform tells it apart (research A8)."""

from __future__ import annotations

from include.errors import ConflictError, NotFoundError


class DeviceMissingError(NotFoundError):
    """There is no such device."""


class DeviceExistsError(ConflictError):
    """The product has a device of this node already."""


class DeviceIdTakenError(DeviceExistsError):
    """A device has this id already."""


class SubDeviceError(ConflictError):
    """The device is behind a gateway; only directly connected ones freeze."""


class NotFrozenError(ConflictError):
    """The device is not frozen."""


class GatewayInUseError(ConflictError):
    """Devices are behind this one: they have to be deleted first."""

    retryable = True


class GroupInUseError(ConflictError):
    """Devices are in the group: take them out first."""


class DeviceFrozenError(ConflictError):
    """The device is frozen: nothing is sent to it."""


class TooManyWaitingError(ConflictError):
    """Too much waits for the device already."""


class MessageIdTakenError(ConflictError):
    """The device has had a message with this id."""


class DeviceOfflineError(ConflictError):
    """The device is not online."""


class GatewayOfflineError(ConflictError):
    """The gateway of the device is not online."""


class PlatformDeviceMissingError(NotFoundError):
    """The device platform behind Carillon does not know the device."""


class GatewayRefusedError(ConflictError):
    """The device platform behind Carillon refused it."""
