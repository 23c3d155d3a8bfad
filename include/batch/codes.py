"""Error codes of sub-tasks: those of IoTDA where research `iot.md` A8 knows one, else of our own.

Codes of our own begin with `CARILLON.`, so that nobody takes them for the vendor's.
"""

from __future__ import annotations

NO_DEVICE = "IOTDA.014000"
OFFLINE = "IOTDA.014016"
TIMEOUT = "IOTDA.014111"
INVALID_INPUT = "IOTDA.000006"
#: Of a call on named targets: this one is not in a status for it.
TARGET_UNFIT = "IOTDA.014219"

GATEWAY_UNREACHABLE = "CARILLON.0001"
GATEWAY_GARBAGE = "CARILLON.0002"
GATEWAY_REFUSED = "CARILLON.0003"
DEVICE_REFUSED = "CARILLON.0101"
DEVICE_FROZEN = "CARILLON.0102"
TOO_MANY_WAITING = "CARILLON.0103"
MESSAGE_ID_USED = "CARILLON.0104"
INTERRUPTED = "CARILLON.0201"
DEFECT = "CARILLON.0202"
