"""What devices say, as it is read: the rest of it is tested through the API (test_device_events.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from include.errors import InvalidInputError
from include.ota.reports import ProgressReport, VersionReport, read_moment, read_payload


def payload(event_type: str, event_time: Any = "20261122T020304Z", **paras: Any) -> bytes:
    service = {"service_id": "$ota", "event_type": event_type, "event_time": event_time, "paras": paras}
    return orjson.dumps({"object_device_id": "d1", "services": [service]})


def test_a_version() -> None:
    reading = read_payload("d1", payload("version_report", fw_version="v1", sw_version="", other=7))
    assert reading.reports == [
        VersionReport(
            device_id="d1",
            device_time=datetime(2026, 11, 22, 2, 3, 4, tzinfo=UTC),
            fw_version="v1",
            sw_version=None,
        )
    ]


def test_progress_through_a_gateway() -> None:
    reading = read_payload("g1", payload("upgrade_progress_report", None, result_code=0, progress=80))
    assert reading.reports == [ProgressReport(device_id="d1", via="g1", result_code=0, progress=80)]


@pytest.mark.parametrize(
    ("code", "progress", "final"),
    [(0, 80, False), (0, 0, False), (0, 100, True), (0, None, True), (4, 10, True), (255, None, True)],
)
def test_when_a_device_is_done(code: int, progress: int | None, final: bool) -> None:
    assert ProgressReport(device_id="d1", result_code=code, progress=progress).final is final


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20151212T121212Z", datetime(2015, 12, 12, 12, 12, 12, tzinfo=UTC)),
        ("2015-12-12T12:12:12.500Z", datetime(2015, 12, 12, 12, 12, 12, 500_000, tzinfo=UTC)),
        ("2015-12-12T20:12:12+08:00", datetime(2015, 12, 12, 12, 12, 12, tzinfo=UTC)),
        ("2015-12-12T12:12:12", datetime(2015, 12, 12, 12, 12, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (1449922332, None),
        (None, None),
    ],
)
def test_moments(text: Any, moment: datetime | None) -> None:
    assert read_moment(text) == moment


def test_a_clock_that_was_never_set_says_nothing() -> None:
    [report] = read_payload("d1", payload("version_report", "19700101T000012Z", fw_version="1")).reports
    assert report.device_time is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b'{"services": null}', b"\xff"])
def test_payloads_that_are_none(raw: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_payload("d1", raw)
