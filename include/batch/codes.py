"""The error codes of the IoT platform's API, in the whole of Carillon's side of it (research `iot.md` A8).

`api_plugin/iot_batch/errors.py` says which of our errors carries which; sub-tasks store them.
"""

from __future__ import annotations

INVALID = "IOTDA.000006"
UNPARSEABLE = "IOTDA.000008"
TIME_FORMAT = "IOTDA.000009"
LIMIT_RANGE = "IOTDA.000017"
NOT_AUTHENTICATED = "IOTDA.000002"
BAD_CREDENTIAL = "IOTDA.000004"
NO_PERMISSION = "IOTDA.000022"
APP_MISSING = "IOTDA.001006"
RATE_LIMIT = "IOTDA.021101"

DEVICE_MISSING = "IOTDA.014000"
DEVICE_OFFLINE = "IOTDA.014016"
GATEWAY_OFFLINE = "IOTDA.014028"
DEVICE_EXISTS = "IOTDA.014031"
SUBDEVICE_UNFREEZABLE = "IOTDA.014038"
DEVICE_NOT_FROZEN = "IOTDA.014040"
COMMAND_TIMEOUT = "IOTDA.014111"
NOT_SUBSCRIBED = "IOTDA.014112"
TARGET_UNFIT = "IOTDA.014219"
FILE_MISSING = "IOTDA.014600"
FILE_NAME_TAKEN = "IOTDA.014602"
FILE_TOO_LARGE = "IOTDA.014603"

# --- of our own choice: no public text has the vendor's. Those with 105 are numbers of its first API.
TASK_MISSING = "IOTDA.105005"
TASK_LIMIT = "IOTDA.105001"
#: A call that the task's status does not allow; the vendor has it for single targets.
TASK_STATE = TARGET_UNFIT
#: Anything else that is not there, a path included.
MISSING = "IOTDA.000404"
INTERNAL = "IOTDA.000500"
UNAVAILABLE = "IOTDA.000503"

# --- of our own, as those of upgrades in `include/ota/reasons.py`: why a sub-task failed or was stopped.
GATEWAY_UNREACHABLE = "CARILLON.0001"
GATEWAY_UNREADABLE = "CARILLON.0002"
GATEWAY_REFUSED = "CARILLON.0003"
DEVICE_REFUSED = "CARILLON.0101"
DEVICE_FROZEN = "CARILLON.0102"
TOO_MANY_WAITING = "CARILLON.0103"
INTERRUPTED = "CARILLON.0201"
DEFECT = "CARILLON.0202"
