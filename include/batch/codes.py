"""The error codes of sub-tasks, and of single targets of a call (research `iot.md` A8).

Those of calls are in `api_plugin/iot_batch/errors.py`.
"""

from __future__ import annotations

INVALID = "IOTDA.000006"
DEVICE_MISSING = "IOTDA.014000"
DEVICE_OFFLINE = "IOTDA.014016"
COMMAND_TIMEOUT = "IOTDA.014111"
#: Of a call on named targets: this one is not in a status for it.
TARGET_UNFIT = "IOTDA.014219"

# --- of our own, as those of upgrades in `include/ota/reasons.py`: why a sub-task failed or was stopped.
GATEWAY_UNREACHABLE = "CARILLON.0001"
GATEWAY_UNREADABLE = "CARILLON.0002"
GATEWAY_REFUSED = "CARILLON.0003"
DEVICE_REFUSED = "CARILLON.0101"
DEVICE_FROZEN = "CARILLON.0102"
TOO_MANY_WAITING = "CARILLON.0103"
INTERRUPTED = "CARILLON.0201"
DEFECT = "CARILLON.0202"
