"""Why an upgrade failed: the vendor's words (A10), and codes of our own, which no public text has.

`OTA.0xx` is what the platform found out, `OTA.1xx` what the device said: 100 and its result code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Reason(NamedTuple):
    """Why a sub-task failed.

    :ivar retryable: whether the task's retry policy may try it again
    """

    code: str
    text: str
    retryable: bool = True


CONFLICT = Reason("OTA.001", "Task Conflict", retryable=False)
ONLINE_TIMEOUT = Reason("OTA.002", "Waiting for the device online timeout")
VERSION_TIMEOUT = Reason("OTA.003", "Waiting for report device firmware version timeout")
RESULT_TIMEOUT = Reason("OTA.004", "Wait for the device to report upgrade result timeout")
CHECK_TIMEOUT = Reason("OTA.005", "Updating timeout and query device version for check timeout")
WRONG_VERSION = Reason("OTA.006", "Firmware update failed: the device reports the version {version}")
NOT_SENT = Reason("OTA.007", "Device Abnormal is not online: {error}")
FROZEN = Reason("OTA.008", "Device Abnormal is not online: it is frozen")
OTHER_PRODUCT = Reason("OTA.009", "Unsupported package type: it is for another product", retryable=False)
OTHER_SOURCE = Reason(
    "OTA.010", "Unsupported package type: it does not upgrade the version {version}", retryable=False
)
NO_PACKAGE = Reason("OTA.011", "Invalid URI: the package has been deleted", retryable=False)

_FAILED = "Firmware update failed"
#: What result codes of devices mean (A10).
RESULTS: Mapping[int, str] = {
    1: f"{_FAILED}: the device is in use",
    2: "Connection lost during downloading process: the signal is weak",
    3: f"{_FAILED}: the device says that it has the newest version",
    4: f"{_FAILED}: the battery is low",
    5: "Not enough storage for the new firmware package",
    6: "Waiting for device downloaded package timeout",
    7: "Integrity check failure for new downloaded package",
    8: "Unsupported package type",
    9: "Out of memory during downloading process",
    10: f"{_FAILED}: the package could not be installed",
    255: f"{_FAILED}: internal error",
}


def reason_of(result_code: int, words: str | None) -> Reason:
    """Return what a device's result code means, with its own words behind it."""
    text = RESULTS.get(result_code, f"{_FAILED}: result code {result_code}")
    return Reason(f"OTA.{100 + result_code}", f"{text} ({words})" if words else text)
