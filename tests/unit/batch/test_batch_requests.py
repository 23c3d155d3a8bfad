"""What may create a task: each limit of research `iot.md` A3, and one past it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from include.batch.model import NewTask, TaskPolicy
from include.batch.requests import TaskRequest, TimeFormatError
from include.errors import InvalidInputError

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
COMMAND = {"service_id": "water", "command_name": "ON_OFF", "paras": {"value": "ON"}}
UPGRADE = {"package_id": "32822e5744a45ede319d2c50"}


def body(**changes: Any) -> dict[str, Any]:
    """Return commands for one device; None leaves a field out."""
    values = {
        "task_name": "testname",
        "task_type": "createCommands",
        "targets": ["d1"],
        "document": COMMAND,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def upgrade(**changes: Any) -> dict[str, Any]:
    return body(task_type="softwareUpgrade", document=UPGRADE, **changes)


def read(fields: dict[str, Any]) -> NewTask:
    return TaskRequest.model_validate(fields).new_task("p", created_by="test", now=NOW)


def moment(**ahead: float) -> str:
    return f"{NOW + timedelta(**ahead):%Y%m%dT%H%M%SZ}"


def ext_info(size: int) -> dict[str, str]:
    return {"k": "水" * (size - len('{"k":""}'))}


def test_all_that_can_be_asked_for() -> None:
    asked = upgrade(
        app_id="a" * 36,
        task_name="批量_升级" + "x" * 123,
        task_mode="GATEWAY",
        need_confirm=True,
        task_ext_info=ext_info(512),
        targets=["d" * 128, "d-1_A"],
        targets_filter={"group_ids": ["e495cf17-ff79-4294-8f64-4d367919d665"]},
        task_policy={"schedule_time": moment(days=7), "retry_count": 5, "retry_interval": 1440},
    )
    assert read(asked) == NewTask(
        project_id="p",
        task_name="批量_升级" + "x" * 123,
        task_type="softwareUpgrade",
        app_id="a" * 36,
        task_mode="GATEWAY",
        need_confirm=True,
        task_ext_info=ext_info(512),
        targets=["d" * 128, "d-1_A"],
        targets_filter={"group_ids": ["e495cf17-ff79-4294-8f64-4d367919d665"]},
        document=UPGRADE,
        policy=TaskPolicy(NOW + timedelta(days=7), 5, timedelta(days=1)),
        created_by="test",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": [f"d{n}" for n in range(30_000)]},
        {"task_policy": {}},
        {"task_policy": {"schedule_time": moment(seconds=-60)}},
        {"task_policy": {"retry_count": 0, "retry_interval": 0}},
        {"need_confirm": False},
    ],
)
def test_what_is_good(changes: dict[str, Any]) -> None:
    read(body(**changes))


class TestSources:
    def test_the_first_counts_and_the_others_are_kept_to_be_shown(self) -> None:
        new = read(body(targets_filter={"group_ids": ["g"]}, document_source="f"))
        assert (new.targets, new.targets_filter, new.document_source) == (["d1"], {"group_ids": ["g"]}, None)

    @pytest.mark.parametrize("kind", ["deleteDevices", "freezeDevices", "unfreezeDevices"])
    def test_some_types_have_all_three(self, kind: str) -> None:
        new = read(body(task_type=kind, document=None, targets=None, document_source="f"))
        assert (new.targets, new.targets_filter, new.document_source) == (None, None, "f")

    @pytest.mark.parametrize("kind", ["createDevices", "updateDevices"])
    def test_rows_come_from_a_file_alone(self, kind: str) -> None:
        new = read(body(task_type=kind, document=None, document_source="f"))
        assert (new.targets, new.document_source) == (None, "f")

    def test_an_empty_list_is_no_source(self) -> None:
        new = read(body(targets=[], targets_filter={"group_ids": ["g"]}))
        assert new.targets is None

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"targets": None}, "targets: is required: targets, targets_filter"),
            ({"targets": []}, "targets: is required: targets, targets_filter"),
            ({"targets": None, "document_source": "f"}, "targets: is required: targets, targets_filter"),
            (
                {"task_type": "deleteDevices", "document": None, "targets": None},
                "targets: is required: targets, targets_filter, document_source",
            ),
            ({"task_type": "createDevices", "document": None}, "document_source: is required"),
        ],
    )
    def test_there_must_be_one_that_the_type_has(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            read(body(**changes))
        assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (body(task_name=None), ("task_name",)),
        (body(task_name=""), ("task_name",)),
        (body(task_name="x" * 129), ("task_name",)),
        (body(task_name="a b"), ("task_name",)),
        (body(task_name="a-b"), ("task_name",)),
        (body(task_name="a\n"), ("task_name",)),
        (body(task_type=None), ("task_type",)),
        (body(task_type="changeGateway"), ("task_type",)),
        (body(app_id="a" * 37), ("app_id",)),
        (body(app_id=""), ("app_id",)),
        (body(app_id="a.b"), ("app_id",)),
        (body(task_mode="DEVICE"), ("task_mode",)),
        (body(need_confirm="true"), ("need_confirm",)),
        (body(task_ext_info="text"), ("task_ext_info",)),
        (body(targets="d1"), ("targets",)),
        (body(targets=[f"d{n}" for n in range(30_001)]), ("targets",)),
        (body(targets=["d1", "d" * 129]), ("targets", 1)),
        (body(targets=["d 1"]), ("targets", 0)),
        (body(targets=[7]), ("targets", 0)),
        (body(targets_filter={}), ("targets_filter", "group_ids")),
        (body(targets_filter={"group_ids": []}), ("targets_filter", "group_ids")),
        (body(targets_filter={"group_ids": ["a b"]}), ("targets_filter", "group_ids", 0)),
        (body(targets_filter={"group_ids": ["g"] * 1001}), ("targets_filter", "group_ids")),
        (body(targets_filter={"group_ids": ["g" * 129]}), ("targets_filter", "group_ids", 0)),
        (body(targets_filter={"group_ids": ["g"], "tags": []}), ("targets_filter", "tags")),
        (body(document_source="f" * 129), ("document_source",)),
        (body(document=[]), ("document",)),
        (body(task_policy={"retry_count": 6, "retry_interval": 1}), ("task_policy", "retry_count")),
        (body(task_policy={"retry_count": -1, "retry_interval": 1}), ("task_policy", "retry_count")),
        (body(task_policy={"retry_count": "1", "retry_interval": 1}), ("task_policy", "retry_count")),
        (body(task_policy={"retry_count": 1, "retry_interval": 1441}), ("task_policy", "retry_interval")),
        (body(task_policy={"retry_count": 1, "retry_interval": -1}), ("task_policy", "retry_interval")),
        (body(task_policy={"at": "now"}), ("task_policy", "at")),
        (body(priority=1), ("priority",)),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], place: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        read(fields)
    assert [error["loc"] for error in caught.value.errors()] == [place]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (body(need_confirm=True), "need_confirm: is for upgrades"),
        (body(task_mode="GATEWAY"), "task_mode: is for firmwareUpgrade and softwareUpgrade"),
        (body(task_ext_info={}), "task_ext_info: is for firmwareUpgrade and softwareUpgrade"),
        (
            body(task_type="moduleUpgrade", document=UPGRADE, task_mode="GATEWAY"),
            "task_mode: is for firmwareUpgrade and softwareUpgrade",
        ),
        (
            body(task_type="moduleUpgrade", document=UPGRADE, task_ext_info={}),
            "task_ext_info: is for firmwareUpgrade and softwareUpgrade",
        ),
        (
            upgrade(task_ext_info=ext_info(513)),
            "task_ext_info: must have at most 512 characters as JSON",
        ),
        (body(document=None), "document: is required for createCommands"),
        (body(task_policy={"retry_count": 1}), "task_policy.retry_interval: is required"),
        (body(task_policy={"retry_interval": 1}), "task_policy.retry_count: is required"),
        (
            body(task_policy={"schedule_time": moment(seconds=-61)}),
            "task_policy.schedule_time: lies in the past",
        ),
        (
            body(task_policy={"schedule_time": moment(days=7, seconds=61)}),
            "task_policy.schedule_time: is more than 7 days ahead",
        ),
        (
            body(task_policy={"schedule_time": moment(days=8)}),
            "task_policy.schedule_time: is more than 7 days ahead",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read(fields)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23T09:30:00Z",
        "20261123T093000",
        "20261123T093000+0800",
        "20261131T093000Z",
        "20261123t093000z",
    ],
)
def test_a_moment_has_one_form(text: str) -> None:
    with pytest.raises(TimeFormatError, match=r"task_policy.schedule_time: must be like 20151212T121212Z"):
        read(body(task_policy={"schedule_time": text}))
