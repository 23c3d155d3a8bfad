"""The errors of calls on files and devices (research `iot.md` A8), a part of the table in `errors.py`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from include.batch_files.model import FileMissingError, FileNameTakenError
from include.errors import CarillonError

DEVICE_CODES: Mapping[type[CarillonError], tuple[HTTPStatus, str]] = {
    FileMissingError: (HTTPStatus.NOT_FOUND, "IOTDA.014600"),
    FileNameTakenError: (HTTPStatus.BAD_REQUEST, "IOTDA.014602"),
}
