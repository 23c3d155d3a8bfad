"""What a device is told; most of it is tested where upgrades are performed (tests/integration/ota)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from include.batch.model import NewTask, Progress, Task, TaskType
from include.batch.upgrade_steps import Limits
from include.gateway.model import DeviceEvent
from include.ota.model import Package
from include.ota.notices import Addressee, file_url, upgrade_notice
from include.settings import Settings

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
LOCATION = {"region_name": "r1", "bucket_name": "b.1", "object_key": "a/p u&?.bin", "sign": None}
PACKAGE = Package(
    id=1,
    package_id="0" * 24,
    project_id="p1",
    app_id="a",
    package_type="firmwarePackage",
    product_id=None,
    module_name=None,
    version="2",
    support_source_versions=None,
    description=None,
    custom_info=None,
    file_location={"obs_location": LOCATION},
    created_at=NOW,
)


def task(task_type: TaskType) -> Task:
    asked = NewTask("p1", "t", task_type)
    nothing: dict[str, Any] = dict.fromkeys(
        (
            *("status_desc", "paused_at", "pause_reason", "paced_until", "started_at", "finished_at"),
            *("dispatched", "judged_success", "judged_fail", "open_wave", "runs_wanted", "runs_started"),
        )
    )
    return Task(
        id=1,
        task_id="1" * 24,
        asked=asked,
        status="Processing",
        progress=Progress(),
        created_at=NOW,
        **nothing,
    )


def notice(task_type: TaskType, form: Literal["v1", "v2"], package: Package = PACKAGE) -> DeviceEvent:
    to = Addressee("d1", None)
    return upgrade_notice(
        task(task_type), package, to, "m", NOW, form=form, url="http://x/{bucket_name}", expires=60
    )


@pytest.mark.parametrize(
    ("task_type", "form", "event_type"),
    [
        ("firmwareUpgrade", "v1", "firmware_upgrade"),
        ("softwareUpgrade", "v1", "software_upgrade"),
        ("firmwareUpgrade", "v2", "firmware_upgrade_v2"),
        ("softwareUpgrade", "v2", "software_upgrade_v2"),
        ("moduleUpgrade", "v2", "module_upgrade_v2"),
    ],
)
def test_event_types(task_type: TaskType, form: Literal["v1", "v2"], event_type: str) -> None:
    assert notice(task_type, form).event_type == event_type


def test_what_is_not_known_is_not_said() -> None:
    expected = {"version": "2", "url": "http://x/b.1", "file_name": "p u&?.bin", "expires": 60}
    assert notice("firmwareUpgrade", "v2").paras == expected
    package = replace(PACKAGE, custom_info="c", module_name="m")
    more = {**expected, "custom_info": "c", "module_name": "m"}
    assert notice("moduleUpgrade", "v2", package).paras == more


def test_urls() -> None:
    template = Settings.model_fields["upgrade_file_url"].default
    assert file_url(template, LOCATION) == "https://b.1.obs.r1.myhuaweicloud.com/a/p%20u%26%3F.bin"
    assert file_url("https://minio.example.com/{bucket_name}/{object_key}?x={x}", LOCATION) == (
        "https://minio.example.com/b.1/a/p%20u%26%3F.bin?x={x}"
    )


def test_limits_are_those_that_are_set() -> None:
    assert Limits.of(Settings()) == Limits()
    settings = Settings(
        upgrade_online_seconds=1,
        upgrade_version_seconds=2,
        upgrade_result_seconds=3,
        upgrade_verify_seconds=4,
        upgrade_ask_seconds=5,
        upgrade_quiet_seconds=6,
    )
    assert Limits.of(settings) == Limits(*(timedelta(seconds=n) for n in range(1, 7)))
